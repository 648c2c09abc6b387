//! NVIDIA cards through NVML: energy per card, and who used it.
//!
//! Source: NVML API reference. `nvmlDeviceGetTotalEnergyConsumption` counts millijoules since the driver was loaded
//! (Volta and later); older cards give a wattage, which is multiplied with time. `nvmlDeviceGetProcessUtilization` gives
//! each process's share of the card's multiprocessors (SM) in percent.
//!
//! The library is loaded at run time: a host without it has no such cards, which is not an error of the agent. This is
//! not an [`EnergySource`](super::EnergySource) but stands beside one: it meters other domains, and it alone knows who
//! used them. Tested with played cards; never run on a real one.

mod cards;

use super::counter::{MicroWatts, Step, WrappingCounter};
use super::pending::Pending;
use super::{Domain, EnergyError, EnergySample, Meter};
use crate::clock;
use crate::units::{MicroJoules, Nanos};
use cards::{CardError, Cards, Library};

/// More than any card draws.
const BOUND: MicroWatts = MicroWatts(3_000_000_000);

/// How much of a card a process used in the sample, relative to the others on that card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuUser {
    pub meter: Meter,
    /// In the initial pid namespace, as the probe counts.
    pub pid: u32,
    /// Percent of the multiprocessors, summed over the driver's own samples. Only ratios mean anything.
    pub weight: u64,
}

/// How busy a card was, for its baseline: the part of `wall` during which something ran on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuLoad {
    pub meter: Meter,
    pub busy: Nanos,
    pub wall: Nanos,
}

/// One sample of all cards.
#[derive(Clone, Debug, Default)]
pub struct GpuSample {
    /// Energy by card: [`Domain::Gpu`], the card's index as socket. What no user accounts for is unattributed.
    pub energy: EnergySample,
    pub users: Vec<GpuUser>,
    pub loads: Vec<GpuLoad>,
}

/// The NVIDIA cards of this host.
pub struct Gpus {
    cards: Box<dyn Cards>,
    meters: Vec<Card>,
    pending: Pending,
}

struct Card {
    meter: Meter,
    name: String,
    state: Reading,
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
    /// Loads NVML. `Ok(None)` where there is no such library or no card: most hosts.
    pub fn open() -> Result<Option<Self>, EnergyError> {
        match Library::load() {
            Ok(library) => Self::with(Box::new(library)),
            Err(CardError::Absent) => Ok(None),
            Err(error) => Err(error.explain("NVML")),
        }
    }

    fn with(mut cards: Box<dyn Cards>) -> Result<Option<Self>, EnergyError> {
        let count = cards.count().map_err(|error| error.explain("NVML"))?;
        let mut meters = Vec::new();
        for card in 0..count {
            let state = match cards.energy_millijoules(card) {
                Err(CardError::Unsupported) => Reading::Wattage { last: None, remainder: 0 },
                // One that is lost for the moment is taken for what cards of today are.
                _ => Reading::Counter(WrappingCounter::new(None, BOUND)),
            };
            meters.push(Card {
                meter: Meter { domain: Domain::Gpu, socket: card },
                name: cards.name(card),
                state,
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
                Reading::Counter(_) => self.cards.energy_millijoules(card.meter.socket),
                Reading::Wattage { .. } => self.cards.power_milliwatts(card.meter.socket),
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
                    card.broken = Some(error.explain(&format!("GPU {} ({})", card.meter.socket, card.name)));
                }
            }
        }
    }

    /// What was spent between the last two latches, and by whom.
    pub fn resolve(&mut self) -> GpuSample {
        let mut sample = GpuSample::default();
        sample.energy.deltas = self.pending.take();
        for card in &mut self.meters {
            card.divide(self.cards.as_mut(), &mut sample.users);
            if let Some(delta) = sample.energy.deltas.iter().find(|delta| delta.meter == card.meter)
                && let Ok(percent) = self.cards.utilisation_percent(card.meter.socket)
            {
                let wall = Nanos(delta.end.0 - delta.begin.0);
                let busy = Nanos(wall.0 / 100 * u64::from(percent.min(100)));
                sample.loads.push(GpuLoad { meter: card.meter, busy, wall });
            }
            let faults = [card.broken.clone(), card.undivided.clone(), card.doubt.take()];
            sample.energy.faults.extend(faults.into_iter().flatten());
        }
        sample
    }

    /// What is being read, in a line for health and logs.
    pub fn describe(&self) -> String {
        let cards: Vec<String> = self
            .meters
            .iter()
            .map(|card| match card.state {
                Reading::Counter(_) => format!("{} {}", card.meter.socket, card.name),
                Reading::Wattage { .. } => {
                    format!("{} {} (watts × time)", card.meter.socket, card.name)
                }
            })
            .collect();
        format!("NVML: GPU {}", cards.join(", "))
    }
}

impl Card {
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
                        what: format!("GPU {} ({}) {}", self.meter.socket, self.name, why.words()),
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
        let card = self.meter.socket;
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
