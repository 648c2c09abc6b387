//! The part of an emissions line that reports need.

use crate::energy::Quality;
use crate::export::json::SCHEMA;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Host,
    Component,
    Process,
}

#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    #[serde(borrow)]
    schema: Cow<'a, str>,
    pub record: Kind,
    #[serde(borrow)]
    pub timestamp: Cow<'a, str>,
    #[serde(default, borrow)]
    pub component: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub comm: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub unit: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub container: Option<Text<'a>>,
    pub interval_seconds: f64,
    pub interval_cpu_seconds: f64,
    interval_energy_joules: Total,
    /// Kilograms.
    pub interval_emissions: f64,
    /// Kilograms; 0 where no figure for the machine's manufacture is configured.
    #[serde(default)]
    pub interval_embodied_emissions: f64,
    #[serde(default, borrow)]
    pub sci: Option<Box<SciRecord<'a>>>,
    pub quality: Quality,
}

/// Lent from the line where nothing in it is escaped. (A plain `Option<Cow>` would always be copied.)
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Functional units of a component, and what was emitted in their time, in kilograms.
#[derive(Debug, Deserialize)]
pub struct SciRecord<'a> {
    #[serde(borrow)]
    pub functional_unit: Cow<'a, str>,
    pub units: f64,
    pub operational_emissions: f64,
    #[serde(default)]
    pub embodied_emissions: f64,
}

#[derive(Debug, Deserialize)]
struct Total {
    total: f64,
}

impl Record<'_> {
    /// The whole number that the line was written from.
    pub fn microjoules(&self) -> u64 {
        (self.interval_energy_joules.total * 1e6).round() as u64
    }
}

/// What a line turned out to be.
#[derive(Debug)]
pub enum Parsed<'a> {
    Record(Record<'a>),
    /// A sound line of a kind that was not asked for.
    Unwanted,
    Damaged,
}

/// Reads a line if it is of a wanted kind. Lines begin with their kind as we write them, so most of the unwanted are
/// told by their first bytes; a line that somebody wrote in another order is read in full.
pub fn parse<'a>(line: &'a [u8], wanted: &[Kind]) -> Parsed<'a> {
    if let Some(kind) = kind_at_start(line)
        && !wanted.contains(&kind)
        && line.ends_with(b"}")
    {
        return Parsed::Unwanted;
    }
    match serde_json::from_slice::<Record>(line) {
        Ok(record) if record.schema == SCHEMA && record.is_plausible() => {
            if wanted.contains(&record.record) {
                Parsed::Record(record)
            } else {
                Parsed::Unwanted
            }
        }
        _ => Parsed::Damaged,
    }
}

impl Record<'_> {
    fn is_plausible(&self) -> bool {
        let figures = [
            self.interval_seconds,
            self.interval_cpu_seconds,
            self.interval_energy_joules.total,
            self.interval_emissions,
            self.interval_embodied_emissions,
        ];
        let of_units = self.sci.iter().flat_map(|sci| [sci.operational_emissions, sci.embodied_emissions]);
        // 1e12 J is more than a data centre spends in an interval, and keeps sums within 64 bits.
        figures.into_iter().chain(of_units).all(|figure| (0.0..1e12).contains(&figure))
            && self.sci.iter().all(|sci| (0.0..f64::INFINITY).contains(&sci.units))
    }
}

fn kind_at_start(line: &[u8]) -> Option<Kind> {
    const START: &[u8] = b"{\"schema\":\"carbon-agent/1\",\"record\":\"";
    let word = line.strip_prefix(START)?;
    [(Kind::Process, "process\""), (Kind::Component, "component\""), (Kind::Host, "host\"")]
        .into_iter()
        .find(|(_, name)| word.starts_with(name.as_bytes()))
        .map(|(kind, _)| kind)
}
