//! From one probe to another while both count: for what only loading can change, such as keeping threads apart.
//!
//! The settings are constants to the kernel's verifier, so that the program pays nothing for those it does not use; the
//! price is that another setting is another program. Both are attached for a moment, both are cut at the same instant,
//! the old one's part ends there and the new one's begins there.

use super::EbpfProbe;
use crate::clock::monotonic;
use crate::probe::{CpuSample, Probe, ProbeError};
use crate::units::Nanos;

impl EbpfProbe {
    /// Lets `next`, which counts already, go on from here. What ran until now is carried to its first sample.
    pub(super) fn hand_over(&mut self, mut next: Self) -> Result<(), ProbeError> {
        if let Some(sample) = self.collect_pending()? {
            self.carry(sample);
        }
        let now = monotonic();
        self.cut_at(now);
        next.cut_at(now);
        let ours = self.collect_pending()?;
        // The same time was counted by both.
        drop(next.collect_pending()?);
        next.before = self.cost();
        next.carried = self.carried.take();
        if let Some(mut sample) = ours {
            next.before.lost += join(&mut sample, &next.boundaries);
            next.carry(sample);
        }
        *self = next;
        Ok(())
    }
}

/// Makes each CPU's window end where the other probe's begins: an event in the very moment of the cut may have moved
/// either by microseconds. Time that neither tells whose it is becomes lost time, which is returned; time that both have
/// is taken from this sample.
fn join(sample: &mut CpuSample, begins: &[u64]) -> Nanos {
    let mut lost = Nanos(0);
    for window in &mut sample.cpus {
        let begin = begins[window.cpu as usize].max(window.begin.0);
        let gap = Nanos(begin.saturating_sub(window.end.0));
        window.lost += gap;
        lost += gap;
        let mut twice = window.end.0.saturating_sub(begin);
        let tasks = sample.tasks.iter_mut().filter(|task| task.cpu == window.cpu).map(|task| &mut task.time);
        for part in [&mut window.idle, &mut window.interrupts, &mut window.lost].into_iter().chain(tasks) {
            let taken = part.0.min(twice);
            part.0 -= taken;
            twice -= taken;
        }
        window.end = Nanos(begin);
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Comm, CpuWindow, ProcessKey, TaskTime};

    #[test]
    fn windows_meet_and_close() {
        let window = |cpu, idle, lost| CpuWindow {
            cpu,
            begin: Nanos(0),
            end: Nanos(100),
            idle: Nanos(idle),
            lost: Nanos(lost),
            ..CpuWindow::default()
        };
        let task = |cpu, time| TaskTime {
            process: ProcessKey { pid: 7, start: Nanos(1) },
            tid: 7,
            cpu,
            time: Nanos(time),
            comm: Comm::default(),
            parent: 1,
            cgroup: 0,
            kernel_thread: false,
            exited: false,
            seen: Nanos(1),
        };
        let mut sample = CpuSample {
            cpus: vec![window(0, 60, 0), window(1, 2, 1), window(2, 100, 0)],
            tasks: vec![task(0, 40), task(1, 97)],
            ..CpuSample::default()
        };
        assert_eq!(join(&mut sample, &[104, 95, 100]), Nanos(4));
        let shown: Vec<_> = sample.cpus.iter().map(|w| (w.end.0, w.idle.0, w.lost.0)).collect();
        assert_eq!(shown, [(104, 60, 4), (95, 0, 0), (100, 100, 0)]);
        assert_eq!(sample.tasks.iter().map(|task| task.time.0).collect::<Vec<_>>(), [40, 95]);
    }
}
