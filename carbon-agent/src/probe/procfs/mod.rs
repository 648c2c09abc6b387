//! The fallback without eBPF: utime + stime of `/proc/<pid>/stat`, in clock ticks.
//!
//! It walks all processes at each sample, misses whatever lived and died between two samples, and knows only
//! where a task ran last. The books close all the same: per CPU, tasks + idle + interrupts + lost is the
//! length of the window exactly; `books.rs` says how.

mod books;

use super::{Comm, CpuMethod, CpuSample, Probe, ProbeCost, ProbeError, ProcessKey};
use crate::clock::monotonic;
use crate::units::Nanos;
use ::procfs::process::{Process, Stat, all_processes_with_root};
use books::{Books, CpuTicks, Ran};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// `PF_KTHREAD`
const KERNEL_THREAD: u32 = 0x0020_0000;

/// What is remembered of a task between samples.
#[derive(Clone, Copy)]
struct Task {
    total: u64,
    comm: Comm,
    parent: u32,
    kernel_thread: bool,
    cpu: u32,
    generation: u64,
}

pub struct ProcfsProbe {
    root: PathBuf,
    threads: bool,
    tick: u64,
    tasks: HashMap<(ProcessKey, u32), Task>,
    generation: u64,
    /// What the running scan finds is where counting begins.
    first: bool,
    /// Counted in another way before [`Probe::keep_threads_apart`]; for the next sample.
    before: Vec<Ran>,
    cpus: Vec<CpuTicks>,
    books: Books,
    begin: Nanos,
    pending: Option<(Nanos, Nanos)>,
    lost: Nanos,
}

impl ProcfsProbe {
    pub fn open(root: &Path, threads: bool) -> Result<Self, ProbeError> {
        let mut probe = Self {
            root: root.to_path_buf(),
            threads,
            tick: 1_000_000_000 / ::procfs::ticks_per_second().max(1),
            tasks: HashMap::new(),
            generation: 0,
            first: true,
            before: Vec::new(),
            cpus: Vec::new(),
            books: Books::default(),
            begin: monotonic(),
            pending: None,
            lost: Nanos(0),
        };
        probe.cpus = probe.read_cpus()?;
        probe.scan()?;
        probe.first = false;
        Ok(probe)
    }

    fn read_cpus(&self) -> Result<Vec<CpuTicks>, ProbeError> {
        let path = self.root.join("stat");
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error.to_string()))?;
        let cpus = books::parse_cpus(&text, self.tick);
        if cpus.is_empty() {
            return Err(unreadable(&path, "no line of a CPU"));
        }
        Ok(cpus)
    }

    /// Reads every task; returns what ran since the scan before, and who is gone.
    fn scan(&mut self) -> Result<Vec<Ran>, ProbeError> {
        self.generation += 1;
        let mut ran = Vec::new();
        let all = all_processes_with_root(&self.root).map_err(|error| unreadable(&self.root, &error.to_string()))?;
        for process in all.flatten() {
            // Whoever vanishes meanwhile is dealt with below.
            let Ok(stat) = process.stat() else { continue };
            let key = ProcessKey { pid: stat.pid as u32, start: Nanos(stat.starttime * self.tick) };
            if self.threads {
                self.scan_threads(&process, key, stat.ppid as u32, &mut ran);
            } else {
                self.note(key, key.pid, stat.ppid as u32, &stat, &mut ran);
            }
        }
        let generation = self.generation;
        self.tasks.retain(|(process, tid), task| {
            let alive = task.generation == generation;
            if !alive {
                ran.push(task.ran(*process, *tid, 0, true));
            }
            alive
        });
        Ok(ran)
    }

    fn scan_threads(&mut self, process: &Process, key: ProcessKey, parent: u32, ran: &mut Vec<Ran>) {
        let Ok(tasks) = process.tasks() else { return };
        for task in tasks.flatten() {
            if let Ok(stat) = task.stat() {
                self.note(key, task.tid as u32, parent, &stat, ran);
            }
        }
    }

    fn note(&mut self, process: ProcessKey, tid: u32, parent: u32, stat: &Stat, ran: &mut Vec<Ran>) {
        let total = (stat.utime + stat.stime) * self.tick;
        let task = Task {
            total,
            comm: Comm::from_bytes(stat.comm.as_bytes()),
            parent,
            kernel_thread: stat.flags & KERNEL_THREAD != 0,
            cpu: stat.processor.unwrap_or_default() as u32,
            generation: self.generation,
        };
        // New since the last scan: all its time lies in this sample.
        let before = self.tasks.insert((process, tid), task);
        let time = total.saturating_sub(before.map_or(0, |task| task.total));
        if !self.first && (time > 0 || before.is_none()) {
            ran.push(task.ran(process, tid, time, false));
        }
    }

    fn collect_pending(&mut self) -> Result<Option<CpuSample>, ProbeError> {
        let Some((begin, end)) = self.pending.take() else {
            return Ok(None);
        };
        let mut ran = std::mem::take(&mut self.before);
        ran.extend(self.scan()?);
        let cpus = self.read_cpus()?;
        let since = books::since(&cpus, &self.cpus);
        self.cpus = cpus;
        let sample = self.books.close(begin, end, &since, ran);
        self.lost += sample.cpus.iter().map(|window| window.lost).sum();
        Ok(Some(sample))
    }
}

impl Task {
    fn ran(&self, process: ProcessKey, tid: u32, time: u64, exited: bool) -> Ran {
        Ran {
            process,
            tid,
            cpu: self.cpu,
            time,
            comm: self.comm,
            parent: self.parent,
            kernel_thread: self.kernel_thread,
            exited,
        }
    }
}

impl Probe for ProcfsProbe {
    fn method(&self) -> CpuMethod {
        CpuMethod::Procfs
    }

    fn cut(&mut self) -> Result<Nanos, ProbeError> {
        let now = monotonic();
        let begin = self.pending.map_or(self.begin, |(begin, _)| begin);
        self.pending = Some((begin, now));
        self.begin = now;
        Ok(now)
    }

    fn collect(&mut self) -> Result<CpuSample, ProbeError> {
        Ok(self.collect_pending()?.unwrap_or(CpuSample { begin: self.begin, end: self.begin, ..CpuSample::default() }))
    }

    fn keep_threads_apart(&mut self, apart: bool) -> Result<(), ProbeError> {
        if self.threads == apart {
            return Ok(());
        }
        let ran = self.scan()?;
        self.before.extend(ran);
        self.tasks.clear();
        (self.threads, self.first) = (apart, true);
        let scanned = self.scan();
        self.first = false;
        scanned.map(drop)
    }

    fn cost(&mut self) -> ProbeCost {
        ProbeCost { events: 0, run_time: None, lost: self.lost }
    }

    fn describe(&self) -> String {
        format!(
            "{}/<pid>/stat in ticks of {} ms; misses processes that live and die between two samples \
             (their time is unattributed) and knows only the last CPU of a task",
            self.root.display(),
            self.tick / 1_000_000
        )
    }
}

fn unreadable(path: &Path, why: &str) -> ProbeError {
    ProbeError {
        what: format!("{}: {why}", path.display()),
        remedy: "mount procfs there, or name the place with --host-procfs".into(),
    }
}
