//! What the lines tell about the agent itself: when it was there, whether its books closed, how it measured, what it
//! cost, and how the days compare. In bounded memory, whatever the files hold.

use super::record::{FIGURES, Kind, Record, Text};
use crate::agent::OWN_COMPONENT;
use crate::energy::Quality;
use crate::ledger::reserved;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Names kept apart of each kind; a year of days, and more components than anybody watches.
const MAX_NAMES: usize = 400;
/// Intervals whose books do not close that are named.
const NAMED: usize = 5;
/// What the clocks may part between two rows that follow one another.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub begin: Timestamp,
    pub end: Timestamp,
}

impl Span {
    pub fn seconds(self) -> f64 {
        self.end.duration_since(self.begin).as_secs_f64()
    }
}

/// What the observation compares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    pub cpu_seconds: f64,
    pub microjoules: u64,
    /// Operational, in kilograms.
    pub emissions_kg: f64,
}

impl Used {
    fn of(record: &Record<'_>) -> Self {
        Self {
            cpu_seconds: record.interval_cpu_seconds,
            microjoules: record.microjoules(),
            emissions_kg: record.interval_emissions,
        }
    }

    fn add(&mut self, other: Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.microjoules = self.microjoules.saturating_add(other.microjoules);
        self.emissions_kg += other.emissions_kg;
    }
}

/// One UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Day {
    /// Time in which the agent measured.
    pub seconds: f64,
    /// Time in which the meters counted: also while the agent was down.
    pub covered_seconds: f64,
    pub host: Used,
    /// What the agent itself used.
    pub own: Used,
}

impl Day {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.covered_seconds += other.covered_seconds;
        self.host.add(other.host);
        self.own.add(other.own);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Observed {
    spans: Vec<Span>,
    pub intervals: u64,
    /// Intervals whose components sum to the host in every domain, in whole microjoules.
    pub closed: u64,
    /// Intervals of which there is no component line.
    pub without_components: u64,
    pub not_closed: u64,
    /// The first of those that do not close.
    pub not_closed_at: BTreeSet<String>,
    pub estimated_seconds: f64,
    /// Seconds by method, as in `energy: rapl-powercap`.
    pub methods: BTreeMap<String, f64>,
    pub runs: BTreeSet<String>,
    pub days: BTreeMap<String, Day>,
    pub components: BTreeMap<String, BTreeMap<String, Used>>,
    /// The interval whose component lines are being read.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    timestamp: String,
    /// Host minus components, in microjoules.
    left: [i128; FIGURES],
    components: u32,
}

impl Observed {
    pub fn record(&mut self, record: &Record<'_>) {
        let sum = Used::of(record);
        let day = record.timestamp.get(..10).unwrap_or(&record.timestamp);
        match record.record {
            Kind::Host => {
                self.end_of_file();
                let left = record.microjoules_by_domain().map(i128::from);
                self.open = Some(Open { timestamp: record.timestamp.to_string(), left, components: 0 });
                self.host(record, day, sum);
            }
            Kind::Component => {
                let name = record.component.as_ref().map(Text::as_str).unwrap_or_default();
                if let Some(open) = self.open.as_mut().filter(|open| *open.timestamp == *record.timestamp) {
                    open.components += 1;
                    for (left, part) in open.left.iter_mut().zip(record.microjoules_by_domain()) {
                        *left -= i128::from(part);
                    }
                }
                if name == OWN_COMPONENT {
                    entry(&mut self.days, day).own.add(sum);
                }
                entry(entry(&mut self.components, name), day).add(sum);
            }
            Kind::Process => {}
        }
    }

    fn host(&mut self, record: &Record<'_>, day: &str, sum: Used) {
        self.intervals += 1;
        if let Some(run) = &record.run_id
            && self.runs.len() < MAX_NAMES
        {
            self.runs.insert(run.as_str().to_owned());
        }
        // Rows without any CPU time stand for what the meters counted while the agent was down.
        let measured = if record.interval_cpu_seconds > 0.0 { record.interval_seconds } else { 0.0 };
        let covered_seconds = record.interval_seconds;
        entry(&mut self.days, day).add(Day { seconds: measured, covered_seconds, host: sum, own: Used::default() });
        if record.quality == Quality::Estimated {
            self.estimated_seconds += record.interval_seconds;
        }
        for (what, method) in record.methods() {
            *entry(&mut self.methods, &format!("{what}: {method}")) += record.interval_seconds;
        }
        if measured > 0.0
            && let Ok(end) = record.timestamp.parse::<Timestamp>()
            && let Ok(length) = SignedDuration::try_from_secs_f64(measured)
            && let Ok(begin) = end.checked_sub(length)
        {
            match self.spans.last_mut() {
                Some(last) if follows(*last, begin) => last.end = last.end.max(end),
                _ => self.spans.push(Span { begin, end }),
            }
        }
    }

    /// No more lines of the interval follow.
    pub fn end_of_file(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.components == 0 {
            self.without_components += 1;
        } else if open.left.iter().all(|left| *left == 0) {
            self.closed += 1;
        } else {
            self.not_closed += 1;
            self.not_closed_at.insert(open.timestamp);
            if self.not_closed_at.len() > NAMED {
                self.not_closed_at.pop_last();
            }
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.spans.extend(other.spans);
        self.intervals += other.intervals;
        self.closed += other.closed;
        self.without_components += other.without_components;
        self.not_closed += other.not_closed;
        self.not_closed_at.extend(other.not_closed_at);
        while self.not_closed_at.len() > NAMED {
            self.not_closed_at.pop_last();
        }
        self.estimated_seconds += other.estimated_seconds;
        for (method, seconds) in other.methods {
            *entry(&mut self.methods, &method) += seconds;
        }
        self.runs.extend(other.runs);
        for (day, theirs) in other.days {
            entry(&mut self.days, &day).add(theirs);
        }
        for (component, days) in other.components {
            let mine = entry(&mut self.components, &component);
            for (day, sum) in days {
                entry(mine, &day).add(sum);
            }
        }
    }

    /// The time in which the agent measured: spans in order, joined where one follows the other.
    pub fn spans(&self) -> Vec<Span> {
        let mut all = self.spans.clone();
        all.sort();
        let mut joined: Vec<Span> = Vec::new();
        for span in all {
            match joined.last_mut() {
                Some(last) if follows(*last, span.begin) => last.end = last.end.max(span.end),
                _ => joined.push(span),
            }
        }
        joined
    }

    /// CPU time and energy of a component over all days.
    pub fn of(&self, component: &str) -> Used {
        let mut total = Used::default();
        self.components.get(component).into_iter().flatten().for_each(|(_, sum)| total.add(*sum));
        total
    }
}

fn follows(last: Span, begin: Timestamp) -> bool {
    begin.duration_since(last.end) <= SLACK
}

/// The entry of a name; beyond [`MAX_NAMES`] names they share one.
fn entry<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    let name = if map.len() < MAX_NAMES || map.contains_key(name) { name } else { reserved::OTHER };
    // Names come again with each interval: most look-ups must not copy them.
    if !map.contains_key(name) {
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name).expect("it was just put there")
}
