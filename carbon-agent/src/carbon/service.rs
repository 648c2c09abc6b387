//! Keeps [`Sources`] up to date: each source that can change has a thread, so a provider that hangs holds up nobody.

use super::cache::Cache;
use super::fault::FaultKind;
use super::source::file::FileSource;
use super::source::{self, Poll};
use super::sources::Sources;
use crate::config::model::IntensitySource;
use crate::snapshot::{Stage, StageState, StageStatus};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

mod worker;
use worker::Worker;

/// Waits and limits; the default is for a daemon, tests have shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For one request as a whole.
    pub timeout: Duration,
    /// Wait after a first failure; it doubles, with jitter, up to `retry_max`.
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// Wait after an answer, where not the source's own.
    pub poll: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            retry_min: Duration::from_secs(5),
            retry_max: Duration::from_secs(900),
            poll: None,
        }
    }
}

/// The running sources. Dropping it ends their threads without waiting for a request under way.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    /// Where nothing is configured or nothing changes, nothing runs.
    live: usize,
}

#[derive(Debug)]
struct Shared {
    sources: RwLock<Arc<Sources>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Rises whenever a value became known or changed.
    generation: u64,
    /// Sources that have answered or failed at least once.
    heard: Vec<bool>,
    faults: BTreeMap<FaultKind, u64>,
}

impl Service {
    /// Begins to ask the `declared` sources; last values are kept in `state_dir`. `Err` is a complaint about the
    /// configuration. A file is read before this returns, a provider is not waited for.
    pub fn start(declared: &[IntensitySource], state_dir: &Path, pace: Pace) -> Result<Self, String> {
        let now = Timestamp::now();
        let mut series = Vec::new();
        let mut polls: Vec<(usize, Box<dyn Poll>, Option<Cache>)> = Vec::new();
        for (index, source) in declared.iter().enumerate() {
            series.push(source::series(source, now)?);
            match source {
                IntensitySource::GramsPerKwh(_) | IntensitySource::Zone(_) => {}
                // A file keeps its values itself.
                IntensitySource::File(path) => polls.push((index, Box::new(FileSource::new(path.clone())), None)),
                IntensitySource::Provider(provider) => {
                    let opened = source::provider(provider, pace.timeout)?;
                    polls.push((index, opened.poll, Some(Cache::new(state_dir, &opened.cache))));
                }
            }
        }
        let state = State { heard: vec![false; polls.len()], ..State::default() };
        let shared = Arc::new(Shared {
            sources: RwLock::new(Arc::new(Sources::new(series, now))),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        // Made before the threads: if one cannot be had, dropping this ends the others.
        let service = Self { shared, live: polls.len() };
        for (number, (index, poll, cache)) in polls.into_iter().enumerate() {
            let mut worker =
                Worker { shared: service.shared.clone(), index, number, poll, cache, pace, cache_fails: false };
            worker.begin(now);
            let name = format!("intensity-{number}");
            std::thread::Builder::new()
                .name(name)
                .spawn(move || worker.run())
                .map_err(|error| format!("no thread for a source of intensity: {error}"))?;
        }
        Ok(service)
    }

    /// What is known now. Never waits for a source.
    pub fn sources(&self) -> Arc<Sources> {
        self.shared.sources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rises whenever a value became known or changed: the moment to price late energy anew.
    pub fn generation(&self) -> u64 {
        self.shared.state().generation
    }

    /// Failed attempts since the start by kind, for `carbon_errors_total{stage="intensity"}`.
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.shared.state().faults.iter().map(|(kind, count)| (kind.label().into_owned(), *count)).collect()
    }

    /// How the stage is doing at `now`.
    pub fn stage(&self, now: Timestamp) -> StageState {
        let sources = self.sources();
        let in_force = sources.at(now);
        let (status, reason) = match in_force.degraded {
            // A failed attempt costs nothing while the value from before holds, but it is worth knowing.
            None => match sources.fault_of(&in_force.method) {
                None => (StageStatus::Ok, in_force.method),
                Some(fault) => (StageStatus::Ok, format!("{}; since then: {fault}", in_force.method)),
            },
            Some(reason) => (StageStatus::Degraded, reason),
        };
        StageState { stage: Stage::Intensity, status, reason }
    }

    /// Waits until every source has answered or failed once, at most `limit`: for a run too short to be corrected
    /// later. Whether they have.
    pub fn wait_for_first_answers(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        while state.heard.iter().filter(|heard| **heard).count() < self.live {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `wait`, or until there is nothing more to do; whether that is so.
    fn stopped_within(&self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let mut state = self.state();
        while !state.stopped {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests;
