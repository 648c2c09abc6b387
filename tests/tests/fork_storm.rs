//! Processes that live for 5 ms: a sampling agent sees a few percent of them, this one must see them whole.

use carbon_tests::agent::agent;
use carbon_tests::need;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// Not a test of its own: a child that burns about 5 ms of CPU time.
const BURN: &str = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); done";

#[test]
fn a_fork_storm_is_attributed_whole() {
    if !need::root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    let storm = directory.path().join("carbon-storm");
    std::os::unix::fs::symlink("/bin/sh", &storm).unwrap();
    std::fs::write(&config, "carbon:\n  components:\n    - name: storm\n      match: { comm: \"carbon-storm\" }\n")
        .unwrap();
    let output = directory.path().join("out");
    let mut daemon = agent(&["run", "--probe", "ebpf", "--listen", "127.0.0.1:0", "--interval", "5"])
        .args(["--config".as_ref(), config.as_os_str()])
        .args(["--output-dir".as_ref(), output.as_os_str()])
        .spawn()
        .unwrap();
    carbon_tests::agent::wait_for_file(&output, Duration::from_secs(30));

    // Ground truth: what the kernel charged our waited-for children, which are the storm and nothing else.
    let before = children_cpu_seconds();
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let status = Command::new(&storm).args(["-c", BURN]).status().unwrap();
        assert!(status.success());
    }
    let truth = children_cpu_seconds() - before;
    std::thread::sleep(Duration::from_millis(1500));
    carbon_tests::agent::terminate(&mut daemon);

    let rows: Vec<Value> = carbon_tests::agent::rows(&output);
    carbon_tests::books::assert_closed(&rows);
    let seen: f64 = rows
        .iter()
        .filter(|row| row["record"] == "component" && row["component"] == "storm")
        .map(|row| row["interval_cpu_seconds"].as_f64().unwrap())
        .sum();
    println!(
        "storm: the kernel charged {truth:.3} s, the agent attributed {seen:.3} s ({:.2} %)",
        100.0 * seen / truth
    );
    assert!(truth > 1.0, "the storm is worth measuring: {truth}");
    assert!(seen / truth >= 0.995, "attributed {seen} s of {truth} s");
}

fn children_cpu_seconds() -> f64 {
    // SAFETY: `usage` is a valid rusage for the kernel to write to.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
