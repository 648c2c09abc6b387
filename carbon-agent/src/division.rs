//! From a raw sample to a posting, with everything that is learned on the way: skew, idle power, weights. Pure: the same
//! samples in the same order give the same postings, live or from a recording.

use crate::attribution::Owner;
use crate::attribution::weights::{Policy, Seen, Weights};
use crate::energy::baseline::{Baseline, Idle, State};
use crate::energy::counter::MicroWatts;
use crate::energy::{Domain, HostLoad, Meter, MeterDelta};
use crate::ledger::{Posting, reserved};
use crate::posting::{self, Terms};
use crate::probe::ProcessKey;
use crate::sampler::RawSample;
use crate::skew::Skew;
use crate::topology::Topology;
use crate::units::{MicroJoules, Nanos};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Idle energy that a source itself knows of a sample, by meter (an estimation model does; meters do not).
pub type KnownIdle = BTreeMap<Meter, MicroJoules>;

/// What divides samples, and what it has learned from those before.
#[derive(Debug)]
pub struct Division {
    pub baseline: Baseline,
    pub weights: Box<dyn Weights>,
    skew: Skew,
    /// Who ran since each meter last spoke.
    since: BTreeMap<Meter, Ran>,
}

/// What ran on the CPUs of a meter.
#[derive(Clone, Debug, Default)]
struct Ran {
    busy: Nanos,
    available: Nanos,
    cpu: BTreeMap<Arc<str>, Nanos>,
}

impl Ran {
    fn add(&mut self, other: &Ran) {
        self.busy += other.busy;
        self.available += other.available;
        for (component, time) in &other.cpu {
            *self.cpu.entry(component.clone()).or_default() += *time;
        }
    }
}

impl Division {
    pub fn new(baseline: Baseline, weights: Box<dyn Weights>) -> Self {
        Self { baseline, weights, skew: Skew::default(), since: BTreeMap::new() }
    }

    /// What the meters have counted and no sample holds yet.
    pub fn carried(&self) -> Vec<(Meter, MicroJoules)> {
        self.skew.all_carried()
    }

    pub fn policy(&self) -> Policy {
        self.weights.policy()
    }

    /// Takes in a sample, learns from it, and divides it.
    pub fn divide(
        &mut self,
        raw: &RawSample,
        topology: &Topology,
        known: &KnownIdle,
        terms: Terms,
        component_of: impl Fn(ProcessKey, u32) -> Arc<str>,
    ) -> Posting {
        let deltas = self.skew.align(&raw.energy.deltas, raw.cpu.end);
        let by_socket = ran_by_socket(raw, topology, &component_of);
        let mut components: BTreeMap<Owner, Arc<str>> = BTreeMap::new();
        for task in &raw.cpu.tasks {
            let owner = posting::owner_of(task);
            components.entry(owner).or_insert_with(|| component(owner, &component_of));
        }
        components.extend(raw.gpus.users.iter().filter_map(|user| user.process).map(|process| {
            let owner = Owner::Task { process, tid: process.pid };
            (owner, component(owner, &component_of))
        }));
        let loads = self.gather(raw, &deltas, &by_socket);
        for (delta, ran) in deltas.iter().zip(&loads).filter(|_| !terms.asleep) {
            let duration = length(delta);
            // A card that does not say how busy it was says nothing of its idle power.
            if delta.meter.domain == Domain::Gpu && ran.available == Nanos(0) {
                continue;
            }
            self.baseline.feed(delta.meter, delta.energy, duration, ran.busy, ran.available);
            // What a component draws of a card is the card's own affair, not that of its CPU time.
            if delta.meter.domain != Domain::Gpu
                && let Some(idle) = idle(&self.baseline, known, delta)
            {
                let seen = Seen { meter: delta.meter, energy: delta.energy, duration, idle, cpu: &ran.cpu };
                self.weights.learn(seen);
            }
        }
        let idle_energy: BTreeMap<Meter, MicroJoules> = deltas
            .iter()
            .zip(&loads)
            .map(|(delta, ran)| {
                let learned = || self.baseline.idle_energy(delta, ran.busy, ran.available);
                (delta.meter, known.get(&delta.meter).copied().unwrap_or_else(learned))
            })
            .collect();
        let names = [reserved::KERNEL, reserved::UNATTRIBUTED].map(Arc::<str>::from);
        // A component's factor is the same for all its tasks: looked up once.
        let mut factors: BTreeMap<(Meter, Arc<str>), u64> = BTreeMap::new();
        for name in components.values().chain(&names) {
            for delta in &deltas {
                let factor = || self.weights.factor(delta.meter, name);
                factors.entry((delta.meter, name.clone())).or_insert_with(factor);
            }
        }
        let name_of = |owner: Owner| match owner {
            Owner::Kernel => &names[0],
            Owner::Idle | Owner::Unattributed => &names[1],
            Owner::Task { .. } => components.get(&owner).unwrap_or(&names[1]),
        };
        let factor = |meter: Meter, owner: Owner| match meter.domain {
            Domain::Gpu => 1,
            _ => factors.get(&(meter, name_of(owner).clone())).copied().unwrap_or(1),
        };
        let idle_of = |delta: &MeterDelta| idle_energy.get(&delta.meter).copied().unwrap_or_default();
        let terms = Terms { weights: self.weights.policy(), ..terms };
        posting::post(&raw.cpu, &raw.gpus.users, deltas.clone(), topology, idle_of, factor, terms)
    }

    /// What ran in the time of each reading: in this sample, or longer where the meter was silent before.
    fn gather(&mut self, raw: &RawSample, deltas: &[MeterDelta], by_socket: &BTreeMap<u32, Ran>) -> Vec<Ran> {
        for (meter, ran) in &mut self.since {
            ran.add(&of_meter(*meter, by_socket, raw));
        }
        let sample = Nanos(raw.cpu.end.0.saturating_sub(raw.cpu.begin.0));
        let gather = |delta: &MeterDelta| {
            let now = of_meter(delta.meter, by_socket, raw);
            let all = self.since.insert(delta.meter, Ran::default()).unwrap_or_else(|| now.clone());
            // Half a sample tells a gap from skew. A meter that came back anew has counted nothing in the gap.
            let covers_gap = delta.begin.0.saturating_add(sample.0 / 2) < raw.cpu.begin.0;
            if covers_gap { all } else { now }
        };
        deltas.iter().map(gather).collect()
    }
}

fn length(delta: &MeterDelta) -> Nanos {
    Nanos(delta.end.0.saturating_sub(delta.begin.0))
}

/// What is known of a meter's idle power: by the source itself, or learned.
fn idle(baseline: &Baseline, known: &KnownIdle, delta: &MeterDelta) -> Option<Idle> {
    match known.get(&delta.meter) {
        None => baseline.idle(delta.meter),
        Some(energy) => {
            let power = MicroWatts::from_watts(energy.watts_over(length(delta)));
            Some(Idle { power, error: MicroWatts(0), state: State::Known })
        }
    }
}

fn component(owner: Owner, component_of: &impl Fn(ProcessKey, u32) -> Arc<str>) -> Arc<str> {
    match owner {
        Owner::Task { process, tid } => component_of(process, tid),
        Owner::Kernel => Arc::from(reserved::KERNEL),
        Owner::Idle => Arc::from(reserved::IDLE),
        Owner::Unattributed => Arc::from(reserved::UNATTRIBUTED),
    }
}

fn ran_by_socket(
    raw: &RawSample,
    topology: &Topology,
    component_of: &impl Fn(ProcessKey, u32) -> Arc<str>,
) -> BTreeMap<u32, Ran> {
    let mut sockets: BTreeMap<u32, Ran> = BTreeMap::new();
    for load in &raw.load.sockets {
        let ran = sockets.entry(load.socket).or_default();
        ran.busy += load.busy;
        ran.available += load.available;
    }
    let mut add = |cpu: u32, name: Arc<str>, time: Nanos| {
        if time.0 > 0 {
            *sockets.entry(topology.socket(cpu)).or_default().cpu.entry(name).or_default() += time;
        }
    };
    for task in raw.cpu.tasks.iter().filter(|task| task.time.0 > 0) {
        add(task.cpu, component(posting::owner_of(task), component_of), task.time);
    }
    for window in &raw.cpu.cpus {
        add(window.cpu, component(Owner::Kernel, component_of), window.interrupts);
        add(window.cpu, component(Owner::Unattributed, component_of), window.lost);
    }
    sockets
}

/// `psys` is of the whole machine, `gpu` of a card, every other meter of its socket.
fn of_meter(meter: Meter, by_socket: &BTreeMap<u32, Ran>, raw: &RawSample) -> Ran {
    match meter.domain {
        Domain::Gpu => {
            let load = raw.gpus.loads.iter().find(|load| load.meter == meter);
            load.map(|load| Ran { busy: load.busy, available: load.wall, ..Ran::default() }).unwrap_or_default()
        }
        Domain::Psys => by_socket.values().fold(Ran::default(), |mut all, ran| {
            all.add(ran);
            all
        }),
        _ => by_socket.get(&meter.socket).cloned().unwrap_or_default(),
    }
}

/// CPU time that a meter's CPUs had in a sample: what [`crate::energy::EnergySource::idle_part`] wants to know.
pub fn available(meter: Meter, load: &HostLoad) -> Nanos {
    let of_meter = |socket: u32| meter.domain == Domain::Psys || socket == meter.socket;
    load.sockets.iter().filter(|load| of_meter(load.socket)).map(|load| load.available).sum()
}

#[cfg(test)]
mod tests;
