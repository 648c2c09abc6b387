//! Software Carbon Intensity, ISO/IEC 21031:2024: `SCI = ((E × I) + M) per R`. Pure.

use super::unit_counts::Counted;
use crate::config::model::FunctionalUnit;
use crate::snapshot::{SciRow, Usage};
use crate::units::{Emissions, Nanos};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// The figures of one component over one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sci {
    /// `E × I`: what its energy emitted, PUE included where one is configured (the standard's E is of the whole
    /// facility's energy that the software answers for).
    pub operational: Emissions,
    /// `M`: its part of the host's embodied emissions.
    pub embodied: Emissions,
    /// `R`: functional units in that time.
    pub units: f64,
    /// How long it was.
    pub time: Nanos,
}

impl Sci {
    /// `(E × I) + M`.
    pub fn emissions(&self) -> Emissions {
        self.operational + self.embodied
    }

    /// Grams of CO2e per functional unit; `None` where there was no unit: a rate per nothing is not zero.
    pub fn grams_per_unit(&self) -> Option<f64> {
        (self.units.is_finite() && self.units > 0.0).then(|| self.emissions().grams() / self.units)
    }
}

impl AddAssign for Sci {
    fn add_assign(&mut self, other: Self) {
        self.operational += other.operational;
        self.embodied += other.embodied;
        self.units += other.units;
        self.time += other.time;
    }
}

/// Turns the readings of a counter of functional units into units since the reading before.
///
/// A counter that goes down was reset (Prometheus' rule): what it shows has been counted since.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UnitCounter {
    last: Option<f64>,
}

impl UnitCounter {
    /// Takes a reading and returns the units since the one before; the first has none before it.
    pub fn read(&mut self, value: f64) -> Option<f64> {
        let before = self.last.replace(value)?;
        Some(if value >= before { value - before } else { value })
    }
}

/// Sets emissions against functional units, by component, so that both are of the same time: the emissions of an
/// interval wait until a count was read that reaches to its end. What was emitted before the first count, or while the
/// agent was down, is set against nothing.
///
/// Counts are asked for when an interval is closed and are here when the next one is ([`super::UnitCounts`]), so the
/// figures come one interval late, and later where the count could not be read.
#[derive(Clone, Debug, Default)]
pub struct SciBooks {
    books: Vec<Book>,
}

#[derive(Clone, Debug)]
struct Book {
    component: String,
    functional_unit: String,
    /// Emitted since the last count that was read; its units are 0.
    waiting: Sci,
    lifetime: Option<Sci>,
}

/// What survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSci {
    pub component: String,
    pub functional_unit: String,
    pub lifetime: Sci,
}

impl SciBooks {
    /// Books of the configured units. What `self` holds of the same ones goes on; the counts begin anew.
    pub fn reconfigured(&self, units: &[FunctionalUnit]) -> Self {
        let book = |unit: &FunctionalUnit| Book {
            component: unit.component.clone(),
            functional_unit: unit.name.clone(),
            waiting: Sci::default(),
            lifetime: self.find(&unit.component, &unit.name).and_then(|book| book.lifetime),
        };
        Self { books: units.iter().map(book).collect() }
    }

    fn find(&self, component: &str, functional_unit: &str) -> Option<&Book> {
        self.books.iter().find(|book| book.component == component && book.functional_unit == functional_unit)
    }

    /// What is to be said of a component at the end of an interval in which it used `interval`. `counted` is what was
    /// read of its count at the end of the interval before; `None` where it could not be.
    pub fn close(
        &mut self,
        component: &str,
        counted: Option<Counted>,
        interval: &Usage,
        duration: Nanos,
    ) -> Option<SciRow> {
        let book = self.books.iter_mut().find(|book| book.component == component)?;
        let counted = match counted {
            None => None,
            Some(Counted::First) => {
                book.waiting = Sci::default();
                book.lifetime.get_or_insert_default();
                None
            }
            Some(Counted::Since(units)) => Some(Sci { units, ..std::mem::take(&mut book.waiting) }),
        };
        if let Some(counted) = counted {
            *book.lifetime.get_or_insert_default() += counted;
        }
        book.waiting +=
            Sci { operational: interval.emissions, embodied: interval.embodied, units: 0.0, time: duration };
        Some(SciRow { functional_unit: book.functional_unit.clone(), counted, lifetime: book.lifetime })
    }

    /// What is to survive a restart.
    pub fn save(&self) -> Vec<SavedSci> {
        let saved = |book: &Book| {
            Some(SavedSci {
                component: book.component.clone(),
                functional_unit: book.functional_unit.clone(),
                lifetime: book.lifetime?,
            })
        };
        self.books.iter().filter_map(saved).collect()
    }

    /// Goes on from what was saved, as far as it is of the configured units.
    pub fn restore(&mut self, saved: &[SavedSci]) {
        for was in saved {
            let same =
                |book: &&mut Book| book.component == was.component && book.functional_unit == was.functional_unit;
            if let Some(book) = self.books.iter_mut().find(same) {
                *book.lifetime.get_or_insert_default() += was.lifetime;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::UnitSource;
    use crate::units::MicroJoules;

    #[test]
    fn a_kilowatt_hour_and_a_machine_over_a_thousand_requests() {
        let operational = Emissions::of(MicroJoules(3_600_000_000_000), 380_000);
        let embodied = Emissions(operational.0 / 19);
        let sci = Sci { operational, embodied, units: 1000.0, time: Nanos(1) };
        assert_eq!(sci.grams_per_unit(), Some(0.4));
        for units in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Sci { units, ..sci }.grams_per_unit(), None, "{units}");
        }
    }

    #[test]
    fn a_restarted_service_goes_on_counting() {
        let mut counter = UnitCounter::default();
        let since: Vec<_> = [100.0, 110.0, 110.0, 5.0, 8.0].into_iter().map(|value| counter.read(value)).collect();
        assert_eq!(since, [None, Some(10.0), Some(0.0), Some(5.0), Some(3.0)]);
    }

    fn requests() -> Vec<FunctionalUnit> {
        let source = UnitSource::File("/count".into());
        vec![FunctionalUnit { component: "web".to_owned(), name: "request".to_owned(), source }]
    }

    /// Closes an interval of 15 s in which so much was emitted.
    fn close(books: &mut SciBooks, counted: Option<Counted>, emitted: u128) -> SciRow {
        let usage = Usage { emissions: Emissions(emitted), embodied: Emissions(1), ..Usage::default() };
        books.close("web", counted, &usage, Nanos(15)).expect("it is configured")
    }

    #[test]
    fn units_meet_the_emissions_of_their_own_time() {
        let mut books = SciBooks::default().reconfigured(&requests());
        assert_eq!(books.close("db", None, &Usage::default(), Nanos(15)), None);
        // The endpoint is not up yet: what is emitted until its first count is set against nothing.
        let row = close(&mut books, None, 1000);
        assert_eq!((row.counted, row.lifetime), (None, None), "nothing is known, which is not zero");
        let row = close(&mut books, Some(Counted::First), 10);
        assert_eq!((row.counted, row.lifetime), (None, Some(Sci::default())));
        // Each count is of the interval before.
        let row = close(&mut books, Some(Counted::Since(4.0)), 20);
        let first = Sci { operational: Emissions(10), embodied: Emissions(1), units: 4.0, time: Nanos(15) };
        assert_eq!((row.counted, row.lifetime), (Some(first), Some(first)));
        // It cannot be read twice: its units come with the next, and so do the emissions.
        for emitted in [30, 40] {
            let row = close(&mut books, None, emitted);
            assert_eq!((row.counted, row.lifetime), (None, Some(first)));
        }
        let row = close(&mut books, Some(Counted::Since(6.0)), 50);
        let next = Sci { operational: Emissions(90), embodied: Emissions(3), units: 6.0, time: Nanos(45) };
        assert_eq!(row.counted, Some(next));
        let mut sum = first;
        sum += next;
        assert_eq!(row.lifetime, Some(sum));
        // A time without units counts all the same.
        assert_eq!(
            close(&mut books, Some(Counted::Since(0.0)), 60).counted.map(|sci| sci.grams_per_unit()),
            Some(None)
        );
    }

    #[test]
    fn sums_go_on_after_a_restart_and_another_unit_begins_anew() {
        let mut before = SciBooks::default().reconfigured(&requests());
        close(&mut before, Some(Counted::First), 10);
        let counted = close(&mut before, Some(Counted::Since(4.0)), 20).lifetime;
        let saved = before.save();

        let mut after = SciBooks::default().reconfigured(&requests());
        after.restore(&saved);
        assert_eq!(
            close(&mut after, Some(Counted::First), 30).lifetime,
            counted,
            "what was emitted meanwhile is not in it"
        );
        assert_eq!(after.reconfigured(&requests()).save(), after.save());

        let mut units = requests();
        units[0].name = "story".to_owned();
        let mut other = after.reconfigured(&units);
        other.restore(&saved);
        assert_eq!(other.save(), []);
    }
}
