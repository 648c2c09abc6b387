//! What CPU time weighs when a meter's active energy is divided: one trait, three policies.
//!
//! Whatever the policy says, weights are whole numbers and [`super::apportion`] divides by them without a remainder:
//! the books close under every policy. `docs/method.md` ("Weights") derives them.

mod learned;
mod regression;

pub use learned::Learned;
pub use regression::ComponentWeight;

use crate::energy::Meter;
use crate::energy::baseline::Idle;
use crate::units::{MicroJoules, Nanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Which policy a row's figures were made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// A nanosecond is a nanosecond.
    #[default]
    Time,
    /// A nanosecond counts by the watts per CPU that its component was learned to draw.
    Learned,
    /// Cycles by the hardware's counters instead of time.
    Cycles,
}

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Policy::Time => "time",
            Policy::Learned => "learned",
            Policy::Cycles => "cycles",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one meter counted, and who ran meanwhile: what a policy may learn from.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub meter: Meter,
    pub energy: MicroJoules,
    pub duration: Nanos,
    /// What is known of the meter's idle power; its error says how far to trust it.
    pub idle: Idle,
    /// CPU time by component on the CPUs that the meter covers.
    pub cpu: &'a BTreeMap<Arc<str>, Nanos>,
}

/// The weight of CPU time.
pub trait Weights: fmt::Debug + Send {
    fn policy(&self) -> Policy;

    /// Takes in a sample.
    fn learn(&mut self, _seen: Seen<'_>) {}

    /// How many times its CPU time a component's claim on this meter counts, in comparison to others' on the same.
    fn factor(&self, _meter: Meter, _component: &str) -> u64 {
        1
    }

    /// What was learned, for reports: nothing under policies that learn nothing.
    fn learned(&self) -> Vec<(Meter, Vec<ComponentWeight>)> {
        Vec::new()
    }
}

/// Plain CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Time;

impl Weights for Time {
    fn policy(&self) -> Policy {
        Policy::Time
    }
}

/// Cycles: `posting` claims by the cycles that the probe counted ([`crate::probe::CpuSample::cycles`]), so a claim needs
/// no factor. A core at half its frequency has half as many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cycles;

impl Weights for Cycles {
    fn policy(&self) -> Policy {
        Policy::Cycles
    }
}

/// The policy of that name, knowing nothing yet.
pub fn of(policy: Policy) -> Box<dyn Weights> {
    match policy {
        Policy::Time => Box::new(Time),
        Policy::Learned => Box::new(Learned::default()),
        Policy::Cycles => Box::new(Cycles),
    }
}

#[cfg(test)]
mod tests;
