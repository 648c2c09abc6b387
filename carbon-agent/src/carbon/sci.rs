//! Software Carbon Intensity, ISO/IEC 21031:2024: `SCI = ((E × I) + M) per R`. Pure.

use crate::units::Emissions;

/// The figures of one component over one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sci {
    /// `E × I`: what its energy emitted, PUE included where one is configured (the standard's E is of the whole
    /// facility's energy that the software answers for).
    pub operational: Emissions,
    /// `M`: its part of the host's embodied emissions.
    pub embodied: Emissions,
    /// `R`: functional units in that time.
    pub units: f64,
}

impl Sci {
    /// Grams of CO2e per functional unit; `None` where there was no unit: a rate per nothing is not zero.
    pub fn grams_per_unit(&self) -> Option<f64> {
        (self.units.is_finite() && self.units > 0.0)
            .then(|| (self.operational.grams() + self.embodied.grams()) / self.units)
    }
}

/// Turns the readings of a counter of functional units into units since the first reading.
///
/// A counter that goes down was reset (Prometheus' rule): what it shows has been counted since.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UnitCounter {
    last: Option<f64>,
    total: f64,
}

impl UnitCounter {
    /// Takes a reading and returns the units since the one before; the first reading has no before.
    pub fn read(&mut self, value: f64) -> f64 {
        let since = match self.last {
            None => 0.0,
            Some(last) if value >= last => value - last,
            Some(_) => value,
        };
        self.last = Some(value);
        self.total += since;
        since
    }

    /// Units since the first reading.
    pub fn total(&self) -> f64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MicroJoules;

    #[test]
    fn a_kilowatt_hour_and_a_machine_over_a_thousand_requests() {
        let operational = Emissions::of(MicroJoules(3_600_000_000_000), 380_000);
        let embodied = Emissions(operational.0 / 19);
        let sci = Sci { operational, embodied, units: 1000.0 };
        assert_eq!(sci.grams_per_unit(), Some(0.4));
        for units in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Sci { units, ..sci }.grams_per_unit(), None, "{units}");
        }
    }

    #[test]
    fn a_restarted_service_goes_on_counting() {
        let mut counter = UnitCounter::default();
        let since: Vec<f64> = [100.0, 110.0, 110.0, 5.0, 8.0].into_iter().map(|value| counter.read(value)).collect();
        assert_eq!(since, [0.0, 10.0, 0.0, 5.0, 3.0]);
        assert_eq!(counter.total(), 18.0);
    }
}
