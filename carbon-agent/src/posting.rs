//! From a raw sample to a posting: who claims what of which socket. Pure.

use crate::attribution::weights::Policy;
use crate::attribution::{Claim, IdlePolicy, MeterSpend, Owner, Place, Rows, attribute_by};
use crate::energy::{GpuUser, Meter, MeterDelta};
use crate::ledger::Posting;
use crate::probe::{CpuSample, TaskTime};
use crate::topology::Topology;
use crate::units::{MicroJoules, Nanos};
use std::collections::BTreeMap;

/// How a sample is to be divided.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    pub idle: IdlePolicy,
    /// Whether claims are of time or of cycles.
    pub weights: Policy,
    /// Milligrams of CO2e per kWh, PUE applied.
    pub intensity: u64,
    /// The machine slept during the sample: its watts say nothing of a machine awake, and nothing is learned.
    pub asleep: bool,
}

/// Divides a sample: every task claims its socket's energy by its CPU time there; interrupts and kernel threads are
/// the kernel's, lost time is unattributed. Energy of the graphics cards goes to who used them. `idle_of` gives the idle
/// share of a meter's reading, `factor` what an owner's claim is worth on a meter.
pub fn post(
    cpu: &CpuSample,
    gpu_users: &[GpuUser],
    deltas: Vec<MeterDelta>,
    topology: &Topology,
    idle_of: impl Fn(&MeterDelta) -> MicroJoules,
    factor: impl Fn(Meter, Owner) -> u64,
    terms: Terms,
) -> Posting {
    let clock = Clock::of(cpu, terms.weights);
    let mut claims = Vec::with_capacity(cpu.tasks.len());
    let mut times: BTreeMap<Owner, Nanos> = BTreeMap::new();
    let mut claim = |owner: Owner, on: u32, time: Nanos, cycles: Option<u64>| {
        if time.0 > 0 {
            let place = Place::Socket(topology.socket(on));
            claims.push(Claim { owner, place, weight: clock.weight(time, cycles) });
            *times.entry(owner).or_default() += time;
        }
    };
    for (place, task) in cpu.tasks.iter().enumerate() {
        claim(owner_of(task), task.cpu, task.time, cpu.cycles.get(place).copied());
    }
    for window in &cpu.cpus {
        claim(Owner::Kernel, window.cpu, window.interrupts, None);
        claim(Owner::Unattributed, window.cpu, window.lost, None);
    }
    claims.extend(gpu_users.iter().map(|user| Claim {
        // Its driver knows no threads: where they are kept apart it is the first one's.
        owner: user.process.map_or(Owner::Unattributed, |process| Owner::Task { process, tid: process.pid }),
        place: Place::Card(user.meter.socket),
        weight: user.weight,
    }));
    times.insert(Owner::Idle, cpu.cpus.iter().map(|w| w.idle).sum());

    let meters: Vec<MeterSpend> = deltas
        .iter()
        .map(|delta| MeterSpend { meter: delta.meter, energy: delta.energy, idle: idle_of(delta) })
        .collect();
    Posting {
        duration: Nanos(cpu.end.0.saturating_sub(cpu.begin.0)),
        energy: attribute_by(&meters, &claims, terms.idle, factor),
        cpu: times,
        meters: deltas,
        intensity: terms.intensity,
    }
}

/// The rule for a sample in which the machine slept: nobody on it is held to what was spent meanwhile. What the baseline
/// makes of the time awake stays idle, the rest is unattributed; CPU time stands as counted.
pub fn to_nobody(posting: &mut Posting) {
    let mut energy = Rows::new();
    for (owner, spent) in &posting.energy {
        let owner = if *owner == Owner::Idle { Owner::Idle } else { Owner::Unattributed };
        *energy.entry(owner).or_default() += *spent;
    }
    posting.energy = energy;
}

/// What CPU time without a count of its own weighs where claims are cycles: the sample's mean cycles a nanosecond.
struct Clock {
    cycles: u128,
    time: u128,
}

impl Clock {
    fn of(cpu: &CpuSample, policy: Policy) -> Self {
        let counted = cpu.tasks.iter().zip(&cpu.cycles).filter(|_| policy == Policy::Cycles);
        counted.fold(Self { cycles: 0, time: 0 }, |sum, (task, cycles)| Self {
            cycles: sum.cycles + u128::from(*cycles),
            time: sum.time + u128::from(task.time.0),
        })
    }

    /// At least 1: whoever ran has a claim.
    fn weight(&self, time: Nanos, cycles: Option<u64>) -> u64 {
        if self.cycles == 0 {
            return time.0;
        }
        let usual = || u64::try_from(u128::from(time.0) * self.cycles / self.time.max(1)).unwrap_or(u64::MAX);
        cycles.unwrap_or_else(usual).max(1)
    }
}

/// Who a task's time is booked to.
pub fn owner_of(task: &TaskTime) -> Owner {
    if task.kernel_thread { Owner::Kernel } else { Owner::Task { process: task.process, tid: task.tid } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Domain;
    use crate::probe::{Comm, CpuWindow, ProcessKey};

    fn task(pid: u32, time: u64, kernel_thread: bool) -> TaskTime {
        TaskTime {
            process: ProcessKey { pid, start: Nanos(1) },
            tid: pid,
            cpu: 0,
            time: Nanos(time),
            comm: Comm::default(),
            parent: 1,
            cgroup: 0,
            kernel_thread,
            exited: false,
            seen: Nanos(0),
        }
    }

    #[test]
    fn every_kind_of_time_has_its_row() {
        let window = CpuWindow {
            end: Nanos(100),
            idle: Nanos(40),
            interrupts: Nanos(10),
            lost: Nanos(10),
            ..CpuWindow::default()
        };
        let meter = Meter { domain: Domain::Package, socket: 0 };
        let sample = CpuSample {
            end: Nanos(100),
            cpus: vec![window],
            tasks: vec![task(7, 20, false), task(2, 20, true), task(8, 0, false)],
            ..CpuSample::default()
        };
        let deltas = vec![MeterDelta { meter, energy: MicroJoules(90), begin: Nanos(0), end: Nanos(100) }];
        let idle = |_: &MeterDelta| MicroJoules(30);
        let posting = post(&sample, &[], deltas, &Topology::default(), idle, |_, _| 1, Terms::default());
        let worker = owner_of(&task(7, 20, false));
        let energy: Vec<_> = posting.energy.iter().map(|(o, e)| (*o, e.total().0)).collect();
        assert_eq!(energy, [(worker, 20), (Owner::Kernel, 30), (Owner::Idle, 30), (Owner::Unattributed, 10)]);
        let cpu: Vec<_> = posting.cpu.iter().map(|(o, t)| (*o, t.0)).collect();
        assert_eq!(cpu, [(worker, 20), (Owner::Kernel, 30), (Owner::Idle, 40), (Owner::Unattributed, 10)]);
        assert_eq!(posting.duration, Nanos(100));
    }

    #[test]
    fn cycles_count_where_they_are_the_policy() {
        let window = CpuWindow { end: Nanos(100), interrupts: Nanos(20), ..CpuWindow::default() };
        let sample = CpuSample {
            end: Nanos(100),
            cpus: vec![window],
            // Two siblings of one core: the same time, and the second did a third of the work.
            tasks: vec![task(7, 40, false), task(8, 40, false)],
            cycles: vec![120, 40],
            ..CpuSample::default()
        };
        let meter = Meter { domain: Domain::Package, socket: 0 };
        let deltas = vec![MeterDelta { meter, energy: MicroJoules(200), begin: Nanos(0), end: Nanos(100) }];
        let divided = |weights| {
            let terms = Terms { weights, ..Terms::default() };
            let posting = post(&sample, &[], deltas.clone(), &Topology::default(), |_| MicroJoules(0), |_, _| 1, terms);
            posting.energy.values().map(|e| e.total().0).collect::<Vec<_>>()
        };
        assert_eq!(divided(Policy::Cycles), [120, 40, 40]);
        assert_eq!(divided(Policy::Time), [80, 80, 40]);
    }

    #[test]
    fn energy_of_a_sample_with_sleep_in_it_is_nobodys() {
        let joules = |n| {
            let mut energy = crate::snapshot::EnergyByDomain::default();
            energy[Domain::Package] = MicroJoules(n);
            energy
        };
        let worker = owner_of(&task(7, 20, false));
        let mut posting = Posting {
            energy: [(worker, joules(20)), (Owner::Kernel, joules(30)), (Owner::Idle, joules(40))].into(),
            cpu: [(worker, Nanos(20))].into(),
            ..Posting::default()
        };
        to_nobody(&mut posting);
        assert_eq!(posting.energy, [(Owner::Idle, joules(40)), (Owner::Unattributed, joules(50))].into());
        assert_eq!(posting.cpu, [(worker, Nanos(20))].into());
    }
}
