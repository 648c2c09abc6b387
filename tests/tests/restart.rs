//! What a restart keeps: after a clean end, a kill, a reboot, and with a state that cannot be trusted.

use carbon_agent::ledger::reserved;
use carbon_agent::state::{Store, peek};
use carbon_tests::agent::rows;
use carbon_tests::books::{assert_closed, microjoules};
use carbon_tests::daemon::{Daemon, Setup};
use carbon_tests::powercap_tree::{Machine, RunningTree};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const PACKAGE: &str = "carbon_host_energy_joules_total{domain=\"package\",socket=\"0\"}";

struct Host {
    root: tempfile::TempDir,
    setup: Setup,
    tree: RunningTree,
}

fn host() -> Host {
    let root = tempfile::tempdir().expect("a directory");
    let tree = RunningTree::start(root.path(), Machine::single(20.0, 5.0)).expect("a tree");
    let sysfs = tree.tree().sysfs().to_str().expect("a path in UTF-8").to_owned();
    let setup = Setup::new(root.path(), 0.3, 0.1);
    let setup = setup.with(&["--probe", "procfs", "--energy", "rapl", "--host-sysfs", &sysfs]);
    Host { root, setup, tree }
}

/// Starts, and waits until so much energy was counted.
fn run_until(setup: &Setup, joules: f64) -> Daemon {
    let daemon = setup.start();
    daemon.wait_for("energy is counted", LIMIT, |metrics| metrics.get(PACKAGE).is_some_and(|sum| *sum > joules));
    daemon
}

fn hosts(setup: &Setup) -> Vec<Value> {
    let rows = rows(&setup.output);
    assert_closed(&rows);
    rows.into_iter().filter(|row| row["record"] == "host").collect()
}

fn unattributed(setup: &Setup, timestamp: &Value) -> i128 {
    let rows = rows(&setup.output);
    let row = rows.iter().find(|row| row["timestamp"] == *timestamp && row["component"] == reserved::UNATTRIBUTED);
    microjoules(&row.expect("always there")["interval_energy_joules"]["total"])
}

#[test]
fn a_clean_restart_is_a_new_run_and_the_counters_go_on() {
    let host = host();
    let mut daemon = run_until(&host.setup, 5.0);
    daemon.terminate();
    let before = hosts(&host.setup);
    let counted = peek(&host.setup.state).expect("a checkpoint").books.meters[0].lifetime.joules();
    std::thread::sleep(Duration::from_millis(1500));

    let mut daemon = run_until(&host.setup, counted + 35.0);
    daemon.terminate();
    let all = hosts(&host.setup);
    let gap = &all[before.len()];
    assert_ne!(gap["run_id"], before[0]["run_id"], "a run ends when it is told to");
    let seconds = gap["interval_seconds"].as_f64().expect("a number");
    assert!(seconds > 1.4, "the time it was down is an interval of its own: {seconds}");
    let energy = microjoules(&gap["interval_energy_joules"]["total"]);
    assert_eq!(energy, unattributed(&host.setup, &gap["timestamp"]), "and nobody is held to it");
    let watts = gap["power_watts"].as_f64().expect("a number");
    assert!((19.0..120.0).contains(&watts), "at the power it was spent with: {watts} W");
    let sum: i128 = all.iter().map(|row| microjoules(&row["interval_energy_joules"]["package"])).sum();
    let last = peek(&host.setup.state).expect("a checkpoint");
    assert_eq!(sum, i128::from(last.books.meters[0].lifetime.0), "rows and counters agree across runs");
    let run: i128 = all[before.len()..].iter().map(|row| microjoules(&row["interval_energy_joules"]["package"])).sum();
    let of_run: u64 = last.books.components.iter().map(|book| book.run.energy.total().0).sum();
    assert_eq!(run, i128::from(of_run), "the new run counts from its own start");
    assert!(host.tree.truth().package_uj > last.books.meters[0].lifetime.0);
}

/// Rewrites the last checkpoint as if something had happened to the host since.
fn rewrite(state: &Path, change: impl FnOnce(&mut carbon_agent::state::Checkpoint)) {
    let (mut store, checkpoint) = Store::open(state);
    let mut checkpoint = checkpoint.expect("a checkpoint");
    change(&mut checkpoint);
    store.write(&checkpoint);
}

#[test]
fn a_reboot_books_nothing_for_the_time_between() {
    let host = host();
    let mut daemon = run_until(&host.setup, 5.0);
    daemon.kill();
    rewrite(&host.setup.state, |checkpoint| checkpoint.boot_id = Some("the boot before".to_owned()));
    let counted = peek(&host.setup.state).expect("a checkpoint").books.meters[0].lifetime.joules();
    let before = hosts(&host.setup);
    std::thread::sleep(Duration::from_secs(1));
    let mut daemon = run_until(&host.setup, counted + 1.0);
    daemon.terminate();
    let all = hosts(&host.setup);
    assert!(all.iter().all(|row| row["interval_seconds"].as_f64().is_some_and(|seconds| seconds < 0.9)), "no gap");
    assert_eq!(all[before.len()]["run_id"], before[0]["run_id"], "a crash interrupts a run");
}

#[test]
fn a_period_that_is_over_begins_anew_after_a_restart() {
    let host = host();
    let mut daemon = run_until(&host.setup, 40.0);
    let emissions = |daemon: &Daemon| daemon.metrics()["carbon_emissions_kg{project=\"codecarbon\"}"];
    let before = emissions(&daemon);
    daemon.terminate();
    let mut daemon = run_until(&host.setup, 41.0);
    assert!(emissions(&daemon) >= before, "the day goes on");
    daemon.kill();
    rewrite(&host.setup.state, |checkpoint| {
        let day = jiff::SignedDuration::from_hours(24);
        // Yesterday by both clocks: another boot, so that they need not agree.
        (checkpoint.end.wall, checkpoint.period.start) = (checkpoint.end.wall - day, checkpoint.period.start - day);
        checkpoint.boot_id = None;
    });
    let daemon = run_until(&host.setup, 42.0);
    assert!(emissions(&daemon) < before, "yesterday is over");
}

#[test]
fn a_damaged_state_gives_way_to_the_older_copy() {
    let host = host();
    let mut daemon = run_until(&host.setup, 12.0);
    daemon.kill();
    let newest = peek(&host.setup.state).expect("a checkpoint");
    let path = host.setup.state.join("state.json");
    let mut bytes = fs::read(&path).expect("the state");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).expect("damage");
    let counted = newest.books.meters[0].lifetime.joules();

    let daemon = run_until(&host.setup, counted);
    let metrics = daemon.metrics();
    assert_eq!(metrics["carbon_stage_up{stage=\"state\"}"], 0.0);
    assert_eq!(metrics["carbon_errors_total{stage=\"state\",kind=\"damaged\"}"], 1.0);
    assert_eq!(daemon.log().matches("set aside as").count(), 1, "said once: {}", daemon.log());
    let aside = fs::read_dir(&host.setup.state).expect("the directory").flatten();
    assert_eq!(aside.filter(|entry| entry.file_name().to_string_lossy().contains("damaged")).count(), 1);
    drop(daemon);
    // The rows of the interval after the older copy were written already; its energy is in no second row.
    let rows = hosts(&host.setup);
    let sum: i128 = rows.iter().map(|row| microjoules(&row["interval_energy_joules"]["package"])).sum();
    let truth = i128::from(host.tree.truth().package_uj);
    assert!(sum <= truth, "{sum} µJ in rows of {truth} µJ");
}

#[test]
fn a_state_that_cannot_be_kept_shows_and_ends_nothing() {
    let host = host();
    fs::write(host.root.path().join("file"), "").expect("a file");
    let mut setup = host.setup.clone();
    setup.state = host.root.path().join("file/state");
    let mut daemon = run_until(&setup, 5.0);
    let metrics = daemon.metrics();
    assert_eq!(metrics["carbon_stage_up{stage=\"state\"}"], 0.0);
    assert!(metrics["carbon_errors_total{stage=\"state\",kind=\"write\"}"] > 0.0);
    let health = daemon.get("/health/carbon").body;
    assert!(health.contains("do not survive a restart") && health.contains("\"degraded\""), "{health}");
    daemon.terminate();
    assert!(!hosts(&setup).is_empty());
}

#[test]
fn two_daemons_do_not_share_a_state() {
    let host = host();
    let _first = run_until(&host.setup, 1.0);
    let root = host.root.path().join("second");
    fs::create_dir(&root).expect("a directory");
    let mut setup = Setup::new(&root, 0.3, 0.1);
    (setup.state, setup.arguments) = (host.setup.state.clone(), host.setup.arguments.clone());
    let second = run_until(&setup, 1.0);
    let health = second.get("/health/carbon").body;
    assert!(health.contains("another agent uses this state_dir"), "{health}");
}
