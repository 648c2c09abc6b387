//! Counts the components' functional units in the background, so that an endpoint that hangs holds up nobody.

use super::fault::FaultKind;
use super::functional_unit::{UnitReader, UnitSource};
use super::sci::UnitCounter;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Running readers of functional units, one thread each. Dropping it ends them without waiting for a request under way.
#[derive(Debug)]
pub struct UnitCounts {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stop: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    counters: BTreeMap<String, UnitCounter>,
    /// Units since they were last taken.
    fresh: BTreeMap<String, f64>,
    faults: BTreeMap<FaultKind, u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnitCounts {
    /// Reads each component's count every `pace`, waiting at most `timeout` for an answer.
    pub fn start(
        sources: impl IntoIterator<Item = (String, UnitSource)>,
        pace: Duration,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        let counts = Self { shared: Arc::default() };
        for (component, source) in sources {
            let (shared, reader) = (counts.shared.clone(), UnitReader::new(source, timeout));
            std::thread::Builder::new()
                .name("functional-unit".to_owned())
                .spawn(move || count(&shared, &component, &reader, pace))?;
        }
        Ok(counts)
    }

    /// Units by component since the last call. A component whose count could not be read since then is absent; what
    /// it counted meanwhile comes with the next reading, because counters go on.
    pub fn take(&self) -> BTreeMap<String, f64> {
        std::mem::take(&mut self.shared.state().fresh)
    }

    /// Units by component since the start.
    pub fn totals(&self) -> BTreeMap<String, f64> {
        self.shared.state().counters.iter().map(|(name, counter)| (name.clone(), counter.total())).collect()
    }

    /// Failed readings since the start, by kind.
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.shared.state().faults.iter().map(|(kind, count)| (kind.label().into_owned(), *count)).collect()
    }
}

impl Drop for UnitCounts {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.stop.notify_all();
    }
}

fn count(shared: &Shared, component: &str, reader: &UnitReader, pace: Duration) {
    let mut failing = None;
    loop {
        let reading = reader.read();
        let mut state = shared.state();
        match reading {
            Ok(value) => {
                failing = None;
                let since = state.counters.entry(component.to_owned()).or_default().read(value);
                *state.fresh.entry(component.to_owned()).or_default() += since;
            }
            Err(fault) => {
                *state.faults.entry(fault.kind).or_default() += 1;
                if failing.replace(fault.kind) != Some(fault.kind) {
                    tracing::warn!(component, kind = %fault.kind.label(), "functional units: {}", fault.message);
                }
            }
        }
        let deadline = Instant::now() + pace;
        while !state.stopped {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            state = shared.stop.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.stopped {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carbon::loopback::{Loopback, Reply};

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn units_are_counted_through_failures_and_restarts() {
        let server = Loopback::start(|_| Reply::ok("http_requests_total 100\n"));
        let source = UnitSource::Prometheus {
            url: format!("{}/metrics", server.url),
            metric: "http_requests_total".to_owned(),
            labels: vec![],
        };
        let quick = Duration::from_millis(10);
        let counts = UnitCounts::start([("web".to_owned(), source)], quick, Duration::from_millis(300)).unwrap();
        until("a first reading", || counts.totals().contains_key("web"));
        server.now_does(|_| Reply::status(500));
        until("a failure", || !counts.errors().is_empty());
        server.now_does(|_| Reply::ok("http_requests_total 150\n"));
        until("fifty units", || counts.totals()["web"] == 50.0);
        assert_eq!(counts.take()["web"], 50.0);
        server.now_does(|_| Reply::ok("http_requests_total 3\n"));
        until("three after a restart", || counts.totals()["web"] == 53.0);
    }

    #[test]
    fn nobody_waits_for_an_endpoint_that_hangs() {
        let server = Loopback::start(|_| Reply::Hang);
        let source = UnitSource::Prometheus { url: server.url.clone(), metric: "up".to_owned(), labels: vec![] };
        let begin = Instant::now();
        let patient = Duration::from_secs(60);
        let counts = UnitCounts::start([("web".to_owned(), source)], patient, patient).unwrap();
        until("a request under way", || !server.requests().is_empty());
        assert!(counts.take().is_empty());
        drop(counts);
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    }
}
