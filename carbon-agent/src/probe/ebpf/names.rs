//! What `/proc` knows of a task that the kernel program has not described yet: one that has been on its CPU
//! for a whole sample without a single switch. Asked at most once per such task, not each sample.

use crate::clock;
use crate::probe::{Comm, ProcessKey, TaskTime};
use crate::units::Nanos;
use procfs::process::Process;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// `PF_KTHREAD`
const KERNEL_THREAD: u32 = 0x0020_0000;

#[derive(Clone, Copy, Default)]
struct Known {
    comm: Comm,
    parent: u32,
    kernel_thread: bool,
    start: Nanos,
}

pub struct Names {
    procfs: PathBuf,
    known: HashMap<(u32, u32, Nanos), Known>,
    started: HashMap<u32, Started>,
}

/// What `/proc` adds where the kernel program knows only a pid.
#[derive(Clone, Copy)]
pub struct Started {
    pub start: Nanos,
    pub parent: u32,
    pub kernel_thread: bool,
}

impl Names {
    pub fn new(procfs: PathBuf) -> Self {
        Self { procfs, known: HashMap::new(), started: HashMap::new() }
    }

    /// A row for a task of which only identity and time are known.
    pub fn row(&mut self, process: ProcessKey, tid: u32, cpu: u32, time: Nanos) -> TaskTime {
        if self.known.len() > 1024 {
            self.known.clear();
        }
        let known =
            *self.known.entry((process.pid, tid, process.start)).or_insert_with(|| look_up(&self.procfs, process, tid));
        TaskTime {
            process,
            tid,
            cpu,
            time,
            comm: known.comm,
            parent: known.parent,
            cgroup: 0,
            kernel_thread: known.kernel_thread,
            exited: false,
            // Older than anything the kernel program says.
            seen: Nanos(0),
        }
    }

    /// What a kernel program without type information cannot tell of a process it met at `seen`.
    pub fn started(&mut self, pid: u32, seen: Nanos) -> Started {
        let procfs = &self.procfs;
        *self.started.entry(pid).or_insert_with(|| match read(procfs, pid, pid) {
            Some(known) => Started { start: known.start, parent: known.parent, kernel_thread: known.kernel_thread },
            // Gone already. When it was met keeps it apart from the next owner of the pid.
            None => Started { start: seen, parent: 0, kernel_thread: false },
        })
    }

    /// The pid is free for another process.
    pub fn ended(&mut self, pid: u32) {
        self.started.remove(&pid);
    }
}

fn look_up(procfs: &Path, process: ProcessKey, tid: u32) -> Known {
    read(procfs, process.pid, tid)
        // Another process may own the pid by now.
        .filter(|known| process.start.0 == 0 || known.start.0.abs_diff(process.start.0) <= clock::tick())
        .unwrap_or_default()
}

fn read(procfs: &Path, pid: u32, tid: u32) -> Option<Known> {
    let mut root = procfs.join(pid.to_string());
    if tid != pid {
        root = root.join("task").join(tid.to_string());
    }
    let stat = Process::new_with_root(root).ok()?.stat().ok()?;
    Some(Known {
        comm: Comm::from_bytes(stat.comm.as_bytes()),
        parent: stat.ppid as u32,
        kernel_thread: stat.flags & KERNEL_THREAD != 0,
        start: Nanos(stat.starttime * clock::tick()),
    })
}
