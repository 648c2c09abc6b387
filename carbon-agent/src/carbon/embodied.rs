//! Emissions of making the machine, spread evenly over its life: a scope of its own, beside the operational one.
//! PUE has no part in it. Pure.

use crate::config::model::Embodied;
use crate::units::{Emissions, Nanos};

/// Seconds in a Julian year (365.25 days).
const SECONDS_PER_YEAR: f64 = 31_557_600.0;

/// Some 500 years: a machine's life in nanoseconds stays below 2^64.
const MAX_LIFETIME_SECONDS: f64 = 1.6e10;

/// `total × time / lifetime` (the time share of ISO/IEC 21031:2024, M = TE × TS × RS; the host is reserved whole, so
/// RS is 1), as a whole number for any time.
///
/// Since the operator names no date of purchase, the rate is the same for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amortisation {
    total: u128,
    lifetime_nanos: u128,
}

impl Amortisation {
    /// Figures that are not finite or not positive amortise nothing.
    pub fn new(embodied: Embodied) -> Self {
        let grams = (embodied.total_kg * 1e3).max(0.0);
        // A float holds a total of tonnes to better than a milligram; from here on all is whole numbers.
        let milligrams = (grams * 1e3).round() as u128;
        let lifetime_seconds = (embodied.lifetime_years * SECONDS_PER_YEAR).clamp(0.0, MAX_LIFETIME_SECONDS) as u128;
        Self {
            total: milligrams.saturating_mul(EMISSIONS_PER_MILLIGRAM),
            lifetime_nanos: lifetime_seconds * 1_000_000_000,
        }
    }

    /// The share of `time` counted from the start of the counters, rounded down. The share of an interval is the
    /// difference of two of these, so that intervals of any length sum to the share of the whole.
    pub fn share(&self, time: Nanos) -> Emissions {
        if self.lifetime_nanos == 0 {
            return Emissions(0);
        }
        let time = u128::from(time.0);
        let (whole, rest) = (self.total / self.lifetime_nanos, self.total % self.lifetime_nanos);
        // In two parts, because total × time can exceed 128 bits; rest × time is below 2^64 × 2^64.
        Emissions(whole * time + rest * time / self.lifetime_nanos)
    }

    /// What is to be added when the counted time goes from `before` to `after`.
    pub fn between(&self, before: Nanos, after: Nanos) -> Emissions {
        Emissions(self.share(after).0.saturating_sub(self.share(before).0))
    }
}

/// [`Emissions`]' unit in a milligram: 3.6e12 µJ/kWh × 1 mg.
const EMISSIONS_PER_MILLIGRAM: u128 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u64 = 86_400_000_000_000;

    fn machine() -> Amortisation {
        Amortisation::new(Embodied { total_kg: 1200.0, lifetime_years: 4.0 })
    }

    #[test]
    fn a_server_of_1200_kg_and_four_years_costs_821_grams_a_day() {
        assert!((machine().share(Nanos(DAY)).grams() - 1_200_000.0 / (4.0 * 365.25)).abs() < 1e-9);
        assert_eq!(machine().share(Nanos(DAY * 1461)).grams(), 1_200_000.0);
    }

    #[test]
    fn nonsense_amortises_nothing() {
        for (total_kg, lifetime_years) in
            [(0.0, 4.0), (-5.0, 4.0), (f64::NAN, 4.0), (100.0, 0.0), (100.0, -1.0), (100.0, f64::NAN), (f64::MAX, 0.0)]
        {
            let amortisation = Amortisation::new(Embodied { total_kg, lifetime_years });
            assert_eq!(amortisation.share(Nanos(DAY)), Emissions(0), "{total_kg} {lifetime_years}");
        }
    }

    proptest! {
        #[test]
        fn intervals_sum_to_the_whole(steps in prop::collection::vec(0u64..10_000_000_000_000, 1..50)) {
            let (mut now, mut sum) = (Nanos(0), Emissions(0));
            for step in steps {
                let next = Nanos(now.0 + step);
                sum += machine().between(now, next);
                now = next;
            }
            prop_assert_eq!(sum, machine().share(now));
        }
    }
}
