//! Energy and CPU time of the same moment: the meter is read a little after the CPU time is cut, and both say when.
//!
//! What a meter counted after the cut belongs to the next sample. Within one reading the power is taken to be constant:
//!
//! ```text
//! late = energy × (read − cut) / (read − read before)          rounded down to whole microjoules
//! ```
//!
//! `late` is carried into the meter's next reading, so that nothing is lost: all corrected readings and what is still
//! carried sum to what the meter counted, exactly. Pure.

use crate::energy::{Meter, MeterDelta};
use crate::units::{MicroJoules, Nanos};
use std::collections::BTreeMap;

/// What was read too late, by meter.
#[derive(Clone, Debug, Default)]
pub struct Skew {
    carried: BTreeMap<Meter, Carried>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    energy: MicroJoules,
    duration: Nanos,
}

impl Skew {
    /// The readings as they would have been at the moment of the cut. A reading from before the cut stays as it is: what
    /// was spent since is not known yet, and the next reading holds it.
    pub fn align(&mut self, deltas: &[MeterDelta], cut: Nanos) -> Vec<MeterDelta> {
        deltas.iter().map(|delta| self.align_one(*delta, cut)).collect()
    }

    /// What is carried for a meter: read, and not yet part of any sample.
    pub fn carried(&self, meter: Meter) -> MicroJoules {
        self.carried.get(&meter).map_or(MicroJoules(0), |carried| carried.energy)
    }

    /// All that is carried, by meter.
    pub fn all_carried(&self) -> Vec<(Meter, MicroJoules)> {
        self.carried.iter().map(|(meter, carried)| (*meter, carried.energy)).collect()
    }

    fn align_one(&mut self, delta: MeterDelta, cut: Nanos) -> MeterDelta {
        let from = cut.max(delta.begin);
        let length = delta.end.0.saturating_sub(delta.begin.0);
        let late = delta.end.0.saturating_sub(from.0);
        // Both factors are below 2^64, and the quotient is no larger than the energy.
        let energy = match length {
            0 => 0,
            _ => (u128::from(delta.energy.0) * u128::from(late) / u128::from(length)) as u64,
        };
        let new = Carried { energy: MicroJoules(energy), duration: Nanos(late) };
        let old = self.carried.insert(delta.meter, new).unwrap_or_default();
        MeterDelta {
            meter: delta.meter,
            energy: MicroJoules(old.energy.0 + delta.energy.0 - energy),
            begin: Nanos(delta.begin.0.saturating_sub(old.duration.0)),
            end: Nanos(delta.end.0 - late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Domain;
    use proptest::prelude::*;

    const METER: Meter = Meter { domain: Domain::Package, socket: 0 };

    fn delta(energy: u64, begin: u64, end: u64) -> MeterDelta {
        MeterDelta { meter: METER, energy: MicroJoules(energy), begin: Nanos(begin), end: Nanos(end) }
    }

    /// Feeds readings, each with its cut, and compares the corrected ones (energy, begin, end).
    #[track_caller]
    fn check(readings: &[(MeterDelta, u64)], expected: &[(u64, u64, u64)]) {
        let mut skew = Skew::default();
        let got: Vec<_> = readings
            .iter()
            .flat_map(|(delta, cut)| skew.align(&[*delta], Nanos(*cut)))
            .map(|delta| (delta.energy.0, delta.begin.0, delta.end.0))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_was_read_late_comes_with_the_next_sample() {
        // 1 µJ a ns, cut at each hundred, read 10 ns after, then 4, then at once.
        check(
            &[(delta(100, 10, 110), 100), (delta(94, 110, 204), 200), (delta(96, 204, 300), 300)],
            &[(90, 10, 100), (100, 100, 200), (100, 200, 300)],
        );
    }

    #[test]
    fn what_was_read_before_the_cut_stays() {
        check(&[(delta(80, 0, 80), 100), (delta(120, 80, 200), 200)], &[(80, 0, 80), (120, 80, 200)]);
    }

    #[test]
    fn a_meter_that_was_away_is_cut_all_the_same() {
        check(&[(delta(100, 10, 110), 100), (delta(200, 300, 500), 400)], &[(90, 10, 100), (110, 290, 400)]);
        // It came back after the cut: everything is for the next sample.
        check(&[(delta(50, 120, 170), 100)], &[(0, 120, 120)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_sample_is_negative(
            steps in prop::collection::vec((1..1_000_000u64, 0..2_000_000u64, any::<u32>()), 1..50)
        ) {
            let mut skew = Skew::default();
            let (mut read, mut corrected, mut begin) = (0, 0, 0);
            for (length, cut, energy) in steps {
                let delta = delta(u64::from(energy), begin, begin + length);
                read += delta.energy.0;
                let aligned = skew.align(&[delta], Nanos(begin + cut))[0];
                prop_assert!(aligned.begin <= aligned.end);
                corrected += aligned.energy.0;
                begin += length;
            }
            prop_assert_eq!(read, corrected + skew.carried(METER).0);
        }
    }
}
