//! `record` and `replay` over the real binary: the same figures, and nothing written that is nobody's business.

use carbon_tests::agent::{agent, binary};
use carbon_tests::powercap_tree::{Machine, RunningTree};
use std::path::Path;
use std::process::Output;

fn run(arguments: &[&str]) -> Output {
    agent(arguments).output().expect("the agent runs")
}

/// Records a command under a meter of known power; returns the report.
fn record(dir: &Path, file: &str) -> String {
    binary();
    let running = RunningTree::start(dir, Machine::single(20.0, 15.0)).expect("a running tree");
    let sysfs = running.tree().sysfs().to_string_lossy().into_owned();
    let mut command = agent(&[
        "record",
        file,
        "--probe",
        "procfs",
        "--energy",
        "rapl",
        "--host-sysfs",
        &sysfs,
        "--sample-interval",
        "0.2",
        "--",
        "sh",
        "-c",
        "echo the command; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; : argument-4711",
    ]);
    let output = command.env("SECRET", "variable-4711").output().expect("the agent runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"the command\n", "standard output is the command's");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_replay_prints_the_report_of_the_live_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("recording.jsonl");
    let file = path.to_str().expect("a path of text");
    let live = record(dir.path(), file);
    assert!(live.contains("weights learned") && live.contains("\n  command "), "{live}");

    let replayed = run(&["replay", file]);
    assert!(replayed.status.success(), "{replayed:?}");
    let replayed = String::from_utf8(replayed.stdout).expect("text");
    // Warnings of the live run's stages come before its report.
    assert!(live.ends_with(&replayed), "live:\n{live}\nreplayed:\n{replayed}");

    let other = run(&["replay", file, "--weights", "time", "--idle", "proportional"]);
    let other = String::from_utf8(other.stdout).expect("text");
    assert!(other.contains("idle proportional, weights time"), "{other}");
    let host = |report: &str| report.lines().find(|line| line.starts_with("  host ")).map(str::to_owned);
    assert_eq!(host(&other), host(&replayed), "the same energy, divided otherwise");

    let text = std::fs::read_to_string(&path).expect("a recording");
    for secret in ["argument-4711", "variable-4711", "while ["] {
        assert!(!text.contains(secret), "{secret} is in the recording");
    }
}

#[test]
fn what_is_no_recording_is_an_error_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rows.json");
    std::fs::write(&path, "{\"schema\":\"carbon-agent/1\"}\n").expect("a file");
    let output = run(&["replay", path.to_str().expect("a path of text")]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("rows.json: line 1: this is no recording"), "{message}");
    assert_eq!(run(&["replay", "/no/such/file"]).status.code(), Some(2));
}

#[test]
fn cycles_that_nobody_counts_are_refused_by_name() {
    let output =
        run(&["run", "--weights", "cycles", "--energy", "model", "--probe", "procfs", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("carbon.weights: `cycles` cannot be had"), "{message}");
}
