//! Power against the CPU time of each component: a recursive, regularised, non-negative regression.
//!
//! ```text
//! P − idle = offset + Σ watts_per_cpu(k) × busy CPUs(k) + noise
//! ```
//!
//! - Known beforehand: the `offset` is 0 to within the error that the baseline states; `watts_per_cpu(k)` normal about a common average
//!   that is itself known roughly (what active power there is per busy CPU). Where the data cannot tell components apart
//!   this draws them to the average, which is plain CPU time (ridge regression; Hoerl and Kennard 1970).
//! - How much components differ is estimated along with the rest (empirical Bayes by EM; Efron and Morris 1973).
//! - Data enter as the normal equations, whose size is that of the number of components: nothing else is remembered.
//! - What is old is forgotten in the direction of what is new (directional forgetting; Kulhavý 1987): a load that
//!   stays constant for hours says nothing about its parts, and must not wash out what was learned of them.
//! - Points far off the line count less (Huber 1964).

use crate::energy::baseline::{Idle, State};
use std::sync::Arc;

/// Components told apart on one meter; more are weighed as the average.
const MOST: usize = 32;
/// A column whose component did not run for so many points may be given to another.
const ABANDONED: u64 = 600;

/// Points after which something counts half: in the direction of new data, and in all.
const HALF_LIFE: f64 = 30.0;
const HALF_LIFE_ANYWHERE: f64 = 3600.0;

/// How much watts per CPU differ between components, as a share of the average, before there are data; and how many
/// components' worth of evidence that is.
const SPREAD: f64 = 0.5;
const SPREAD_EVIDENCE: f64 = 0.5;
const SPREAD_BOUNDS: (f64, f64) = (0.02, 1.5);

/// Whoever runs costs something: at least this share of the average.
const LEAST: f64 = 0.02;
/// Makes the normal equations of a new component invertible; a millionth of a point, so that nothing is told by it.
const SINGULAR: f64 = 1e-6;
/// A known idle power that moves by more than so many of its standard deviations has really moved.
const STEP: f64 = 4.0;
/// Huber's bound, in standard deviations.
const HUBER: f64 = 2.5;
/// Noise below this share of the power is not believed, as with the baseline.
const LEAST_NOISE: f64 = 0.003;
/// Points over which the noise is averaged.
const NOISE_POINTS: f64 = 20.0;
/// Rounds of the non-negative solution; each is a sweep over the components.
const SWEEPS: usize = 60;

/// What one component was learned to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentWeight {
    pub component: Arc<str>,
    pub watts_per_cpu: f64,
    /// One standard deviation.
    pub error: f64,
    /// How much of it the data say: 0 is the common average, 1 is all data.
    pub confidence: f64,
}

#[derive(Clone, Debug)]
struct Column {
    component: Arc<str>,
    /// The point at which it last ran.
    last: u64,
    /// Sum of its busy CPUs, forgetting.
    busy: f64,
}

/// The normal equations of one meter. Row and column 0 are the offset's: what the baseline errs by.
#[derive(Clone, Debug)]
pub struct Regression {
    columns: Vec<Column>,
    a: Vec<Vec<f64>>,
    b: Vec<f64>,
    points: u64,
    /// Variance of a point, and how much components differ (as a share of the average).
    noise: f64,
    spread: f64,
    /// Sums of active power and busy CPUs, forgetting.
    active: f64,
    busy: f64,
    /// The idle power that was taken off the points.
    taken_off: Option<Idle>,
    solution: Option<Solution>,
}

#[derive(Clone, Debug)]
struct Solution {
    offset: f64,
    watts: Vec<f64>,
    errors: Vec<f64>,
    confidences: Vec<f64>,
    average: f64,
}

impl Default for Regression {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            a: vec![vec![0.0]],
            b: vec![0.0],
            points: 0,
            noise: 0.0,
            spread: SPREAD,
            active: 0.0,
            busy: 0.0,
            taken_off: None,
            solution: None,
        }
    }
}

impl Regression {
    /// Takes in a point: watts, busy CPUs by component, and what the baseline knows.
    pub fn point(&mut self, power: f64, busy: impl Iterator<Item = (Arc<str>, f64)>, idle: Idle) {
        self.points += 1;
        self.rebase(idle);
        let mut x = vec![0.0; self.columns.len() + 1];
        x[0] = 1.0;
        let mut rest = 0.0;
        for (component, cpus) in busy.filter(|(_, cpus)| *cpus > 0.0) {
            match self.column(component) {
                Some(at) => {
                    x.resize(self.columns.len() + 1, 0.0);
                    x[at] += cpus;
                }
                None => rest += cpus,
            }
        }
        let fade = half_life(HALF_LIFE);
        let total: f64 = x[1..].iter().sum::<f64>() + rest;
        for (column, cpus) in self.columns.iter_mut().zip(&x[1..]) {
            column.busy = column.busy * fade + cpus;
        }
        let active = power - idle.power.watts();
        self.active = self.active * fade + active.max(0.0);
        self.busy = self.busy * fade + total;
        // What has no column of its own is taken to cost the average.
        let active = active - rest * self.average();
        let least_noise = (LEAST_NOISE * power).max(1e-6);
        let weight = self.weigh(active, &x, least_noise);
        self.forget(&x, weight);
        for (i, xi) in x.iter().enumerate() {
            for (j, xj) in x.iter().enumerate() {
                self.a[i][j] += weight * xi * xj;
            }
            self.b[i] += weight * xi * active;
        }
        self.solve(idle.error.watts().max(least_noise));
    }

    /// Watts per CPU of a component; of one that was never seen, the average. `None` before anything is known.
    pub fn watts_per_cpu(&self, component: &str) -> Option<f64> {
        let solution = self.solution.as_ref()?;
        let at = self.columns.iter().position(|column| *column.component == *component);
        Some(at.and_then(|at| solution.watts.get(at)).copied().unwrap_or(solution.average))
    }

    pub fn weights(&self) -> Vec<ComponentWeight> {
        let Some(solution) = &self.solution else { return Vec::new() };
        let of_column = |(at, column): (usize, &Column)| {
            Some(ComponentWeight {
                component: column.component.clone(),
                watts_per_cpu: *solution.watts.get(at)?,
                error: *solution.errors.get(at)?,
                confidence: *solution.confidences.get(at)?,
            })
        };
        self.columns.iter().enumerate().filter_map(of_column).collect()
    }

    /// Active watts per busy CPU, whoever it is busy with.
    fn average(&self) -> f64 {
        if self.busy > 0.0 { self.active / self.busy } else { 0.0 }
    }

    /// The row of a component, a new one if there is room.
    fn column(&mut self, component: Arc<str>) -> Option<usize> {
        if let Some(at) = self.columns.iter().position(|column| column.component == component) {
            self.columns[at].last = self.points;
            return Some(at + 1);
        }
        let column = Column { component, last: self.points, busy: 0.0 };
        if self.columns.len() < MOST {
            self.columns.push(column);
            self.a.iter_mut().for_each(|row| row.push(0.0));
            self.a.push(vec![0.0; self.columns.len() + 1]);
            self.b.push(0.0);
            return Some(self.columns.len());
        }
        let (at, oldest) = self.columns.iter().enumerate().min_by_key(|(_, column)| column.last)?;
        if oldest.last + ABANDONED > self.points {
            return None;
        }
        self.columns[at] = column;
        self.a[at + 1].iter_mut().for_each(|cell| *cell = 0.0);
        self.a.iter_mut().for_each(|row| row[at + 1] = 0.0);
        self.b[at + 1] = 0.0;
        Some(at + 1)
    }

    /// Old points had another idle power taken off. Where the baseline knows better by now, they are corrected; where
    /// the idle power itself moved (further than a known one's error allows) they were right at their time.
    fn rebase(&mut self, idle: Idle) {
        let Some(before) = self.taken_off.replace(idle) else { return };
        let shift = idle.power.watts() - before.power.watts();
        if before.state == State::Known && shift.abs() > STEP * before.error.watts() {
            return;
        }
        for (b, row) in self.b.iter_mut().zip(&self.a) {
            *b -= shift * row[0];
        }
    }

    /// Huber's weight of a point, by what was expected; its distance goes into the noise.
    fn weigh(&mut self, active: f64, x: &[f64], least_noise: f64) -> f64 {
        let Some(solution) = &self.solution else {
            // Before anything is known: as much as there is.
            self.noise = (0.3 * active).powi(2).max(least_noise.powi(2));
            return 1.0;
        };
        let watts = |at: usize| solution.watts.get(at).copied().unwrap_or(solution.average);
        let expected = solution.offset + x[1..].iter().enumerate().map(|(at, cpus)| cpus * watts(at)).sum::<f64>();
        let distance = active - expected;
        let bound = HUBER * self.noise.sqrt();
        let clamped = distance.clamp(-bound, bound);
        // Normal distances so clamped have 0.95 of the variance; the slack lets a noise that rises be followed.
        let share = NOISE_POINTS.min(self.points as f64).recip();
        self.noise += (1.05 * clamped.powi(2) - self.noise) * share;
        self.noise = self.noise.max(least_noise.powi(2));
        (bound / distance.abs()).min(1.0)
    }

    /// Forgets, slowly everywhere and faster along `x`, as much as the new point (of the given weight) will say.
    ///
    /// `A ← A − k x xᵀ` with `k = (1 − λ) / xᵀA⁻¹x` makes what is known of `xᵀw` worth the share `λ` of before, and takes
    /// nothing from what is known of anything else; `A` stays positive semidefinite (Kulhavý 1987). `b` follows, so that
    /// the solution stays where it is.
    fn forget(&mut self, x: &[f64], weight: f64) {
        let everywhere = half_life(HALF_LIFE_ANYWHERE);
        self.a.iter_mut().flatten().chain(&mut self.b).for_each(|cell| *cell *= everywhere);
        let mut known = self.a.clone();
        known.iter_mut().enumerate().for_each(|(at, row)| row[at] += SINGULAR);
        let Some(inverse) = invert(&known) else { return };
        let along: Vec<f64> = inverse.iter().map(|row| dot(row, x)).collect();
        let share = weight * (1.0 - half_life(HALF_LIFE)) / dot(&along, x).max(1e-12);
        let expected = dot(&along, &self.b);
        for (i, xi) in x.iter().enumerate() {
            for (j, xj) in x.iter().enumerate() {
                self.a[i][j] -= share * xi * xj;
            }
            self.b[i] -= share * xi * expected;
        }
    }

    fn solve(&mut self, offset_error: f64) {
        let n = self.columns.len();
        let average = self.average();
        if n == 0 || average <= 0.0 {
            return;
        }
        // The prior: the offset is 0 ± its error; watts per CPU with variance d² each and s² in common, whose inverse is
        // 1/d² − s²/(d² (d² + n s²)) by Sherman and Morrison.
        let (d2, s2) = ((self.spread * average).powi(2), average.powi(2));
        let shared = s2 / (d2 * (d2 + n as f64 * s2));
        let mut h = vec![vec![0.0; n + 1]; n + 1];
        let mut rhs = vec![0.0; n + 1];
        for (i, row) in h.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                let prior = match (i, j) {
                    (0, 0) => offset_error.powi(-2),
                    (0, _) | (_, 0) => 0.0,
                    _ => f64::from(u8::from(i == j)) / d2 - shared,
                };
                let mean = if j == 0 { 0.0 } else { average };
                *cell = self.a[i][j] / self.noise + prior;
                rhs[i] += prior * mean;
            }
            rhs[i] += self.b[i] / self.noise;
        }
        let Some(inverse) = invert(&h) else { return };
        let floor = LEAST * average;
        let lowest = |at: usize| if at == 0 { f64::NEG_INFINITY } else { floor };
        let mut w: Vec<f64> = inverse.iter().map(|row| dot(row, &rhs)).collect();
        if w.iter().enumerate().any(|(at, value)| *value < lowest(at)) {
            not_below(&h, &rhs, &mut w, lowest);
        }
        let watts = w[1..].to_vec();
        let errors: Vec<f64> = (1..=n).map(|at| inverse[at][at].max(0.0).sqrt()).collect();
        let mean = watts.iter().sum::<f64>() / n as f64;
        let scatter: f64 = watts.iter().zip(&errors).map(|(w, e)| (w - mean).powi(2) + e.powi(2).min(d2)).sum();
        let spread = (SPREAD_EVIDENCE * SPREAD.powi(2) + scatter / s2) / (SPREAD_EVIDENCE + n as f64);
        self.spread = spread.sqrt().clamp(SPREAD_BOUNDS.0, SPREAD_BOUNDS.1);
        let confidences = self.confidences(&inverse, d2);
        self.solution = Some(Solution { offset: w[0], watts, errors, confidences, average });
    }

    /// How much of each component's distance from the average the data say: with `z` that distance as a vector (1 for the
    /// component, less everybody's share of the CPU time), `1 − zᵀVz / d² zᵀz`. A component that runs alone is the average.
    fn confidences(&self, inverse: &[Vec<f64>], d2: f64) -> Vec<f64> {
        let total: f64 = self.columns.iter().map(|column| column.busy).sum();
        let shares: Vec<f64> =
            std::iter::once(0.0).chain(self.columns.iter().map(|column| column.busy / total.max(1e-12))).collect();
        let with_average: Vec<f64> = inverse.iter().map(|row| dot(row, &shares)).collect();
        let of_average = dot(&with_average, &shares);
        let squares = dot(&shares, &shares);
        let confidence = |at: usize| {
            let variance = inverse[at][at] - 2.0 * with_average[at] + of_average;
            let before = d2 * (1.0 - 2.0 * shares[at] + squares);
            if before <= 1e-9 * d2 { 1.0 } else { (1.0 - variance / before).clamp(0.0, 1.0) }
        };
        (1..inverse.len()).map(confidence).collect()
    }
}

fn half_life(points: f64) -> f64 {
    0.5f64.powf(points.recip())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Minimises `½ wᵀ H w − rhsᵀ w` with bounds from below, by cyclic coordinate descent; `H` is positive definite.
fn not_below(h: &[Vec<f64>], rhs: &[f64], w: &mut [f64], lowest: impl Fn(usize) -> f64) {
    w.iter_mut().enumerate().for_each(|(at, value)| *value = value.max(lowest(at)));
    for _ in 0..SWEEPS {
        let mut moved = 0.0f64;
        for at in 0..w.len() {
            let others = dot(&h[at], w) - h[at][at] * w[at];
            let value = ((rhs[at] - others) / h[at][at]).max(lowest(at));
            moved = moved.max((value - w[at]).abs() / value.abs().max(1e-9));
            w[at] = value;
        }
        if moved < 1e-6 {
            return;
        }
    }
}

/// The inverse of a symmetric positive definite matrix, by Cholesky's decomposition.
fn invert(h: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = h.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let rest = h[i][j] - dot(&l[i][..j], &l[j][..j]);
            l[i][j] = if i == j {
                if rest <= 0.0 || !rest.is_finite() {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / l[j][j]
            };
        }
    }
    // Column by column, which are its rows as it is symmetric: L Lᵀ z = the unit vector.
    let column = |at: usize| {
        let mut y = vec![0.0; n];
        for i in at..n {
            let unit = if i == at { 1.0 } else { 0.0 };
            y[i] = (unit - dot(&l[i][..i], &y[..i])) / l[i][i];
        }
        let mut z = vec![0.0; n];
        for i in (0..n).rev() {
            let below: f64 = (i + 1..n).map(|k| l[k][i] * z[k]).sum();
            z[i] = (y[i] - below) / l[i][i];
        }
        z
    };
    Some((0..n).map(column).collect())
}
