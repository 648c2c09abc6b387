//! Going on from a checkpoint, and making one.

use super::{Agent, OpenError};
use crate::attribution::{Owner, Rows};
use crate::clock;
use crate::config::Config;
use crate::energy::baseline::Baseline;
use crate::energy::{EnergySample, Meter, MeterDelta, Readings};
use crate::ledger::Posting;
use crate::period::Period;
use crate::snapshot::{Snapshot, Stage};
use crate::state::{Checkpoint, Moment, Redone, Run};
use crate::units::{Emissions, MicroJoules, Nanos};

/// What an earlier run left.
#[derive(Clone, Debug)]
pub struct Resume {
    pub checkpoint: Checkpoint,
    /// How it compared with the emissions files.
    pub redone: Redone,
}

impl Resume {
    /// The run that goes on, unless the earlier one was told to end.
    pub fn run(&self) -> Option<Run> {
        Some(self.checkpoint.run).filter(|run| !run.ended)
    }
}

impl Agent {
    /// Takes in what an earlier run left, and the first reading. What the meters counted since, in the same boot,
    /// becomes an interval of its own: open when this returns, all of it unattributed, as long as the agent was down.
    pub(super) fn resume(&mut self, config: &Config, earlier: &Resume) -> Result<(), OpenError> {
        let checkpoint = &earlier.checkpoint;
        let same_boot = self.boot_id.is_some() && self.boot_id == checkpoint.boot_id;
        let same_run = earlier.run().is_some();
        let (period, counts) = Period::resume(
            config.accounting_period,
            &checkpoint.period,
            checkpoint.end,
            Moment::now(),
            same_boot,
            same_run,
        );
        self.period = period;
        self.ledger.restore(&checkpoint.books, same_run, counts);
        self.sci.restore(&checkpoint.sci);
        self.division.baseline = Baseline::default().restore(&checkpoint.baseline);

        let readings = checkpoint.readings.as_ref().filter(|_| same_boot);
        if let Some(readings) = readings {
            self.sampler.resume(readings);
        }
        let mut first = self.sampler.sample()?;
        self.stages.faults(Stage::Energy, &first.energy.faults);
        if let Some(readings) = readings {
            add_carried(&mut first.energy.deltas, &readings.carried);
            self.book_gap(&first.energy, earlier.redone == Redone::Passed);
        }
        Ok(())
    }

    fn book_gap(&mut self, counted: &EnergySample, in_rows_already: bool) {
        let (Some(begin), Some(end)) =
            (counted.deltas.iter().map(|delta| delta.begin).min(), counted.deltas.iter().map(|delta| delta.end).max())
        else {
            return;
        };
        let duration = Nanos(end.0.saturating_sub(begin.0));
        let price = self.pricing.price(jiff::Timestamp::now(), duration);
        let intensity = price.milligrams_per_kwh;
        if in_rows_already {
            let embodied = self.embodied;
            let between = |from, to| embodied.map_or(Emissions(0), |embodied| embodied.between(from, to));
            self.ledger.catch_up(&counted.deltas, intensity, duration, between);
            return;
        }
        let mut energy = Rows::new();
        for delta in &counted.deltas {
            energy.entry(Owner::Unattributed).or_default()[delta.meter.domain] += delta.energy;
        }
        let joules = energy.get(&Owner::Unattributed).map_or(0.0, |energy| energy.total().joules());
        tracing::info!(
            "the agent was down for {:.1} s; {joules:.1} J that the meters counted meanwhile are unattributed",
            duration.seconds()
        );
        let posting = Posting { duration, energy, meters: counted.deltas.clone(), intensity, ..Posting::default() };
        let spent = self.ledger.post(&posting, |_, _| unreachable!("nothing is posted to tasks"));
        self.pricing.booked(price, spent);
        self.gap = duration > Nanos(0);
    }

    /// Whether the running interval holds something already, right after opening: the time the agent was down.
    pub fn opened_with_gap(&self) -> bool {
        self.gap
    }

    /// Everything the next start needs, as of the interval that was just closed.
    pub fn checkpoint(&self, closed: &Snapshot, run: Run) -> Checkpoint {
        Checkpoint {
            end: Moment { wall: closed.timestamp, ..Moment::now() },
            boot_id: self.boot_id.clone(),
            run,
            period: self.period.save(),
            books: self.ledger.save(),
            sci: self.sci.save(),
            baseline: self.division.baseline.save(),
            readings: self.sampler.readings().map(|read| Readings { carried: self.division.carried(), ..read }),
            rows: None,
        }
    }
}

/// Adds what an earlier run had read but not booked to what was counted since.
fn add_carried(deltas: &mut Vec<MeterDelta>, carried: &[(Meter, MicroJoules)]) {
    for (meter, energy) in carried {
        match deltas.iter_mut().find(|delta| delta.meter == *meter) {
            Some(delta) => delta.energy += *energy,
            None => {
                let now = clock::monotonic();
                deltas.push(MeterDelta { meter: *meter, energy: *energy, begin: now, end: now });
            }
        }
    }
}
