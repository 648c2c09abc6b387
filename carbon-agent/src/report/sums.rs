//! Sums by name, in bounded memory.

use super::observed::Observed;
use super::record::{Damaged, Kind, Record, Text, parse};
use crate::cli::ReportBy;
use crate::energy::Quality;
use std::collections::HashMap;

/// Names kept apart. A component, unit or container has few; processes choose their names themselves.
const MAX_NAMES: usize = 10_000;
/// What the least of too many names are summed under.
pub const REST: &str = "(others)";
/// For processes without unit or container.
pub const NONE: &str = "(none)";

/// What something used over the time of the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub cpu_seconds: f64,
    pub microjoules: u64,
    pub emissions_kg: f64,
    pub embodied_kg: f64,
    pub units: Option<Units>,
}

/// Functional units, and what was emitted in their time.
#[derive(Clone, Debug, PartialEq)]
pub struct Units {
    /// `None` where it was not the same unit all the time: then they cannot be added.
    pub name: Option<String>,
    pub count: f64,
    /// Operational and embodied.
    pub emissions_kg: f64,
}

impl Units {
    /// SCI of the whole time: sums divided by sums. `None` where there were no units, or several kinds of them.
    pub fn grams_per_unit(&self) -> Option<f64> {
        (self.name.is_some() && self.count > 0.0).then(|| self.emissions_kg * 1e3 / self.count)
    }

    fn add(&mut self, other: Self) {
        if self.name != other.name {
            self.name = None;
        }
        self.count += other.count;
        self.emissions_kg += other.emissions_kg;
    }
}

impl Sum {
    pub fn add(&mut self, other: Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.microjoules = self.microjoules.saturating_add(other.microjoules);
        self.emissions_kg += other.emissions_kg;
        self.embodied_kg += other.embodied_kg;
        match (&mut self.units, other.units) {
            (Some(mine), Some(theirs)) => mine.add(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }

    /// Of one line.
    pub fn of(record: &Record<'_>) -> Self {
        Self {
            cpu_seconds: record.interval_cpu_seconds,
            microjoules: record.microjoules(),
            emissions_kg: record.interval_emissions,
            embodied_kg: record.interval_embodied_emissions,
            units: record.sci.as_ref().map(|sci| Units {
                name: Some(sci.functional_unit.clone().into_owned()),
                count: sci.units,
                emissions_kg: sci.operational_emissions + sci.embodied_emissions,
            }),
        }
    }
}

/// The sums of some lines; those of several files are merged.
#[derive(Debug)]
pub struct Sums {
    by: ReportBy,
    /// Lines before this are passed over: an RFC 3339 time, compared as text (ours have a fixed width).
    since: String,
    pub rows: HashMap<String, Sum>,
    pub host: Sum,
    pub seconds: f64,
    pub first: Option<String>,
    pub last: Option<String>,
    pub estimated: bool,
    pub lines: u64,
    pub damaged: u64,
    pub observed: Observed,
}

impl Sums {
    pub fn new(by: ReportBy, since: String) -> Self {
        Self {
            by,
            since,
            rows: HashMap::new(),
            host: Sum::default(),
            seconds: 0.0,
            first: None,
            last: None,
            estimated: false,
            lines: 0,
            damaged: 0,
            observed: Observed::default(),
        }
    }

    /// Another of the same report.
    pub fn empty(&self) -> Self {
        Self::new(self.by, self.since.clone())
    }

    pub fn line(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        let wanted: &[Kind] = match self.by {
            ReportBy::Day | ReportBy::Component => &[Kind::Host, Kind::Component],
            ReportBy::Process | ReportBy::Unit | ReportBy::Container => &[Kind::Host, Kind::Component, Kind::Process],
        };
        match parse(line, wanted) {
            Ok(Some(record)) => self.record(&record),
            Ok(None) => {}
            Err(Damaged) => self.damaged += 1,
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        if *record.timestamp <= *self.since {
            return;
        }
        let sum = Sum::of(record);
        self.observed.record(record);
        if record.record == Kind::Host {
            self.host.add(sum.clone());
            self.seconds += record.interval_seconds;
            self.estimated |= record.quality == Quality::Estimated;
            widen(&mut self.first, &record.timestamp, |new, old| new < old);
            widen(&mut self.last, &record.timestamp, |new, old| new > old);
        }
        let name = match (self.by, record.record) {
            (ReportBy::Day, Kind::Host) => record.timestamp.get(..10).unwrap_or(&record.timestamp),
            (ReportBy::Component, Kind::Component) => text(&record.component),
            (ReportBy::Process, Kind::Process) => text(&record.comm),
            (ReportBy::Unit, Kind::Process) => text(&record.unit),
            (ReportBy::Container, Kind::Process) => text(&record.container),
            _ => return,
        };
        // Nearly every name is known: only a new one is copied.
        if let Some(known) = self.rows.get_mut(name) {
            known.add(sum);
            return;
        }
        self.rows.insert(name.to_owned(), sum);
        if self.rows.len() > 2 * MAX_NAMES {
            self.fold();
        }
    }

    /// Sums the least of the rows into one.
    fn fold(&mut self) {
        let mut rows: Vec<(String, Sum)> = self.rows.drain().collect();
        rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.microjoules));
        for (at, (name, sum)) in rows.into_iter().enumerate() {
            let name = if at < MAX_NAMES { name } else { REST.to_owned() };
            self.rows.entry(name).or_default().add(sum);
        }
    }

    pub fn merge(&mut self, other: Self) {
        for (name, sum) in other.rows {
            self.rows.entry(name).or_default().add(sum);
        }
        if self.rows.len() > 2 * MAX_NAMES {
            self.fold();
        }
        self.host.add(other.host);
        self.seconds += other.seconds;
        for timestamp in [other.first, other.last].into_iter().flatten() {
            widen(&mut self.first, &timestamp, |new, old| new < old);
            widen(&mut self.last, &timestamp, |new, old| new > old);
        }
        self.estimated |= other.estimated;
        self.lines += other.lines;
        self.damaged += other.damaged;
        self.observed.merge(other.observed);
    }
}

fn text<'a>(field: &'a Option<Text<'_>>) -> &'a str {
    field.as_ref().map_or(NONE, Text::as_str)
}

fn widen(bound: &mut Option<String>, new: &str, wider: fn(&str, &str) -> bool) {
    if bound.as_deref().is_none_or(|old| wider(new, old)) {
        *bound = Some(new.to_owned());
    }
}
