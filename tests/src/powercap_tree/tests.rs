//! The helper against the agent's own reader, and against what a child says it used.

use super::*;
use carbon_agent::energy::{Choice, Domain, EnergySource, HostLoad, Overrides, Roots};
use std::process::Command;
use std::time::Instant;

fn open(tree: &Tree) -> Box<dyn EnergySource> {
    let roots = Roots { sysfs: tree.sysfs().to_owned(), ..Roots::default() };
    carbon_agent::energy::open(Choice::Rapl, &roots, Overrides::default()).expect("the written tree").0
}

/// Reads `source` every 100 ms for `seconds` and sums what each domain of each socket counted.
fn sums(source: &mut dyn EnergySource, seconds: f64) -> Vec<((Domain, u32), u64)> {
    let mut sums = std::collections::BTreeMap::new();
    source.latch();
    source.resolve(&HostLoad::default());
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < seconds {
        std::thread::sleep(Duration::from_millis(100));
        source.latch();
        let sample = source.resolve(&HostLoad::default());
        assert_eq!(sample.faults, []);
        for delta in sample.deltas {
            *sums.entry((delta.meter.domain, delta.meter.socket)).or_insert(0) += delta.energy.0;
        }
    }
    sums.into_iter().collect()
}

#[test]
fn the_agent_reads_every_joule_through_wraps_and_mirrors() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cpus = online_cpus();
    let (left, right) = cpus.split_at(cpus.len().div_ceil(2));
    let socket = |cpus: &[u32], idle_watts| Socket {
        cpus: cpus.to_vec(),
        idle_watts,
        watts_per_busy_cpu: 10.0,
        dram_watts: Some(4.0),
    };
    let mut machine = Machine::with_sockets(vec![socket(left, 20.0), socket(right, 40.0)]);
    machine.range_uj = 15_000_000;
    machine.core = true;
    machine.psys_watts = Some(12.0);
    machine.mmio_mirror = true;
    let running = RunningTree::start(dir.path(), machine).expect("a running tree");
    let mut source = open(running.tree());
    let before = running.truth();
    let sums = sums(source.as_mut(), 1.5);
    let after = running.truth();
    let read = |domain, socket| {
        sums.iter().find(|(meter, _)| *meter == (domain, socket)).map_or(f64::NAN, |(_, energy)| *energy as f64)
    };
    for (index, (before, after)) in before.sockets.iter().zip(&after.sockets).enumerate() {
        // The truths are taken a moment before and after the readings: 20 ms at 70 W is 1.4 J.
        let package = (after.package_uj - before.package_uj) as f64;
        let got = read(Domain::Package, index as u32);
        assert!((got - package).abs() < 2e6, "socket {index}: {got} read, {package} spent");
        assert!(package > 20e6, "the counters did not wrap");
        let dram = (after.dram_uj - before.dram_uj) as f64;
        assert!((read(Domain::Dram, index as u32) - dram).abs() < 0.5e6);
    }
    let all = (after.package_uj + after.dram_uj - before.package_uj - before.dram_uj) as f64;
    assert!(read(Domain::Psys, 0) > all, "psys holds all and the rest of the platform");
}

#[test]
fn busy_time_is_what_a_busy_child_reports() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let running = RunningTree::start(dir.path(), Machine::single(0.0, 1.0)).expect("a running tree");
    let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a busy child");
    let load = LoadSource::Process(child.id());
    let begin = running.truth();
    let own = driver::load_time(&load);
    std::thread::sleep(Duration::from_millis(1500));
    let used = driver::load_time(&load) - own;
    let end = running.truth();
    child.kill().expect("ending the child");
    child.wait().expect("the child's end");
    let busy = end.sockets[0].busy_ns - begin.sockets[0].busy_ns;
    // Others run on this host too, so it can only be said from below: two ends of 10 ms a CPU.
    let slack = 20_000_000 * online_cpus().len() as u64;
    assert!(busy + slack >= used, "{busy} ns busy, the child alone used {used}");
    // 1 W per busy CPU: a microjoule is a microsecond.
    assert_eq!(end.sockets[0].active_uj, end.sockets[0].busy_ns / 1000);
}

#[test]
fn flat_shares_and_loads_of_their_own_wattage() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a busy child");
    let mut machine = Machine::single(5.0, 0.0);
    machine.flat = true;
    machine.loads.push(Load {
        name: "hot".into(),
        source: LoadSource::Process(child.id()),
        watts_per_busy_cpu: 25.0,
        socket: 0,
    });
    let running = RunningTree::start(dir.path(), machine).expect("a running tree");
    assert!(running.tree().powercap().join("intel-rapl:0/energy_uj").is_file());
    std::thread::sleep(Duration::from_millis(500));
    running.change(|machine| machine.sockets[0].idle_watts = 50.0);
    std::thread::sleep(Duration::from_millis(500));
    child.kill().expect("ending the child");
    child.wait().expect("the child's end");
    let truth = running.stop();
    assert_eq!(truth.active_uj, truth.loads[0].energy_uj);
    assert_eq!(truth.loads[0].energy_uj, truth.loads[0].cpu_ns / 1000 * 25 + truth.loads[0].cpu_ns % 1000 * 25 / 1000);
    // About half a second each at 5 and at 50 W.
    assert!((20_000_000..60_000_000).contains(&truth.idle_uj), "{} µJ idle", truth.idle_uj);
    let (first, last) = (truth.series[0].at, truth.series[truth.series.len() - 1].at);
    let (idle, active) = truth.between(first, last);
    assert!((idle - truth.idle_uj as f64).abs() < 2.0 && (active - truth.active_uj as f64).abs() < 2.0);
}

/// Reader, counters and baseline together: the baseline finds the idle watts that the tree was given, though it only
/// sees counters and busy time. The machine is one that knows a single load, so that it does not matter what else runs
/// on this host.
#[test]
fn the_baseline_finds_the_idle_power_of_the_tree() {
    use carbon_agent::energy::Meter;
    use carbon_agent::energy::baseline::{Baseline, State};
    use carbon_agent::units::{MicroJoules, Nanos};

    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new("sh").args(["-c", "sleep 2; while :; do :; done"]).spawn().expect("a child");
    let mut machine = Machine::single(20.0, 0.0);
    machine.loads.push(Load {
        name: "busy".into(),
        source: LoadSource::Process(child.id()),
        watts_per_busy_cpu: 15.0,
        socket: 0,
    });
    let running = RunningTree::start(dir.path(), machine).expect("a running tree");
    let mut source = open(running.tree());
    let mut baseline = Baseline::default();
    let meter = Meter { domain: Domain::Package, socket: 0 };
    let cpus = online_cpus().len() as u64;
    let mut before = running.truth();
    let (mut charged, mut active) = (0.0, 0.0);
    source.latch();
    for sample in 0..9 {
        std::thread::sleep(Duration::from_millis(950));
        source.latch();
        let truth = running.truth();
        let delta = source.resolve(&HostLoad::default()).deltas[0];
        let duration = Nanos(delta.end.0 - delta.begin.0);
        let busy = Nanos(truth.loads[0].cpu_ns - before.loads[0].cpu_ns);
        baseline.feed(meter, delta.energy, duration, busy, Nanos(duration.0 * cpus));
        if sample >= 4 {
            let idle = baseline.idle(meter).map_or(MicroJoules(0), |idle| idle.energy(delta.energy, duration));
            charged += delta.energy.joules() - idle.joules();
            active += (truth.active_uj - before.active_uj) as f64 / 1e6;
        }
        before = truth;
    }
    child.kill().expect("ending the child");
    child.wait().expect("the child's end");
    let idle = baseline.idle(meter).expect("an estimate");
    eprintln!("{idle:?}; charged {charged:.2} J of {active:.2} J active");
    assert_eq!(idle.state, State::Known);
    assert!((idle.power.watts() - 20.0).abs() <= 0.4, "{idle:?}");
    assert!((charged - active).abs() <= 0.05 * active, "charged {charged:.2} J of {active:.2} J active");
}
