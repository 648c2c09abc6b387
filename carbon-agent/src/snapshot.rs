//! One exported interval, as plain data: what every exporter (JSON, CSV, metrics, HTTP, terminal) renders.

use crate::attribution::weights::Policy;
use crate::carbon::Sci;
use crate::energy::{Domain, Meter, Quality};
use crate::probe::CpuMethod;
use crate::units::{Emissions, MicroJoules, Nanos};
use serde::{Deserialize, Serialize};
use std::ops::{AddAssign, Index, IndexMut};

/// Energy by domain. Domains that no meter covers are 0 here and absent from [`Snapshot::domains`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnergyByDomain(pub [MicroJoules; Domain::ALL.len()]);

impl EnergyByDomain {
    /// Package + dram + gpu: the host total of the contract.
    pub fn total(&self) -> MicroJoules {
        Domain::ALL.into_iter().filter(|d| d.in_total()).map(|d| self[d]).sum()
    }
}

impl Index<Domain> for EnergyByDomain {
    type Output = MicroJoules;
    fn index(&self, domain: Domain) -> &MicroJoules {
        &self.0[domain as usize]
    }
}
impl IndexMut<Domain> for EnergyByDomain {
    fn index_mut(&mut self, domain: Domain) -> &mut MicroJoules {
        &mut self.0[domain as usize]
    }
}
impl AddAssign for EnergyByDomain {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// What somebody used: CPU time, energy by domain, emissions of the energy total, and apart from these the share of
/// the emissions of making the machine (components and host only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub cpu: Nanos,
    pub energy: EnergyByDomain,
    pub emissions: Emissions,
    #[serde(default)]
    pub embodied: Emissions,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.energy += other.energy;
        self.emissions += other.emissions;
        self.embodied += other.embodied;
    }
}

/// How the figures of this interval came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    pub cpu_time: CpuMethod,
    pub energy: String,
    /// How idle energy is told from active: `learned`, `learning` (not known well enough yet), `model`.
    pub baseline: String,
    /// What CPU time weighs when active energy is divided.
    #[serde(default)]
    pub weights: Policy,
    pub intensity: String,
}

/// One meter over the interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeterRow {
    pub meter: Meter,
    pub interval: MicroJoules,
    /// Since the counters began (they survive restarts).
    pub total: MicroJoules,
    /// The learned idle power; `None` while it is being learned.
    pub idle_watts: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ComponentRow {
    /// A configured, discovered or reserved name (`unassigned`, `kernel`, `idle`, `unattributed`).
    pub component: String,
    pub interval: Usage,
    /// Cumulative over this run of the agent.
    pub run: Usage,
    /// Since the counters began (they survive restarts): what the `_total` metrics show.
    pub lifetime: Usage,
    /// Emissions since the accounting period began.
    pub period_emissions: Emissions,
    /// Where the component has a functional unit.
    pub sci: Option<SciRow>,
}

/// Functional units of a component, and the emissions of the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct SciRow {
    pub functional_unit: String,
    /// From the count before to the one that was read since the last interval; `None` where none could be read.
    pub counted: Option<Sci>,
    /// Since the counters began (they survive restarts); `None` until a count was read.
    pub lifetime: Option<Sci>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProcessRow {
    /// `None` for the row that sums up the rest (`comm` is then `other`).
    pub identity: Option<ProcessIdentity>,
    /// Valid UTF-8, whatever the process calls itself.
    pub comm: String,
    pub component: String,
    pub interval: Usage,
    /// Since the process was first seen by this run.
    pub run: Usage,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProcessIdentity {
    pub pid: u32,
    pub start_time: jiff::Timestamp,
    pub unit: Option<String>,
    pub container: Option<String>,
    pub exe: Option<String>,
}

/// The stages whose state health and `carbon_stage_up` show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Probe,
    Energy,
    Intensity,
    Files,
    /// The state directory; only where the agent keeps one (`run`).
    State,
    /// The configuration in force; only where it can be reloaded (`run`).
    Config,
    /// The counts of functional units; only where any is configured.
    #[serde(rename = "functional_units")]
    FunctionalUnits,
}

impl Stage {
    pub const ALL: [Stage; 7] = [
        Stage::Probe,
        Stage::Energy,
        Stage::Intensity,
        Stage::Files,
        Stage::State,
        Stage::Config,
        Stage::FunctionalUnits,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Probe => "probe",
            Stage::Energy => "energy",
            Stage::Intensity => "intensity",
            Stage::Files => "files",
            Stage::State => "state",
            Stage::Config => "config",
            Stage::FunctionalUnits => "functional_units",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageStatus {
    Ok,
    /// Works with less than it should (a fallback, a part missing): visible, but not down.
    Degraded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageState {
    pub stage: Stage,
    pub status: StageStatus,
    /// What it is doing, or why it is degraded or failed, with the remedy.
    pub reason: String,
}

/// Grid carbon intensity in force at the end of the interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntensityInForce {
    pub grams_per_kwh: f64,
    /// Zone as configured (`DEU`); empty where a fixed number has none.
    pub zone: String,
    pub provider: String,
    /// `average` or `marginal`.
    pub kind: String,
    /// Age of the value in seconds: time since its own timestamp; for a static figure, since the agent read it.
    pub age_seconds: f64,
}

/// Everything there is to say about one interval.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// End of the interval.
    pub timestamp: jiff::Timestamp,
    /// Length of the interval.
    pub duration: Nanos,
    /// Length of the run so far.
    pub run_duration: Nanos,
    pub method: Method,
    pub quality: Quality,
    /// The domains that some meter covers, in [`Domain::ALL`] order: only these are exported.
    pub domains: Vec<Domain>,
    pub host: Usage,
    pub host_run: Usage,
    pub host_lifetime: Usage,
    /// Emissions of the host since the accounting period began (`carbon_emissions_kg`).
    pub period_emissions: Emissions,
    /// Whether the operator gave a figure for the machine's manufacture; without, embodied emissions are not known.
    pub embodied: bool,
    /// Memory in use in bytes, mean over the run; `None` where the host does not tell.
    pub memory_used: Option<u64>,
    pub meters: Vec<MeterRow>,
    /// Sums to `host` exactly, in every domain.
    pub components: Vec<ComponentRow>,
    /// The top N by energy, then the rest as one row.
    pub processes: Vec<ProcessRow>,
    /// Rows minus meter by covered domain, in microjoules; anything but 0 is a defect.
    pub residual: Vec<(Domain, i64)>,
    pub intensity: IntensityInForce,
    pub probe_cost: crate::probe::ProbeCost,
    pub stages: Vec<StageState>,
    /// Errors since the start, by stage and kind.
    pub errors: Vec<(Stage, String, u64)>,
}
