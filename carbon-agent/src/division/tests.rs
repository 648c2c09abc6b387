//! The books close under every policy, whatever is fed; what a gap hides is found when the meter is back.

use super::*;
use crate::attribution::{IdlePolicy, weights};
use crate::energy::EnergySample;
use crate::ledger::Ledger;
use crate::probe::{Comm, CpuSample, CpuWindow, TaskTime};
use crate::sampler::host_load;
use proptest::prelude::*;

fn task(pid: u32, cpu: u32, time: u64) -> TaskTime {
    TaskTime {
        process: ProcessKey { pid, start: Nanos(u64::from(pid)) },
        tid: pid,
        cpu,
        time: Nanos(time),
        comm: Comm::default(),
        parent: 1,
        cgroup: 0,
        kernel_thread: pid == 2,
        exited: false,
        seen: Nanos(0),
    }
}

fn component_of(process: ProcessKey, _: u32) -> Arc<str> {
    Arc::from(["a", "b", "c"][process.pid as usize % 3])
}

fn any_policy() -> impl Strategy<Value = (Policy, IdlePolicy)> {
    let weights = prop_oneof![Just(Policy::Time), Just(Policy::Learned), Just(Policy::Cycles)];
    let idle = prop_oneof![Just(IdlePolicy::Separate), Just(IdlePolicy::Proportional), Just(IdlePolicy::Even)];
    (weights, idle)
}

/// One sample: busy shares of some tasks, energy by meter, how late the meters were read.
type Step = (Vec<(u32, u32, u64)>, Vec<Option<u64>>, u64, bool);

fn any_step() -> impl Strategy<Value = Step> {
    let ran = prop::collection::vec((1..12u32, 0..4u32, 0..1_000_000_000u64), 0..8);
    let energies = prop::collection::vec(prop::option::of(0..500_000_000u64), 5);
    (ran, energies, 0..50_000_000u64, any::<bool>())
}

const METERS: [Meter; 5] = [
    Meter { domain: Domain::Package, socket: 0 },
    Meter { domain: Domain::Package, socket: 1 },
    Meter { domain: Domain::Dram, socket: 0 },
    Meter { domain: Domain::Psys, socket: 0 },
    Meter { domain: Domain::Gpu, socket: 0 },
];

proptest! {
    #[test]
    fn books_close_under_every_policy((policy, idle) in any_policy(), steps in prop::collection::vec(any_step(), 1..40)) {
        let topology = Topology::of([(0, 0), (1, 0), (2, 1), (3, 1)]);
        let mut division = Division::new(Baseline::default(), weights::of(policy));
        let mut ledger = Ledger::default();
        let mut read = [0; METERS.len()];
        let mut last = [0; METERS.len()];
        for (number, (ran, energies, late, counted)) in steps.into_iter().enumerate() {
            let (begin, end) = (number as u64 * 1_000_000_000, (number as u64 + 1) * 1_000_000_000);
            let window = |cpu| CpuWindow { cpu, begin: Nanos(begin), end: Nanos(end), ..CpuWindow::default() };
            let tasks: Vec<TaskTime> = ran.iter().map(|(pid, cpu, time)| task(*pid, *cpu, *time)).collect();
            let cycles = if counted { tasks.iter().map(|t| t.time.0 * 3).collect() } else { Vec::new() };
            let cpus = (0..4).map(window).collect();
            let cpu = CpuSample { begin: Nanos(begin), end: Nanos(end), cpus, tasks, cycles };
            let mut deltas = Vec::new();
            for (place, energy) in energies.into_iter().enumerate() {
                // A meter that does not answer delivers later, for a longer time.
                let Some(energy) = energy else { continue };
                read[place] += energy;
                let (from, to) = (Nanos(last[place]), Nanos(end + late));
                deltas.push(MeterDelta { meter: METERS[place], energy: MicroJoules(energy), begin: from, end: to });
                last[place] = end + late;
            }
            let load = host_load(&cpu, &topology);
            let raw = RawSample { cpu, load, energy: EnergySample { deltas, faults: Vec::new() }, ..RawSample::default() };
            let terms = Terms { idle, intensity: 380_000, ..Terms::default() };
            let posting = division.divide(&raw, &topology, &KnownIdle::new(), terms, component_of);
            for domain in Domain::ALL {
                let metered: u64 = posting.meters.iter().filter(|m| m.meter.domain == domain).map(|m| m.energy.0).sum();
                let booked: u64 = posting.energy.values().map(|e| e[domain].0).sum();
                prop_assert_eq!(metered, booked);
            }
            ledger.post(&posting, component_of);
            prop_assert!(ledger.residual().iter().all(|(_, rest)| *rest == 0));
        }
        for (place, meter) in METERS.iter().enumerate() {
            let booked = ledger.meters.get(meter).map_or(0, |book| book.lifetime.0);
            prop_assert_eq!(read[place], booked + division.skew.carried(*meter).0);
        }
    }
}

/// A meter that is silent for three seconds brings their energy later; the baseline must see the CPU time of all three.
#[test]
fn a_gap_has_the_load_of_the_gap() {
    let topology = Topology::of([(0, 0)]);
    let mut division = Division::new(Baseline::default(), weights::of(Policy::Time));
    let meter = METERS[0];
    let mut last = 0;
    for number in 0..120u64 {
        let (begin, end) = (number * 1_000_000_000, (number + 1) * 1_000_000_000);
        let share = |second: u64| (second + 1) / 4 % 5 * 250_000_000;
        let idle = 1_000_000_000 - share(number);
        let window = CpuWindow { begin: Nanos(begin), end: Nanos(end), idle: Nanos(idle), ..CpuWindow::default() };
        let tasks = vec![task(7, 0, share(number))];
        let cpu = CpuSample { begin: Nanos(begin), end: Nanos(end), cpus: vec![window], tasks, cycles: Vec::new() };
        let mut deltas = Vec::new();
        if number % 4 == 3 {
            // 20 W idle, 15 W a busy CPU.
            let busy: u64 = (last / 1_000_000_000..=number).map(share).sum();
            let energy = MicroJoules((end - last) / 1000 * 20 + busy / 1000 * 15);
            deltas.push(MeterDelta { meter, energy, begin: Nanos(last), end: Nanos(end) });
            last = end;
        }
        let load = host_load(&cpu, &topology);
        let raw = RawSample { cpu, load, energy: EnergySample { deltas, faults: Vec::new() }, ..RawSample::default() };
        division.divide(&raw, &topology, &KnownIdle::new(), Terms::default(), component_of);
    }
    let idle = division.baseline.idle(meter).expect("an estimate");
    assert!((idle.power.watts() - 20.0).abs() < 0.3, "{idle:?}");
}
