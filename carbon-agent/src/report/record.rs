//! The part of an emissions line that reports need.

use crate::energy::{Domain, Quality};
use crate::export::json::SCHEMA;
use serde::Deserialize;
use std::borrow::Cow;

/// Energy figures of a line: a domain each, and the total.
pub const FIGURES: usize = Domain::ALL.len() + 1;

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
    pub run_id: Option<Text<'a>>,
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
    interval_energy_joules: Joules,
    /// Kilograms.
    pub interval_emissions: f64,
    /// Kilograms; 0 where no figure for the machine's manufacture is configured.
    #[serde(default)]
    pub interval_embodied_emissions: f64,
    #[serde(default, borrow)]
    pub sci: Option<Box<SciRecord<'a>>>,
    pub quality: Quality,
    #[serde(default, borrow)]
    method: Option<Method<'a>>,
}

/// By domain, 0 where there is no meter, and the total.
#[derive(Debug, Deserialize)]
struct Joules {
    #[serde(default)]
    package: f64,
    #[serde(default)]
    core: f64,
    #[serde(default)]
    uncore: f64,
    #[serde(default)]
    dram: f64,
    #[serde(default)]
    psys: f64,
    #[serde(default)]
    gpu: f64,
    total: f64,
}

impl Joules {
    fn all(&self) -> [f64; FIGURES] {
        [self.package, self.core, self.uncore, self.dram, self.psys, self.gpu, self.total]
    }
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
struct Method<'a> {
    #[serde(borrow)]
    cpu_time: Cow<'a, str>,
    #[serde(borrow)]
    energy: Cow<'a, str>,
    #[serde(borrow)]
    intensity: Cow<'a, str>,
}

impl Record<'_> {
    /// The whole number that the line was written from.
    pub fn microjoules(&self) -> u64 {
        whole(self.interval_energy_joules.total)
    }

    /// The same for each domain, and the total.
    pub fn microjoules_by_domain(&self) -> [u64; FIGURES] {
        self.interval_energy_joules.all().map(whole)
    }

    /// What was measured, and how.
    pub fn methods(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.method.iter().flat_map(|method| {
            [("CPU time", &*method.cpu_time), ("energy", &*method.energy), ("intensity", &*method.intensity)]
        })
    }
}

fn whole(joules: f64) -> u64 {
    (joules * 1e6).round() as u64
}

/// No line of ours.
#[derive(Debug)]
pub struct Damaged;

/// Reads a line if it is of a wanted kind; `None` for a sound one of another kind. Lines begin with their kind as we write them, so most of the unwanted are
/// told by their first bytes; a line that somebody wrote in another order is read in full.
pub fn parse<'a>(line: &'a [u8], wanted: &[Kind]) -> Result<Option<Record<'a>>, Damaged> {
    if let Some(kind) = kind_at_start(line)
        && !wanted.contains(&kind)
        && line.ends_with(b"}")
    {
        return Ok(None);
    }
    match serde_json::from_slice::<Record>(line) {
        Ok(record) if record.schema == SCHEMA && record.is_plausible() => {
            Ok(Some(record).filter(|record| wanted.contains(&record.record)))
        }
        _ => Err(Damaged),
    }
}

impl Record<'_> {
    fn is_plausible(&self) -> bool {
        let figures = [
            self.interval_seconds,
            self.interval_cpu_seconds,
            self.interval_emissions,
            self.interval_embodied_emissions,
        ];
        let of_units = self.sci.iter().flat_map(|sci| [sci.operational_emissions, sci.embodied_emissions]);
        // 1e12 J is more than a data centre spends in an interval, and keeps sums within 64 bits.
        let all = figures.into_iter().chain(self.interval_energy_joules.all()).chain(of_units);
        all.into_iter().all(|figure| (0.0..1e12).contains(&figure))
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
