//! Reading 10,000 active processes back, apart from the grace period that is slept before it.

use crate::crowd::{Crowd, Kind};
use anyhow::{Result, anyhow};
use carbon_agent::probe::{Options, Probe, ebpf::EbpfProbe};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

const PROCESSES: u32 = 10_000;
const SAMPLES: usize = 7;

pub fn measure() -> Result<()> {
    let crowd = Crowd::gather(Kind::Active { hertz: 2 }, PROCESSES)?;
    let mut probe = EbpfProbe::open(&Options::default()).map_err(|error| anyhow!("{error}"))?;
    println!("\nreading back {PROCESSES} active processes ({})", probe.describe());
    let mut lost = 0;
    let mut samples: Vec<(Duration, Duration, usize)> = Vec::new();
    for _ in 0..SAMPLES {
        sleep(Duration::from_secs(1));
        probe.cut().map_err(|error| anyhow!("{error}"))?;
        // The grace period is asleep: this thread's CPU time in `collect` is the reading.
        let (begin, before) = (Instant::now(), thread_time());
        let sample = probe.collect().map_err(|error| anyhow!("{error}"))?;
        samples.push((thread_time() - before, begin.elapsed(), sample.tasks.len()));
        lost += sample.cpus.iter().map(|window| window.lost.0).sum::<u64>();
    }
    samples.sort();
    let (reading, whole, records) = samples[SAMPLES / 2];
    println!(
        "{records} records: {:.2} ms of CPU to read them (median of {SAMPLES}; {:.1} ms with the wait for the kernel), \
         {:.3} ms of CPU time found no room",
        reading.as_secs_f64() * 1e3,
        whole.as_secs_f64() * 1e3,
        lost as f64 / 1e6
    );
    crowd.dismiss()
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a pointer to a local; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
