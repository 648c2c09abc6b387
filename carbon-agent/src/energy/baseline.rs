//! The idle baseline, learned: what a meter would show with nothing running.
//!
//! It is the intercept of power against busy CPU time, `P = idle + slope × U`, where `U` is the number of busy CPUs.
//! Nothing here does I/O; feed it every sample, ask it for the idle power. `docs/method.md` derives the estimator,
//! `docs/decisions/baseline.md` says why this one and what it was compared with.
//!
//! What it rests on:
//! - Samples are gathered to points of about a second, where tick rounding and read skew average out.
//! - Points are kept by load level, the last few of each level. A load that stays constant for hours cannot push out
//!   what little is known of the machine at rest, and a new reading of a level replaces the old ones of that level.
//! - A point at load `U` speaks of idle power only as well as the slope is known to hold for whatever ran then; loads
//!   differ in watts per CPU. So its variance is `noise² + (HETEROGENEITY × slope × U)²`: points near rest decide.
//! - Residuals are weighed by Huber's function: outliers count less.
//! - Where only a narrow band of load was ever seen the intercept is not in the data. Then the state is
//!   [`State::Learning`], and the guess leans on a prior: the last run's value, or the idle share that a host of this
//!   kind usually has.
//! - A change of the idle power itself (a governor, a disk that spins up) shows as residuals that stay on one side. The
//!   points from before then count little, and not at all once the newer ones show the same slope shifted.

mod fit;

use super::counter::MicroWatts;
use super::{Meter, MeterDelta, MicroJoules};
use crate::units::Nanos;
use fit::{Line, Point};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Samples are gathered until they make up this much time. A little less than a second, so that samples meant to be
/// of a second are points of their own.
const POINT: Nanos = Nanos(900_000_000);

/// Load levels: level `floor(LEVELS × √utilisation)`, finest near rest, where it matters.
const LEVELS: usize = 24;
/// Points kept of each level.
const KEPT: usize = 16;

/// After so many points only every [`REFIT`]th is followed by a fit.
const SETTLED: u64 = 32;
const REFIT: u64 = 4;

/// Of so many points and more a verdict is given.
const ENOUGH: usize = 3;
/// Standard error of the idle power, as a share of the mean power, below which it counts as known.
const KNOWN_WITHIN: f64 = 0.05;

/// Residuals (in standard deviations) are added up beyond this much; see [`Learner::watch`].
const DRIFT_SLACK: f64 = 1.0;
/// The sum at which the idle power is taken to have changed.
const DRIFT_LIMIT: f64 = 20.0;
/// So many points after a change it is decided what it was.
const VERDICT: u64 = 120;
/// What a point from before a change still weighs.
const STALE_WEIGHT: f64 = 0.02;

/// What is known of a meter's idle power.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// Not enough was seen to tell idle from active power; the estimate is a guess.
    Learning,
    /// The estimate holds within `± error` (one standard deviation).
    Known,
}

/// The idle power of one meter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Idle {
    pub power: MicroWatts,
    /// One standard deviation, the differing watts per CPU of loads included.
    pub error: MicroWatts,
    pub state: State,
}

impl Idle {
    /// The idle part of `energy` counted over `duration`: never more than there was.
    pub fn energy(&self, energy: MicroJoules, duration: Nanos) -> MicroJoules {
        self.power.over(duration).min(energy)
    }
}

/// What survives a restart: small, and valid on its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub meters: Vec<SavedMeter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedMeter {
    pub meter: Meter,
    pub idle_power_uw: MicroWatts,
    pub error_uw: MicroWatts,
}

/// Idle power of all meters.
#[derive(Clone, Debug)]
pub struct Baseline {
    idle_to_full: f64,
    learners: BTreeMap<Meter, Learner>,
}

/// Idle power as a share of full-load power where nothing else is known: the middle of the estimation table
/// (`energy/model/coefficients.rs`), whose families lie between 0.15 and 0.33.
pub const USUAL_IDLE_TO_FULL: f64 = 0.22;

impl Default for Baseline {
    fn default() -> Self {
        Self::new(USUAL_IDLE_TO_FULL)
    }
}

impl Baseline {
    /// `idle_to_full`: the usual ratio of idle to full-load power of such a host; it only matters while learning.
    pub fn new(idle_to_full: f64) -> Self {
        Self { idle_to_full: idle_to_full.clamp(0.01, 1.0), learners: BTreeMap::new() }
    }

    /// Goes on from what an earlier run had learned. Data that contradict it win.
    pub fn restore(mut self, saved: &Saved) -> Self {
        for known in &saved.meters {
            let mut learner = Learner::new(self.idle_to_full);
            let power = known.idle_power_uw.watts();
            // The machine may have changed a little since; a reboot or a governor more, which the data will show.
            let error = known.error_uw.watts().max(0.03 * power);
            learner.saved = Some(Belief { power, error });
            learner.refit();
            self.learners.insert(known.meter, learner);
        }
        self
    }

    /// What to keep for the next run: meters whose idle power is known.
    pub fn save(&self) -> Saved {
        let known = self.learners.iter().filter_map(|(meter, learner)| {
            let idle = learner.idle()?;
            (idle.state == State::Known).then_some(SavedMeter {
                meter: *meter,
                idle_power_uw: idle.power,
                error_uw: idle.error,
            })
        });
        Saved { meters: known.collect() }
    }

    /// Takes one sample: what `meter` counted in `duration`, and the CPU time its socket's CPUs were busy and had.
    /// For `psys` give the sums of all sockets.
    pub fn feed(&mut self, meter: Meter, energy: MicroJoules, duration: Nanos, busy: Nanos, available: Nanos) {
        let idle_to_full = self.idle_to_full;
        let learner = self.learners.entry(meter).or_insert_with(|| Learner::new(idle_to_full));
        learner.feed(energy, duration, busy, available);
    }

    /// The idle part of what `meter` counted in a sample. Before its first full point there is only the usual share of
    /// such a host to go by: `r / (r + (1 − r) × utilisation)` with `r` the ratio of idle to full-load power.
    pub fn idle_energy(&self, delta: &MeterDelta, busy: Nanos, available: Nanos) -> MicroJoules {
        let duration = Nanos(delta.end.0.saturating_sub(delta.begin.0));
        if let Some(idle) = self.idle(delta.meter) {
            return idle.energy(delta.energy, duration);
        }
        let utilisation = (busy.seconds() / available.seconds().max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        let share = self.idle_to_full / (self.idle_to_full + (1.0 - self.idle_to_full) * utilisation);
        MicroJoules((delta.energy.0 as f64 * share) as u64).min(delta.energy)
    }

    /// Whether the idle power of every meter is known well enough.
    pub fn state(&self) -> State {
        let known = |learner: &Learner| learner.idle().is_some_and(|idle| idle.state == State::Known);
        let all = !self.learners.is_empty() && self.learners.values().all(known);
        if all { State::Known } else { State::Learning }
    }

    /// The idle power of a meter; `None` before its first full point (about a second), unless an earlier run knew it.
    pub fn idle(&self, meter: Meter) -> Option<Idle> {
        self.learners.get(&meter)?.idle()
    }
}

/// An idle power and its standard deviation, watts.
#[derive(Clone, Copy, Debug)]
struct Belief {
    power: f64,
    error: f64,
}

/// One meter.
#[derive(Clone, Debug)]
struct Learner {
    idle_to_full: f64,
    saved: Option<Belief>,
    gathered: Gathered,
    levels: Vec<VecDeque<Point>>,
    line: Option<Line>,
    result: Option<(Belief, State)>,
    /// Sums of residuals that stay above and below the line.
    above: f64,
    below: f64,
    /// Number of the point that came last, and of the first after the last change.
    count: u64,
    changed_at: u64,
    /// Intercept and slope before that change: a shift of idle power leaves the slope as it was.
    before: Option<(f64, f64)>,
}

/// Samples on their way to becoming a point.
#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    energy: MicroJoules,
    duration: Nanos,
    busy: Nanos,
    available: Nanos,
}

impl Learner {
    fn new(idle_to_full: f64) -> Self {
        Self {
            idle_to_full,
            saved: None,
            gathered: Gathered::default(),
            levels: vec![VecDeque::new(); LEVELS + 1],
            line: None,
            result: None,
            above: 0.0,
            below: 0.0,
            count: 0,
            changed_at: 0,
            before: None,
        }
    }

    fn feed(&mut self, energy: MicroJoules, duration: Nanos, busy: Nanos, available: Nanos) {
        let gathered = &mut self.gathered;
        gathered.energy += energy;
        gathered.duration += duration;
        gathered.busy += busy;
        gathered.available += available;
        if gathered.duration < POINT {
            return;
        }
        let point = std::mem::take(gathered);
        let seconds = point.duration.seconds();
        let utilisation =
            if point.available.0 == 0 { 0.0 } else { (point.busy.0 as f64 / point.available.0 as f64).min(1.0) };
        self.count += 1;
        let cpus = point.available.0 as f64 / point.duration.0 as f64;
        let new = Point {
            load: utilisation * cpus,
            cpus,
            power: point.energy.joules() / seconds,
            level: (utilisation.sqrt() * LEVELS as f64) as usize,
            number: self.count,
        };
        if self.before.is_some() && self.count > self.changed_at + VERDICT {
            // Nothing has shown that the idle power moved: it was the load. What was known before counts in full again.
            self.before = None;
            self.changed_at = 0;
        }
        self.watch(&new);
        let level = &mut self.levels[new.level];
        if level.len() == KEPT {
            level.pop_front();
        }
        level.push_back(new);
        // A fit takes some 80 µs; a line that stands on many points hardly moves with one more. Not so while something
        // is changing.
        let settled = self.count > SETTLED && self.before.is_none() && self.above.max(self.below) < DRIFT_LIMIT / 4.0;
        if !settled || self.count.is_multiple_of(REFIT) {
            self.refit();
        }
    }

    /// Looks for residuals that stay on one side (Page's cumulative sum test): the idle power has changed.
    fn watch(&mut self, point: &Point) {
        let Some(line) = &self.line else { return };
        // One wild point must not be a change.
        let residual = line.standardised(point).clamp(-4.0, 4.0);
        self.above = (self.above + residual - DRIFT_SLACK).max(0.0);
        self.below = (self.below - residual - DRIFT_SLACK).max(0.0);
        if self.above > DRIFT_LIMIT || self.below > DRIFT_LIMIT {
            // The points that raised the alarm are from after the change: at the most 4 − slack each.
            let since = (DRIFT_LIMIT / (4.0 - DRIFT_SLACK)).ceil() as u64 - 1;
            self.changed_at = point.number.saturating_sub(since);
            self.before = Some((line.intercept, line.slope));
            (self.above, self.below) = (0.0, 0.0);
        }
    }

    fn refit(&mut self) {
        self.forget_if_shifted();
        let points: Vec<(Point, f64)> = self
            .levels
            .iter()
            .flatten()
            .map(|point| (*point, if point.number < self.changed_at { STALE_WEIGHT } else { 1.0 }))
            .collect();
        self.line = Line::fit(&points);
        let Some(line) = &self.line else {
            self.result = self.saved.map(|saved| (saved, State::Known));
            return;
        };
        let prior = self.saved.unwrap_or_else(|| line.usual(self.idle_to_full));
        let seen = line.belief();
        // Two independent judgements of one figure: each weighs by its precision.
        let (a, b) = (seen.error.powi(-2), prior.error.powi(-2));
        let joint = Belief { power: (seen.power * a + prior.power * b) / (a + b), error: (a + b).sqrt().recip() };
        let power = joint.power.clamp(0.0, line.ceiling);
        let known = joint.error <= KNOWN_WITHIN * line.mean_power && (points.len() >= ENOUGH || self.saved.is_some());
        let state = if known { State::Known } else { State::Learning };
        self.result = Some((Belief { power, ..joint }, state));
    }

    /// Drops the points from before a change once those after it show the old slope, shifted: idle power itself moved.
    ///
    /// Another slope would mean another load, which says nothing against what was known of the machine at rest.
    fn forget_if_shifted(&mut self) {
        let Some((intercept, slope)) = self.before else {
            return;
        };
        let newer: Vec<(Point, f64)> = self
            .levels
            .iter()
            .flatten()
            .filter(|point| point.number >= self.changed_at)
            .map(|point| (*point, 1.0))
            .collect();
        let Some(line) = Line::fit(&newer) else {
            return;
        };
        let same_slope = (line.slope - slope).abs() <= 0.2 * slope && line.slope_error <= 0.2 * slope;
        let certain = line.belief().error <= KNOWN_WITHIN * line.mean_power;
        let shift = (line.intercept - intercept).abs();
        let clean = line.misfit <= 0.15 * shift;
        if newer.len() >= 8 && same_slope && certain && clean {
            for level in &mut self.levels {
                level.retain(|point| point.number >= self.changed_at);
            }
            self.before = None;
            // What an earlier run knew is from before the change, too.
            self.saved = None;
        }
    }

    fn idle(&self) -> Option<Idle> {
        let (belief, state) = self.result?;
        Some(Idle { power: MicroWatts::from_watts(belief.power), error: MicroWatts::from_watts(belief.error), state })
    }
}

#[cfg(test)]
mod candidates;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
