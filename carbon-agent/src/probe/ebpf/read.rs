//! Reading a closed epoch: what is active, CPU by CPU, and the slices that straddle the cut.

use super::{EbpfProbe, Pending};
use crate::probe::{Comm, CpuSample, CpuWindow, ProcessKey, TaskTime};
use crate::units::Nanos;
use carbon_common::{Cell, CpuState, Edge, Identity, first_cell, flag};
use std::sync::atomic::{AtomicU64, Ordering, fence};

impl EbpfProbe {
    pub(super) fn read(&mut self, pending: Pending) -> CpuSample {
        self.births.clear();
        let mut sample = CpuSample { begin: pending.begin, end: pending.end, ..CpuSample::default() };
        for cpu in 0..self.loaded.settings.cpus {
            self.read_cpu(cpu, pending, &mut sample);
        }
        // A process born on one CPU may have run on others, and been adopted, before anyone looked.
        if !self.births.is_empty() {
            for row in &mut sample.tasks {
                row.parent = self.births.get(&row.process).copied().unwrap_or(row.parent);
            }
        }
        if self.loaded.plain.is_some() {
            for row in sample.tasks.iter().filter(|row| row.exited) {
                self.names.ended(row.process.pid);
            }
        }
        sample
    }

    fn read_cpu(&mut self, cpu: u32, pending: Pending, sample: &mut CpuSample) {
        let Some((state, edge)) = self.state_at_cut(cpu, pending.epoch) else {
            // Never seen: a CPU that may be plugged in some day.
            self.boundaries[cpu as usize] = pending.end.0;
            return;
        };
        let epoch = pending.epoch as u32;
        let begin = self.boundaries[cpu as usize];
        // An event that read the clock after the cut but still saw the old epoch moves this CPU's boundary.
        let end = pending.end.0.max(edge.last);
        self.boundaries[cpu as usize] = end;
        let mut window = CpuWindow { cpu, begin: Nanos(begin), end: Nanos(end), ..CpuWindow::default() };
        let first = sample.tasks.len();
        let counted = state.windows[(epoch & 1) as usize];
        if counted.epoch == epoch {
            window.idle = Nanos(counted.idle);
            window.interrupts = Nanos(counted.interrupts);
            window.lost = Nanos(counted.lost);
            let base = first_cell(&self.loaded.settings, epoch, cpu);
            for place in 0..counted.used {
                let index = base + self.loaded.order.read(base + place);
                let cell = self.loaded.cells.read(index);
                sample.tasks.push(self.row(&cell, cpu));
                sample.cycles.extend(self.loaded.cycles.as_ref().map(|cycles| cycles.read(index)));
            }
        }
        let slice = Nanos(end - edge.last.max(begin).min(end));
        if edge.in_interrupt != 0 {
            window.interrupts += slice;
        } else if edge.running.tid == 0 {
            window.idle += slice;
        } else if edge.running == Identity::UNKNOWN {
            window.lost += slice;
        } else if slice.0 > 0 {
            self.add_slice(&edge, cpu, slice, sample, first);
        }
        sample.cpus.push(window);
    }

    /// A CPU's counters, and its state when the epoch ended: who was running, charged up to when.
    fn state_at_cut(&self, cpu: u32, epoch: u64) -> Option<(CpuState, Edge)> {
        let entry = self.loaded.states.entry(cpu);
        // SAFETY: an aligned word of the entry.
        let entered = || unsafe { AtomicU64::from_ptr(&raw mut (*entry).epoch) }.load(Ordering::Acquire);
        if entered() <= epoch {
            let state = self.loaded.states.read(cpu);
            fence(Ordering::Acquire);
            if entered() <= epoch {
                let edge = Edge {
                    last: state.last,
                    running: if self.offline[cpu as usize] { Identity::IDLE } else { state.running },
                    in_interrupt: u64::from(state.in_interrupt),
                    // Whoever is busy has been asked, and has left the epoch.
                    cycles: 0,
                };
                return (state.epoch != 0).then_some((state, edge));
            }
        }
        // It has left the epoch, and wrote down how. Nothing of that changes before the next cut.
        let state = self.loaded.states.read(cpu);
        (state.edge.last != 0).then_some((state, state.edge))
    }

    /// The time since the last event of the epoch belongs to whoever was running then.
    fn add_slice(&mut self, edge: &Edge, cpu: u32, slice: Nanos, sample: &mut CpuSample, first: usize) {
        let who = edge.running;
        let process = self.process(who.tgid, who.start, self.boundaries[cpu as usize]);
        let mut here = sample.tasks[first..].iter();
        let counted = self.loaded.cycles.is_some();
        match here.position(|task| task.tid == who.tid && task.process == process) {
            Some(place) => {
                sample.tasks[first + place].time += slice;
                if counted {
                    sample.cycles[first + place] += edge.cycles;
                }
            }
            None => {
                sample.tasks.push(self.names.row(process, who.tid, cpu, slice));
                sample.cycles.extend(counted.then_some(edge.cycles));
            }
        }
    }

    fn row(&mut self, cell: &Cell, cpu: u32) -> TaskTime {
        let mut row = TaskTime {
            process: self.process(cell.tgid, cell.start, cell.seen),
            tid: cell.tid,
            cpu,
            time: Nanos(cell.time),
            comm: Comm(cell.comm),
            parent: cell.parent(),
            cgroup: cell.cgroup,
            kernel_thread: cell.has(flag::KERNEL_THREAD),
            exited: cell.has(flag::EXITED),
            seen: Nanos(cell.seen),
        };
        if cell.has(flag::BORN) {
            self.births.insert(row.process, row.parent);
        }
        if self.loaded.plain.is_some() {
            let known = self.names.started(cell.tgid, Nanos(cell.seen));
            row.parent = known.parent;
            row.kernel_thread = known.kernel_thread;
        }
        row
    }

    fn process(&mut self, pid: u32, start: u64, seen: u64) -> ProcessKey {
        let start = match &self.loaded.plain {
            None => Nanos(start),
            Some(_) => self.names.started(pid, Nanos(seen)).start,
        };
        ProcessKey { pid, start }
    }
}
