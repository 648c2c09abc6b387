//! The same samples through different formulas: microjoules of active energy charged to each load.

use super::machine::{Machine, load_of};
use carbon_agent::attribution::weights::{self, Policy, Weights};
use carbon_agent::attribution::{IdlePolicy, Owner};
use carbon_agent::division::{Division, KnownIdle};
use carbon_agent::energy::baseline::Baseline;
use carbon_agent::posting::Terms;
use carbon_agent::sampler::RawSample;
use carbon_agent::topology::Topology;
use std::sync::Arc;

/// A way to say who spent what.
pub trait Method {
    fn name(&self) -> &'static str;

    /// What each load is charged for a sample, in microjoules.
    fn charge(&mut self, raw: &RawSample, loads: usize) -> Vec<f64>;
}

/// This agent: the very code that runs in it.
#[derive(Debug)]
pub struct Ours {
    division: Division,
    topology: Topology,
    names: Vec<Arc<str>>,
    name: &'static str,
}

impl Ours {
    pub fn new(machine: &Machine, policy: Policy) -> Self {
        let name = match policy {
            Policy::Learned => "carbon-agent",
            Policy::Time => "the same, plain time",
            Policy::Cycles => "the same, cycles",
        };
        Self::with(machine, weights::of(policy), name)
    }

    /// With weights of the caller's making.
    pub fn with(machine: &Machine, weights: Box<dyn Weights>, name: &'static str) -> Self {
        Self {
            name,
            division: Division::new(Baseline::default(), weights),
            topology: machine.topology(),
            names: machine.loads.iter().map(|load| Arc::from(load.name)).collect(),
        }
    }
}

impl Method for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn charge(&mut self, raw: &RawSample, loads: usize) -> Vec<f64> {
        let names = &self.names;
        let component_of = |process, _| names[load_of(process)].clone();
        let terms = Terms { idle: IdlePolicy::Separate, ..Terms::default() };
        let posting = self.division.divide(raw, &self.topology, &KnownIdle::new(), terms, component_of);
        let mut charged = vec![0.0; loads];
        for (owner, energy) in &posting.energy {
            if let Owner::Task { process, .. } = owner {
                charged[load_of(*process)] += energy.total().0 as f64;
            }
        }
        charged
    }
}

/// Kepler (since 0.10): the node's energy × its CPU usage ratio is active, and shared by CPU time; every zone alike.
/// Source: its `internal/monitor` package, `node.go` and `process.go`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kepler;

impl Method for Kepler {
    fn name(&self) -> &'static str {
        "Kepler's formula"
    }

    fn charge(&mut self, raw: &RawSample, loads: usize) -> Vec<f64> {
        let host = Host::of(raw);
        share(raw, loads, host.energy * host.busy / host.available.max(1.0), host.busy)
    }
}

/// Scaphandre: the host's power × the process's share of all CPU time there was, idle included.
/// Source: `get_process_power_consumption_microwatts` in its `src/sensors/mod.rs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scaphandre;

impl Method for Scaphandre {
    fn name(&self) -> &'static str {
        "Scaphandre's formula"
    }

    fn charge(&mut self, raw: &RawSample, loads: usize) -> Vec<f64> {
        let host = Host::of(raw);
        share(raw, loads, host.energy, host.available)
    }
}

struct Host {
    energy: f64,
    busy: f64,
    available: f64,
}

impl Host {
    fn of(raw: &RawSample) -> Self {
        Self {
            energy: raw.energy.deltas.iter().map(|delta| delta.energy.0 as f64).sum(),
            busy: raw.load.sockets.iter().map(|load| load.busy.0 as f64).sum(),
            available: raw.load.sockets.iter().map(|load| load.available.0 as f64).sum(),
        }
    }
}

/// `energy × CPU time / whole` to each load.
fn share(raw: &RawSample, loads: usize, energy: f64, whole: f64) -> Vec<f64> {
    let mut charged = vec![0.0; loads];
    for task in &raw.cpu.tasks {
        charged[load_of(task.process)] += energy * task.time.0 as f64 / whole.max(1.0);
    }
    charged
}
