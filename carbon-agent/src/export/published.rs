//! What the agent last published, for handlers to read: one writer, many readers, and no reader waits for the writer
//! or makes it wait.

use super::RunInfo;
use super::files::FilesReport;
use super::history::{Entry, History};
use crate::snapshot::{Snapshot, Stage, StageState};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One interval as published.
#[derive(Clone, Debug)]
pub struct Publication {
    pub snapshot: Snapshot,
    /// The account of the file writer after this interval; `None` where no files are written (`exec`, `top`).
    pub files: Option<FilesReport>,
    /// Size of the log file, where the agent writes one.
    pub log_bytes: Option<u64>,
}

impl Publication {
    /// Every stage once. Of the files stage the agent and the file writer each know a part (an interval that never
    /// reached the writer, a disk that takes nothing): the worse of the two is shown, the writer's where they agree.
    pub fn stages(&self) -> Vec<StageState> {
        let mut stages = self.snapshot.stages.clone();
        if let Some(files) = &self.files {
            match stages.iter_mut().find(|state| state.stage == Stage::Files) {
                Some(known) if known.status > files.state.status => {}
                Some(known) => *known = files.state.clone(),
                None => stages.push(files.state.clone()),
            }
        }
        stages
    }

    /// Errors since the start by stage and kind, each pair once.
    pub fn errors(&self) -> Vec<(Stage, String, u64)> {
        let mut sums: BTreeMap<(Stage, &str), u64> = BTreeMap::new();
        for (stage, kind, count) in &self.snapshot.errors {
            *sums.entry((*stage, kind)).or_default() += count;
        }
        for (kind, count) in self.files.iter().flat_map(|files| &files.errors) {
            *sums.entry((Stage::Files, kind)).or_default() += count;
        }
        sums.into_iter().map(|((stage, kind), count)| (stage, kind.to_owned(), count)).collect()
    }
}

/// The latest publication, and when it was made by a clock that does not jump.
#[derive(Clone, Debug)]
pub struct Latest {
    pub publication: Arc<Publication>,
    pub at: Instant,
}

/// The latest publication and the recent past.
#[derive(Debug)]
pub struct Published {
    started: Instant,
    /// When the write that is under way began.
    writing: Mutex<Option<Instant>>,
    latest: Mutex<Option<Latest>>,
    history: Mutex<History>,
}

impl Default for Published {
    fn default() -> Self {
        Self::new(super::history::DEFAULT_INTERVALS)
    }
}

impl Published {
    /// Keeps the last `intervals` intervals in memory.
    pub fn new(intervals: usize) -> Self {
        Self {
            started: Instant::now(),
            writing: Mutex::default(),
            latest: Mutex::default(),
            history: Mutex::new(History::new(intervals)),
        }
    }

    /// Called by the agent before it writes an interval, which may take as long as the disk takes.
    pub fn begin_writing(&self) {
        *lock(&self.writing) = Some(Instant::now());
    }

    /// How long the write that is under way has taken so far; `None` between two.
    pub fn writing(&self) -> Option<Duration> {
        lock(&self.writing).map(|since| since.elapsed())
    }

    /// Called by the agent at the end of each interval, once it is written.
    pub fn publish(&self, publication: Publication) {
        *lock(&self.writing) = None;
        lock(&self.history).push(&publication.snapshot);
        *lock(&self.latest) = Some(Latest { publication: Arc::new(publication), at: Instant::now() });
    }

    /// `None` before the first interval.
    pub fn latest(&self) -> Option<Latest> {
        lock(&self.latest).clone()
    }

    /// Summaries of the intervals that ended after `since`, oldest first.
    pub fn history(&self, since: Timestamp) -> Vec<Arc<Entry>> {
        lock(&self.history).since(since)
    }

    /// When the agent began.
    pub fn started(&self) -> Instant {
        self.started
    }
}

/// The terms of the run in force: a reload replaces them whole.
#[derive(Debug)]
pub struct Running(Mutex<Arc<RunInfo>>);

impl Running {
    pub fn new(run: impl Into<Arc<RunInfo>>) -> Self {
        Self(Mutex::new(run.into()))
    }

    pub fn get(&self) -> Arc<RunInfo> {
        lock(&self.0).clone()
    }

    pub fn set(&self, run: Arc<RunInfo>) {
        *lock(&self.0) = run;
    }
}

/// A reader that panicked left nothing half-written: the locks hold finished values only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;
    use crate::snapshot::StageStatus;

    #[test]
    fn the_files_stage_shows_the_worse_of_what_agent_and_writer_know() {
        for (agent, writer, expected) in [
            (StageStatus::Ok, StageStatus::Ok, "writer"),
            (StageStatus::Degraded, StageStatus::Ok, "agent"),
            (StageStatus::Ok, StageStatus::Failed, "writer"),
            (StageStatus::Failed, StageStatus::Failed, "writer"),
        ] {
            let mut publication = fixture::publication();
            publication.snapshot.stages.push(fixture::state(Stage::Files, agent, "agent"));
            publication.files.as_mut().unwrap().state = fixture::state(Stage::Files, writer, "writer");
            let files: Vec<StageState> =
                publication.stages().into_iter().filter(|state| state.stage == Stage::Files).collect();
            assert_eq!(files.len(), 1);
            assert_eq!(files[0].reason, expected, "{agent:?} {writer:?}");
            assert_eq!(files[0].status, agent.max(writer));
        }
    }

    #[test]
    fn errors_of_one_kind_are_summed() {
        let mut publication = fixture::publication();
        publication.snapshot.errors.push((Stage::Files, "no_space".into(), 4));
        let expected = [(Stage::Energy, "implausible".to_owned(), 2), (Stage::Files, "no_space".to_owned(), 7)];
        assert_eq!(publication.errors(), expected);
    }
}
