//! Every nanosecond of every CPU has one owner.

use carbon_agent::probe::{Choice, Probe, procfs::ProcfsProbe};
use carbon_tests::kernel::{Running, check_near, newest, of, open, options, reap, sample, scheduled, shell, time_of};
use carbon_tests::workers::Workers;
use std::{path::Path, process::Command, thread::sleep, time::Duration};

#[test]
fn books_close_and_a_childs_time_is_what_the_kernel_says() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    sample(&mut probe);
    let child = shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done");
    let pid = child.id();
    let truth = reap(child);
    let sample = sample(&mut probe);
    check_near(time_of(&sample, pid), truth, 0.03);
    assert!(of(&sample, pid).iter().any(|task| task.exited));
}

#[test]
fn a_busy_loop_that_never_switches_shows_in_every_sample() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    // Real-time, so that it hardly ever leaves its CPU.
    let busy = Running::start(Command::new("chrt").args(["-f", "1", "sh", "-c", "while :; do :; done"]));
    sleep(Duration::from_millis(300));
    sample(&mut probe);
    let mut before = scheduled(busy.pid());
    for _ in 0..5 {
        sleep(Duration::from_millis(100));
        let sample = sample(&mut probe);
        let now = scheduled(busy.pid());
        // The kernel brings its own figure up to date at each tick; the sample ends a grace period earlier.
        let off = time_of(&sample, busy.pid()).abs_diff(now - before);
        assert!(off < 45_000_000, "{} against {}", time_of(&sample, busy.pid()), now - before);
        before = now;
    }
}

#[test]
fn many_cuts_in_a_row_lose_nothing() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    let first = sample(&mut probe);
    let child = shell("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true; done");
    let mut end = first.cpus.clone();
    for round in 0..30 {
        if round % 3 == 0 {
            // Two cuts and one collect: the sample holds both.
            probe.cut().unwrap();
        }
        let sample = sample(&mut probe);
        for (before, now) in end.iter().zip(&sample.cpus) {
            assert_eq!((before.cpu, before.end), (now.cpu, now.begin));
        }
        end = sample.cpus;
    }
    reap(child);
}

#[test]
fn the_fallback_closes_its_books_too() {
    let mut probe = ProcfsProbe::open(Path::new("/proc"), false).unwrap();
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exec sleep 60";
    let child = Running::start(Command::new("sh").args(["-c", script]));
    let mut seen = 0;
    for _ in 0..300 {
        sleep(Duration::from_millis(100));
        let sample = sample(&mut probe);
        seen += time_of(&sample, child.pid());
        if newest(&sample, child.pid()).is_none() && seen > 0 {
            break;
        }
    }
    // To two ticks: the one that the fallback counts in, and what it holds back when a window is full.
    let truth = scheduled(child.pid());
    assert!(seen.abs_diff(truth) <= 20_000_000 + truth / 20, "{seen} {truth}");
}

#[test]
fn the_fallback_changes_its_way_of_counting_too() {
    let mut probe = ProcfsProbe::open(Path::new("/proc"), false).unwrap();
    let names = ["llm-worker-1", "narrative-2"];
    let mut workers = Workers::start(Path::new(env!("CARGO_BIN_EXE_probe-shapes")), &names);
    sample(&mut probe);
    workers.burn(&[200, 100]);
    probe.keep_threads_apart(true).unwrap();
    workers.burn(&[100, 200]);
    // What found no room in its window comes with a later one.
    let samples: Vec<_> = (0..3)
        .map(|_| {
            sleep(Duration::from_millis(50));
            sample(&mut probe)
        })
        .collect();
    let seen: u64 = samples.iter().map(|sample| time_of(sample, workers.pid())).sum();
    let truth = (workers.scheduled().values().sum::<f64>() * 1e9) as u64;
    // To a tick for each thread and each way of counting.
    assert!(seen.abs_diff(truth) <= 60_000_000, "{seen} {truth}");
    let own = |name: &str| {
        samples.iter().flat_map(|sample| of(sample, workers.pid())).any(|task| task.comm.to_string() == name)
    };
    assert!(names.into_iter().all(own), "threads have rows of their own");
}

#[test]
fn a_choice_that_cannot_work_falls_back_only_when_it_may() {
    let mut options = options();
    options.object = Some("/nonexistent/object".into());
    let (probe, reason) = carbon_agent::probe::open(Choice::Auto, &options).unwrap();
    assert_eq!(probe.method(), carbon_agent::probe::CpuMethod::Procfs);
    assert!(reason.unwrap().to_string().contains("/nonexistent/object"));
    assert!(carbon_agent::probe::open(Choice::Ebpf, &options).is_err());
}
