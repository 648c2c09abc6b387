//! What a running process costs: its CPU clock in nanoseconds, ended threads included, and its memory.

use anyhow::{Context, Result, ensure};
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

#[derive(Clone, Copy)]
pub struct Cost {
    /// Of one core.
    pub percent: f64,
    /// Megabytes at the end.
    pub resident: f64,
    /// Megabytes, the most since the process began.
    pub peak: f64,
}

/// Watches a process for so long.
pub fn watch(pid: u32, window: Duration) -> Result<Cost> {
    let (begin, before) = (Instant::now(), cpu_time(pid)?);
    sleep(window);
    let (wall, used) = (begin.elapsed(), cpu_time(pid)? - before);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("it ended while it was watched")?;
    let megabytes = |name: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0 / 1e6)
    };
    Ok(Cost {
        percent: 100.0 * used.as_secs_f64() / wall.as_secs_f64(),
        resident: megabytes("VmRSS:").context("VmRSS")?,
        peak: megabytes("VmHWM:").context("VmHWM")?,
    })
}

/// CPU time of a process up to now.
fn cpu_time(pid: u32) -> Result<Duration> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: pointers to locals.
    let known = unsafe { libc::clock_getcpuclockid(pid as i32, &raw mut clock) } == 0;
    // SAFETY: a pointer to a local; a clock that has gone is an error and nothing else.
    ensure!(known && unsafe { libc::clock_gettime(clock, &raw mut time) } == 0, "process {pid} has ended");
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
