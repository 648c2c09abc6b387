//! What was spent: energy per domain and socket since the reading before.

pub mod baseline;
pub mod counter;
mod gpu;
pub mod hwmon;
pub mod model;
pub mod nvml;
mod pending;
pub mod perf;
pub mod powercap;
mod select;

pub use gpu::{GpuLoad, GpuUse, GpuUser};
pub use model::Overrides;
pub use select::{Choice, Roots, open};

use crate::units::{MicroJoules, Nanos};
use counter::MicroWatts;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A part of the machine whose energy is told apart. `core` and `uncore` are parts of `package`; `psys` holds all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    Package,
    Core,
    Uncore,
    Dram,
    Psys,
    Gpu,
}

impl Domain {
    pub const ALL: [Domain; 6] =
        [Domain::Package, Domain::Core, Domain::Uncore, Domain::Dram, Domain::Psys, Domain::Gpu];

    pub fn name(self) -> &'static str {
        match self {
            Domain::Package => "package",
            Domain::Core => "core",
            Domain::Uncore => "uncore",
            Domain::Dram => "dram",
            Domain::Psys => "psys",
            Domain::Gpu => "gpu",
        }
    }

    /// Whether the domain is a summand of the host's total; the others are parts of one (`core`, `uncore`)
    /// or hold it all (`psys`) and are reported beside it.
    pub fn in_total(self) -> bool {
        matches!(self, Domain::Package | Domain::Dram | Domain::Gpu)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One meter: a domain of one socket (for `gpu`, of one device; for `psys`, socket 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Meter {
    pub domain: Domain,
    pub socket: u32,
}

/// How a figure came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    Measured,
    Estimated,
}

/// What one meter counted between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterDelta {
    pub meter: Meter,
    pub energy: MicroJoules,
    /// When the previous and this reading were taken (CLOCK_MONOTONIC). `begin` lies before the sample where the
    /// meter was unreadable for a while: the energy then belongs to a longer time than this sample's.
    pub begin: Nanos,
    pub end: Nanos,
}

/// One reading of an energy source: everything counted since the one before.
#[derive(Clone, Debug, Default)]
pub struct EnergySample {
    pub deltas: Vec<MeterDelta>,
    /// What is wrong with single meters in this reading; the others stand. A meter that stays away is named in each
    /// reading until it is back, in the same words: whoever logs says what is new, health shows what is there.
    pub faults: Vec<EnergyError>,
}

/// How busy the machine was during the sample: what an estimation model computes energy from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostLoad {
    pub begin: Nanos,
    pub end: Nanos,
    pub sockets: Vec<SocketLoad>,
}

/// Busy and available CPU time of one socket during the sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketLoad {
    pub socket: u32,
    pub busy: Nanos,
    /// CPUs × wall time.
    pub available: Nanos,
}

/// Why a meter cannot be had or read, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct EnergyError {
    /// A stable word for the metric label `kind`, such as `unreadable`, `implausible`, `vanished`.
    pub kind: &'static str,
    pub what: String,
    pub remedy: String,
}

/// Where a source's raw counters stood at its last resolve, for a later start in the same boot to count on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// Which counters these are: the method and the place. Readings of another source say nothing.
    pub source: String,
    pub counters: Vec<CounterReading>,
    /// Counted by these readings, but after the cut and so not in the books yet: the next sample's, had there been one.
    #[serde(default)]
    pub carried: Vec<(Meter, MicroJoules)>,
}

/// One raw counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterReading {
    /// The source's name for it.
    pub id: String,
    pub meter: Meter,
    pub value: MicroJoules,
    /// CLOCK_MONOTONIC of this boot.
    pub at: Nanos,
    /// The highest power seen: tells whether the counter may have gone round more than once since.
    pub peak: MicroWatts,
}

/// A source of energy readings.
pub trait EnergySource: Send {
    /// As rows name it: `rapl-powercap`, `rapl-perf`, `hwmon`, `model:<name>`.
    fn method(&self) -> String;

    fn quality(&self) -> Quality;

    /// Reads the counters, each with its own timestamp. Nothing else happens here: it is called right after the
    /// probe's cut, so that both speak of the same moment.
    fn latch(&mut self);

    /// What was counted between the last two latches. The first call after opening yields no deltas.
    /// `load` is for estimation models; meters ignore it.
    fn resolve(&mut self, load: &HostLoad) -> EnergySample;

    /// The part of `delta` that the source itself knows to be idle energy, given the CPU time that its socket had.
    /// `None`, as for every meter: it has to be learned ([`baseline`]). A model knows: the line it draws has a foot.
    fn idle_part(&self, _delta: &MeterDelta, _available: Nanos) -> Option<MicroJoules> {
        None
    }

    /// How many graphics cards it meters: [`Domain::Gpu`] from 0 on.
    fn cards(&self) -> u32 {
        0
    }

    /// Where the raw counters stood at the last resolve; `None` where there are none that outlive this process.
    fn readings(&self) -> Option<Readings> {
        None
    }

    /// Counts on from these readings: what was counted since comes with the first resolve. Call it before the first
    /// latch, and only in the boot in which the readings were taken.
    fn resume(&mut self, _readings: &Readings) {}

    /// What is being read, in a line for health and logs.
    fn describe(&self) -> String;
}
