//! Yearly average carbon intensity by country and US state, embedded (sources: `NOTICE`, and the file's last column).

use serde::Deserialize;
use std::sync::OnceLock;

/// One zone's yearly average.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Average {
    /// ISO 3166-1 alpha-3, `USA-XX` for a US state, `WORLD`.
    pub zone: String,
    pub name: String,
    /// Grams of CO2e per kWh of electricity generated.
    #[serde(rename = "grams_co2e_per_kwh")]
    pub grams_per_kwh: f64,
    pub year: u16,
    /// Whose figure it is.
    pub source: String,
}

/// All of them, in the file's order.
pub fn averages() -> &'static [Average] {
    static AVERAGES: OnceLock<Vec<Average>> = OnceLock::new();
    AVERAGES.get_or_init(|| {
        csv::Reader::from_reader(include_str!("../../data/grid_intensity_average.csv").as_bytes())
            .deserialize()
            .collect::<Result<_, _>>()
            .expect("the embedded table is well-formed: a test reads it")
    })
}

/// The average of a zone, by its code in any case.
pub fn zone(code: &str) -> Option<&'static Average> {
    averages().iter().find(|a| a.zone.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_plausible() {
        assert!(averages().len() > 250);
        for average in averages() {
            assert!((0.0..2000.0).contains(&average.grams_per_kwh), "{average:?}");
            assert!(!average.source.is_empty(), "{average:?}");
        }
        assert_eq!(zone("WORLD").unwrap().grams_per_kwh, 475.0);
        assert_eq!(zone("usa-ca").unwrap().name, "California");
    }
}
