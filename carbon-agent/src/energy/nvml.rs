//! NVIDIA cards through NVML: energy per card, and who used it.
//!
//! Source: NVML API reference. `nvmlDeviceGetTotalEnergyConsumption` counts millijoules since the driver was loaded
//! (Volta and later); older cards give a wattage, which is multiplied with time. `nvmlDeviceGetProcessUtilization` gives
//! each process's share of the card's multiprocessors (SM) in percent.
//!
//! The library is loaded at run time: a host without it has no such cards, which is not an error of the agent. This is
//! not an [`EnergySource`](super::EnergySource) but stands beside one: it meters other domains, and it alone knows who
//! used them. Tested with played cards and with a library that plays NVML; never run on a real card.

mod cards;

use super::counter::{MicroWatts, Step, WrappingCounter};
use super::pending::Pending;
use super::{CounterReading, Domain, EnergyError, EnergySample, GpuLoad, GpuUse, GpuUser, Meter, MeterDelta};
use crate::clock;
use crate::units::{MicroJoules, Nanos};
use cards::{CardError, Cards, Library};

/// More than any card draws.
const BOUND: MicroWatts = MicroWatts(3_000_000_000);

/// The NVIDIA cards of this host.
pub struct Gpus {
    cards: Box<dyn Cards>,
    meters: Vec<Card>,
    pending: Pending,
}

struct Card {
    /// NVML's number of it.
    index: u32,
    meter: Meter,
    name: String,
    state: Reading,
    /// Where the counter stood at the last resolve.
    settled: Option<CounterReading>,
    /// Timestamp of the newest utilisation seen (the driver's own clock); `None` before the first look.
    seen: Option<u64>,
    broken: Option<EnergyError>,
    undivided: Option<EnergyError>,
    doubt: Option<EnergyError>,
}

enum Reading {
    Counter(WrappingCounter),
    /// The wattage before, and µW·ns left over from whole microjoules.
    Wattage {
        last: Option<(MicroWatts, Nanos)>,
        remainder: u64,
    },
}

impl Gpus {
    /// Loads NVML. `Ok(None)` where there is no such library or no card: most hosts. `first` is the number that the
    /// first card has as a meter: those before it are another source's.
    pub fn open(first: u32) -> Result<Option<Self>, EnergyError> {
        match Library::load() {
            Ok(library) => Self::with(Box::new(library), first),
            Err(CardError::Absent) => Ok(None),
            Err(error) => Err(error.explain("NVML")),
        }
    }

    fn with(mut cards: Box<dyn Cards>, first: u32) -> Result<Option<Self>, EnergyError> {
        let count = cards.count().map_err(|error| error.explain("NVML"))?;
        let mut meters = Vec::new();
        for index in 0..count {
            let state = match cards.energy_millijoules(index) {
                Err(CardError::Unsupported) => Reading::Wattage { last: None, remainder: 0 },
                // One that is lost for the moment is taken for what cards of today are.
                _ => Reading::Counter(WrappingCounter::new(None, BOUND)),
            };
            meters.push(Card {
                index,
                meter: Meter { domain: Domain::Gpu, socket: first + index },
                name: cards.name(index),
                state,
                settled: None,
                seen: None,
                broken: None,
                undivided: None,
                doubt: None,
            });
        }
        Ok((count > 0).then(|| Self { cards, meters, pending: Pending::default() }))
    }

    /// As rows name it.
    pub fn method(&self) -> &'static str {
        "nvml"
    }

    /// Reads every card's energy, each with its own timestamp. See [`EnergySource::latch`](super::EnergySource::latch).
    pub fn latch(&mut self) {
        for card in &mut self.meters {
            let before = clock::monotonic();
            let read = match card.state {
                Reading::Counter(_) => self.cards.energy_millijoules(card.index),
                Reading::Wattage { .. } => self.cards.power_milliwatts(card.index),
            };
            let at = clock::midpoint(before, clock::monotonic());
            match read {
                Ok(value) => {
                    card.broken = None;
                    card.take(value, at, &mut self.pending);
                }
                Err(error) => {
                    match &mut card.state {
                        Reading::Counter(counter) => counter.forget(),
                        Reading::Wattage { last, .. } => *last = None,
                    }
                    card.broken = Some(error.explain(&format!("GPU {} ({})", card.index, card.name)));
                }
            }
        }
    }

    /// What was spent between the last two latches: added to `energy`. Returns by whom.
    pub fn resolve(&mut self, energy: &mut EnergySample) -> GpuUse {
        let deltas: Vec<MeterDelta> = self.pending.take();
        let mut used = GpuUse::default();
        for card in &mut self.meters {
            card.settled = card.standing();
            card.divide(self.cards.as_mut(), &mut used.users);
            if let Some(delta) = deltas.iter().find(|delta| delta.meter == card.meter)
                && let Ok(percent) = self.cards.utilisation_percent(card.index)
            {
                let wall = Nanos(delta.end.0 - delta.begin.0);
                let busy = Nanos(wall.0 / 100 * u64::from(percent.min(100)));
                used.loads.push(GpuLoad { meter: card.meter, busy, wall });
            }
            let faults = [card.broken.clone(), card.undivided.clone(), card.doubt.take()];
            energy.faults.extend(faults.into_iter().flatten());
        }
        energy.deltas.extend(deltas);
        used
    }

    /// Where the cards' counters stood at the last resolve, as [`EnergySource::readings`](super::EnergySource::readings).
    pub fn readings(&self) -> impl Iterator<Item = CounterReading> {
        self.meters.iter().filter_map(|card| card.settled.clone())
    }

    /// Counts on from what another process read in this boot. Counters of other sources are passed over.
    pub fn resume(&mut self, counters: &[CounterReading]) {
        for card in &mut self.meters {
            let was = counters.iter().find(|was| was.meter == card.meter && was.id == card.id());
            if let (Some(was), Reading::Counter(counter)) = (was, &mut card.state) {
                counter.resume(was.value, was.at, was.peak);
            }
        }
    }

    /// What is being read, in a line for health and logs.
    pub fn describe(&self) -> String {
        let cards: Vec<String> = self
            .meters
            .iter()
            .map(|card| match card.state {
                Reading::Counter(_) => format!("{} {}", card.index, card.name),
                Reading::Wattage { .. } => format!("{} {} (watts × time)", card.index, card.name),
            })
            .collect();
        format!("NVML: GPU {}", cards.join(", "))
    }
}

impl Card {
    /// A card keeps its number for a boot.
    fn id(&self) -> String {
        format!("nvml:{} {}", self.index, self.name)
    }

    fn standing(&self) -> Option<CounterReading> {
        let Reading::Counter(counter) = &self.state else { return None };
        let (value, at, peak) = counter.standing()?;
        Some(CounterReading { id: self.id(), meter: self.meter, value, at, peak })
    }

    fn take(&mut self, value: u64, at: Nanos, pending: &mut Pending) {
        let thousandths = value.saturating_mul(1000);
        match &mut self.state {
            Reading::Counter(counter) => match counter.advance(MicroJoules(thousandths), at) {
                Step::First => {}
                Step::Advanced { energy, begin } => pending.add(self.meter, energy, begin, at),
                Step::Clamped { energy, begin, why } => {
                    pending.add(self.meter, energy, begin, at);
                    self.doubt = Some(EnergyError {
                        kind: "implausible",
                        what: format!("GPU {} ({}) {}", self.index, self.name, why.words()),
                        remedy: "nothing to do if it happens once (driver reload)".into(),
                    });
                }
            },
            Reading::Wattage { last, remainder } => {
                let now = MicroWatts(thousandths.min(BOUND.0));
                if let Some((before, begin)) = last.replace((now, at)) {
                    let elapsed = u128::from(at.0.saturating_sub(begin.0));
                    let amount = u128::from(before.0 + now.0) * elapsed / 2 + u128::from(*remainder);
                    *remainder = (amount % 1_000_000_000) as u64;
                    pending.add(self.meter, MicroJoules((amount / 1_000_000_000) as u64), begin, at);
                }
            }
        }
    }

    /// Who used this card since the look before.
    fn divide(&mut self, cards: &mut dyn Cards, users: &mut Vec<GpuUser>) {
        let card = self.index;
        self.undivided = None;
        if cards.partitioned(card) {
            self.undivided = Some(EnergyError {
                kind: "undivided",
                what: format!(
                    "GPU {card} ({}) is partitioned (MIG), and its driver tells no use by process then",
                    self.name
                ),
                remedy: "its energy stays unattributed; turn MIG off to have it divided".into(),
            });
            return;
        }
        match cards.users(card, self.seen.unwrap_or(0)) {
            Ok(slices) => {
                // The first look returns what the driver has buffered from before our time.
                let ours = self.seen.is_some();
                let newest = slices.iter().map(|slice| slice.at).max();
                self.seen = Some(newest.unwrap_or(0).max(self.seen.unwrap_or(0)));
                if !ours {
                    return;
                }
                let mut weights = std::collections::BTreeMap::new();
                for slice in slices {
                    *weights.entry(slice.pid).or_insert(0) += u64::from(slice.sm_percent);
                }
                users.extend(weights.into_iter().filter(|(_, weight)| *weight > 0).map(|(pid, weight)| GpuUser {
                    meter: self.meter,
                    pid,
                    process: None,
                    weight,
                }));
            }
            Err(error) => {
                let error = error.explain(&format!("the use of GPU {card} ({}) by process", self.name));
                self.undivided = Some(EnergyError { kind: "undivided", ..error });
            }
        }
    }
}

#[cfg(test)]
mod tests;
