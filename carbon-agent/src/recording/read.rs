//! Reading a recording, sample by sample.

use super::format::{Header, Line, Process, Sample, VERSION};
use crate::division::KnownIdle;
use crate::energy::{Domain, EnergySample, GpuLoad, GpuUse, GpuUser, Meter, MeterDelta};
use crate::ledger::reserved;
use crate::probe::{Comm, CpuSample, CpuWindow, ProcessKey, TaskTime};
use crate::sampler::{RawSample, host_load};
use crate::topology::Topology;
use crate::units::{MicroJoules, Nanos};
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::sync::Arc;

/// What is wrong with a recording, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    line: u64,
    what: String,
}

impl Fault {
    pub(super) fn at(line: u64, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// A recording, read as far as it was asked for.
pub struct Recording {
    pub header: Header,
    lines: Box<dyn BufRead>,
    line: u64,
    processes: HashMap<usize, Process>,
    components: HashMap<usize, Arc<str>>,
    cut_short: bool,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("header", &self.header).field("line", &self.line).finish_non_exhaustive()
    }
}

/// A sample as the live run saw it.
#[derive(Debug)]
pub(super) struct Recorded {
    pub raw: RawSample,
    pub known_idle: KnownIdle,
    pub intensity: u64,
    components: BTreeMap<(ProcessKey, u32), Arc<str>>,
}

impl Recorded {
    pub(super) fn component(&self, process: ProcessKey, tid: u32) -> Arc<str> {
        self.components.get(&(process, tid)).cloned().unwrap_or_else(|| Arc::from(reserved::UNASSIGNED))
    }
}

impl Recording {
    /// Reads the first line, which says what follows.
    pub fn open(mut lines: Box<dyn BufRead>) -> Result<Self, Fault> {
        let mut first = String::new();
        lines.read_line(&mut first).map_err(|error| Fault::at(1, error.to_string()))?;
        let no_recording = || Fault::at(1, "this is no recording of `carbon-agent record`");
        // The version is looked at first: what else a newer line holds is unknown.
        let value: serde_json::Value = serde_json::from_str(&first).map_err(|_| no_recording())?;
        let version = value["recording"]["version"].as_u64().ok_or_else(no_recording)?;
        if version > u64::from(VERSION) {
            let what = format!("format version {version}; this carbon-agent reads up to {VERSION}: use a newer one");
            return Err(Fault::at(1, what));
        }
        match serde_json::from_value(value) {
            Ok(Line::Recording(versioned)) => Ok(Self {
                header: versioned.header,
                lines,
                line: 1,
                processes: HashMap::new(),
                components: HashMap::new(),
                cut_short: false,
            }),
            Ok(_) => Err(no_recording()),
            Err(error) => Err(Fault::at(1, error.to_string())),
        }
    }

    pub(super) fn cut_short(&self) -> bool {
        self.cut_short
    }

    /// The next sample; `None` at the end.
    pub(super) fn next_sample(&mut self, topology: &Topology) -> Result<Option<Recorded>, Fault> {
        loop {
            let mut text = String::new();
            self.line += 1;
            let read = self.lines.read_line(&mut text).map_err(|error| self.fault(error.to_string()))?;
            if read == 0 {
                return Ok(None);
            }
            if !text.ends_with('\n') {
                self.cut_short = true;
                return Ok(None);
            }
            match serde_json::from_str(&text).map_err(|error| self.fault(error.to_string()))? {
                Line::Recording(_) => return Err(self.fault("a second beginning")),
                Line::Component(component) => {
                    self.components.insert(component.id, Arc::from(component.name));
                }
                Line::Process(process) => {
                    self.processes.insert(process.id, process);
                }
                Line::Sample(sample) => return self.recorded(*sample, topology).map(Some),
            }
        }
    }

    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::at(self.line, what)
    }

    fn process(&self, id: usize) -> Result<&Process, Fault> {
        self.processes.get(&id).ok_or_else(|| self.fault(format!("no process {id}")))
    }

    fn component(&self, id: usize) -> Result<Arc<str>, Fault> {
        self.components.get(&id).cloned().ok_or_else(|| self.fault(format!("no component {id}")))
    }

    fn recorded(&self, sample: Sample, topology: &Topology) -> Result<Recorded, Fault> {
        let mut components = BTreeMap::new();
        let mut tasks = Vec::with_capacity(sample.tasks.len());
        for (process, tid, cpu, time, component) in sample.tasks {
            let process = self.process(process)?;
            components.insert((key(process), tid), self.component(component)?);
            tasks.push(TaskTime {
                process: key(process),
                tid,
                cpu,
                time: Nanos(time),
                comm: Comm::from_bytes(process.comm.as_bytes()),
                parent: 0,
                cgroup: 0,
                kernel_thread: process.kernel,
                exited: false,
                seen: Nanos(sample.end),
            });
        }
        let mut gpus = GpuUse::default();
        for (card, process, pid, weight, component) in sample.gpu_users {
            let meter = Meter { domain: Domain::Gpu, socket: card };
            let process = process.map(|id| self.process(id)).transpose()?.map(key);
            if let Some(process) = process {
                components.insert((process, process.pid), self.component(component)?);
            }
            gpus.users.push(GpuUser { meter, pid, process, weight });
        }
        gpus.loads.extend(sample.gpu_loads.into_iter().map(|(card, busy, wall)| GpuLoad {
            meter: Meter { domain: Domain::Gpu, socket: card },
            busy: Nanos(busy),
            wall: Nanos(wall),
        }));
        let windows = sample.cpus.into_iter().map(|(cpu, begin, end, idle, interrupts, lost)| CpuWindow {
            cpu,
            begin: Nanos(begin),
            end: Nanos(end),
            idle: Nanos(idle),
            interrupts: Nanos(interrupts),
            lost: Nanos(lost),
        });
        let cpu = CpuSample {
            begin: Nanos(sample.begin),
            end: Nanos(sample.end),
            cpus: windows.collect(),
            tasks,
            cycles: sample.cycles,
        };
        let deltas = sample.energy.into_iter().map(|(domain, socket, energy, begin, end)| MeterDelta {
            meter: Meter { domain, socket },
            energy: MicroJoules(energy),
            begin: Nanos(begin),
            end: Nanos(end),
        });
        let idle = sample.idle.into_iter();
        Ok(Recorded {
            raw: RawSample {
                load: host_load(&cpu, topology),
                energy: EnergySample { deltas: deltas.collect(), faults: Vec::new() },
                cpu,
                gpus,
            },
            known_idle: idle.map(|(domain, socket, idle)| (Meter { domain, socket }, MicroJoules(idle))).collect(),
            intensity: sample.intensity,
            components,
        })
    }
}

fn key(process: &Process) -> ProcessKey {
    ProcessKey { pid: process.pid, start: Nanos(process.start) }
}
