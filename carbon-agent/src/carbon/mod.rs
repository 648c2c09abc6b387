//! What a kilowatt-hour costs the climate: grid carbon intensity as a time series, and what comes from it.
//!
//! [`Sources`] is the pure part: declared order, validity, age. [`Service`] feeds it from files and providers, in
//! threads of its own. [`Pricing`] is what the pipeline holds: it prices samples and makes up for late values. Formulas and their sources: `docs/method.md`, "Carbon".

mod averages;
mod cache;
mod country;
mod embodied;
mod fault;
mod functional_unit;
pub(crate) mod http;
mod late;
#[cfg(test)]
pub(crate) mod loopback;
mod plausible;
mod pricing;
mod sci;
mod series;
mod service;
mod source;
mod sources;
pub(crate) mod token;
mod unit_counts;

pub use averages::{Average, averages, zone};
pub use embodied::Amortisation;
pub use fault::{Fault, FaultKind};
pub use functional_unit::UnitReader;
pub use late::LateBooks;
pub use plausible::MAX_GRAMS_PER_KWH;
pub use pricing::{Priced, Pricing};
pub use sci::{SavedSci, Sci, SciBooks, UnitCounter};
pub use series::{Kind, Label, Point, Series};
pub use service::{Pace, Service};
pub use source::series as declared_series;
pub use sources::{InForce, Methods, Price, Source, Sources};
pub use unit_counts::{Counted, UnitCounts};

/// The zone whose figure is used when none is configured. A country is never guessed.
pub const WORLD: &str = "WORLD";

/// Intensity times PUE in whole milligrams of CO2e per kWh, the integer that the books multiply with.
/// Power usage effectiveness (ISO/IEC 30134-2) is applied here and nowhere else, so it cannot be applied twice.
pub fn effective_milligrams_per_kwh(grams_per_kwh: f64, pue: f64) -> u64 {
    (grams_per_kwh * pue * 1e3).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pue_multiplies_once() {
        assert_eq!(effective_milligrams_per_kwh(380.0, 1.5), 570_000);
        assert_eq!(effective_milligrams_per_kwh(0.0, 1.5), 0);
    }
}
