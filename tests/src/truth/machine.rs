//! The played machine: CPU time and counters, a millisecond at a time.

use carbon_agent::energy::{Domain, EnergySample, Meter, MeterDelta};
use carbon_agent::probe::{Comm, CpuSample, CpuWindow, ProcessKey, TaskTime};
use carbon_agent::sampler::{RawSample, host_load};
use carbon_agent::topology::Topology;
use carbon_agent::units::{MicroJoules, Nanos};
use std::collections::BTreeMap;

const MILLISECOND: u64 = 1_000_000;

/// A small generator (xorshift64*): the same sequence on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Evenly in 0..1.
    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Something that runs, on a CPU of its own, at a wattage of its own.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub name: &'static str,
    pub cpu: u32,
    pub watts_per_cpu: f64,
    /// Busy share at a time (seconds), given a fresh random number every second.
    pub duty: fn(f64, f64) -> f64,
    /// Milliseconds that each of its processes lives; 0: there is one.
    pub process_ms: u64,
    /// Whether its error counts; background does not.
    pub judged: bool,
}

/// Sockets and what runs on them.
#[derive(Clone, Debug)]
pub struct Machine {
    pub sockets: u32,
    pub cpus_per_socket: u32,
    /// Idle watts of each socket at a time (seconds).
    pub idle_watts: fn(f64) -> f64,
    pub loads: Vec<Load>,
}

/// One sample and the truth of it.
#[derive(Debug)]
pub struct Played {
    pub at: f64,
    pub raw: RawSample,
    /// Microjoules that each load truly drew in the sample.
    pub truth: Vec<f64>,
}

/// Which load a process belongs to.
pub fn load_of(process: ProcessKey) -> usize {
    (process.pid / 1_000_000) as usize
}

impl Machine {
    pub fn topology(&self) -> Topology {
        Topology::of((0..self.sockets * self.cpus_per_socket).map(|cpu| (cpu, cpu / self.cpus_per_socket)))
    }

    /// Plays so many seconds in samples of `interval_ms`. Meters are read up to 3 ms after the cut, as on a busy host,
    /// and their power flickers by 5 % from one millisecond to the next.
    pub fn play(&self, seconds: u64, interval_ms: u64, seed: u64, mut each: impl FnMut(Played)) {
        let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let topology = self.topology();
        let mut counters = vec![0.0f64; self.sockets as usize];
        let mut read = vec![(0u64, Nanos(0)); self.sockets as usize];
        let mut drawn = vec![random.unit(); self.loads.len()];
        let mut sample = Sample::new(self, 0);
        // The sample that was cut and whose meters are still to be read, and when.
        let mut cut: Option<(Sample, u64)> = None;
        for ms in 0..=seconds * 1000 + 5 {
            let t = ms as f64 / 1e3;
            if ms > 0 && ms % interval_ms == 0 && ms <= seconds * 1000 {
                let finished = std::mem::replace(&mut sample, Sample::new(self, ms));
                cut = Some((finished, ms + (random.unit() * 4.0) as u64));
            }
            if let Some((finished, _)) = cut.take_if(|(_, due)| *due == ms) {
                let now = Nanos(ms * MILLISECOND);
                let deltas = counters.iter().zip(&mut read).enumerate().map(|(socket, (counter, last))| {
                    let (before, begin) = std::mem::replace(last, (*counter as u64, now));
                    let meter = Meter { domain: Domain::Package, socket: socket as u32 };
                    MeterDelta { meter, energy: MicroJoules(*counter as u64 - before), begin, end: now }
                });
                let energy = EnergySample { deltas: deltas.collect(), faults: Vec::new() };
                let end = finished.end.unwrap_or(ms);
                each(finished.close(self, end, energy, &topology));
            }
            if ms % 1000 == 0 {
                drawn.iter_mut().for_each(|drawn| *drawn = random.unit());
            }
            for counter in &mut counters {
                *counter += (self.idle_watts)(t) * 1e3;
            }
            for (index, load) in self.loads.iter().enumerate() {
                let ran = (load.duty)(t, drawn[index]).clamp(0.0, 1.0) * MILLISECOND as f64;
                let flicker = 1.0 + 0.1 * (random.unit() - 0.5);
                let energy = load.watts_per_cpu * flicker * ran / 1e3;
                counters[(load.cpu / self.cpus_per_socket) as usize] += energy;
                sample.ran(index, load, ms, ran, energy);
            }
            if let Some((finished, _)) = &mut cut {
                finished.end.get_or_insert(ms);
            }
        }
    }
}

/// A sample on its way.
#[derive(Debug)]
struct Sample {
    begin: u64,
    end: Option<u64>,
    tasks: BTreeMap<(u32, u32), f64>,
    truth: Vec<f64>,
}

impl Sample {
    fn new(machine: &Machine, begin: u64) -> Self {
        Self { begin, end: None, tasks: BTreeMap::new(), truth: vec![0.0; machine.loads.len()] }
    }

    fn ran(&mut self, index: usize, load: &Load, ms: u64, ran: f64, energy: f64) {
        let generation = ms.checked_div(load.process_ms).unwrap_or(0);
        let pid = index as u32 * 1_000_000 + 1 + (generation % 999_999) as u32;
        *self.tasks.entry((pid, load.cpu)).or_default() += ran;
        self.truth[index] += energy;
    }

    fn close(self, machine: &Machine, end: u64, energy: EnergySample, topology: &Topology) -> Played {
        let (begin, end) = (Nanos(self.begin * MILLISECOND), Nanos(end * MILLISECOND));
        let tasks: Vec<TaskTime> = self
            .tasks
            .into_iter()
            .filter(|(_, ran)| *ran >= 1.0)
            .map(|((pid, cpu), ran)| TaskTime {
                process: ProcessKey { pid, start: Nanos(1) },
                tid: pid,
                cpu,
                time: Nanos(ran as u64),
                comm: Comm::default(),
                parent: 1,
                cgroup: 0,
                kernel_thread: false,
                exited: false,
                seen: end,
            })
            .collect();
        let cpus = (0..machine.sockets * machine.cpus_per_socket).map(|cpu| {
            let ran: u64 = tasks.iter().filter(|task| task.cpu == cpu).map(|task| task.time.0).sum();
            let idle = Nanos((end.0 - begin.0).saturating_sub(ran));
            CpuWindow { cpu, begin, end, idle, ..CpuWindow::default() }
        });
        let cpu = CpuSample { begin, end, cpus: cpus.collect(), tasks, cycles: Vec::new() };
        let raw = RawSample { load: host_load(&cpu, topology), cpu, energy, ..RawSample::default() };
        Played { at: end.seconds(), raw, truth: self.truth }
    }
}
