//! What the pipeline asks of this module: the price of a sample, and the corrections that late values bring.

use super::late::LateBooks;
use super::service::{Pace, Service};
use super::sources::{InForce, Methods};
use crate::config::model::IntensitySource;
use crate::ledger::{Ledger, reserved};
use crate::snapshot::StageState;
use crate::units::{MicroJoules, Nanos};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The price of a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    begin: Timestamp,
    end: Timestamp,
    /// Milligrams of CO2e per kWh, PUE applied: what `Posting::intensity` takes.
    pub milligrams_per_kwh: u64,
}

/// The running sources, the PUE and the books of what may have to be corrected. No method waits for a source.
///
/// A sample: [`Pricing::price`], post, [`Pricing::booked`]. The end of an interval: [`Pricing::settle`], read the ledger,
/// [`Pricing::methods`].
#[derive(Debug)]
pub struct Pricing {
    service: Service,
    pue: f64,
    late: LateBooks<Arc<str>>,
    methods: Methods,
    /// The service's generation at which the late books were last priced.
    priced_at: u64,
}

impl Pricing {
    /// Begins to ask the `declared` sources. `Err` is a complaint about the configuration.
    pub fn start(declared: &[IntensitySource], state_dir: &Path, pue: f64, pace: Pace) -> Result<Self, String> {
        let service = Service::start(declared, state_dir, pace)?;
        let priced_at = service.generation();
        Ok(Self { service, pue, late: LateBooks::default(), methods: Methods::default(), priced_at })
    }

    /// Goes on from what [`Pricing::outstanding`] told before a restart.
    pub fn resume(&mut self, outstanding: BTreeMap<Arc<str>, i128>) {
        self.late = LateBooks::resume(outstanding);
    }

    /// The price of a sample that took `duration` and ended at `end`.
    pub fn price(&mut self, end: Timestamp, duration: Nanos) -> Priced {
        let duration = SignedDuration::from_nanos(i64::try_from(duration.0).unwrap_or(i64::MAX));
        let begin = end.checked_sub(duration).unwrap_or(end);
        let price = self.service.sources().weighted(begin, end);
        self.methods.add(&price);
        Priced { begin, end, milligrams_per_kwh: price.milligrams_per_kwh(self.pue) }
    }

    /// Notes what each component spent at a price: what [`Ledger::post`] returned.
    pub fn booked(&mut self, priced: Priced, spent: BTreeMap<Arc<str>, MicroJoules>) {
        self.late.booked(priced.begin, priced.end, priced.milligrams_per_kwh, spent);
    }

    /// Books what values that became known meanwhile change. To be called before an interval is read and closed.
    pub fn settle(&mut self, ledger: &mut Ledger) {
        let generation = self.service.generation();
        if generation != self.priced_at {
            self.priced_at = generation;
            let sources = self.service.sources();
            self.late.restate(|begin, end| sources.weighted(begin, end).milligrams_per_kwh(self.pue));
        }
        ledger.correct_emissions(|component, most| self.late.settle(component, most));
    }

    /// What these components are still to be corrected by is from now on the retired ones' ([`Ledger::retire`]).
    pub fn retire(&mut self, names: &[Arc<str>]) {
        if !names.is_empty() {
            self.late.put_together(names, &Arc::from(reserved::OTHER));
        }
    }

    /// The methods of all prices since the last call: the `method.intensity` of the interval's rows.
    pub fn methods(&mut self) -> String {
        match self.methods.take() {
            // An interval without a sample still has an intensity in force.
            none if none.is_empty() => self.in_force(Timestamp::now()).method,
            methods => methods,
        }
    }

    pub fn in_force(&self, now: Timestamp) -> InForce {
        self.service.sources().at(now)
    }

    pub fn stage(&self, now: Timestamp) -> StageState {
        self.service.stage(now)
    }

    /// Failed attempts since the start by kind, for `carbon_errors_total{stage="intensity"}`.
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.service.errors()
    }

    /// Corrections that could not be booked yet, by component; to be kept with the counters.
    pub fn outstanding(&self) -> &BTreeMap<Arc<str>, i128> {
        self.late.outstanding()
    }

    /// Waits until every source has answered or failed once: for a run too short to be corrected later (`exec`).
    pub fn wait_for_first_answers(&self, limit: Duration) -> bool {
        self.service.wait_for_first_answers(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Owner;
    use crate::energy::Domain;
    use crate::ledger::Posting;
    use crate::snapshot::EnergyByDomain;
    use crate::units::Emissions;

    fn sample(pricing: &mut Pricing, ledger: &mut Ledger, end: Timestamp) {
        let mut energy = EnergyByDomain::default();
        energy[Domain::Package] = MicroJoules(1_000_000);
        let second = Nanos(1_000_000_000);
        let priced = pricing.price(end, second);
        let posting = Posting {
            duration: second,
            energy: [(Owner::Idle, energy)].into(),
            intensity: priced.milligrams_per_kwh,
            ..Posting::default()
        };
        let spent = ledger.post(&posting, |_, _| "none".into());
        pricing.booked(priced, spent);
    }

    #[test]
    fn a_file_that_comes_late_corrects_the_interval_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i.csv");
        let pace = Pace { poll: Some(Duration::from_millis(5)), ..Pace::default() };
        let declared = [IntensitySource::File(path.clone()), IntensitySource::GramsPerKwh(300.0)];
        let mut pricing = Pricing::start(&declared, dir.path(), 1.5, pace).unwrap();
        let mut ledger = Ledger::with_components([]);
        // At the start of a minute, so that one slot holds it all.
        let now = Timestamp::now().as_second();
        let begin = Timestamp::from_second(now - now.rem_euclid(60) - 60).unwrap();
        let joules = |count: u64| MicroJoules(count * 1_000_000);

        for second in 1..=10 {
            sample(&mut pricing, &mut ledger, begin + SignedDuration::from_secs(second));
        }
        pricing.settle(&mut ledger);
        assert_eq!(pricing.methods(), "fixed");
        assert_eq!(ledger.host().run.emissions, Emissions::of(joules(10), 450_000));
        ledger.close_interval(|_| false);

        // Lower from the sixth second on: a credit, taken off the next interval.
        std::fs::write(&path, format!("{},200\n", begin + SignedDuration::from_secs(5))).unwrap();
        let waiting = std::time::Instant::now();
        while pricing.service.generation() == 0 {
            assert!(waiting.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        for second in 11..=15 {
            sample(&mut pricing, &mut ledger, begin + SignedDuration::from_secs(second));
        }
        pricing.settle(&mut ledger);
        let right = Emissions::of(joules(10), 300_000);
        let known = ledger.host().run.emissions.0 as i128 + pricing.outstanding().values().sum::<i128>();
        assert_eq!(known, (Emissions::of(joules(5), 450_000) + right).0 as i128);
        assert_eq!(pricing.methods(), "file:i.csv");
        assert_eq!(pricing.in_force(begin + SignedDuration::from_secs(15)).grams_per_kwh, 200.0);
    }
}
