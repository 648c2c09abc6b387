//! Who used the graphics cards, as far as their driver tells.

use super::Meter;
use crate::probe::ProcessKey;
use crate::units::Nanos;

/// How much of a card a process used in the sample, relative to the others on that card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuUser {
    pub meter: Meter,
    /// In the initial pid namespace, as the probe counts.
    pub pid: u32,
    /// The process, once it is known who bears the pid. Nobody: its share is unattributed.
    pub process: Option<ProcessKey>,
    /// Percent of the multiprocessors, summed over the driver's own samples. Only ratios mean anything.
    pub weight: u64,
}

/// How busy a card was, for its baseline: the part of `wall` during which something ran on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuLoad {
    pub meter: Meter,
    pub busy: Nanos,
    pub wall: Nanos,
}

/// The use of all cards in one sample. What no user accounts for is unattributed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuUse {
    pub users: Vec<GpuUser>,
    pub loads: Vec<GpuLoad>,
}
