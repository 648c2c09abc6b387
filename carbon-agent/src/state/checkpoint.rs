//! The checkpoint as data: the end of one interval, complete enough to go on from.

use crate::carbon::SavedSci;
use crate::clock;
use crate::energy::{Readings, baseline};
use crate::ledger;
use crate::period;
use crate::units::Nanos;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use uuid::Uuid;

/// A moment on the clocks that matter: the wall clock may jump, the others hold within a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub wall: Timestamp,
    /// CLOCK_BOOTTIME: suspend included.
    pub boottime: Nanos,
}

impl Moment {
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), boottime: clock::boottime() }
    }
}

/// A run of the agent: from a start to the end that it was told (SIGTERM, SIGINT). What ends it otherwise only
/// interrupts it, and the next start goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: Uuid,
    pub ended: bool,
}

/// Rows of the interval that is being written: they go here before they go to the emissions file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRows {
    pub output_dir: PathBuf,
    /// The `timestamp` of the rows.
    pub timestamp: Timestamp,
    pub lines: String,
}

/// Everything that the next start needs, as of the end of one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub end: Moment,
    /// `None` where the host does not tell; then nothing that was counted while the agent was down can be booked.
    pub boot_id: Option<String>,
    pub run: Run,
    pub period: period::Saved,
    pub books: ledger::Saved,
    #[serde(default)]
    pub sci: Vec<SavedSci>,
    pub baseline: baseline::Saved,
    /// The meters' raw counters, where they have any.
    pub readings: Option<Readings>,
    pub rows: Option<PendingRows>,
}
