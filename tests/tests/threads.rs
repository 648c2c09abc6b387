//! Components that live as threads of one process: rules on `thread`, end to end, also when a reload brings the first.

use carbon_tests::agent::rows;
use carbon_tests::books::assert_closed;
use carbon_tests::daemon::{Daemon, Setup};
use carbon_tests::kernel::stolen;
use carbon_tests::need;
use carbon_tests::workers::Workers;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);
const NAMES: [&str; 3] = ["llm-worker-1", "llm-worker-2", "narrative-2"];

/// By name of the process alone.
const PLAIN: &str = "    - { name: app, match: { comm: probe-shapes } }\n";
/// Two of the threads' kinds are components of their own, the rest of the process is `app`.
const BY_THREAD: &str = "    - { name: model_management, match: { thread: \"llm-worker*\" } }\n    \
                         - { name: narrative, match: { thread: \"narrative-*\" } }\n    \
                         - { name: app, match: { comm: probe-shapes } }\n";

/// One test at a time: the rules are on names, and the threads of both tests bear the same.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn configure(directory: &TempDir, rules: &str) {
    let text = format!("carbon:\n  measurement_interval: 0.4\n  sample_interval: 0.2\n  components:\n{rules}");
    std::fs::write(directory.path().join("config.yaml"), text).expect("the configuration");
}

fn start(directory: &TempDir) -> (Setup, Daemon) {
    let file = directory.path().join("config.yaml");
    let setup = Setup { arguments: Vec::new(), ..Setup::new(directory.path(), 0.4, 0.2) };
    let setup = setup.with(&["--probe", "ebpf", "--energy", "model", "--config", file.to_str().expect("UTF-8")]);
    let daemon = setup.start();
    daemon
        .wait_for("the first interval", LIMIT, |metrics| metrics.contains_key("carbon_last_sample_timestamp_seconds"));
    (setup, daemon)
}

fn workers() -> Workers {
    Workers::start(Path::new(env!("CARGO_BIN_EXE_probe-shapes")), &NAMES)
}

/// Seconds of CPU time by component, over all rows.
fn booked(setup: &Setup) -> BTreeMap<String, f64> {
    let rows = rows(&setup.output);
    assert_closed(&rows);
    let mut seconds = BTreeMap::new();
    for row in rows.iter().filter(|row| row["record"] == "component") {
        let name = row["component"].as_str().expect("a name").to_owned();
        *seconds.entry(name).or_default() += row["interval_cpu_seconds"].as_f64().expect("a number");
    }
    seconds
}

/// Within 1 % of what the scheduler counted. It leaves out what a hypervisor took while the thread ran, which lies between
/// two switches as well: `stolen` may be there on top.
#[track_caller]
fn check(what: &str, booked: f64, scheduled: f64, stolen: f64) {
    let off = booked - scheduled;
    let percent = off / scheduled * 100.0;
    println!("{what}: {booked:.4} s booked, {scheduled:.4} s scheduled, {percent:+.2} %; {stolen:.2} s stolen");
    let allowed = scheduled * 0.01;
    assert!((-allowed..=allowed + stolen).contains(&off), "{what}: {booked} s booked, {scheduled} s scheduled");
}

#[test]
fn threads_of_one_process_are_components_of_their_own() {
    if !need::root() {
        return;
    }
    let _turn = turn();
    let directory = tempfile::tempdir().expect("a directory");
    configure(&directory, BY_THREAD);
    let (setup, mut daemon) = start(&directory);
    let mut workers = workers();
    let begun = stolen();
    workers.burn(&[1500, 700, 900]);
    let scheduled = workers.scheduled();
    let stolen = stolen() - begun;
    daemon.terminate();

    let booked = booked(&setup);
    check("model_management", booked["model_management"], scheduled[NAMES[0]] + scheduled[NAMES[1]], stolen);
    check("narrative", booked["narrative"], scheduled[NAMES[2]], stolen);
    check("all", booked["model_management"] + booked["narrative"] + booked["app"], scheduled.values().sum(), stolen);
}

#[test]
fn a_reload_that_brings_the_first_thread_rule_loses_no_time() {
    if !need::root() {
        return;
    }
    let _turn = turn();
    let directory = tempfile::tempdir().expect("a directory");
    configure(&directory, PLAIN);
    let (setup, mut daemon) = start(&directory);
    let mut workers = workers();
    let begun = stolen();
    workers.burn(&[400, 300, 500]);
    let before = workers.scheduled();
    let seen = |metrics: &BTreeMap<String, f64>| {
        metrics.get("carbon_component_cpu_seconds_total{component=\"app\"}").copied().unwrap_or(0.0)
    };
    daemon.wait_for("all of it as one", LIMIT, |metrics| seen(metrics) > before.values().sum::<f64>() * 0.99);

    configure(&directory, BY_THREAD);
    let events = "carbon_probe_events_total";
    let counted = daemon.metrics()[events];
    daemon.signal(libc::SIGHUP);
    let narrative = "carbon_component_cpu_seconds_total{component=\"narrative\"}";
    daemon.wait_for("the rules on threads", LIMIT, |metrics| metrics.contains_key(narrative));
    workers.burn(&[1500, 700, 900]);
    let after = workers.scheduled();
    daemon.wait_for("the threads' time", LIMIT, |metrics| metrics[narrative] > 0.85);
    assert!(daemon.metrics()[events] > counted, "the probe's own counters go on");

    // And back: what is no longer asked for is no longer kept.
    configure(&directory, PLAIN);
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("the second reload", LIMIT, |_| daemon.log().contains("one account a process"));
    workers.burn(&[300, 300, 300]);
    let end = workers.scheduled();
    let stolen = stolen() - begun;
    daemon.terminate();
    assert!(!daemon.log().contains("was not reloaded"), "{}", daemon.log());

    let booked = booked(&setup);
    let since = |name: &str| after[name] - before[name];
    check("model_management", booked["model_management"], since(NAMES[0]) + since(NAMES[1]), stolen);
    check("narrative", booked["narrative"], since(NAMES[2]), stolen);
    // What ran before and between the reloads is all there: nothing was lost on the way.
    check("all", booked["model_management"] + booked["narrative"] + booked["app"], end.values().sum(), stolen);
}
