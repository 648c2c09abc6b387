//! Values that arrive after the energy was booked. Pure; why it is done so: `docs/decisions/late-intensity.md`.

use crate::units::{Emissions, MicroJoules};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// How far back energy can be priced anew: two hours, so that the value of an hour that a provider publishes with an
/// hour's delay still meets all of that hour's energy.
pub const KEEP: SignedDuration = SignedDuration::from_hours(2);

/// Energy that was booked at one price, in one minute.
#[derive(Clone, Debug)]
struct Slot<K> {
    begin: Timestamp,
    end: Timestamp,
    /// Milligrams of CO2e per kWh, PUE applied.
    price: u64,
    energy: BTreeMap<K, MicroJoules>,
}

/// What was booked in the last [`KEEP`], by minute, and what is still to be corrected.
///
/// Emissions are booked at once with the best value known. When a better one arrives, the difference is owed: a debt is
/// booked with the next interval, a credit is taken off what the following intervals emit, never more than they emit,
/// so counters do not go back. At any moment: booked + outstanding = energy × the intensity of its time, exactly.
///
/// Bounded: at most one slot a minute and price in it, one entry a component in each.
#[derive(Clone, Debug)]
pub struct LateBooks<K> {
    slots: VecDeque<Slot<K>>,
    outstanding: BTreeMap<K, i128>,
}

impl<K> Default for LateBooks<K> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), outstanding: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> LateBooks<K> {
    /// Books that go on from what was outstanding when the agent stopped.
    pub fn resume(outstanding: BTreeMap<K, i128>) -> Self {
        Self { slots: VecDeque::new(), outstanding }
    }

    /// Notes that the energy of a sample from `begin` to `end` was booked at `price` (milligrams per kWh, PUE applied).
    pub fn booked(
        &mut self,
        begin: Timestamp,
        end: Timestamp,
        price: u64,
        energy: impl IntoIterator<Item = (K, MicroJoules)>,
    ) {
        let same_minute = |slot: &Slot<K>| {
            slot.price == price
                && slot.begin <= begin
                && slot.begin.as_second().div_euclid(60) == (end.as_nanosecond() - 1).div_euclid(60_000_000_000) as i64
        };
        if !self.slots.back().is_some_and(same_minute) {
            self.slots.push_back(Slot { begin, end, price, energy: BTreeMap::new() });
        }
        let slot = self.slots.back_mut().expect("one was just made sure of");
        slot.end = slot.end.max(end);
        for (key, energy) in energy {
            if energy.0 > 0 {
                *slot.energy.entry(key).or_default() += energy;
            }
        }
        while self.slots.front().is_some_and(|oldest| end.duration_since(oldest.end) > KEEP) {
            self.slots.pop_front();
        }
        // A clock that is set back must not let slots pile up.
        while self.slots.len() > MAX_SLOTS {
            self.slots.pop_front();
        }
    }

    /// Prices every kept slot anew; call it when a source has learnt something. `price_of` is
    /// `Sources::weighted(begin, end).milligrams_per_kwh(pue)`.
    pub fn restate(&mut self, mut price_of: impl FnMut(Timestamp, Timestamp) -> u64) {
        for slot in &mut self.slots {
            let price = price_of(slot.begin, slot.end);
            if price == slot.price {
                continue;
            }
            for (key, energy) in &slot.energy {
                let change = of(*energy, price) - of(*energy, slot.price);
                *self.outstanding.entry(key.clone()).or_default() += change;
            }
            slot.price = price;
        }
    }

    /// The change to book for `key` in an interval that emitted `emitted`: all that is owed, or as much of a credit as
    /// `emitted` allows. What is left stays outstanding.
    pub fn settle(&mut self, key: &K, emitted: Emissions) -> i128 {
        let Some(outstanding) = self.outstanding.get_mut(key) else {
            return 0;
        };
        let floor = -i128::try_from(emitted.0).unwrap_or(i128::MAX);
        let change = (*outstanding).max(floor);
        *outstanding -= change;
        if *outstanding == 0 {
            self.outstanding.remove(key);
        }
        change
    }

    /// Makes what was noted of `keys` that of `other`.
    pub fn put_together(&mut self, keys: &[K], other: &K) {
        for key in keys {
            if let Some(owed) = self.outstanding.remove(key) {
                *self.outstanding.entry(other.clone()).or_default() += owed;
            }
            for slot in &mut self.slots {
                if let Some(energy) = slot.energy.remove(key) {
                    *slot.energy.entry(other.clone()).or_default() += energy;
                }
            }
        }
    }

    /// What is still to be booked by key, in [`Emissions`]' unit; negative is a credit. To be kept across a restart.
    pub fn outstanding(&self) -> &BTreeMap<K, i128> {
        &self.outstanding
    }
}

/// One a minute, and as many again for changes of price and clocks.
const MAX_SLOTS: usize = 240;

fn of(energy: MicroJoules, milligrams_per_kwh: u64) -> i128 {
    // Below 2^127 for any energy that a host spends in minutes at any plausible intensity.
    Emissions::of(energy, milligrams_per_kwh).0 as i128
}

#[cfg(test)]
mod tests;
