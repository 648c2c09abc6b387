//! The books of the real agent: all of every CPU's time has a row, also when the kernel's table is far too small.

use carbon_tests::agent::{rows, wait_for_file};
use carbon_tests::daemon::Setup;
use carbon_tests::kernel::online;
use carbon_tests::{books, need};
use serde_json::Value;
use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

const LOST: &str = "carbon_probe_lost_cpu_seconds_total";

/// Runs the agent under a load of many processes for some seconds. Its rows, and the time it had lost by the end.
fn run(configuration: &str) -> (Vec<Value>, f64) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    fs::write(&config, format!("carbon:\n  process_top: 100000\n{configuration}")).unwrap();
    let setup = Setup::new(directory.path(), 1.0, 1.0).with(&[
        "--probe=ebpf",
        "--energy=model",
        &format!("--config={}", config.display()),
    ]);
    let mut daemon = setup.start();
    wait_for_file(&setup.output, Duration::from_secs(30));
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        assert!(Command::new("sh").args(["-c", "for i in 1 2 3 4 5; do /bin/true; done"]).status().unwrap().success());
    }
    sleep(Duration::from_millis(1500));
    let lost = daemon.metrics()[LOST];
    daemon.terminate();
    (rows(&setup.output), lost)
}

fn sum(rows: &[Value], record: &str, name: Option<&str>) -> f64 {
    let meant = |row: &&Value| row["record"] == record && name.is_none_or(|name| row["component"] == name);
    rows.iter().filter(meant).map(|row| row["interval_cpu_seconds"].as_f64().unwrap()).sum()
}

/// Σ components = host = CPUs × time, within 0.1 %.
#[track_caller]
fn check_whole(rows: &[Value]) {
    assert!(books::assert_closed(rows) >= 5);
    let host = sum(rows, "host", None);
    let hosts = rows.iter().filter(|row| row["record"] == "host");
    let wall: f64 = hosts.map(|row| row["interval_seconds"].as_f64().unwrap()).sum();
    let all = wall * f64::from(online());
    assert!((host - all).abs() < all / 1e3, "{host} s of {all} s");
    let components = sum(rows, "component", None);
    assert!((components - host).abs() < 1e-6, "components {components} s, host {host} s");
    let kernel_and_such: f64 =
        ["kernel", "idle", "unattributed"].into_iter().map(|name| sum(rows, "component", Some(name))).sum();
    let processes = sum(rows, "process", None) + kernel_and_such;
    assert!((processes - host).abs() < 1e-6, "processes and the rest {processes} s, host {host} s");
}

#[test]
fn all_cpu_time_has_a_row() {
    if !need::root() {
        return;
    }
    let (rows, lost) = run("");
    check_whole(&rows);
    assert_eq!(lost, 0.0);
}

#[test]
fn a_table_that_is_too_small_loses_detail_and_no_time() {
    if !need::root() {
        return;
    }
    let (rows, lost) = run("  probe: { cells_per_cpu: 2 }\n");
    check_whole(&rows);
    assert!(lost > 0.0);
    // What was lost before the first interval is in the count only, what was after the scrape in the rows only.
    let unattributed = sum(&rows, "component", Some("unattributed"));
    assert!(unattributed > 0.8 * lost, "{unattributed} s of {lost} s");
}
