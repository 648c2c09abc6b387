//! The lines of a recording, as serde sees them.

use crate::attribution::IdlePolicy;
use crate::attribution::weights::Policy;
use crate::energy::baseline::Saved;
use crate::energy::{Domain, Quality};
use crate::probe::CpuMethod;
use serde::{Deserialize, Serialize};

/// What this code writes, and the newest that it reads.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    Recording(Versioned),
    Component(Component),
    Process(Process),
    Sample(Box<Sample>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Versioned {
    pub version: u32,
    #[serde(flatten)]
    pub header: Header,
}

/// What holds for the whole recording: where its figures come from, and the policies of the live run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub cpu_time: CpuMethod,
    pub energy: String,
    pub quality: Quality,
    pub idle: IdlePolicy,
    pub weights: Policy,
    /// Every CPU with its socket.
    pub topology: Vec<(u32, u32)>,
    /// Configured components, which have a row though they may never run.
    pub components: Vec<String>,
    /// The idle power that was known at the start.
    pub baseline: Saved,
}

/// A component's name, before it is first spoken of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Component {
    pub id: usize,
    pub name: String,
}

/// A process, before it is first spoken of. `start` is in nanoseconds since boot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Process {
    pub id: usize,
    pub pid: u32,
    pub start: u64,
    pub comm: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kernel: bool,
}

/// One sample. Times in nanoseconds, energies in microjoules, intensity in milligrams of CO2e per kWh.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    pub begin: u64,
    pub end: u64,
    pub intensity: u64,
    /// CPU, begin, end, idle, interrupts, lost.
    pub cpus: Vec<(u32, u64, u64, u64, u64, u64)>,
    /// Process (its id), thread, CPU, time, component (its id).
    pub tasks: Vec<(usize, u32, u32, u64, usize)>,
    /// Hardware cycles of each of `tasks`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cycles: Vec<u64>,
    /// Graphics card, process (its id; none: nobody known), pid, share, component (its id).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_users: Vec<(u32, Option<usize>, u32, u64, usize)>,
    /// Graphics card, time it was busy, time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_loads: Vec<(u32, u64, u64)>,
    /// Domain, socket, energy, begin, end.
    pub energy: Vec<(Domain, u32, u64, u64, u64)>,
    /// Domain, socket, idle energy that the source itself knew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle: Vec<(Domain, u32, u64)>,
}
