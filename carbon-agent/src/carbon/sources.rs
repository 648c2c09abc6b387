//! Which intensity is in force: the declared sources in their order, then what is always known. Pure.

use super::averages::Average;
use super::fault::Fault;
use super::series::{Kind, Label, Point, Series};
use super::{WORLD, country, effective_milligrams_per_kwh, zone};
use crate::snapshot::IntensityInForce;
use jiff::Timestamp;

/// A source and how the last attempt to learn from it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub series: Series,
    /// Why the last attempt failed; `None` after one that did not.
    pub fault: Option<Fault>,
}

/// The chain of sources.
///
/// Order of preference: first the declared sources of the first one's kind, in the declared order; then, where none of
/// them has a value for the time asked about, whatever is left, the zone's yearly average and the world's at last. So
/// an average chain never uses a marginal value, because the world's average always stands before it; a marginal chain
/// falls to an average only where no marginal value is known, and says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Sources {
    sources: Vec<Source>,
    /// Indices into `sources`, most preferred first.
    order: Vec<usize>,
    declared: usize,
}

/// The value in force at a moment and everything there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// Grams of CO2e per kWh, PUE not applied.
    pub grams_per_kwh: f64,
    pub zone: String,
    pub provider: String,
    pub kind: Kind,
    /// Time since the value's own timestamp; for a constant, since it was read.
    pub age_seconds: f64,
    /// As rows name it.
    pub method: String,
    /// The source itself calls it a forecast or an estimate.
    pub estimated: bool,
    /// Why this is not the first declared source's value, and what to do; `None` when it is.
    pub degraded: Option<String>,
}

impl From<&InForce> for IntensityInForce {
    fn from(in_force: &InForce) -> Self {
        Self {
            grams_per_kwh: in_force.grams_per_kwh,
            zone: in_force.zone.clone(),
            provider: in_force.provider.clone(),
            kind: in_force.kind.name().to_owned(),
            age_seconds: in_force.age_seconds,
        }
    }
}

/// What a stretch of time costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Grams of CO2e per kWh, mean over the stretch weighted by time, PUE not applied.
    pub grams_per_kwh: f64,
    /// Of all parts of the mean.
    pub kind: Kind,
    /// Methods of the parts, without repetition.
    pub methods: Vec<String>,
}

impl Price {
    /// The integer that the books multiply with: milligrams of CO2e per kWh, PUE applied.
    pub fn milligrams_per_kwh(&self, pue: f64) -> u64 {
        effective_milligrams_per_kwh(self.grams_per_kwh, pue)
    }
}

/// The methods of all prices in an interval, in the order of their first use: the `method.intensity` of its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Methods(Vec<String>);

impl Methods {
    pub fn add(&mut self, price: &Price) {
        for method in &price.methods {
            if !self.0.contains(method) {
                self.0.push(method.clone());
            }
        }
    }

    /// Joined by `+`; empty again afterwards.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.0).join("+")
    }
}

impl Sources {
    /// The chain of `declared` sources, completed by yearly averages so that every moment has a value: that of the
    /// first declared source whose zone tells a country, then the world's. `now` is when the averages were read.
    pub fn new(declared: Vec<Series>, now: Timestamp) -> Self {
        let count = declared.len();
        let kind = declared.first().map_or(Kind::Average, |first| first.label.kind);
        let mut series = declared;
        let known = series.iter().find_map(|s| country::average_of(&s.label.zone));
        let world = zone(WORLD).expect("the world is in the embedded table");
        for average in known.into_iter().chain([world]) {
            let average = yearly_average(average, now);
            if !series.iter().any(|s| s.label.method == average.label.method) {
                series.push(average);
            }
        }
        let mut order: Vec<usize> = (0..series.len()).collect();
        order.sort_by_key(|index| series[*index].label.kind != kind);
        let sources = series.into_iter().map(|series| Source { series, fault: None }).collect();
        Self { sources, order, declared: count }
    }

    /// The declared sources, in their order.
    pub fn declared(&self) -> &[Source] {
        &self.sources[..self.declared]
    }

    /// A declared source, to add what was learnt from it.
    pub fn declared_mut(&mut self, index: usize) -> &mut Source {
        &mut self.sources[..self.declared][index]
    }

    /// How the last attempt of the declared source with this method failed, if it did.
    pub fn fault_of(&self, method: &str) -> Option<&Fault> {
        self.declared().iter().find(|source| source.series.label.method == method)?.fault.as_ref()
    }

    /// The declared sources that can never be in force, by their place in the declared order, each with the one that
    /// stands before it and always has a value; `None` for a yearly average that nobody declared, which keeps kinds
    /// apart. A slip of the configuration, which `check` names.
    pub fn never_used(&self) -> Vec<(usize, Option<usize>)> {
        let is_constant = |index: &usize| self.sources[*index].series.is_constant();
        let mut order = self.order.iter().copied().skip_while(|index| !is_constant(index));
        let before = order.next().filter(|index| *index < self.declared);
        order.filter(|index| *index < self.declared).map(|index| (index, before)).collect()
    }

    /// The intensity in force at `time`.
    pub fn at(&self, time: Timestamp) -> InForce {
        let (index, point) = self.pick(time);
        let Source { series, .. } = &self.sources[index];
        let since = if series.is_constant() { point.fetched_at } else { point.valid_from };
        InForce {
            grams_per_kwh: point.grams_per_kwh,
            zone: series.label.zone.clone(),
            provider: series.label.provider.clone(),
            kind: series.label.kind,
            age_seconds: time.duration_since(since).as_secs_f64().max(0.0),
            method: series.label.method.clone(),
            estimated: point.estimated,
            degraded: self.degraded(index),
        }
    }

    /// The mean intensity from `begin` to `end`, weighted by time: what a sample that spans two values costs.
    ///
    /// Where the stretch touches values of both kinds, all of it is priced at the kind that holds for longer: a mean of
    /// an average and a marginal value is neither. An empty stretch, or one that a clock set back made negative, costs
    /// what holds at `end`.
    pub fn weighted(&self, begin: Timestamp, end: Timestamp) -> Price {
        let mut cuts: Vec<Timestamp> =
            self.sources.iter().flat_map(|source| source.series.breaks(begin, end)).collect();
        if begin >= end || cuts.is_empty() {
            let (index, point) = self.pick(if begin >= end { end } else { begin });
            let label = self.label(index);
            return Price { grams_per_kwh: point.grams_per_kwh, kind: label.kind, methods: vec![label.method.clone()] };
        }
        cuts.extend([begin, end]);
        cuts.sort_unstable();
        cuts.dedup();
        let parts: Vec<(f64, usize, f64)> = cuts
            .windows(2)
            .map(|cut| {
                let (index, point) = self.pick(cut[0]);
                (cut[1].duration_since(cut[0]).as_secs_f64(), index, point.grams_per_kwh)
            })
            .collect();
        let seconds = |kind: Kind| -> f64 {
            parts.iter().filter(|(_, index, _)| self.label(*index).kind == kind).map(|(seconds, ..)| seconds).sum()
        };
        let kind = if seconds(Kind::Marginal) > seconds(Kind::Average) { Kind::Marginal } else { Kind::Average };
        let mut methods: Vec<String> = Vec::new();
        let mut gram_seconds = 0.0;
        for (seconds, index, grams) in parts.iter().filter(|(_, index, _)| self.label(*index).kind == kind) {
            gram_seconds += seconds * grams;
            let method = &self.label(*index).method;
            if !methods.contains(method) {
                methods.push(method.clone());
            }
        }
        Price { grams_per_kwh: gram_seconds / seconds(kind), kind, methods }
    }

    fn label(&self, index: usize) -> &Label {
        &self.sources[index].series.label
    }

    fn pick(&self, time: Timestamp) -> (usize, &Point) {
        self.order
            .iter()
            .find_map(|index| Some((*index, self.sources[*index].series.at(time)?)))
            .expect("the last in the order is a constant, which has a value at any time")
    }

    /// Why `used` is in force and not the first in the order.
    fn degraded(&self, used: usize) -> Option<String> {
        let label = self.label(used);
        if self.declared == 0 {
            return Some(format!(
                "no zone is configured: the world's average ({}) is used; set carbon.intensity.zone (DEU, USA-CA, …)",
                label.method
            ));
        }
        let first = self.order[0];
        if used == first {
            return None;
        }
        let passed_over = self.order.iter().take_while(|index| **index != used);
        let why: Vec<String> = passed_over
            .map(|index| {
                let Source { series, fault } = &self.sources[*index];
                let reason = match (fault, series.latest()) {
                    (Some(fault), _) => fault.to_string(),
                    (None, Some(point)) => format!("its newest value is of {}", point.valid_from),
                    (None, None) => "not heard of yet".to_owned(),
                };
                format!("{}: {reason}", series.label.method)
            })
            .collect();
        let mut text = format!("{}; {} is used instead", why.join("; "), label.method);
        let wanted = self.label(first).kind;
        if wanted != label.kind {
            text.push_str(&format!(
                "; this is an {} intensity where a {} one is configured, not to be compared with it",
                label.kind.name(),
                wanted.name()
            ));
        }
        Some(text)
    }
}

/// A zone's embedded yearly average as a source.
pub fn yearly_average(average: &Average, read_at: Timestamp) -> Series {
    let label = Label {
        provider: "static".to_owned(),
        zone: average.zone.clone(),
        kind: Kind::Average,
        method: format!("static:{}:{}", average.zone, average.year),
    };
    Series::constant(label, average.grams_per_kwh, read_at)
}

/// A configured number as a source; it counts as an average.
pub fn fixed(grams_per_kwh: f64, read_at: Timestamp) -> Series {
    let label =
        Label { provider: "fixed".to_owned(), zone: String::new(), kind: Kind::Average, method: "fixed".to_owned() };
    Series::constant(label, grams_per_kwh, read_at)
}

#[cfg(test)]
mod tests;
