//! What a sample says of each process and thread in it, its records of several CPUs brought together.

use crate::probe::{Comm, CpuSample, ProcessKey, TaskTime};
use std::collections::HashMap;

/// A process as the newest of its records shows it.
pub struct Newest {
    pub process: ProcessKey,
    /// The process's name is its leader's; `None` where only other threads ran.
    pub comm: Option<Comm>,
    /// The name of whichever thread ran last.
    pub any_comm: Comm,
    /// From the oldest record: who has lost its parent is given another.
    pub parent: u32,
    pub cgroup: u64,
    pub exited: bool,
}

pub struct NewestThread {
    pub process: ProcessKey,
    pub tid: u32,
    pub name: Comm,
}

#[derive(Default)]
pub struct Records {
    /// Oldest process first: a parent is older than its children, so it comes before them.
    pub processes: Vec<Newest>,
    pub threads: Vec<NewestThread>,
    /// With the thread that the record of the end is of.
    pub ended: Vec<(ProcessKey, u32)>,
}

struct Ends<'a> {
    oldest: &'a TaskTime,
    newest: &'a TaskTime,
    leader: Option<&'a TaskTime>,
    exited: bool,
}

pub fn of(sample: &CpuSample) -> Records {
    let mut records = Records::default();
    let mut processes: HashMap<ProcessKey, Ends> = HashMap::new();
    let mut threads: HashMap<(ProcessKey, u32), &TaskTime> = HashMap::new();
    for task in sample.tasks.iter().filter(|task| !task.kernel_thread) {
        let leads = task.tid == task.process.pid;
        let ends =
            processes.entry(task.process).or_insert(Ends { oldest: task, newest: task, leader: None, exited: false });
        if task.seen < ends.oldest.seen || ends.oldest.parent == 0 {
            ends.oldest = task;
        }
        if task.seen > ends.newest.seen {
            ends.newest = task;
        }
        if leads && ends.leader.is_none_or(|leader| task.seen > leader.seen) {
            ends.leader = Some(task);
        }
        if !leads {
            let newest = threads.entry((task.process, task.tid)).or_insert(task);
            if task.seen > newest.seen {
                *newest = task;
            }
        }
        if task.exited {
            ends.exited = true;
            records.ended.push((task.process, task.tid));
        }
    }
    records.processes = processes.into_iter().map(|(process, ends)| ends.process(process)).collect();
    records.processes.sort_by_key(|newest| (newest.process.start, newest.process.pid));
    let thread = |((process, tid), task): ((_, _), &TaskTime)| NewestThread { process, tid, name: task.comm };
    records.threads = threads.into_iter().map(thread).collect();
    records
}

impl Ends<'_> {
    fn process(self, process: ProcessKey) -> Newest {
        Newest {
            process,
            comm: self.leader.map(|leader| leader.comm),
            any_comm: self.newest.comm,
            parent: self.oldest.parent,
            cgroup: self.newest.cgroup,
            exited: self.exited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    fn record(tid: u32, seen: u64, comm: &str, parent: u32, cgroup: u64) -> TaskTime {
        TaskTime {
            process: ProcessKey { pid: 10, start: Nanos(10) },
            tid,
            cpu: 0,
            time: Nanos(1),
            comm: Comm::from_bytes(comm.as_bytes()),
            parent,
            cgroup,
            kernel_thread: false,
            exited: false,
            seen: Nanos(seen),
        }
    }

    #[test]
    fn name_and_place_are_the_newest_and_the_parent_is_the_oldest() {
        let tasks = vec![record(10, 30, "python", 1, 7), record(10, 20, "sh", 5, 6), record(12, 40, "worker", 1, 7)];
        let records = of(&CpuSample { tasks, ..CpuSample::default() });
        let process = &records.processes[0];
        assert_eq!(process.comm, Some(Comm::from_bytes(b"python")));
        assert_eq!((process.parent, process.cgroup, process.exited), (5, 7, false));
        assert_eq!((records.threads[0].tid, records.threads[0].name), (12, Comm::from_bytes(b"worker")));
    }

    #[test]
    fn a_thread_does_not_rename_its_process() {
        let tasks = vec![record(12, 40, "worker", 1, 7)];
        assert_eq!(of(&CpuSample { tasks, ..CpuSample::default() }).processes[0].comm, None);
    }
}
