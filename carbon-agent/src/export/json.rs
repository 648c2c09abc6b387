//! The lines of `emissions_YYYYMMDD.json`: one JSON object a line; host, then components, then processes.

use super::codecarbon::Record;
use super::{RunInfo, rfc3339};
use crate::energy::{Domain, Quality};
use crate::snapshot::{ComponentRow, EnergyByDomain, Method, ProcessRow, Snapshot, Usage};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// The value of `schema` in every line.
pub const SCHEMA: &str = "carbon-agent/1";

/// All lines of an interval, each with its newline, ready to be written in one piece.
pub fn lines(snapshot: &Snapshot, run: &RunInfo) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 * (1 + snapshot.components.len() + snapshot.processes.len()));
    line(&mut out, &host(snapshot, run));
    for row in &snapshot.components {
        line(&mut out, &component(snapshot, run, row));
    }
    for row in &snapshot.processes {
        line(&mut out, &process(snapshot, run, row));
    }
    out
}

fn line(out: &mut Vec<u8>, record: &impl Serialize) {
    serde_json::to_writer(&mut *out, record).expect("records are plain data and memory does not fail to be written");
    out.push(b'\n');
}

/// What every line holds, in the contract's order. Host lines find `timestamp`, `project_name` and `run_id` among
/// CodeCarbon's fields, which have the same meaning and must not appear twice.
#[derive(Serialize)]
struct Head {
    schema: &'static str,
    record: &'static str,
}

#[derive(Serialize)]
struct Whose<'a> {
    timestamp: String,
    project_name: &'a str,
    run_id: Uuid,
}

#[derive(Serialize)]
struct Figures<'a> {
    environment: Option<&'a str>,
    interval_seconds: f64,
    interval_cpu_seconds: f64,
    interval_energy_joules: Joules<'a>,
    interval_emissions: f64,
    power_watts: f64,
    method: &'a Method,
    quality: Quality,
}

/// The share of making the machine, in kg: of the interval, and cumulative over the run. Absent where the operator gave
/// no figure for it.
#[derive(Serialize)]
struct Embodied {
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_embodied_emissions: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embodied_emissions: Option<f64>,
}

impl Embodied {
    fn of(snapshot: &Snapshot, interval: &Usage, run: &Usage) -> Self {
        let known = |usage: &Usage| snapshot.embodied.then(|| usage.embodied.kilograms());
        Self { interval_embodied_emissions: known(interval), embodied_emissions: known(run) }
    }
}

/// Software Carbon Intensity, of the time up to the last count that was read: normally the interval before this one.
/// Emissions in kg; `grams_per_unit` is absent where there was no unit.
#[derive(Serialize)]
struct SciFigures<'a> {
    functional_unit: &'a str,
    units: f64,
    seconds: f64,
    operational_emissions: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    embodied_emissions: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grams_per_unit: Option<f64>,
}

impl<'a> SciFigures<'a> {
    /// `None` where the component has no functional unit, and where its count could not be read: absent, never 0.
    fn of(snapshot: &Snapshot, row: &'a ComponentRow) -> Option<Self> {
        let row = row.sci.as_ref()?;
        let counted = row.counted?;
        Some(Self {
            functional_unit: &row.functional_unit,
            units: counted.units,
            seconds: counted.time.seconds(),
            operational_emissions: counted.operational.kilograms(),
            embodied_emissions: snapshot.embodied.then(|| counted.embodied.kilograms()),
            grams_per_unit: counted.grams_per_unit(),
        })
    }
}

impl<'a> Figures<'a> {
    fn of(snapshot: &'a Snapshot, run: &'a RunInfo, interval: &'a Usage) -> Self {
        Self {
            environment: run.environment.as_deref(),
            interval_seconds: snapshot.duration.seconds(),
            interval_cpu_seconds: interval.cpu.seconds(),
            interval_energy_joules: Joules { domains: &snapshot.domains, energy: &interval.energy },
            interval_emissions: interval.emissions.kilograms(),
            power_watts: interval.energy.total().watts_over(snapshot.duration),
            method: &snapshot.method,
            quality: snapshot.quality,
        }
    }
}

/// Joules by covered domain, and `total`. Each is a whole number of microjoules in its shortest decimal form, so a
/// reader gets the integer back by rounding `joules × 10⁶`.
struct Joules<'a> {
    domains: &'a [Domain],
    energy: &'a EnergyByDomain,
}

impl Serialize for Joules<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.domains.len() + 1))?;
        for domain in self.domains {
            map.serialize_entry(domain.name(), &self.energy[*domain].joules())?;
        }
        map.serialize_entry("total", &self.energy.total().joules())?;
        map.end()
    }
}

/// A host line.
#[derive(Serialize)]
pub struct HostLine<'a> {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    codecarbon: Record<'a>,
    #[serde(flatten)]
    figures: Figures<'a>,
    #[serde(flatten)]
    embodied: Embodied,
    /// How many lines this interval has, this one included: an interval cut short by a crash can be told.
    interval_lines: usize,
}

/// A component line.
#[derive(Serialize)]
pub struct ComponentLine<'a> {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    whose: Whose<'a>,
    component: &'a str,
    #[serde(flatten)]
    figures: Figures<'a>,
    emissions: f64,
    energy_consumed: f64,
    #[serde(flatten)]
    embodied: Embodied,
    #[serde(skip_serializing_if = "Option::is_none")]
    sci: Option<SciFigures<'a>>,
}

/// A process line. Neither command line nor environment: they hold secrets.
#[derive(Serialize)]
pub struct ProcessLine<'a> {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    whose: Whose<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    comm: &'a str,
    component: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(flatten)]
    figures: Figures<'a>,
}

/// The host line of a snapshot.
pub fn host<'a>(snapshot: &'a Snapshot, run: &'a RunInfo) -> HostLine<'a> {
    HostLine {
        head: head("host"),
        codecarbon: Record::of(snapshot, run),
        figures: Figures::of(snapshot, run, &snapshot.host),
        embodied: Embodied::of(snapshot, &snapshot.host, &snapshot.host_run),
        interval_lines: 1 + snapshot.components.len() + snapshot.processes.len(),
    }
}

/// The line of one component.
pub fn component<'a>(snapshot: &'a Snapshot, run: &'a RunInfo, row: &'a ComponentRow) -> ComponentLine<'a> {
    ComponentLine {
        head: head("component"),
        whose: whose(snapshot, run),
        component: &row.component,
        figures: Figures::of(snapshot, run, &row.interval),
        emissions: row.run.emissions.kilograms(),
        energy_consumed: row.run.energy.total().kwh() * run.pue,
        embodied: Embodied::of(snapshot, &row.interval, &row.run),
        sci: SciFigures::of(snapshot, row),
    }
}

/// The line of one process.
pub fn process<'a>(snapshot: &'a Snapshot, run: &'a RunInfo, row: &'a ProcessRow) -> ProcessLine<'a> {
    let identity = row.identity.as_ref();
    ProcessLine {
        head: head("process"),
        whose: whose(snapshot, run),
        pid: identity.map(|i| i.pid),
        start_time: identity.map(|i| rfc3339(i.start_time)),
        comm: &row.comm,
        component: &row.component,
        unit: identity.and_then(|i| i.unit.as_deref()),
        container: identity.and_then(|i| i.container.as_deref()),
        exe: identity.and_then(|i| i.exe.as_deref()),
        figures: Figures::of(snapshot, run, &row.interval),
    }
}

fn head(record: &'static str) -> Head {
    Head { schema: SCHEMA, record }
}

fn whose<'a>(snapshot: &Snapshot, run: &'a RunInfo) -> Whose<'a> {
    Whose { timestamp: rfc3339(snapshot.timestamp), project_name: &run.project_name, run_id: run.run_id }
}

#[cfg(test)]
mod tests;
