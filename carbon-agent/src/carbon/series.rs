//! The values of one source over time. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What an intensity tells. The two answer different questions and are never averaged with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Emissions of all generation over all generation: what a share of consumption is answerable for.
    Average,
    /// Emissions of the plants that answer to one more kWh: what a change of consumption changes.
    Marginal,
}

impl Kind {
    /// As rows and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Marginal => "marginal",
        }
    }
}

/// Whose figures these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub provider: String,
    /// As the provider spells it; empty where a number has no zone.
    pub zone: String,
    pub kind: Kind,
    /// As rows name it: `fixed`, `static:DEU:2023`, `file:NAME`, `electricity_maps:DE`, …
    pub method: String,
}

/// An intensity from a moment on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub valid_from: Timestamp,
    /// End of the period that the source gives the value for; `None` where it does not say.
    pub valid_until: Option<Timestamp>,
    /// Grams of CO2e per kWh.
    pub grams_per_kwh: f64,
    pub fetched_at: Timestamp,
    /// The source itself calls it a forecast or an estimate.
    pub estimated: bool,
}

/// Points in order of time.
///
/// A point holds until the next one begins, and the last one for its own period and then `grace` longer: grids change
/// slowly enough that the value of the hour before is nearer than a yearly average, but not for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub label: Label,
    /// How long a value is carried past its own period; `None` never lets it go stale (a number, a yearly average).
    grace: Option<SignedDuration>,
    points: Vec<Point>,
}

impl Series {
    /// No values yet.
    pub fn empty(label: Label, grace: SignedDuration) -> Self {
        Self { label, grace: Some(grace), points: Vec::new() }
    }

    /// One value for all time, read at `read_at` (its age counts from there: a yearly average has no better moment).
    pub fn constant(label: Label, grams_per_kwh: f64, read_at: Timestamp) -> Self {
        let point = Point {
            valid_from: Timestamp::MIN,
            valid_until: None,
            grams_per_kwh,
            fetched_at: read_at,
            estimated: false,
        };
        Self { label, grace: None, points: vec![point] }
    }

    /// Whether the value changes with time.
    pub fn is_constant(&self) -> bool {
        self.grace.is_none()
    }

    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Adds points; one that begins with an older one replaces it, because providers revise their estimates.
    pub fn merge(&mut self, points: impl IntoIterator<Item = Point>) {
        for point in points {
            match self.points.binary_search_by_key(&point.valid_from, |p| p.valid_from) {
                Ok(index) => self.points[index] = point,
                Err(index) => self.points.insert(index, point),
            }
        }
    }

    /// Takes `points` (in order) as the truth from the first of them on; what was known of the time before stays, so
    /// that a file that only ever holds the current value leaves no gap behind.
    pub fn replace_from(&mut self, points: Vec<Point>) {
        if let Some(first) = points.first() {
            self.points.retain(|known| known.valid_from < first.valid_from);
            self.points.extend(points);
        }
    }

    /// Drops what can no longer be asked for: all before the point in force at `time`.
    pub fn forget_before(&mut self, time: Timestamp) {
        let in_force = self.points.partition_point(|point| point.valid_from <= time).saturating_sub(1);
        self.points.drain(..in_force);
    }

    /// The point in force at `time`.
    pub fn at(&self, time: Timestamp) -> Option<&Point> {
        let index = self.points.partition_point(|point| point.valid_from <= time).checked_sub(1)?;
        (time < self.end(index)).then(|| &self.points[index])
    }

    /// The newest point, stale or not.
    pub fn latest(&self) -> Option<&Point> {
        self.points.last()
    }

    /// The moments after `begin` and before `end` at which another value, or none, comes into force.
    pub fn breaks(&self, begin: Timestamp, end: Timestamp) -> impl Iterator<Item = Timestamp> {
        let first = self.points.partition_point(|point| point.valid_from <= begin).saturating_sub(1);
        let after = self.points.partition_point(|point| point.valid_from < end);
        (first..after.max(first))
            .flat_map(|index| [self.points[index].valid_from, self.end(index)])
            .filter(move |time| begin < *time && *time < end)
    }

    /// When the point at `index` stops being used.
    fn end(&self, index: usize) -> Timestamp {
        let point = &self.points[index];
        let next = self.points.get(index + 1).map_or(Timestamp::MAX, |next| next.valid_from);
        let stale = self.grace.map_or(Timestamp::MAX, |grace| {
            point.valid_until.unwrap_or(point.valid_from).checked_add(grace).unwrap_or(Timestamp::MAX)
        });
        next.min(stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    fn point(from: &str, until: Option<&str>, grams_per_kwh: f64) -> Point {
        let (valid_from, valid_until) = (time(from), until.map(time));
        Point { valid_from, valid_until, grams_per_kwh, fetched_at: valid_from, estimated: false }
    }

    fn series(points: Vec<Point>) -> Series {
        let label = Label { provider: "test".into(), zone: "X".into(), kind: Kind::Average, method: "test:X".into() };
        let mut series = Series::empty(label, SignedDuration::from_hours(1));
        series.merge(points);
        series
    }

    fn grams(series: &Series, at: &str) -> Option<f64> {
        series.at(time(at)).map(|p| p.grams_per_kwh)
    }

    #[test]
    fn a_value_holds_until_the_next_and_the_last_until_it_is_stale() {
        let hourly = series(vec![point("13:00:00", Some("14:00:00"), 2.0), point("12:00:00", Some("13:00:00"), 1.0)]);
        for (at, expected) in [
            ("11:59:59", None),
            ("12:00:00", Some(1.0)),
            ("12:59:59.999", Some(1.0)),
            ("13:00:00", Some(2.0)),
            ("14:59:59", Some(2.0)),
            ("15:00:00", None),
        ] {
            assert_eq!(grams(&hourly, at), expected, "{at}");
        }
    }

    #[test]
    fn a_gap_is_a_gap() {
        let series = series(vec![point("12:00:00", Some("12:30:00"), 1.0), point("15:00:00", None, 2.0)]);
        assert_eq!(grams(&series, "13:29:00"), Some(1.0));
        assert_eq!(grams(&series, "13:31:00"), None);
        let breaks: Vec<_> = series.breaks(time("12:00:00"), time("16:30:00")).collect();
        assert_eq!(breaks, [time("13:30:00"), time("15:00:00"), time("16:00:00")]);
    }

    #[test]
    fn a_revision_replaces_and_the_past_stays() {
        let mut series = series(vec![point("12:00:00", None, 1.0), point("13:00:00", None, 2.0)]);
        series.merge([point("13:00:00", None, 3.0)]);
        assert_eq!((series.points().len(), grams(&series, "13:10:00")), (2, Some(3.0)));
        series.replace_from(vec![point("12:30:00", None, 9.0)]);
        assert_eq!((grams(&series, "12:10:00"), grams(&series, "13:10:00")), (Some(1.0), Some(9.0)));
        series.forget_before(time("12:40:00"));
        assert_eq!(series.points().len(), 1);
    }

    #[test]
    fn a_constant_never_goes_stale() {
        let label = series(vec![]).label;
        let fixed = Series::constant(label, 7.0, time("00:00:00"));
        assert_eq!(fixed.at(Timestamp::MIN).unwrap().grams_per_kwh, 7.0);
        assert_eq!(fixed.at("2099-01-01T00:00:00Z".parse().unwrap()).unwrap().grams_per_kwh, 7.0);
        assert_eq!(fixed.breaks(Timestamp::MIN, Timestamp::MAX).count(), 0);
    }
}
