//! Writing a recording, sample by sample.

use super::format::{Component, Header, Line, Process, Sample, VERSION, Versioned};
use crate::division::KnownIdle;
use crate::ledger::reserved;
use crate::probe::{Comm, ProcessKey, TaskTime};
use crate::sampler::RawSample;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

/// Writes whole lines, and each sample through to the file: what a killed recorder leaves behind is good.
pub struct Recorder {
    out: Box<dyn Write + Send>,
    processes: HashMap<(ProcessKey, bool), usize>,
    components: HashMap<Arc<str>, usize>,
    /// The first failure; nothing is written after it.
    fault: Option<io::Error>,
}

impl Recorder {
    pub fn new(out: Box<dyn Write + Send>, header: &Header) -> Self {
        let mut recorder = Self { out, processes: HashMap::new(), components: HashMap::new(), fault: None };
        recorder.line(&[Line::Recording(Versioned { version: VERSION, header: header.clone() })]);
        recorder
    }

    /// Writes a sample. A failure is kept for [`Recorder::finish`]: recording must not disturb measuring.
    pub fn sample(
        &mut self,
        raw: &RawSample,
        known_idle: &KnownIdle,
        intensity: u64,
        component_of: impl Fn(ProcessKey, u32) -> Arc<str>,
    ) {
        let mut lines = Vec::new();
        let ran = |task: &&TaskTime| task.time.0 > 0;
        let tasks = raw.cpu.tasks.iter().filter(ran).map(|task| {
            let component = component_of(task.process, task.tid);
            let process = self.process(task, &mut lines);
            let component = self.component(component, &mut lines);
            (process, task.tid, task.cpu, task.time.0, component)
        });
        let tasks: Vec<_> = tasks.collect();
        let gpu_users = raw.gpus.users.iter().map(|user| {
            let process = user.process.map(|process| self.gpu_user(process, &mut lines));
            let name = match user.process {
                Some(process) => component_of(process, process.pid),
                None => Arc::from(reserved::UNATTRIBUTED),
            };
            (user.meter.socket, process, user.pid, user.weight, self.component(name, &mut lines))
        });
        let gpu_users: Vec<_> = gpu_users.collect();
        let cycles = raw.cpu.tasks.iter().zip(&raw.cpu.cycles).filter(|(task, _)| ran(task));
        let sample = Sample {
            begin: raw.cpu.begin.0,
            end: raw.cpu.end.0,
            intensity,
            cpus: raw
                .cpu
                .cpus
                .iter()
                .map(|w| (w.cpu, w.begin.0, w.end.0, w.idle.0, w.interrupts.0, w.lost.0))
                .collect(),
            tasks,
            cycles: cycles.map(|(_, cycles)| *cycles).collect(),
            gpu_users,
            gpu_loads: raw.gpus.loads.iter().map(|load| (load.meter.socket, load.busy.0, load.wall.0)).collect(),
            energy: raw
                .energy
                .deltas
                .iter()
                .map(|d| (d.meter.domain, d.meter.socket, d.energy.0, d.begin.0, d.end.0))
                .collect(),
            idle: known_idle.iter().map(|(meter, idle)| (meter.domain, meter.socket, idle.0)).collect(),
        };
        lines.push(Line::Sample(Box::new(sample)));
        self.line(&lines);
    }

    /// Whether everything was written.
    pub fn finish(self) -> io::Result<()> {
        self.fault.map_or(Ok(()), Err)
    }

    fn process(&mut self, task: &TaskTime, lines: &mut Vec<Line>) -> usize {
        self.named(task.process, task.kernel_thread, task.comm, lines)
    }

    /// One that uses a card has run, and so is known; in a recording that began later it has no name.
    fn gpu_user(&mut self, process: ProcessKey, lines: &mut Vec<Line>) -> usize {
        self.named(process, false, Comm::default(), lines)
    }

    fn named(&mut self, process: ProcessKey, kernel: bool, comm: Comm, lines: &mut Vec<Line>) -> usize {
        let fresh = self.processes.len();
        *self.processes.entry((process, kernel)).or_insert_with(|| {
            let (pid, start, comm) = (process.pid, process.start.0, comm.to_string());
            lines.push(Line::Process(Process { id: fresh, pid, start, comm, kernel }));
            fresh
        })
    }

    fn component(&mut self, name: Arc<str>, lines: &mut Vec<Line>) -> usize {
        let fresh = self.components.len();
        *self.components.entry(name).or_insert_with_key(|name| {
            lines.push(Line::Component(Component { id: fresh, name: name.to_string() }));
            fresh
        })
    }

    fn line(&mut self, lines: &[Line]) {
        if self.fault.is_some() {
            return;
        }
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).expect("plain data, and memory does not fail to be written");
            text.push(b'\n');
        }
        self.fault = self.out.write_all(&text).and_then(|()| self.out.flush()).err();
    }
}
