//! Closing the books over numbers that do not quite agree.
//!
//! Task times come in ticks and are read a moment after the cut, so they may exceed a CPU's window; a task may
//! have run elsewhere than where it ran last. So, per sample:
//! 1. a task's time is put on its last CPU as far as that has room, the rest on any CPU with room, and what
//!    fits nowhere waits for the next sample;
//! 2. what `/proc/stat` calls busy but no task accounts for is `lost` (processes too short to be seen); the
//!    difference is carried along with its sign, so that rounding does not pile up;
//! 3. `interrupts` is what `/proc/stat` says, as far as there is room; the remainder is `idle`.

use crate::probe::{Comm, CpuSample, CpuWindow, ProcessKey, TaskTime};
use crate::units::Nanos;
use std::collections::HashMap;

/// Counters of one CPU in `/proc/stat`, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    pub cpu: u32,
    /// user + nice + system
    pub busy: u64,
    /// irq + softirq
    pub interrupts: u64,
}

/// One task since the last scan.
#[derive(Clone, Debug)]
pub struct Ran {
    pub process: ProcessKey,
    pub tid: u32,
    pub cpu: u32,
    pub time: u64,
    pub comm: Comm,
    pub parent: u32,
    pub kernel_thread: bool,
    pub exited: bool,
}

/// What one sample leaves to the next.
#[derive(Default)]
pub struct Books {
    /// Time of tasks that found no room.
    waiting: HashMap<(ProcessKey, u32), u64>,
    /// Busy time that no task accounted for, less what tasks had too much.
    unseen: i64,
}

/// Differences are noise of the clock ticks up to this much; more is not held against the future.
const DEBT: i64 = -1_000_000_000;

impl Books {
    pub fn close(&mut self, begin: Nanos, end: Nanos, cpus: &[CpuTicks], ran: Vec<Ran>) -> CpuSample {
        let length = end.0.saturating_sub(begin.0);
        let mut room: Vec<u64> = vec![length; cpus.len()];
        let mut tasks = Vec::new();
        let mut placed = 0;
        for ran in ran {
            let key = (ran.process, ran.tid);
            let mut time = ran.time + self.waiting.remove(&key).unwrap_or_default();
            let home = cpus.iter().position(|cpu| cpu.cpu == ran.cpu);
            let first = tasks.len();
            for index in home.into_iter().chain(0..cpus.len()) {
                let here = time.min(room[index]);
                if here > 0 {
                    room[index] -= here;
                    time -= here;
                    placed += here;
                    tasks.push(ran.row(cpus[index].cpu, here, end));
                }
            }
            if tasks.len() == first {
                tasks.push(ran.row(ran.cpu, 0, end));
            }
            if time > 0 && !ran.exited {
                self.waiting.insert(key, time);
            }
        }
        let busy: u64 = cpus.iter().map(|cpu| cpu.busy).sum();
        self.unseen = (self.unseen + busy as i64 - placed as i64).max(DEBT);
        let mut windows = Vec::new();
        for (cpu, room) in cpus.iter().zip(&room) {
            let lost = (*room).min(cpu.busy).min(self.unseen.max(0) as u64);
            self.unseen -= lost as i64;
            let interrupts = cpu.interrupts.min(room - lost);
            windows.push(CpuWindow {
                cpu: cpu.cpu,
                begin,
                end: Nanos(begin.0 + length),
                idle: Nanos(room - lost - interrupts),
                interrupts: Nanos(interrupts),
                lost: Nanos(lost),
            });
        }
        CpuSample { begin, end, cpus: windows, tasks, cycles: Vec::new() }
    }
}

impl Ran {
    fn row(&self, cpu: u32, time: u64, seen: Nanos) -> TaskTime {
        TaskTime {
            process: self.process,
            tid: self.tid,
            cpu,
            time: Nanos(time),
            comm: self.comm,
            parent: self.parent,
            cgroup: 0,
            kernel_thread: self.kernel_thread,
            exited: self.exited,
            seen,
        }
    }
}

/// The `cpuN` lines of `/proc/stat`. (A CPU that is offline has none, so position is not number.)
pub fn parse_cpus(text: &str, tick: u64) -> Vec<CpuTicks> {
    let line = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let cpu = words.next()?.parse().ok()?;
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal …; guest time is within user.
        let at = |index: usize| ticks.get(index).copied().unwrap_or_default() * tick;
        Some(CpuTicks { cpu, busy: at(0) + at(1) + at(2), interrupts: at(5) + at(6) })
    };
    // "cpu " without a number is the sum of all.
    text.lines().filter(|text| !text.starts_with("cpu ")).filter_map(line).collect()
}

/// What was counted since `before`; a CPU that was not there then starts from now.
pub fn since(now: &[CpuTicks], before: &[CpuTicks]) -> Vec<CpuTicks> {
    now.iter()
        .map(|now| {
            let before = before.iter().find(|cpu| cpu.cpu == now.cpu).unwrap_or(now);
            CpuTicks {
                cpu: now.cpu,
                busy: now.busy.saturating_sub(before.busy),
                interrupts: now.interrupts.saturating_sub(before.interrupts),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(pid: u32, cpu: u32, time: u64) -> Ran {
        Ran {
            process: ProcessKey { pid, start: Nanos(1) },
            tid: pid,
            cpu,
            time,
            comm: Comm::default(),
            parent: 1,
            kernel_thread: false,
            exited: false,
        }
    }

    fn busy(cpu: u32, busy: u64) -> CpuTicks {
        CpuTicks { cpu, busy, interrupts: 0 }
    }

    #[track_caller]
    fn check_closed(sample: &CpuSample) {
        for window in &sample.cpus {
            let tasks: Nanos = sample.tasks.iter().filter(|task| task.cpu == window.cpu).map(|task| task.time).sum();
            let sum = tasks + window.idle + window.interrupts + window.lost;
            assert_eq!(sum.0, window.end.0 - window.begin.0, "{window:?}");
        }
    }

    #[test]
    fn a_task_with_more_time_than_its_cpu_spills_over_and_then_waits() {
        let mut books = Books::default();
        let cpus = [busy(0, 100), busy(3, 100)];
        let sample = books.close(Nanos(0), Nanos(100), &cpus, vec![ran(7, 3, 250)]);
        check_closed(&sample);
        assert_eq!(sample.tasks.iter().map(|task| task.time.0).collect::<Vec<_>>(), [100, 100]);
        let sample = books.close(Nanos(100), Nanos(200), &cpus, vec![ran(7, 3, 10)]);
        check_closed(&sample);
        assert_eq!(sample.tasks[0].time.0, 60);
    }

    #[test]
    fn busy_time_without_a_task_is_lost_not_idle() {
        let mut books = Books::default();
        let sample = books.close(Nanos(0), Nanos(100), &[busy(0, 80)], vec![ran(7, 0, 30)]);
        check_closed(&sample);
        assert_eq!((sample.cpus[0].lost.0, sample.cpus[0].idle.0), (50, 20));
    }

    #[test]
    fn rounding_against_a_task_is_made_up_later() {
        let mut books = Books::default();
        books.close(Nanos(0), Nanos(100), &[busy(0, 10)], vec![ran(7, 0, 20)]);
        let sample = books.close(Nanos(100), Nanos(200), &[busy(0, 20)], vec![ran(7, 0, 10)]);
        check_closed(&sample);
        assert_eq!(sample.cpus[0].lost.0, 0);
    }

    #[test]
    fn offline_cpus_have_no_line() {
        let text = "cpu  9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu2 10 0 0 0\nintr 5\n";
        let cpus = parse_cpus(text, 10);
        assert_eq!(cpus, [CpuTicks { cpu: 0, busy: 60, interrupts: 130 }, busy(2, 100)]);
    }
}
