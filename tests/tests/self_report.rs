//! The agent is on its own books like anyone else.

use carbon_tests::agent::{rows, wait_for_file};
use carbon_tests::daemon::Setup;
use carbon_tests::powercap_tree::{Machine, RunningTree};
use carbon_tests::{books, need};
use serde_json::Value;
use std::{thread::sleep, time::Duration};

#[test]
fn the_agents_own_time_and_energy_are_a_component() {
    if !need::root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // All of it is active energy: what the agent gets does not depend on what the baseline has learned so far.
    let tree = RunningTree::start(&directory.path().join("rapl"), Machine::single(0.0, 50.0)).unwrap();
    let powercap = format!("--powercap={}", tree.tree().powercap().display());
    let setup = Setup::new(directory.path(), 1.0, 0.1).with(&["--probe=ebpf", "--energy=rapl", &powercap]);
    let mut daemon = setup.start();
    wait_for_file(&setup.output, Duration::from_secs(30));
    sleep(Duration::from_secs(4));
    daemon.terminate();

    let rows = rows(&setup.output);
    books::assert_closed(&rows);
    let own: Vec<&Value> =
        rows.iter().filter(|row| row["record"] == "component" && row["component"] == "carbon-agent").collect();
    assert_eq!(own.len(), rows.iter().filter(|row| row["record"] == "host").count(), "a row each interval");
    let sum = |figure: &dyn Fn(&Value) -> f64| own.iter().map(|row| figure(row)).sum::<f64>();
    let cpu = sum(&|row| row["interval_cpu_seconds"].as_f64().unwrap());
    let energy = sum(&|row| row["interval_energy_joules"]["package"].as_f64().unwrap());
    assert!(cpu > 0.0 && energy > 0.0, "{cpu} s, {energy} J");
    let listed = rows.iter().any(|row| row["record"] == "process" && row["component"] == "carbon-agent");
    assert!(listed, "and its process is in it");
}
