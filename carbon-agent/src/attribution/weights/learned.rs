//! Weights learned from the meter itself: one regression a meter.

use super::regression::{ComponentWeight, Regression};
use super::{Policy, Seen, Weights};
use crate::energy::Meter;
use crate::units::{MicroJoules, Nanos};
use std::collections::BTreeMap;
use std::sync::Arc;

/// As with the baseline, samples are gathered to points of about a second: tick rounding averages out.
const POINT: Nanos = Nanos(900_000_000);

/// Watts per CPU by component, learned for each meter by itself: memory does not cost what the package does.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    meters: BTreeMap<Meter, Learner>,
}

#[derive(Clone, Debug, Default)]
struct Learner {
    energy: MicroJoules,
    duration: Nanos,
    cpu: BTreeMap<Arc<str>, Nanos>,
    regression: Regression,
}

impl Weights for Learned {
    fn policy(&self) -> Policy {
        Policy::Learned
    }

    fn learn(&mut self, seen: Seen<'_>) {
        let learner = self.meters.entry(seen.meter).or_default();
        learner.energy += seen.energy;
        learner.duration += seen.duration;
        for (component, time) in seen.cpu {
            *learner.cpu.entry(component.clone()).or_default() += *time;
        }
        if learner.duration < POINT {
            return;
        }
        let seconds = learner.duration.seconds();
        let busy = std::mem::take(&mut learner.cpu).into_iter().map(|(name, time)| (name, time.seconds() / seconds));
        learner.regression.point(learner.energy.joules() / seconds, busy, seen.idle);
        (learner.energy, learner.duration) = (MicroJoules(0), Nanos(0));
    }

    fn factor(&self, meter: Meter, component: &str) -> u64 {
        let watts = self.meters.get(&meter).and_then(|learner| learner.regression.watts_per_cpu(component));
        // Milliwatts are fine enough, and leave room for the CPU time of a day on a thousand CPUs.
        watts.map_or(1, |watts| (watts * 1e3).round().clamp(1.0, 1e6) as u64)
    }

    fn learned(&self) -> Vec<(Meter, Vec<ComponentWeight>)> {
        self.meters.iter().map(|(meter, learner)| (*meter, learner.regression.weights())).collect()
    }
}
