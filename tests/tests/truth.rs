//! The real agent on this host, with a meter whose truth is known: what it charges against what was drawn.

use carbon_agent::clock;
use carbon_agent::units::Nanos;
use carbon_tests::agent::{agent, binary, rows, terminate};
use carbon_tests::kernel::Running;
use carbon_tests::need;
use carbon_tests::powercap_tree::{Load, LoadSource, Machine, RunningTree, Socket, Truth, online_cpus};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Starts a load on one CPU: a shell of its own name, which is how the rules tell loads apart. It rests for 3 s first; its
/// `rest` starts no process, as a child's CPU time would be the load's but no part of the truth.
fn load(dir: &Path, name: &str, cpu: u32, script: &str) -> Running {
    let shell = dir.join(name);
    std::fs::copy("/bin/bash", &shell).expect("the shell can be copied");
    let mut command = Command::new(shell);
    let script = format!("exec 9<> <(:); rest() {{ read -rt $1 -u 9; }}; rest 3; {script}");
    command.args(["-c", &script]).stdin(Stdio::null());
    // SAFETY: between fork and exec only an async-signal-safe system call is made, on a set of its own.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu as usize, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
            Ok(())
        });
    }
    Running::start(&mut command)
}

/// A running agent, ended when the test ends.
struct Agent {
    daemon: Child,
    output: PathBuf,
}

impl Agent {
    fn start(dir: &Path, sysfs: &Path, flags: &[&str]) -> Self {
        let output = dir.join("out");
        std::fs::create_dir(&output).expect("an output directory");
        let config = dir.join("config.yaml");
        let rule = |name| format!("    - {{ name: {name}, match: {{ comm: \"{name}\" }} }}\n");
        let text = format!("carbon:\n  components:\n{}{}", rule("truth-a"), rule("truth-b"));
        std::fs::write(&config, text).expect("a configuration");
        let mut arguments = vec!["run", "--probe", "ebpf", "--energy", "rapl", "--listen", "127.0.0.1:0"];
        let (config, sysfs, out) = (config.to_string_lossy(), sysfs.to_string_lossy(), output.to_string_lossy());
        arguments.extend(["--config", &config, "--host-sysfs", &sysfs, "--output-dir", &out]);
        arguments.extend(flags);
        let daemon = agent(&arguments).stderr(Stdio::null()).spawn().expect("the agent runs");
        Self { daemon, output }
    }

    /// Ends the agent and returns its rows.
    fn stop(mut self) -> Vec<Value> {
        terminate(&mut self.daemon);
        rows(&self.output)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// What the loads had truly drawn at each moment of a run, in joules.
type Series = Vec<(Nanos, Vec<f64>)>;

/// Follows the truth for so many seconds: a load's own watts and those of the CPUs that it was busy on. `None` if others
/// were busy meanwhile: then the machine was never at rest, and nobody can know what rest costs.
fn watch(running: &RunningTree, cpu_watts: &[f64], seconds: u64) -> Result<Series, Fault> {
    let begin = (clock::monotonic(), running.truth());
    let mut series = Series::new();
    loop {
        let (now, truth) = (clock::monotonic(), running.truth());
        let loads = truth.loads.iter().zip(cpu_watts);
        let drawn = loads.map(|(load, watts)| load.energy_uj as f64 / 1e6 + load.cpu_ns as f64 / 1e9 * watts).collect();
        series.push((now, drawn));
        let elapsed = now.0 - begin.0.0;
        let others = busy_others(&truth).saturating_sub(busy_others(&begin.1)) as f64 / elapsed.max(1) as f64;
        // Loading the agent is over by then.
        if others > QUIET && elapsed > 5_000_000_000 {
            return Err(Fault::disturbed(format!("others kept {others:.2} CPUs busy, more than {QUIET}")));
        }
        if elapsed > seconds * 1_000_000_000 {
            return Ok(series);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// CPU time, in nanoseconds, of all but the loads.
fn busy_others(truth: &Truth) -> u64 {
    let busy: u64 = truth.sockets.iter().map(|socket| socket.busy_ns).sum();
    busy.saturating_sub(truth.loads.iter().map(|load| load.cpu_ns).sum())
}

/// Why a run shows nothing (others kept the machine busy), or the wrong thing.
#[derive(Debug)]
struct Fault {
    disturbed: bool,
    what: String,
}

impl Fault {
    fn disturbed(what: String) -> Self {
        Self { disturbed: true, what }
    }
}

/// Up to three runs: a real machine may have other things to do in one. What the agent does wrong it does in each.
fn one_of_three(name: &str, run: impl Fn(&Path) -> Result<(), Fault>) {
    if !need::root() {
        return;
    }
    // One test at a time, each is a disturbance to the others; and built before the loads begin, so that they begin after
    // the agent.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    binary();
    let mut faults = Vec::new();
    for _ in 0..3 {
        let dir = tempfile::tempdir().expect("a directory");
        match run(dir.path()) {
            Ok(()) => return,
            Err(fault) => {
                eprintln!("{name}: {}", fault.what);
                faults.push(fault);
            }
        }
    }
    assert!(faults.iter().all(|fault| fault.disturbed), "{name}: {faults:?}");
    need::need(false, &format!("a host at rest: {faults:?}"));
}

static TURN: Mutex<()> = Mutex::new(());

/// CPUs that others may keep busy, the agent and this test among them.
const QUIET: f64 = 0.25;

/// What a load drew between two moments, by linear interpolation.
fn drawn(series: &Series, load: usize, begin: Nanos, end: Nanos) -> f64 {
    let at = |moment: Nanos| {
        let after = series.partition_point(|(at, _)| *at < moment).clamp(1, series.len() - 1);
        let ((left, a), (right, b)) = (&series[after - 1], &series[after]);
        let part = moment.0.saturating_sub(left.0) as f64 / (right.0 - left.0).max(1) as f64;
        a[load] + part.min(1.0) * (b[load] - a[load])
    };
    at(end) - at(begin)
}

/// Compares what a component was charged in the intervals that lie within the series after `from` with what it drew.
fn check(rows: &[Value], series: &Series, load: usize, component: &str, from: Nanos, within: f64) -> Result<(), Fault> {
    let (wall, monotonic) = (jiff::Timestamp::now().as_nanosecond(), clock::monotonic());
    let last = series.last().expect("a run").0;
    let (mut joules, mut truth) = (0.0, 0.0);
    for row in rows.iter().filter(|row| row["record"] == "component" && row["component"] == component) {
        let at: jiff::Timestamp = row["timestamp"].as_str().and_then(|text| text.parse().ok()).expect("a timestamp");
        let end = Nanos((i128::from(monotonic.0) - (wall - at.as_nanosecond())) as u64);
        let length = row["interval_seconds"].as_f64().expect("a length");
        let begin = Nanos(end.0 - (length * 1e9) as u64);
        if begin >= from && end <= last {
            joules += row["interval_energy_joules"]["package"].as_f64().unwrap_or(0.0);
            truth += drawn(series, load, begin, end);
        }
    }
    let error = (joules - truth) / truth;
    let said = format!("{component}: charged {joules:.2} J, drew {truth:.2} J, {:+.2} %", error * 100.0);
    println!("{said}");
    if truth < 5.0 {
        return Err(Fault::disturbed(format!("{said}: it hardly ran")));
    }
    if error.abs() > within { Err(Fault { disturbed: false, what: said }) } else { Ok(()) }
}

/// A load as the tree plays it.
fn played(child: &Running, watts: f64, socket: usize) -> Load {
    Load { name: format!("{watts} W"), source: LoadSource::Process(child.pid()), watts_per_busy_cpu: watts, socket }
}

/// 20 W idle and a load of 15 W per busy CPU, which begins 2 s after the agent: it is charged what it drew, within 2 %,
/// after the first 15 s.
#[test]
fn one_core_is_charged_15_joules_a_second() {
    one_of_three("one core", |dir| {
        let child = load(dir, "truth-a", 0, "while :; do :; done");
        let mut machine = Machine::single(20.0, 15.0);
        machine.loads.push(played(&child, 0.0, 0));
        let running = RunningTree::start(dir, machine).expect("a running tree");
        let daemon = Agent::start(dir, running.tree().sysfs(), &["--interval", "1"]);
        let from = Nanos(clock::monotonic().0 + 17_000_000_000);
        let series = watch(&running, &[15.0], 30)?;
        drop(child);
        check(&daemon.stop(), &series, 0, "truth-a", from, 0.02)
    });
}

/// Loads of 5 and 25 W per busy CPU take turns of a second, in export intervals of 15 s: each is charged its own, within 5 %
/// where samples are 0.1 s apart and within 10 % where they are a second apart.
#[test]
fn phases_are_charged_to_who_ran() {
    for (sample_interval, within) in [("0.1", 0.05), ("1", 0.10)] {
        one_of_three(&format!("turns, sampled at {sample_interval} s"), |dir| turns(dir, sample_interval, within));
    }
}

fn turns(dir: &Path, sample_interval: &str, within: f64) -> Result<(), Fault> {
    // Works through every other second and sleeps through the rest: who looks at the clock all the time also works then.
    let script = |whose: u32| {
        format!(
            "while :; do now=$EPOCHREALTIME; \
             if (( ${{now%.*}} % 2 == {whose} )); then for ((i = 0; i < 2000; i++)); do :; done; \
             else printf -v left '0.%06d' $((1000000 - 10#${{now#*.}})); rest $left; fi; done"
        )
    };
    let a = load(dir, "truth-a", 0, &script(0));
    let b = load(dir, "truth-b", online_cpus().len() as u32 - 1, &script(1));
    // Everybody draws 5 W a CPU, and the second load 20 more.
    let mut machine = Machine::single(20.0, 5.0);
    machine.loads.extend([played(&a, 0.0, 0), played(&b, 20.0, 0)]);
    let running = RunningTree::start(dir, machine).expect("a running tree");
    let flags = ["--interval", "15", "--sample-interval", sample_interval];
    let daemon = Agent::start(dir, running.tree().sysfs(), &flags);
    let from = Nanos(clock::monotonic().0 + 10_000_000_000);
    let series = watch(&running, &[5.0, 5.0], 65)?;
    drop((a, b));
    let rows = daemon.stop();
    check(&rows, &series, 0, "truth-a", from, within)?;
    check(&rows, &series, 1, "truth-b", from, within)
}

/// Two sockets at 10 and 30 W per busy CPU, a load pinned to each: each is charged its own within 3 %.
#[test]
fn each_socket_is_charged_to_who_ran_on_it() {
    let cpus = online_cpus();
    if !need::need(cpus.len() >= 2, "two CPUs") {
        return;
    }
    one_of_three("two sockets", |dir| {
        let (first, second) = cpus.split_at(cpus.len() / 2);
        let a = load(dir, "truth-a", first[0], "while :; do :; done");
        let b = load(dir, "truth-b", second[0], "while :; do :; done");
        let socket =
            |cpus: &[u32]| Socket { cpus: cpus.to_vec(), idle_watts: 20.0, watts_per_busy_cpu: 0.0, dram_watts: None };
        let mut machine = Machine::with_sockets(vec![socket(first), socket(second)]);
        machine.loads.extend([played(&a, 10.0, 0), played(&b, 30.0, 1)]);
        let running = RunningTree::start(dir, machine).expect("a running tree");
        let daemon = Agent::start(dir, running.tree().sysfs(), &["--interval", "1"]);
        let from = Nanos(clock::monotonic().0 + 17_000_000_000);
        let series = watch(&running, &[0.0, 0.0], 30)?;
        drop((a, b));
        let rows = daemon.stop();
        check(&rows, &series, 0, "truth-a", from, 0.03)?;
        check(&rows, &series, 1, "truth-b", from, 0.03)
    });
}
