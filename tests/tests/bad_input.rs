//! Unusable input gets one clear line that names the thing and the remedy, exit status 2, and nothing half-written.

use carbon_tests::agent::agent;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

fn run(arguments: &[&str]) -> Output {
    agent(arguments).output().expect("the agent runs")
}

/// Runs the agent, which must refuse with `code` and with exactly one line that holds every one of `words`.
fn check(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {stderr}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is missing in: {stderr}");
    }
}

fn config(directory: &Path, text: &str) -> String {
    let path = directory.join("config.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_configuration_that_is_not_yaml() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "carbon:\n  pue: [1.0\nother: {\n");
    check(&["run", "--config", &path], 2, &["config.yaml:"]);
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "web: {}\ncarbon:\n  projct_name: x\n");
    check(&["run", "--config", &path], 2, &["config.yaml:3", "projct_name", "project_name"]);
}

#[test]
fn a_missing_file() {
    check(&["run", "--config", "/nowhere/config.yaml"], 2, &["/nowhere/config.yaml", "--config"]);
}

#[test]
fn a_zone_that_does_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "carbon:\n  intensity: { zone: DE }\n");
    check(&["run", "--config", &path], 2, &["config.yaml:2", "`DE`", "DEU"]);
}

#[test]
fn no_meter_where_one_is_demanded() {
    let empty = tempfile::tempdir().unwrap();
    let powercap = empty.path().to_str().unwrap();
    check(&["exec", "--energy", "rapl", "--powercap", powercap, "--", "true"], 2, &[powercap, "intel-rapl"]);
}

#[test]
fn an_output_directory_that_cannot_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let inside = file.join("codecarbon");
    let inside = inside.to_str().unwrap();
    check(&["run", "--listen", "127.0.0.1:0", "--output-dir", inside], 2, &[inside]);
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out");
    check(&["run", "--listen", &address, "--output-dir", output.to_str().unwrap()], 2, &[&address, "--listen"]);
    assert!(!output.exists(), "nothing half-written");
}

#[test]
fn the_probe_without_the_capability() {
    if !carbon_tests::need::root() || !carbon_tests::need::program("setpriv") {
        return;
    }
    let output = carbon_tests::agent::as_nobody(&["exec", "--probe", "ebpf", "--", "true"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("CAP_BPF") && stderr.contains("CAP_PERFMON"), "{stderr}");
}
