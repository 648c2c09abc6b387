//! Other ways to learn watts per CPU, to compare ours with: `docs/decisions/weights.md`.

use carbon_agent::attribution::weights::{Policy, Seen, Weights};
use carbon_agent::energy::Meter;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Components in the scenarios, at most.
const MOST: usize = 4;

/// How a candidate estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Non-negative least squares, forgetting with a half-life of two minutes.
    Nnls,
    /// The same with a fixed pull towards the average (a tenth of a point for each component).
    Ridge,
    /// A Kalman filter: watts per CPU wander by 1 % of the average a second; noise is 1 % of the power.
    Kalman,
}

#[derive(Clone, Debug)]
pub struct Candidate {
    kind: Kind,
    meters: BTreeMap<Meter, State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    names: Vec<Arc<str>>,
    a: [[f64; MOST]; MOST],
    b: [f64; MOST],
    watts: [f64; MOST],
    active: f64,
    busy: f64,
}

impl Candidate {
    pub fn new(kind: Kind) -> Self {
        Self { kind, meters: BTreeMap::new() }
    }
}

impl Weights for Candidate {
    fn policy(&self) -> Policy {
        Policy::Learned
    }

    fn learn(&mut self, seen: Seen<'_>) {
        let state = self.meters.entry(seen.meter).or_default();
        let seconds = seen.duration.seconds();
        let mut x = [0.0; MOST];
        for (name, time) in seen.cpu {
            let at = state.names.iter().position(|known| known == name).unwrap_or_else(|| {
                state.names.push(name.clone());
                state.names.len() - 1
            });
            x[at] = time.seconds() / seconds;
        }
        let power = seen.energy.joules() / seconds;
        let active = power - seen.idle.power.watts();
        let fade = 0.5f64.powf(1.0 / 120.0);
        state.active = state.active * fade + active.max(0.0);
        state.busy = state.busy * fade + x.iter().sum::<f64>();
        let average = if state.busy > 0.0 { state.active / state.busy } else { 0.0 };
        match self.kind {
            Kind::Kalman => state.filter(x, active, average, power),
            Kind::Nnls => state.regress(x, active, average, fade, 0.0),
            Kind::Ridge => state.regress(x, active, average, fade, 0.1),
        }
    }

    fn factor(&self, meter: Meter, component: &str) -> u64 {
        let Some(state) = self.meters.get(&meter) else { return 1 };
        let at = state.names.iter().position(|name| **name == *component);
        at.map_or(1, |at| (state.watts[at] * 1e3).round().max(1.0) as u64)
    }
}

impl State {
    fn regress(&mut self, x: [f64; MOST], y: f64, average: f64, fade: f64, pull: f64) {
        for i in 0..MOST {
            for j in 0..MOST {
                self.a[i][j] = self.a[i][j] * fade + x[i] * x[j];
            }
            self.b[i] = self.b[i] * fade + x[i] * y;
        }
        for _ in 0..200 {
            for i in 0..self.names.len() {
                let others: f64 = (0..MOST).filter(|j| *j != i).map(|j| self.a[i][j] * self.watts[j]).sum();
                let value = (self.b[i] + pull * average - others) / (self.a[i][i] + pull).max(1e-9);
                self.watts[i] = value.max(0.0);
            }
        }
    }

    /// `a` is the covariance here.
    fn filter(&mut self, x: [f64; MOST], y: f64, average: f64, power: f64) {
        for i in 0..self.names.len() {
            if self.a[i][i] == 0.0 {
                (self.a[i][i], self.watts[i]) = (average.powi(2), average);
            }
            self.a[i][i] += (0.01 * average).powi(2);
        }
        let gain: Vec<f64> = (0..MOST).map(|i| (0..MOST).map(|j| self.a[i][j] * x[j]).sum()).collect();
        let variance = gain.iter().zip(x).map(|(g, x)| g * x).sum::<f64>() + (0.01 * power).powi(2);
        let surprise = y - self.watts.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        for i in 0..MOST {
            self.watts[i] = (self.watts[i] + gain[i] * surprise / variance).max(0.0);
            for j in 0..MOST {
                self.a[i][j] -= gain[i] * gain[j] / variance;
            }
        }
    }
}
