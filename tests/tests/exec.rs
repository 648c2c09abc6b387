//! `exec` against the real kernel: its exit status is the command's, its CPU seconds are the kernel's own.

use carbon_tests::agent::agent;
use carbon_tests::{kernel, need};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

/// Runs `exec` on a shell script and returns its output and the JSON rows it wrote.
fn exec(script: &str) -> (Output, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let rows = directory.path().join("rows.json");
    let output = agent(&["exec", "--probe", "ebpf", "--json", rows.to_str().unwrap(), "--", "sh", "-c", script])
        .output()
        .expect("the agent runs");
    (output, read(&rows))
}

fn read(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

fn component<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    rows.iter()
        .find(|row| row["record"] == "component" && row["component"] == name)
        .unwrap_or_else(|| panic!("no row of {name}"))
}

fn cpu_seconds(row: &Value) -> f64 {
    row["interval_cpu_seconds"].as_f64().expect("a number")
}

#[test]
fn the_exit_status_is_the_commands() {
    if !need::root() {
        return;
    }
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137)] {
        let (output, _) = exec(script);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let missing = agent(&["exec", "--", "/no/such/command"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/command"));
}

#[test]
fn cpu_seconds_agree_with_the_kernels_own_account() {
    if !need::root() {
        return;
    }
    // bash's `times` prints user and system time of itself and of its children, each cut to the millisecond (dash cuts
    // to the clock tick, four times over): the ground truth, but for what the shell spends on its way out. The load hardly
    // ever sleeps: the kernel charges a task that wakes an idle CPU from its waking on, not from its switch.
    let script = "exec bash -c 'work() { for ((i = 0; i < 600000; i++)); do :; done; }; \
                  work; work & (work); head -c 600000000 /dev/zero >/dev/null; wait; times'";
    let stolen = kernel::stolen();
    let (output, rows) = exec(script);
    // A hypervisor's steal lies between two switches, so the probe sees it and the scheduler's own account does not.
    let stolen = kernel::stolen() - stolen;
    let truth: f64 = String::from_utf8_lossy(&output.stdout).split_whitespace().map(times_seconds).sum();
    let seen = cpu_seconds(component(&rows, "command"));
    println!("saw {seen} s of {truth} s; stolen from the machine: {stolen} s");
    assert!(truth > 0.5, "the load is worth measuring: {truth}");
    assert!(seen > truth * 0.99 - 0.004 && seen < truth * 1.01 + 0.01 + stolen, "saw {seen} s of {truth} s");
}

/// "1m2.50s" in seconds.
fn times_seconds(text: &str) -> f64 {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m').expect("minutes and seconds");
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
}

#[test]
fn standard_output_is_left_alone() {
    if !need::root() {
        return;
    }
    let (output, _) = exec("echo hello");
    assert_eq!(output.stdout, b"hello\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("sh"), "the report names the processes");
}

#[test]
fn every_domain_of_every_row_sums_to_the_host() {
    if !need::root() {
        return;
    }
    let (_, rows) = exec("head -c 50000000 /dev/urandom | gzip -1 >/dev/null");
    carbon_tests::books::assert_closed(&rows);
}

#[test]
fn without_the_capability_it_falls_back_and_says_why() {
    if !need::root() || !need::program("setpriv") {
        return;
    }
    let load = "head -c 150000000 /dev/zero | sha256sum >/dev/null";
    let output = carbon_tests::agent::as_nobody(&["exec", "--", "sh", "-c", load]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("CPU time: procfs"), "{stderr}");
    assert!(stderr.contains("CAP_BPF") && stderr.contains("CAP_PERFMON"), "the reason and the remedy: {stderr}");
    assert!(stderr.contains("sha256sum"), "what runs for longer than a look is seen: {stderr}");
}
