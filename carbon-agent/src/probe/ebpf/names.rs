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
    // Another process may own the pid by now. A thread has a start of its own, so it is the process that is asked.
    let same = |known: &Known| process.start.0 == 0 || known.start.0.abs_diff(process.start.0) <= clock::tick();
    let Some(known) = read(procfs, process.pid, process.pid).filter(same) else { return Known::default() };
    let thread = if tid == process.pid { None } else { read(procfs, process.pid, tid) };
    Known { comm: thread.map_or(known.comm, |thread| thread.comm), ..known }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread, time::Duration};

    #[test]
    fn a_thread_is_known_by_its_own_name_whenever_it_began() {
        // Ticks after the process.
        thread::sleep(Duration::from_millis(50));
        let (tell, told) = mpsc::channel();
        let (stay, until) = mpsc::channel::<()>();
        let work = move || {
            // SAFETY: no preconditions.
            tell.send(unsafe { libc::gettid() }).expect("the test listens");
            let _ = until.recv();
        };
        let worker = thread::Builder::new().name("narrative-2".into()).spawn(work).expect("a thread");
        let tid = told.recv().expect("it runs") as u32;
        let pid = std::process::id();
        let own = read(Path::new("/proc"), pid, pid).expect("this process");
        let mut names = Names::new("/proc".into());
        let comm = |names: &mut Names, start| names.row(ProcessKey { pid, start }, tid, 0, Nanos(1)).comm.to_string();
        assert_eq!(comm(&mut names, own.start), "narrative-2");
        // A later bearer of the pid is another.
        assert_eq!(comm(&mut names, Nanos(own.start.0 + 10 * clock::tick())), "");
        drop(stay);
        worker.join().expect("it ends");
    }
}
