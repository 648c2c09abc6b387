//! Who ran: CPU time per process and CPU, read once a sample.

mod choice;
pub mod ebpf;
pub mod procfs;

pub use choice::{Choice, open};
pub use ebpf::{Options, TypeInformation};

use crate::units::Nanos;
use std::fmt;

/// A process: its pid and when it started. A reused pid is another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// Process id (thread group id) in the initial pid namespace.
    pub pid: u32,
    /// Start of the thread group leader, nanoseconds since boot (CLOCK_BOOTTIME).
    /// The procfs probe knows it only to a clock tick (10 ms).
    pub start: Nanos,
}

/// The 16 bytes the kernel keeps as a task's name: any bytes, chosen by the process itself.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The bytes up to the first NUL.
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// From a name of any length, cut at 15 bytes as the kernel cuts it.
    pub fn from_bytes(name: &[u8]) -> Self {
        let mut comm = [0; 16];
        let length = name.len().min(15);
        comm[..length].copy_from_slice(&name[..length]);
        Self(comm)
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes()))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.bytes()))
    }
}

/// How CPU time was obtained, as rows name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuMethod {
    /// Counted in the kernel at every context switch, to the nanosecond.
    Ebpf,
    /// utime + stime of `/proc/<pid>/stat`, in clock ticks; processes that lived and died between samples are missed.
    Procfs,
}

/// What one task (or, unless threads are wanted, one process) ran on one CPU during the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskTime {
    pub process: ProcessKey,
    /// Thread id; equals `process.pid` unless the probe was asked to keep threads apart.
    pub tid: u32,
    pub cpu: u32,
    /// Time on this CPU; 0 for a record that only tells of a birth or a death.
    pub time: Nanos,
    /// The name last seen in this sample (after exec, too).
    pub comm: Comm,
    /// Parent process id; 0 where unknown. In the sample that saw the birth it is who forked the process,
    /// even if that one has ended since; later it is the present (perhaps adoptive) parent.
    pub parent: u32,
    /// cgroup v2 id (the inode under the unified hierarchy); 0 where unknown.
    pub cgroup: u64,
    pub kernel_thread: bool,
    /// The process ended during this sample. The last microseconds of its end may still follow in the next
    /// one, again marked so.
    pub exited: bool,
    /// When this record was last written; the newest record of a process tells its current name and cgroup.
    pub seen: Nanos,
}

/// The account of one CPU over one sample: `begin..end` is split, exactly, among tasks, idle, interrupts and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuWindow {
    pub cpu: u32,
    pub begin: Nanos,
    pub end: Nanos,
    pub idle: Nanos,
    /// Time in interrupts, where told apart; else it is part of the interrupted task's time.
    pub interrupts: Nanos,
    /// Time that ran but found no room in the map: booked as unattributed.
    pub lost: Nanos,
}

/// One reading of the probe: everything that ran since the one before.
#[derive(Clone, Debug, Default)]
pub struct CpuSample {
    pub begin: Nanos,
    pub end: Nanos,
    pub cpus: Vec<CpuWindow>,
    pub tasks: Vec<TaskTime>,
    /// Hardware cycles of each of `tasks`, in its order; empty where the probe counts none ([`Probe::cycles`]).
    pub cycles: Vec<u64>,
}

impl CpuSample {
    /// This sample and the one right after it, as one.
    pub fn followed_by(mut self, next: Self) -> Self {
        for window in next.cpus {
            match self.cpus.iter_mut().find(|own| own.cpu == window.cpu) {
                Some(own) => {
                    own.end = window.end;
                    own.idle += window.idle;
                    own.interrupts += window.interrupts;
                    own.lost += window.lost;
                }
                None => self.cpus.push(window),
            }
        }
        self.tasks.extend(next.tasks);
        self.cycles.extend(next.cycles);
        self.end = next.end;
        self
    }
}

/// The probe's account of itself, cumulative since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCost {
    /// Context switches and lifecycle events handled.
    pub events: u64,
    /// Time spent in the probe's programs; `None` while the kernel's BPF statistics are off.
    pub run_time: Option<Nanos>,
    /// CPU time that found no room in the map.
    pub lost: Nanos,
}

/// Why a probe cannot be had or read, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct ProbeError {
    pub what: String,
    pub remedy: String,
}

/// A source of CPU time per process.
pub trait Probe: Send {
    fn method(&self) -> CpuMethod;

    /// Ends the running sample and begins the next; returns the moment (CLOCK_MONOTONIC) of the cut.
    /// Cheap, so that the energy meters can be read right after it.
    fn cut(&mut self) -> Result<Nanos, ProbeError>;

    /// What ran in the sample that the last [`Probe::cut`] ended.
    fn collect(&mut self) -> Result<CpuSample, ProbeError>;

    /// From now on threads have rows of their own, or no longer. What ran until now comes with the next sample; no time is
    /// lost on the way. Where this fails all is as before.
    fn keep_threads_apart(&mut self, apart: bool) -> Result<(), ProbeError>;

    fn cost(&mut self) -> ProbeCost;

    /// Whether [`CpuSample::cycles`] are filled in, and if not, why not.
    fn cycles(&self) -> Result<(), ProbeError> {
        Err(ProbeError {
            what: "this probe reads no hardware counters".into(),
            remedy: "use `learned`, which finds the differences in the meter, or `time`".into(),
        })
    }

    /// What this probe is and does not have, in a line for health and logs (hook, kernel features).
    fn describe(&self) -> String;
}
