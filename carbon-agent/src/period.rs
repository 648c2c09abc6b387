//! The accounting period: what `carbon_emissions_kg` counts since. Pure: clocks go in, "a new one begins" comes out.
//!
//! Days, weeks (from Monday) and months are UTC's. The wall clock decides, but not at once when it jumped: a clock that
//! is wrong for a few minutes must not cost the figure of a month. So after a jump against the clock that runs on
//! through suspend, or when a restart finds an earlier time than was written, the period stands for ten minutes.

use crate::config::AccountingPeriod;
use crate::state::Moment;
use crate::units::Nanos;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How far the clocks may part before it counts as a jump; a clock that is slewed does not.
const JUMP: SignedDuration = SignedDuration::from_secs(60);
/// How long a clock that jumped is not believed.
const HOLD: Nanos = Nanos(600_000_000_000);

/// What survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// As the configuration names it.
    pub kind: String,
    pub start: Timestamp,
}

/// The running period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    kind: AccountingPeriod,
    start: Timestamp,
    last: Moment,
    held_until: Option<Nanos>,
}

impl Period {
    /// A period that begins with nothing counted.
    pub fn new(kind: AccountingPeriod, now: Moment) -> Self {
        Self { kind, start: start_of(kind, now.wall), last: now, held_until: None }
    }

    /// Goes on after a restart: the period, and whether what had been counted in it still counts. `last` is the moment
    /// of the checkpoint; `same_boot` says whether its boot-time clock is the one that runs now. `same_run`: whether
    /// the run goes on.
    pub fn resume(
        kind: AccountingPeriod,
        saved: &Saved,
        last: Moment,
        now: Moment,
        same_boot: bool,
        same_run: bool,
    ) -> (Self, bool) {
        let fresh = Self::new(kind, now);
        if kind == AccountingPeriod::Run {
            let start = if same_run { saved.start } else { now.wall };
            return (Self { start, ..fresh }, same_run);
        }
        let doubtful = if same_boot { jumped(last, now) } else { now.wall < last.wall - JUMP };
        if doubtful && saved.kind == kind.name() {
            let held_until = Some(Nanos(now.boottime.0 + HOLD.0));
            return (Self { start: saved.start, held_until, ..fresh }, true);
        }
        // Another kind than before: what was counted since a later start is part of it, though not all.
        let counts = saved.start >= fresh.start;
        let start = if saved.kind == kind.name() && counts { saved.start } else { fresh.start };
        (Self { start, ..fresh }, counts)
    }

    /// Looks at the clocks; true when a new period begins here. Leaping over several periods begins one.
    pub fn observe(&mut self, now: Moment) -> bool {
        let last = std::mem::replace(&mut self.last, now);
        if self.kind == AccountingPeriod::Run {
            return false;
        }
        if jumped(last, now) {
            self.held_until = Some(Nanos(now.boottime.0 + HOLD.0));
        }
        if self.held_until.is_some_and(|until| now.boottime < until) {
            return false;
        }
        self.held_until = None;
        let current = start_of(self.kind, now.wall);
        if current > self.start {
            self.start = current;
            return true;
        }
        // Set back across the boundary it counts on: the boundary that comes again is then no new one. Set back
        // further, the clock had been wrong: take its word for the period, and keep what was counted.
        if current < start_of(self.kind, self.start - SignedDuration::from_nanos(1)) {
            self.start = current;
        }
        false
    }

    /// Another kind of period from now on; true when nothing of what was counted belongs to it.
    pub fn change(&mut self, kind: AccountingPeriod, now: Moment) -> bool {
        if kind == self.kind {
            return false;
        }
        let saved = self.save();
        let (period, counts) = Self::resume(kind, &saved, now, now, true, true);
        *self = period;
        !counts
    }

    pub fn save(&self) -> Saved {
        Saved { kind: self.kind.name().to_owned(), start: self.start }
    }
}

/// Whether the wall clock went otherwise than the boot-time clock did.
fn jumped(before: Moment, now: Moment) -> bool {
    let ran = now.boottime.0 as i128 - before.boottime.0 as i128;
    let went = now.wall.as_nanosecond() - before.wall.as_nanosecond();
    (went - ran).unsigned_abs() > JUMP.as_nanos().unsigned_abs()
}

/// When the period that holds a moment began; for `run` the moment itself.
pub fn start_of(kind: AccountingPeriod, moment: Timestamp) -> Timestamp {
    let day = moment.to_zoned(TimeZone::UTC).date();
    let first = match kind {
        AccountingPeriod::Run => return moment,
        AccountingPeriod::Day => day,
        AccountingPeriod::Week => {
            let since_monday = i64::from(day.weekday().to_monday_zero_offset());
            day.saturating_sub(jiff::Span::new().days(since_monday))
        }
        AccountingPeriod::Month => day.first_of_month(),
    };
    first.to_zoned(TimeZone::UTC).map_or(moment, |start| start.timestamp())
}

#[cfg(test)]
mod tests;
