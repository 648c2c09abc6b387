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
        ];
        // 1e12 J is more than a data centre spends in an interval, and keeps sums within 64 bits.
        figures.iter().all(|figure| (0.0..1e12).contains(figure))
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
