//! Tests against the running kernel: they need root (or the two capabilities), and say so when they lack it.

use crate::need::need;
use carbon_agent::probe::{CpuSample, Options, Probe, ProbeError, TaskTime, ebpf::EbpfProbe};
use std::{
    collections::HashMap,
    env, fs,
    path::PathBuf,
    process::{Child, Command},
};

/// Options of a test: the object named in `CARBON_TEST_EBPF_OBJECT` (a rebuilt one), else the built-in.
pub fn options() -> Options {
    Options { object: env::var_os("CARBON_TEST_EBPF_OBJECT").map(PathBuf::from), ..Options::default() }
}

/// The probe, or `None` with the reason printed. Under `CI=true` a test that cannot run is a failed test.
pub fn open(options: &Options) -> Option<EbpfProbe> {
    match EbpfProbe::open(options) {
        Ok(probe) => Some(probe),
        Err(error) => {
            need(false, &format!("the kernel probe ({error})"));
            None
        }
    }
}

/// The probe, or why not.
pub fn try_open() -> Result<EbpfProbe, ProbeError> {
    EbpfProbe::open(&options())
}

/// Ends the running sample and reads it; the books of every CPU must close to the nanosecond.
#[track_caller]
pub fn sample(probe: &mut dyn Probe) -> CpuSample {
    probe.cut().expect("cut");
    let sample = probe.collect().expect("collect");
    check_closed(&sample);
    sample
}

/// Σ tasks + idle + interrupts + lost = the length of the window, per CPU, exactly.
#[track_caller]
pub fn check_closed(sample: &CpuSample) {
    let mut per_cpu: HashMap<u32, u64> = HashMap::new();
    for task in &sample.tasks {
        *per_cpu.entry(task.cpu).or_default() += task.time.0;
    }
    assert!(!sample.cpus.is_empty());
    for window in &sample.cpus {
        let tasks = per_cpu.remove(&window.cpu).unwrap_or_default();
        let sum = tasks + window.idle.0 + window.interrupts.0 + window.lost.0;
        assert_eq!(sum, window.end.0 - window.begin.0, "tasks {tasks} in {window:?}");
    }
    assert!(per_cpu.is_empty(), "tasks on CPUs without a window: {per_cpu:?}");
}

/// The records of a pid.
pub fn of(sample: &CpuSample, pid: u32) -> Vec<&TaskTime> {
    sample.tasks.iter().filter(|task| task.process.pid == pid).collect()
}

/// CPU time of a pid in nanoseconds.
pub fn time_of(sample: &CpuSample, pid: u32) -> u64 {
    of(sample, pid).iter().map(|task| task.time.0).sum()
}

/// The newest record of a pid: its current name, parent and cgroup.
pub fn newest(sample: &CpuSample, pid: u32) -> Option<&TaskTime> {
    of(sample, pid).into_iter().max_by_key(|task| task.seen)
}

/// A shell script, started.
pub fn shell(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).spawn().expect("sh")
}

/// Waits for a child; its CPU time (user + system) in nanoseconds, as the kernel counted it for `wait4`.
pub fn reap(child: Child) -> u64 {
    let mut status = 0;
    // SAFETY: plain data that the call fills in.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a child of ours, pointers to locals.
    let pid = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    assert_eq!(pid, child.id() as i32);
    let nanos = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
    nanos(usage.ru_utime) + nanos(usage.ru_stime)
}

/// `time` lies within `share` of `truth`, or within 5 ms of it.
///
/// Ours is the larger one on a crowded machine: the scheduler's own work at a switch, interrupts and time stolen by
/// a hypervisor lie between two switches, while the scheduler leaves them out of what `wait4` reports.
#[track_caller]
pub fn check_near(time: u64, truth: u64, share: f64) {
    let off = time.abs_diff(truth);
    let allowed = (truth as f64 * share) as u64;
    assert!(off <= allowed.max(5_000_000), "{time} ns against {truth} ns: off by {off}");
}

/// A process that does not outlive the test, however that ends.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("start"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nanoseconds on a CPU by the scheduler's own count (main thread only).
pub fn scheduled(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
    text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
}

/// Seconds that a hypervisor has taken from this machine's CPUs so far, to a tick a CPU. They lie between two switches, so
/// that the probe sees them, and the scheduler's own count does not.
pub fn stolen() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let steal = text.lines().next().and_then(|line| line.split_ascii_whitespace().nth(8)?.parse::<f64>().ok());
    steal.expect("a number") * carbon_agent::clock::tick() as f64 / 1e9
}

/// CPUs that can run something now.
pub fn online() -> u32 {
    crate::powercap_tree::online_cpus().len() as u32
}
