//! The weighted, robust straight line of power against busy CPUs.

use super::Belief;

/// One point: about a second of one meter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Busy CPUs.
    pub load: f64,
    /// CPUs there were.
    pub cpus: f64,
    /// Watts.
    pub power: f64,
    /// Which level of load it belongs to.
    pub level: usize,
    /// Counts up: which point is newer.
    pub number: u64,
}

/// How much watts per busy CPU differ between loads, as a share (one standard deviation).
const HETEROGENEITY: f64 = 0.25;

/// Huber's constant: 95 % efficiency where the noise is Gaussian after all.
const HUBER: f64 = 1.345;

/// Rounds of reweighting; the weights hardly move after five.
const ROUNDS: usize = 8;

/// Noise below this share of the mean power is not believed: counters step, readings are a moment apart.
const LEAST_NOISE: f64 = 0.003;

/// As a share of the mean power: scatter that a meter may well have.
const USUAL_NOISE: f64 = 0.02;

/// A fitted line `power = intercept + slope × load` and what is known of its accuracy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub intercept: f64,
    pub slope: f64,
    /// Standard errors as far as the scatter goes.
    pub intercept_error: f64,
    pub slope_error: f64,
    /// Standard deviation of a point repeated, watts.
    pub noise: f64,
    /// How far points lie from the line, watts (robust standard deviation): more than `noise` where loads differ.
    pub misfit: f64,
    /// Idle power cannot be above this: the least power seen, and the scatter.
    pub ceiling: f64,
    pub mean_power: f64,
    mean_load: f64,
    cpus: f64,
    /// The lowest load that a trusted point speaks of.
    lowest_load: f64,
}

/// Sums of the normal equations.
#[derive(Default)]
struct Sums {
    w: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Sums {
    fn of(points: &[(Point, f64)], weight: impl Fn(&Point) -> f64) -> Self {
        let mut sums = Self::default();
        for (point, given) in points {
            let w = given * weight(point);
            sums.w += w;
            sums.x += w * point.load;
            sums.y += w * point.power;
            sums.xx += w * point.load * point.load;
            sums.xy += w * point.load * point.power;
        }
        sums
    }

    /// Weighted sum of squared distances of the load from its mean.
    fn spread(&self) -> f64 {
        (self.xx - self.x * self.x / self.w).max(0.0)
    }

    /// Intercept and slope; a slope below 0 is not physical and becomes 0.
    fn solve(&self) -> (f64, f64) {
        let spread = self.spread();
        let covariance = self.xy - self.x * self.y / self.w;
        // Loads that differ by less than a thousandth of a CPU say nothing about a slope.
        let slope = if spread > self.w * 1e-6 { (covariance / spread).max(0.0) } else { 0.0 };
        ((self.y - slope * self.x) / self.w, slope)
    }
}

impl Line {
    /// Fits points, each with a weight given from outside; `None` for none at all.
    pub(super) fn fit(points: &[(Point, f64)]) -> Option<Self> {
        if points.is_empty() {
            return None;
        }
        let plain = Sums::of(points, |_| 1.0);
        let (mean_power, mean_load) = (plain.y / plain.w, plain.x / plain.w);
        let least_noise = (LEAST_NOISE * mean_power).max(1e-6);
        let (mut intercept, mut slope) = plain.solve();
        let mut noise = scatter(points, slope, mean_power).max(least_noise);
        let mut sums = plain;
        for _ in 0..ROUNDS {
            let variance = |point: &Point| variance(noise, slope, point.load);
            sums = Sums::of(points, |point| {
                let variance = variance(point);
                let distance = (point.power - intercept - slope * point.load).abs() / variance.sqrt();
                (HUBER / distance).min(1.0) / variance
            });
            (intercept, slope) = sums.solve();
            noise = scatter(points, slope, mean_power).max(least_noise);
        }
        let spread = sums.spread().max(1e-12);
        let mean = sums.x / sums.w;
        let current = points.iter().filter(|(_, given)| *given >= 1.0).map(|(point, _)| point);
        let least_power = current.map(|point| point.power).fold(f64::INFINITY, f64::min);
        let trusted = points.iter().filter(|(point, _)| {
            let distance = (point.power - intercept - slope * point.load).abs();
            distance <= 3.0 * variance(noise, slope, point.load).sqrt()
        });
        let lowest_load = trusted.map(|(point, _)| point.load).fold(f64::INFINITY, f64::min);
        Some(Self {
            intercept,
            slope,
            intercept_error: (1.0 / sums.w + mean * mean / spread).sqrt(),
            slope_error: spread.recip().sqrt(),
            noise,
            misfit: misfit(points, intercept, slope),
            ceiling: if least_power.is_finite() { least_power + noise } else { f64::INFINITY },
            mean_power,
            mean_load,
            cpus: points[points.len() - 1].0.cpus,
            lowest_load: if lowest_load.is_finite() { lowest_load } else { mean_load },
        })
    }

    /// What the data alone say of the idle power. That the lowest load seen may cost other watts per CPU than the line
    /// has on average is no scatter and does not shrink with more points.
    pub(super) fn belief(&self) -> Belief {
        // A slope that is itself unknown may be as high as all of the power.
        let steepest = self.mean_power / self.mean_load.max(1e-9);
        let slope = (self.slope + self.slope_error).min(steepest);
        let systematic = HETEROGENEITY * slope * self.lowest_load;
        Belief { power: self.intercept, error: (self.intercept_error.powi(2) + systematic.powi(2)).sqrt() }
    }

    /// What hosts of this kind usually spend at rest, given what this one spends at the load seen.
    pub(super) fn usual(&self, idle_to_full: f64) -> Belief {
        let utilisation = if self.cpus > 0.0 { (self.mean_load / self.cpus).min(1.0) } else { 0.0 };
        let share = idle_to_full / (idle_to_full + (1.0 - idle_to_full) * utilisation);
        let power = self.mean_power * share;
        // At rest the share is 1 and certain; the busier, the less it says.
        Belief { power, error: (0.7 * power * utilisation.sqrt()).max(self.noise) }
    }

    /// How far a point lies from the line, in standard deviations.
    pub(super) fn standardised(&self, point: &Point) -> f64 {
        let expected = self.intercept + self.slope * point.load;
        (point.power - expected) / variance(self.noise, self.slope, point.load).sqrt()
    }
}

fn variance(noise: f64, slope: f64, load: f64) -> f64 {
    noise.powi(2) + (HETEROGENEITY * slope * load).powi(2)
}

/// How well a reading repeats: from the differences between successive points of one level, what the slope explains
/// taken out. (The distances from the line would do only if all loads cost the same.) The median makes it robust.
///
/// At load, points also differ because loads of differing cost take turns. That is no noise of the meter, and must not
/// take the say from the few points near rest: beyond what a meter may well have, what such turns can explain is taken
/// out, unless the points near rest scatter as much.
fn scatter(points: &[(Point, f64)], slope: f64, mean_power: f64) -> f64 {
    let residual = |point: &Point| point.power - slope * point.load;
    let mut steps: Vec<(f64, f64)> = points
        .windows(2)
        .filter(|pair| pair[0].0.level == pair[1].0.level && pair[0].1 >= 1.0)
        .map(|pair| (pair[0].0.load, (residual(&pair[0].0) - residual(&pair[1].0)).abs()))
        .collect();
    let Some((load, all)) = median_step(&mut steps) else { return 0.0 };
    steps.retain(|(at, _)| *at < load / 2.0);
    let near_rest = median_step(&mut steps).map_or(0.0, |(_, size)| size);
    // Loads that take turns cost nothing to twice the mean: successive points differ by up to twice the active power.
    let unexplained = (all.powi(2) - (2.0 * slope * load).powi(2)).max(0.0).sqrt();
    all.min(unexplained.max(near_rest).max(USUAL_NOISE * mean_power))
}

/// The median load of steps, and the standard deviation of a point that their median size stands for: 1.4826 makes a
/// standard deviation of a median distance, and a difference of two points has √2 of it.
fn median_step(steps: &mut [(f64, f64)]) -> Option<(f64, f64)> {
    if steps.is_empty() {
        return None;
    }
    let middle = steps.len() / 2;
    let load = steps.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0)).1.0;
    let size = steps.select_nth_unstable_by(middle, |a, b| a.1.total_cmp(&b.1)).1.1;
    Some((load, 1.4826 / std::f64::consts::SQRT_2 * size))
}

/// Robust standard deviation of the points about a line.
fn misfit(points: &[(Point, f64)], intercept: f64, slope: f64) -> f64 {
    let mut distances: Vec<f64> =
        points.iter().map(|(point, _)| (point.power - intercept - slope * point.load).abs()).collect();
    let middle = distances.len() / 2;
    let (_, median, _) = distances.select_nth_unstable_by(middle, f64::total_cmp);
    1.4826 * *median
}
