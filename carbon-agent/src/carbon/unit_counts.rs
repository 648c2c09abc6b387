//! Reads the counts of the components' functional units in the background, so that an endpoint that hangs holds up
//! nobody.

use super::fault::{Fault, FaultKind};
use super::functional_unit::UnitReader;
use super::sci::UnitCounter;
use crate::config::model::FunctionalUnit;
use crate::snapshot::{Stage, StageState, StageStatus};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What was read of a count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counted {
    /// The first reading: there is none before that it could be compared with.
    First,
    /// Units since the reading before.
    Since(f64),
}

impl Counted {
    /// Both readings as one. What the first reading follows is set against nothing, so what comes after it is too.
    fn then(self, later: Self) -> Self {
        match (self, later) {
            (Self::Since(units), Self::Since(more)) => Self::Since(units + more),
            (first @ Self::First, _) => first,
            (Self::Since(_), first @ Self::First) => first,
        }
    }
}

/// Running readers of functional units, one thread each. Each reads once when it starts and then whenever it is asked
/// to. Dropping this ends them without waiting for a request under way.
#[derive(Debug)]
pub struct UnitCounts {
    units: Vec<FunctionalUnit>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// How often everybody was asked.
    asked: u64,
    /// By component, what was read since it was last taken.
    fresh: BTreeMap<String, Counted>,
    /// By component, why its count cannot be read now.
    failing: BTreeMap<String, Fault>,
    faults: BTreeMap<FaultKind, u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnitCounts {
    /// Reads each count once, now, waiting at most `timeout` for an answer, here and later.
    pub fn start(units: &[FunctionalUnit], timeout: Duration) -> std::io::Result<Self> {
        let counts = Self { units: units.to_vec(), shared: Arc::default() };
        for unit in units {
            let (shared, unit) = (counts.shared.clone(), unit.clone());
            let reader = UnitReader::new(unit.source.clone(), timeout);
            std::thread::Builder::new()
                .name("functional-unit".to_owned())
                .spawn(move || count(&shared, &unit, &reader))?;
        }
        Ok(counts)
    }

    /// Has every count read, now; returns at once.
    pub fn ask(&self) {
        self.shared.state().asked += 1;
        self.shared.changed.notify_all();
    }

    /// What was read since the last call, by component. A component whose count could not be read is absent; what it
    /// counted meanwhile comes with the next reading, because counters go on.
    pub fn take(&self) -> BTreeMap<String, Counted> {
        std::mem::take(&mut self.shared.state().fresh)
    }

    /// How it goes. What goes wrong was logged when it began.
    pub fn stage(&self) -> StageState {
        let failing = &self.shared.state().failing;
        let (status, reasons): (_, Vec<String>) = if failing.is_empty() {
            let of = |unit: &FunctionalUnit| format!("{} of {}", unit.name, unit.component);
            (StageStatus::Ok, self.units.iter().map(of).collect())
        } else {
            (StageStatus::Degraded, failing.iter().map(|(component, fault)| trouble(component, fault)).collect())
        };
        StageState { stage: Stage::FunctionalUnits, status, reason: reasons.join("; ") }
    }

    /// Failed readings since the start, by kind.
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.shared.state().faults.iter().map(|(kind, count)| (kind.label().into_owned(), *count)).collect()
    }
}

impl Drop for UnitCounts {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
    }
}

fn trouble(component: &str, fault: &Fault) -> String {
    format!("{component} has no SCI until its functional units can be read: {fault}")
}

fn count(shared: &Shared, unit: &FunctionalUnit, reader: &UnitReader) {
    let component = &unit.component;
    let stage = Stage::FunctionalUnits.name();
    let mut counter = UnitCounter::default();
    let mut answered = shared.state().asked;
    loop {
        let reading = reader.read();
        let mut state = shared.state();
        if state.stopped {
            return;
        }
        match reading {
            Ok(value) => {
                let counted = counter.read(value).map_or(Counted::First, Counted::Since);
                let counted = state.fresh.remove(component).map_or(counted, |before| before.then(counted));
                state.fresh.insert(component.clone(), counted);
                if state.failing.remove(component).is_some() {
                    tracing::info!(stage, component, "functional units can be read again from {}", unit.source);
                }
            }
            Err(fault) => {
                *state.faults.entry(fault.kind).or_default() += 1;
                if state.failing.get(component).map(|known| known.kind) != Some(fault.kind) {
                    tracing::warn!(stage, component, "{} ({})", trouble(component, &fault), unit.source);
                }
                state.failing.insert(component.clone(), fault);
            }
        }
        while state.asked == answered && !state.stopped {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped {
            return;
        }
        answered = state.asked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carbon::loopback::{Loopback, Reply};
    use crate::config::model::UnitSource;
    use std::time::Instant;

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn requests(server: &Loopback, timeout: Duration) -> UnitCounts {
        let source = UnitSource::Prometheus {
            url: format!("{}/metrics", server.url),
            metric: "http_requests_total".to_owned(),
            labels: vec![],
        };
        let unit = FunctionalUnit { component: "web".to_owned(), name: "request".to_owned(), source };
        UnitCounts::start(&[unit], timeout).unwrap()
    }

    /// Asks, and waits for what comes of it.
    fn ask(counts: &UnitCounts) -> Counted {
        counts.ask();
        let mut taken = BTreeMap::new();
        until("a reading", || {
            taken = counts.take();
            !taken.is_empty()
        });
        taken["web"]
    }

    #[test]
    fn units_are_counted_through_failures_and_restarts() {
        let server = Loopback::start(|_| Reply::ok("http_requests_total 100\n"));
        let counts = requests(&server, Duration::from_millis(300));
        let mut first = BTreeMap::new();
        until("a first reading, unasked", || {
            first = counts.take();
            !first.is_empty()
        });
        assert_eq!(first["web"], Counted::First);
        assert_eq!(counts.stage().status, StageStatus::Ok);

        server.now_does(|_| Reply::status(500));
        counts.ask();
        until("a failure", || !counts.errors().is_empty());
        assert_eq!(counts.errors(), [("http_500".to_owned(), 1)]);
        assert_eq!(counts.stage().status, StageStatus::Degraded);
        assert!(counts.take().is_empty(), "absent, not zero");

        server.now_does(|_| Reply::ok("http_requests_total 150\n"));
        assert_eq!(ask(&counts), Counted::Since(50.0), "the failure lost nothing");
        assert_eq!(counts.stage().status, StageStatus::Ok);
        server.now_does(|_| Reply::ok("http_requests_total 3\n"));
        assert_eq!(ask(&counts), Counted::Since(3.0), "the service began anew");
        assert_eq!(server.requests().len(), 4, "one request each time it was asked for");
    }

    #[test]
    fn nobody_waits_for_an_endpoint_that_hangs() {
        let server = Loopback::start(|_| Reply::Hang);
        let begin = Instant::now();
        let counts = requests(&server, Duration::from_secs(60));
        until("a request under way", || !server.requests().is_empty());
        counts.ask();
        assert!(counts.take().is_empty());
        drop(counts);
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    }

    #[test]
    fn readings_that_pile_up_are_one() {
        assert_eq!(Counted::Since(2.0).then(Counted::Since(3.0)), Counted::Since(5.0));
        assert_eq!(Counted::First.then(Counted::Since(3.0)), Counted::First);
    }
}
