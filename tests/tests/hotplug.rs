//! CPUs that leave and come back. Alone in its binary: cargo runs one binary after the other, so no other test of ours
//! measures anything meanwhile.

use carbon_agent::probe::CpuWindow;
use carbon_tests::hotplug::Offline;
use carbon_tests::kernel::{Running, online, open, options, sample, time_of};
use carbon_tests::need::need;
use std::{process::Command, thread::sleep, time::Duration};

const CPU: u32 = 1;

#[test]
fn a_cpu_that_leaves_and_returns_loses_nothing() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    if !need(online() > 1, "two CPUs") {
        return;
    }
    let busy = Running::start(Command::new("sh").args(["-c", "while :; do :; done"]));
    sleep(Duration::from_millis(100));
    let mut end = sample(&mut probe).cpus;
    let mut total = 0;
    let mut follow = |end: &mut Vec<CpuWindow>| {
        sleep(Duration::from_millis(150));
        let sample = sample(&mut probe);
        // The windows of each CPU follow upon each other without a gap, and `sample` checks that each closes.
        for (before, now) in end.iter().zip(&sample.cpus) {
            assert_eq!((before.cpu, before.end), (now.cpu, now.begin));
        }
        total += time_of(&sample, busy.pid());
        *end = sample.cpus;
    };
    for _ in 0..2 {
        let Some(offline) = Offline::take(CPU) else {
            return;
        };
        follow(&mut end);
        follow(&mut end);
        let gone = end.iter().find(|window| window.cpu == CPU).expect("its window");
        assert_eq!(gone.idle.0, gone.end.0 - gone.begin.0, "a CPU that is off is idle");
        drop(offline);
        assert!(online() > 1, "it is back");
        follow(&mut end);
        follow(&mut end);
    }
    assert!(total > 0);
}
