//! `OUTPUT_DIR/emissions_YYYYMMDD.json`: every interval appended whole, whatever happens to the disk.
//!
//! Invariants: a line in the file is a whole line; intervals are in order; an interval is written once or counted as
//! dropped; sampling never waits for a disk that is full, and never ends because of one.

mod day_file;
mod dir;
mod fault;
pub mod name;
mod recall;
mod retention;
mod tail;

pub use dir::{prepare, writable};
pub use fault::Fault;
pub use recall::{Heading, Recall, recall};
pub use retention::{DEFAULT_DAYS, Retention, list};

use super::csv;
use crate::snapshot::{Stage, StageState, StageStatus};
use day_file::DayFile;
use jiff::Timestamp;
use jiff::civil::Date;
use retention::JumpGuard;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

/// What waits in memory for a disk to heal: about an hour of a busy host.
pub const DEFAULT_BUFFER_BYTES: usize = 8 << 20;

#[derive(Clone, Debug)]
pub struct Settings {
    pub dir: PathBuf,
    pub retention: Retention,
    /// Bound of what waits in memory while the disk takes nothing.
    pub buffer_bytes: usize,
}

impl Settings {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), retention: Retention::default(), buffer_bytes: DEFAULT_BUFFER_BYTES }
    }
}

/// One interval that waits to be written.
#[derive(Debug)]
struct Batch {
    day: Date,
    lines: Vec<u8>,
}

/// The account of the writer: what health, metrics and the page show.
#[derive(Clone, Debug)]
pub struct FilesReport {
    pub dir: PathBuf,
    pub state: StageState,
    /// When lines last reached the disk.
    pub last_write: Option<Timestamp>,
    /// Size of all emissions files in the directory.
    pub bytes: u64,
    pub waiting_intervals: usize,
    pub dropped_lines: u64,
    /// Failures since the start by kind (`no_space`, `read_only`, `torn`, `dropped`, …).
    pub errors: BTreeMap<&'static str, u64>,
}

/// The writer of emissions files.
#[derive(Debug)]
pub struct EmissionsFile {
    settings: Settings,
    open: Option<DayFile>,
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    fault: Option<Fault>,
    /// Lines dropped since the present fault began, and in all.
    dropped_now: u64,
    dropped_lines: u64,
    errors: BTreeMap<&'static str, u64>,
    last_write: Option<Timestamp>,
    bytes: u64,
    guard: JumpGuard,
}

impl EmissionsFile {
    /// Creates the directory where needed. An error here is for the operator: nothing was written yet.
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        prepare(&settings.dir)?;
        Ok(Self {
            settings,
            open: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            fault: None,
            dropped_now: 0,
            dropped_lines: 0,
            errors: BTreeMap::new(),
            last_write: None,
            bytes: 0,
            guard: JumpGuard::default(),
        })
    }

    /// Writes the lines of the interval that ended at `at`, after everything that still waits. What cannot be written
    /// waits; see [`EmissionsFile::report`].
    pub fn append(&mut self, at: Timestamp, lines: Vec<u8>) {
        self.waiting_bytes += lines.len();
        self.waiting.push_back(Batch { day: name::day_of(at), lines });
        self.flush(at);
        self.bound();
        self.clean(at, Instant::now());
    }

    /// Tries to write what waits: at a reload, and before the agent ends.
    pub fn flush(&mut self, at: Timestamp) {
        while let Some(batch) = self.waiting.pop_front() {
            if let Err(fault) = self.write(&batch) {
                self.waiting.push_front(batch);
                self.open = None;
                *self.errors.entry(fault.kind).or_default() += 1;
                self.fault = Some(fault);
                return;
            }
            self.waiting_bytes -= batch.lines.len();
            self.last_write = Some(at);
            self.fault = None;
            self.dropped_now = 0;
        }
    }

    /// Replaces `emissions.csv` beside the emissions files. It is a copy of what the last host line says, so a failure
    /// is counted and logged, and nothing waits: the next interval writes it anew.
    pub fn write_csv(&mut self, contents: &[u8]) {
        if let Err(fault) = csv::write(&self.settings.dir.join(csv::FILE_NAME), contents) {
            let failures = self.errors.entry("csv").or_default();
            *failures += 1;
            if *failures == 1 {
                tracing::warn!("{fault}");
            }
        }
    }

    /// Mends the end of the file of a day, if it is there: what a kill left of an interval must not be taken for one.
    pub fn mend(&mut self, day: Date) -> std::io::Result<()> {
        if self.settings.dir.join(name::of_day(day)).symlink_metadata().is_err() {
            return Ok(());
        }
        self.opened(day).map(|_| ())
    }

    /// Keeps files by another rule from now on.
    pub fn retain(&mut self, retention: Retention) {
        self.settings.retention = retention;
    }

    /// Forgets the open file, so that the next line opens the usual name anew (SIGHUP).
    pub fn reopen(&mut self) {
        self.open = None;
    }

    /// How the writer does.
    pub fn report(&self) -> FilesReport {
        FilesReport {
            dir: self.settings.dir.clone(),
            state: self.state(),
            last_write: self.last_write,
            bytes: self.bytes,
            waiting_intervals: self.waiting.len(),
            dropped_lines: self.dropped_lines,
            errors: self.errors.clone(),
        }
    }

    fn state(&self) -> StageState {
        let (status, reason) = match &self.fault {
            Some(fault) if self.dropped_now > 0 => {
                (StageStatus::Failed, format!("{fault}; {} lines dropped, the buffer is full", self.dropped_now))
            }
            Some(fault) => (StageStatus::Degraded, format!("{fault}; {} intervals wait in memory", self.waiting.len())),
            None if self.dropped_lines > 0 => (
                StageStatus::Ok,
                format!(
                    "writing to {}; {} lines were dropped earlier",
                    self.settings.dir.display(),
                    self.dropped_lines
                ),
            ),
            None => (StageStatus::Ok, format!("writing to {}", self.settings.dir.display())),
        };
        StageState { stage: Stage::Files, status, reason }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        let written = self.opened(batch.day).and_then(|file| file.append(&batch.lines));
        written.map_err(|source| Fault::new(&self.settings.dir.join(name::of_day(batch.day)), source))
    }

    /// The file of a day, its end sound.
    fn opened(&mut self, day: Date) -> std::io::Result<&mut DayFile> {
        match self.open.take() {
            Some(file) if file.day == day && file.is_current() => Ok(self.open.insert(file)),
            _ => {
                let file = DayFile::open(&self.settings.dir, day)?;
                if file.torn > 0 {
                    *self.errors.entry("torn").or_default() += 1;
                    tracing::warn!(bytes = file.torn, "set aside the torn end of an emissions file");
                }
                Ok(self.open.insert(file))
            }
        }
    }

    /// Drops the oldest intervals when more waits than may: totals in later host lines are cumulative, so the newest
    /// say most.
    fn bound(&mut self) {
        while self.waiting_bytes > self.settings.buffer_bytes {
            let Some(batch) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= batch.lines.len();
            let lines = batch.lines.iter().filter(|b| **b == b'\n').count() as u64;
            self.dropped_now += lines;
            self.dropped_lines += lines;
            *self.errors.entry("dropped").or_default() += lines;
        }
    }

    fn clean(&mut self, at: Timestamp, now: Instant) {
        let trusted = self.guard.trusts(at, now);
        let Ok(mut files) = list(&self.settings.dir) else { return };
        if trusted {
            let expired: Vec<PathBuf> = retention::expired(&files, name::day_of(at), self.settings.retention)
                .into_iter()
                .map(|file| file.path.clone())
                .collect();
            files.retain(|file| !expired.contains(&file.path));
            for path in expired {
                if let Err(error) = std::fs::remove_file(&path) {
                    *self.errors.entry("retention").or_default() += 1;
                    tracing::warn!(path = %path.display(), reason = %error, "cannot delete an expired emissions file");
                }
            }
        }
        self.bytes = files.iter().map(|file| file.bytes).sum();
    }
}

#[cfg(test)]
mod tests;
