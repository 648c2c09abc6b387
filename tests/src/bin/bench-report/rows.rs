//! The intervals of a made-up machine, with figures that change as real ones do: what compresses too well would be
//! read too fast.

use crate::Arguments;
use carbon_agent::attribution::weights::Policy;
use carbon_agent::energy::{Domain, Meter, Quality};
use carbon_agent::export::RunInfo;
use carbon_agent::export::host_facts::HostFacts;
use carbon_agent::ledger::reserved;
use carbon_agent::probe::{CpuMethod, ProbeCost};
use carbon_agent::snapshot::{
    ComponentRow, EnergyByDomain, IntensityInForce, MeterRow, Method, ProcessIdentity, ProcessRow, Snapshot, Usage,
};
use carbon_agent::units::{Emissions, MicroJoules, Nanos};
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

const MILLIGRAMS_PER_KWH: u64 = 380_000;
const DOMAINS: [Domain; 2] = [Domain::Package, Domain::Dram];

/// Xorshift: the same machine each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Less than `limit`.
    pub fn roll(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What the rows say of the run.
pub fn run_info(arguments: &Arguments) -> RunInfo {
    RunInfo {
        project_name: "TTA-Staging".to_owned(),
        environment: Some("staging".to_owned()),
        host: HostFacts::read(Path::new("/proc")),
        pue: 1.0,
        interval: Duration::from_secs(arguments.seconds.into()),
        ..RunInfo::default()
    }
}

/// The machine: what stays from interval to interval.
pub struct Machine {
    dice: Dice,
    interval: Nanos,
    names: Vec<String>,
    runs: Vec<Usage>,
    host_run: Usage,
    processes: usize,
    age: u64,
}

impl Machine {
    pub fn new(arguments: &Arguments, seed: u64) -> Self {
        let always = [reserved::UNASSIGNED, reserved::KERNEL, reserved::IDLE, reserved::UNATTRIBUTED];
        let own = (always.len()..arguments.components).map(|n| format!("narrative_component_{n:02}"));
        let names: Vec<String> = always.into_iter().map(str::to_owned).chain(own).collect();
        Self {
            dice: Dice::new(seed),
            interval: Nanos(u64::from(arguments.seconds) * 1_000_000_000),
            runs: vec![Usage::default(); names.len()],
            names,
            host_run: Usage::default(),
            processes: arguments.processes,
            age: 0,
        }
    }

    /// The interval that ends at `timestamp`.
    pub fn interval(&mut self, timestamp: Timestamp) -> Snapshot {
        self.age += 1;
        let mut host = Usage::default();
        let mut components = Vec::with_capacity(self.names.len());
        for at in 0..self.names.len() {
            let interval = self.usage(9_000_000);
            host += interval;
            self.runs[at] += interval;
            let run = self.runs[at];
            components.push(ComponentRow {
                component: self.names[at].clone(),
                interval,
                run,
                lifetime: run,
                period_emissions: run.emissions,
                sci: None,
            });
        }
        self.host_run += host;
        let processes = (0..self.processes).map(|n| self.process(n, timestamp)).collect();
        let meters = DOMAINS.map(|domain| MeterRow {
            meter: Meter { domain, socket: 0 },
            interval: host.energy[domain],
            total: self.host_run.energy[domain],
            idle_watts: Some(20.0),
        });
        Snapshot {
            timestamp,
            duration: self.interval,
            run_duration: Nanos(self.interval.0 * self.age),
            method: Method {
                cpu_time: CpuMethod::Ebpf,
                energy: "rapl-powercap".to_owned(),
                baseline: "learned".to_owned(),
                weights: Policy::Learned,
                intensity: "static:DEU:2024".to_owned(),
            },
            quality: Quality::Measured,
            domains: DOMAINS.to_vec(),
            host,
            host_run: self.host_run,
            host_lifetime: self.host_run,
            period_emissions: self.host_run.emissions,
            embodied: false,
            memory_used: Some((4 << 30) + self.dice.roll(1 << 30)),
            meters: meters.to_vec(),
            components,
            processes,
            residual: DOMAINS.map(|domain| (domain, 0)).to_vec(),
            intensity: IntensityInForce {
                grams_per_kwh: 380.0,
                zone: "DEU".to_owned(),
                provider: "static".to_owned(),
                kind: "average".to_owned(),
                age_seconds: 60.0,
            },
            probe_cost: ProbeCost { events: 0, run_time: None, lost: Nanos(0) },
            stages: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Up to so many microjoules of the package, some of the memory, and CPU time.
    fn usage(&mut self, most: u64) -> Usage {
        let mut energy = EnergyByDomain::default();
        energy[Domain::Package] = MicroJoules(self.dice.roll(most));
        energy[Domain::Dram] = MicroJoules(self.dice.roll(most / 8));
        let emissions = Emissions::of(energy.total(), MILLIGRAMS_PER_KWH);
        let cpu = Nanos(self.dice.roll(self.interval.0 / 4));
        Usage { cpu, energy, emissions, embodied: Emissions(0) }
    }

    fn process(&mut self, n: usize, timestamp: Timestamp) -> ProcessRow {
        let interval = self.usage(4_000_000);
        ProcessRow {
            identity: Some(ProcessIdentity {
                pid: 1000 + n as u32,
                start_time: timestamp,
                unit: Some(format!("worker-{}.service", n % 8)),
                container: None,
                exe: Some("/usr/bin/python3.12".to_owned()),
            }),
            comm: format!("worker-{n}"),
            component: self.names[n % self.names.len()].clone(),
            interval,
            run: interval,
        }
    }
}
