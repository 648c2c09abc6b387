//! Counting beside the clock: the way from a CPU's counter through the kernel program to the rows. Machines without hardware
//! counters prove it with a clock that counts nanoseconds: each task's count is then its time.

use carbon_agent::probe::ebpf::{Counter, EbpfProbe};
use carbon_agent::probe::{Options, Probe};
use carbon_tests::agent::agent;
use carbon_tests::kernel::{Running, open, options, sample};
use carbon_tests::need;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn each_task_gets_the_counts_of_its_own_time() {
    let counting = Options { cycles: Some(Counter::CPU_CLOCK), ..options() };
    let Some(mut probe) = open(&counting) else {
        return;
    };
    probe.cycles().expect("it counts");
    // One that never leaves its CPU, whose slices straddle every cut, and one that switches all the time.
    let busy = Running::start(Command::new("sh").args(["-c", "while :; do :; done"]));
    let switching = Running::start(Command::new("sh").args(["-c", "while :; do /bin/true; done"]));
    sleep(Duration::from_millis(300));
    sample(&mut probe);
    for _ in 0..5 {
        sleep(Duration::from_millis(200));
        let sample = sample(&mut probe);
        assert_eq!(sample.cycles.len(), sample.tasks.len());
        let ran = sample.tasks.iter().zip(&sample.cycles).filter(|(task, _)| task.time.0 > 1_000_000);
        let mut seen = false;
        for (task, cycles) in ran {
            seen |= task.process.pid == busy.pid();
            // The clock is read a little after ours, and a slice is shared out in steps of a microsecond.
            let off = cycles.abs_diff(task.time.0) as f64 / task.time.0 as f64;
            assert!(off < 0.03, "{}: {cycles} counts in {} ns", task.comm, task.time.0);
        }
        assert!(seen, "the busy one is in every sample");
    }
    drop(switching);
}

#[test]
fn without_the_counter_it_says_so_and_does_not_run() {
    if !need::root() {
        return;
    }
    if EbpfProbe::open(&Options { cycles: Some(Counter::CYCLES), ..options() }).is_ok() {
        println!("this machine has hardware counters: nothing to refuse");
        return;
    }
    let output =
        agent(&["run", "--weights", "cycles", "--energy", "model", "--listen", "127.0.0.1:0"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("cycles") && stderr.contains("learned"), "the reason and the remedy: {stderr}");
}
