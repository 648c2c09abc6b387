//! The writing thread. For each interval, in this order: the checkpoint, which holds the rows too; the rows; the CSV;
//! then the readers of `/metrics` see it. So what was seen is never taken back by a kill, and what a kill cuts off
//! between checkpoint and rows is written at the next start (`docs/decisions/durability.md`).

use crate::config::OutputConfig;
use crate::export::files::{EmissionsFile, Retention};
use crate::export::published::{Publication, Published, Running};
use crate::export::{RunInfo, csv, json};
use crate::logging::Log;
use crate::snapshot::Snapshot;
use crate::state::{Checkpoint, PendingRows, Store};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// What the writing thread is told.
pub enum Record {
    Interval(Box<Closed>),
    /// From here on these terms hold.
    Reconfigured(Reconfigured),
    /// SIGHUP: open files anew, try again what waits.
    Reopen,
}

/// One interval, closed.
pub struct Closed {
    pub snapshot: Snapshot,
    pub checkpoint: Checkpoint,
}

/// What the writer is to know of another configuration.
pub struct Reconfigured {
    pub run: Arc<RunInfo>,
    pub output: OutputConfig,
}

/// What of our own files is kept.
pub fn retention(output: &OutputConfig) -> Retention {
    Retention { days: output.retain_days, max_bytes: (output.max_bytes > 0).then_some(output.max_bytes) }
}

/// Where everything goes.
pub struct Writer {
    pub store: Store,
    pub files: EmissionsFile,
    pub run: Arc<Running>,
    pub published: Arc<Published>,
    pub log: Log,
}

impl Writer {
    /// Writes until nobody can send any more.
    pub fn write_all(mut self, records: &Receiver<Record>) {
        for record in records {
            match record {
                Record::Reopen => {
                    self.files.reopen();
                    self.files.flush(jiff::Timestamp::now());
                }
                Record::Reconfigured(Reconfigured { run, output }) => {
                    self.run.set(run);
                    self.files.retain(retention(&output));
                }
                Record::Interval(closed) => self.write(*closed),
            }
        }
    }

    fn write(&mut self, closed: Closed) {
        self.published.begin_writing();
        let Closed { mut snapshot, mut checkpoint } = closed;
        let run = &*self.run.get();
        let lines = json::lines(&snapshot, run);
        checkpoint.rows = run.output_dir.as_ref().map(|dir| PendingRows {
            output_dir: dir.clone(),
            timestamp: snapshot.timestamp,
            lines: String::from_utf8_lossy(&lines).into_owned(),
        });
        self.store.write(&checkpoint);
        self.files.append(snapshot.timestamp, lines);
        self.files.write_csv(&csv::render(&snapshot, run));
        self.log.say_repeats();
        snapshot.stages.push(self.store.stage());
        snapshot.errors.extend(self.store.errors());
        self.published.publish(Publication { snapshot, files: Some(self.files.report()), log_bytes: self.log.bytes() });
    }
}
