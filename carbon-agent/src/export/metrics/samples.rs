//! From a publication to samples: which series exist and what they say.

use super::error_kinds::kinds;
use super::family::{self, Family};
use super::self_stats::SelfStats;
use crate::export::RunInfo;
use crate::export::published::Publication;
use crate::ledger::reserved;
use crate::snapshot::{ProcessIdentity, ProcessRow, Snapshot, Stage, StageStatus, Usage};
use crate::units::Emissions;
use std::collections::BTreeMap;

/// One line of the exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In the order of [`Family::labels`].
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// A family and its samples; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub family: &'static Family,
    pub samples: Vec<Sample>,
}

/// Everything that is known now. Before the first interval that is the agent itself.
pub fn collect(latest: Option<&Publication>, run: &RunInfo, own: Option<&SelfStats>) -> Vec<Series> {
    let mut gathered = Gathered::default();
    if let Some(publication) = latest {
        host(&mut gathered, &publication.snapshot, run);
        components(&mut gathered, &publication.snapshot, run);
        processes(&mut gathered, &publication.snapshot.processes);
        state(&mut gathered, publication);
    }
    errors(&mut gathered, latest);
    if let Some(threshold) = run.emissions_threshold_kg {
        gathered.add(&family::THRESHOLD, [], threshold);
    }
    gathered.add(&family::BUILD_INFO, [env!("CARGO_PKG_VERSION"), &run.probe_object], 1.0);
    if let Some(own) = own {
        itself(&mut gathered, own);
    }
    gathered.in_order()
}

#[derive(Default)]
struct Gathered(BTreeMap<&'static str, Vec<Sample>>);

impl Gathered {
    fn add<const N: usize>(&mut self, family: &'static Family, values: [&str; N], value: f64) {
        assert_eq!(family.labels.len(), N, "{}", family.name);
        let labels = family.labels.iter().copied().zip(values.map(str::to_owned)).collect();
        self.0.entry(family.name).or_default().push(Sample { labels, value });
    }

    fn in_order(mut self) -> Vec<Series> {
        family::ALL.iter().filter_map(|family| Some(Series { family, samples: self.0.remove(family.name)? })).collect()
    }
}

fn host(to: &mut Gathered, snapshot: &Snapshot, run: &RunInfo) {
    to.add(&family::EMISSIONS, [&run.project_name], snapshot.period_emissions.kilograms());
    to.add(&family::CO2E, ["operational"], snapshot.host_lifetime.emissions.grams());
    if knows_embodied(snapshot) {
        to.add(&family::CO2E, ["embodied"], snapshot.host_lifetime.embodied.grams());
    }
    for row in &snapshot.meters {
        let labels = [row.meter.domain.name(), &row.meter.socket.to_string()];
        to.add(&family::HOST_ENERGY, labels, row.total.joules());
        to.add(&family::HOST_POWER, labels, row.interval.watts_over(snapshot.duration));
        if let Some(watts) = row.idle_watts {
            to.add(&family::HOST_IDLE_POWER, labels, watts);
        }
    }
    for (domain, microjoules) in &snapshot.residual {
        to.add(&family::RESIDUAL, [domain.name()], *microjoules as f64 / 1e6);
    }
}

/// A counter that was once begun goes on, also when the operator takes the figure back.
fn knows_embodied(snapshot: &Snapshot) -> bool {
    snapshot.embodied || snapshot.host_lifetime.embodied > Emissions(0)
}

fn components(to: &mut Gathered, snapshot: &Snapshot, run: &RunInfo) {
    let retired_ones = snapshot.components.iter().find(|row| row.component.as_str() == reserved::OTHER);
    retired(to, snapshot, retired_ones.map(|row| row.lifetime).unwrap_or_default());
    for row in &snapshot.components {
        let name = row.component.as_str();
        to.add(&family::COMPONENT_EMISSIONS, [&run.project_name, name], row.period_emissions.kilograms());
        if name == reserved::OTHER {
            continue;
        }
        to.add(&family::COMPONENT_CO2E, [name], row.lifetime.emissions.grams());
        if knows_embodied(snapshot) {
            to.add(&family::COMPONENT_EMBODIED, [name], row.lifetime.embodied.grams());
        }
        if let Some(sci) = &row.sci {
            let labels = [name, &sci.functional_unit];
            if let Some(lifetime) = &sci.lifetime {
                to.add(&family::FUNCTIONAL_UNITS, labels, lifetime.units);
                to.add(&family::SCI_CO2E, labels, lifetime.emissions().grams());
            }
            if let Some(grams) = sci.counted.and_then(|counted| counted.grams_per_unit()) {
                to.add(&family::SCI, labels, grams);
            }
        }
        to.add(&family::COMPONENT_POWER, [name], row.interval.energy.total().watts_over(snapshot.duration));
        to.add(&family::COMPONENT_CPU, [name], row.lifetime.cpu.seconds());
        for domain in &snapshot.domains {
            let joules = row.lifetime.energy[*domain].joules();
            to.add(&family::COMPONENT_ENERGY, [name, domain.name()], joules);
            if name == reserved::UNATTRIBUTED {
                to.add(&family::UNATTRIBUTED, [domain.name()], joules);
            }
        }
    }
}

/// What retired components used is in families of its own: it grows by all that a component ever used when that one is
/// put into it, which the rate of the components' counters must not show a second time. There from the start, at 0.
fn retired(to: &mut Gathered, snapshot: &Snapshot, used: Usage) {
    to.add(&family::RETIRED_CO2E, [], used.emissions.grams());
    to.add(&family::RETIRED_CPU, [], used.cpu.seconds());
    for domain in &snapshot.domains {
        to.add(&family::RETIRED_ENERGY, [domain.name()], used.energy[*domain].joules());
    }
}

/// The row that sums up the rest is no series: processes come and go from it, so it is no counter. Where a pid was
/// reused within the interval under the same name, the younger process keeps it: a series may appear only once.
fn processes(to: &mut Gathered, rows: &[ProcessRow]) {
    let mut series: BTreeMap<(u32, &str, &str), (&ProcessIdentity, &ProcessRow)> = BTreeMap::new();
    for row in rows {
        let Some(identity) = &row.identity else { continue };
        let entry = series.entry((identity.pid, &row.comm, &row.component)).or_insert((identity, row));
        if entry.0.start_time < identity.start_time {
            *entry = (identity, row);
        }
    }
    for ((pid, comm, component), (_, row)) in series {
        let labels = [&pid.to_string(), comm, component];
        to.add(&family::PROCESS_ENERGY, labels, row.run.energy.total().joules());
        to.add(&family::PROCESS_CPU, labels, row.run.cpu.seconds());
    }
}

fn state(to: &mut Gathered, publication: &Publication) {
    let snapshot = &publication.snapshot;
    let intensity = &snapshot.intensity;
    let labels = [intensity.zone.as_str(), &intensity.provider, &intensity.kind];
    to.add(&family::INTENSITY, labels, intensity.grams_per_kwh);
    to.add(&family::INTENSITY_AGE, [], intensity.age_seconds);
    for state in publication.stages() {
        to.add(&family::STAGE_UP, [state.stage.name()], f64::from(u8::from(state.status == StageStatus::Ok)));
    }
    if let Some(files) = &publication.files {
        to.add(&family::OUTPUT_BYTES, ["emissions"], files.bytes as f64);
        to.add(&family::OUTPUT_WAITING, [], files.waiting_intervals as f64);
        if let Some(written) = files.last_write {
            to.add(&family::LAST_WRITE, [], unix(written));
        }
    }
    if let Some(bytes) = publication.log_bytes {
        to.add(&family::OUTPUT_BYTES, ["log"], bytes as f64);
    }
    to.add(&family::LAST_SAMPLE, [], unix(snapshot.timestamp));
    to.add(&family::PROBE_EVENTS, [], snapshot.probe_cost.events as f64);
    if let Some(time) = snapshot.probe_cost.run_time {
        to.add(&family::PROBE_RUN, [], time.seconds());
    }
    to.add(&family::PROBE_LOST, [], snapshot.probe_cost.lost.seconds());
}

/// Every kind from the first scrape on, most of them 0.
fn errors(to: &mut Gathered, latest: Option<&Publication>) {
    let mut counts: BTreeMap<(Stage, String), u64> = BTreeMap::new();
    for stage in Stage::ALL {
        counts.extend(kinds(stage).into_iter().map(|kind| ((stage, kind.into_owned()), 0)));
    }
    for (stage, kind, count) in latest.map(Publication::errors).unwrap_or_default() {
        // Tests run this with every error they provoke.
        debug_assert!(
            kind.starts_with("http_") || counts.contains_key(&(stage, kind.clone())),
            "{stage:?} {kind} belongs into error_kinds"
        );
        counts.insert((stage, kind), count);
    }
    for ((stage, kind), count) in counts {
        to.add(&family::ERRORS, [stage.name(), &kind], count as f64);
    }
}

fn itself(to: &mut Gathered, own: &SelfStats) {
    to.add(&family::SELF_CPU, [], own.cpu_seconds);
    to.add(&family::SELF_OPEN_FDS, [], own.open_fds as f64);
    if let Some(max) = own.max_fds {
        to.add(&family::SELF_MAX_FDS, [], max as f64);
    }
    to.add(&family::SELF_VIRTUAL, [], own.virtual_bytes as f64);
    to.add(&family::SELF_RESIDENT, [], own.resident_bytes as f64);
    to.add(&family::SELF_START, [], own.start_time_seconds);
}

fn unix(timestamp: jiff::Timestamp) -> f64 {
    timestamp.as_millisecond() as f64 / 1e3
}
