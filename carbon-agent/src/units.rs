//! Quantities as newtypes over integers, so that sums are exact and units cannot be mixed.

use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Microjoules in a kilowatt-hour: 3.6 MJ.
pub const MICROJOULES_PER_KWH: f64 = 3.6e12;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self(0), Add::add)
            }
        }
    };
}

quantity!(
    /// Energy in microjoules, the unit of the kernel's powercap counters.
    MicroJoules
);
quantity!(
    /// CPU time or a clock reading in nanoseconds. Clock readings are CLOCK_MONOTONIC unless a name says otherwise.
    Nanos
);

impl MicroJoules {
    /// Joules, for display and export.
    pub fn joules(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Kilowatt-hours, CodeCarbon's unit.
    pub fn kwh(self) -> f64 {
        self.0 as f64 / MICROJOULES_PER_KWH
    }

    /// Mean power in watts over `duration`; 0 for an empty duration.
    pub fn watts_over(self, duration: Nanos) -> f64 {
        if duration.0 == 0 {
            return 0.0;
        }
        self.0 as f64 * 1e3 / duration.0 as f64
    }
}

impl Nanos {
    /// Seconds, for display and export.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// Emissions as an exact integer: microjoules × milligrams of CO2e per kWh.
///
/// Energy is a whole number of µJ and intensity is held as a whole number of mg/kWh, so their products add
/// up without rounding: the emissions of an interval's rows sum to the host's to the last bit.
/// One gram is 3.6e15 of these units (3.6e12 µJ/kWh × 1e3 mg/g).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Emissions(pub u128);

impl Emissions {
    /// Emissions of `energy` spent at `milligrams_per_kwh` (PUE already applied to the latter where wanted).
    pub fn of(energy: MicroJoules, milligrams_per_kwh: u64) -> Self {
        Self(u128::from(energy.0) * u128::from(milligrams_per_kwh))
    }

    /// Grams of CO2e.
    pub fn grams(self) -> f64 {
        self.0 as f64 / (MICROJOULES_PER_KWH * 1e3)
    }

    /// Kilograms of CO2e.
    pub fn kilograms(self) -> f64 {
        self.grams() / 1e3
    }
}

impl Add for Emissions {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}
impl AddAssign for Emissions {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}
impl Sum for Emissions {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilowatt_hour_at_380_grams_is_380_grams() {
        let energy = MicroJoules(3_600_000_000_000);
        assert_eq!(energy.kwh(), 1.0);
        assert_eq!(Emissions::of(energy, 380_000).grams(), 380.0);
    }

    #[test]
    fn power_over_no_time_is_not_infinite() {
        assert_eq!(MicroJoules(5).watts_over(Nanos(0)), 0.0);
        assert_eq!(MicroJoules(20_000_000).watts_over(Nanos(2_000_000_000)), 10.0);
    }
}
