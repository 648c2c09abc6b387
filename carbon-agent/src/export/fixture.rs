//! A snapshot for tests: a small machine, with names chosen by somebody hostile.

use super::files::FilesReport;
use super::host_facts::HostFacts;
use super::published::Publication;
use super::{Location, RunInfo};
use crate::attribution::weights::Policy;
use crate::carbon::Sci;
use crate::energy::{Domain, Meter, Quality};
use crate::ledger::reserved;
use crate::probe::{CpuMethod, ProbeCost};
use crate::snapshot::*;
use crate::units::{Emissions, MicroJoules, Nanos};
use std::time::Duration;
use uuid::Uuid;

/// A name that wants to break out of JSON, HTML, CSV, a metric label or a terminal.
pub const HOSTILE: &str = "\"}\n<b>\\x\u{1b}[31m,é";

pub fn run_info() -> RunInfo {
    RunInfo {
        project_name: "TTA-Staging".into(),
        run_id: Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef),
        environment: Some("staging".into()),
        host: HostFacts {
            os: "Linux-5.15.0-x86_64".into(),
            cpu_count: 4,
            cpu_model: "Test CPU".into(),
            memory_bytes: 8 << 30,
        },
        location: Location { country_name: "Germany".into(), country_iso_code: "DEU".into(), region: String::new() },
        pue: 1.0,
        interval: Duration::from_secs(15),
        output_dir: None,
        config_file: None,
        emissions_threshold_kg: Some(1.0),
        probe_object: "sha256:abc".into(),
    }
}

/// Package and dram energy in microjoules, CPU time in milliseconds, at 380 g/kWh.
pub fn usage(package: u64, dram: u64, milliseconds: u64) -> Usage {
    let mut energy = EnergyByDomain::default();
    energy[Domain::Package] = MicroJoules(package);
    energy[Domain::Dram] = MicroJoules(dram);
    Usage {
        cpu: Nanos(milliseconds * 1_000_000),
        energy,
        emissions: Emissions::of(energy.total(), 380_000),
        ..Usage::default()
    }
}

/// With so many milligrams of the machine's manufacture.
fn bearing(milligrams: u128, usage: Usage) -> Usage {
    Usage { embodied: Emissions(milligrams * 3_600_000_000_000), ..usage }
}

fn times(usage: Usage, factor: u64) -> Usage {
    (0..factor).fold(Usage::default(), |mut sum, _| {
        sum += usage;
        sum
    })
}

pub fn component(name: &str, interval: Usage) -> ComponentRow {
    ComponentRow {
        component: name.into(),
        interval,
        run: times(interval, 4),
        lifetime: times(interval, 10),
        period_emissions: times(interval, 7).emissions,
        sci: None,
    }
}

pub fn process(pid: u32, comm: &str, component: &str, interval: Usage) -> ProcessRow {
    ProcessRow {
        identity: Some(ProcessIdentity {
            pid,
            start_time: "2026-03-01T11:00:00.25Z".parse().unwrap(),
            unit: Some("ollama.service".into()),
            container: None,
            exe: Some("/usr/bin/ollama".into()),
        }),
        comm: comm.into(),
        component: component.into(),
        interval,
        run: times(interval, 3),
    }
}

pub fn snapshot() -> Snapshot {
    let mut components = vec![
        component("model_management", bearing(400, usage(100_000_001, 5_000_000, 12_000))),
        component(HOSTILE, usage(33_333_333, 1_000_003, 6_000)),
        component(reserved::UNASSIGNED, usage(1, 0, 10)),
        component(reserved::KERNEL, usage(4_000_000, 0, 500)),
        component(reserved::IDLE, bearing(600, usage(150_000_000, 30_000_000, 41_490))),
        component(reserved::UNATTRIBUTED, usage(0, 999_997, 0)),
    ];
    // Forty requests in the interval before, which was like this one; four hundred since the counters began.
    let Usage { emissions, embodied, .. } = components[0].interval;
    let counted = Sci { operational: emissions, embodied, units: 40.0, time: Nanos(15_000_000_000) };
    let mut lifetime = Sci::default();
    (0..10).for_each(|_| lifetime += counted);
    let functional_unit = "request".to_owned();
    components[0].sci = Some(SciRow { functional_unit, counted: Some(counted), lifetime: Some(lifetime) });
    let sum = |pick: fn(&ComponentRow) -> Usage| {
        components.iter().fold(Usage::default(), |mut sum, row| {
            sum += pick(row);
            sum
        })
    };
    let (host, host_run, host_lifetime) = (sum(|r| r.interval), sum(|r| r.run), sum(|r| r.lifetime));
    let meter = |domain: Domain, idle_watts| MeterRow {
        meter: Meter { domain, socket: 0 },
        interval: host.energy[domain],
        total: host_lifetime.energy[domain],
        idle_watts,
    };
    Snapshot {
        timestamp: "2026-03-01T12:00:15.001Z".parse().unwrap(),
        duration: Nanos(15_000_000_000),
        run_duration: Nanos(60_000_000_000),
        method: Method {
            cpu_time: CpuMethod::Ebpf,
            energy: "rapl-powercap".into(),
            baseline: "learned".into(),
            weights: Policy::Learned,
            intensity: "static:DEU:2024".into(),
        },
        quality: Quality::Measured,
        domains: vec![Domain::Package, Domain::Dram],
        host,
        host_run,
        host_lifetime,
        period_emissions: components.iter().map(|r| r.period_emissions).sum(),
        embodied: true,
        memory_used: Some(2 << 30),
        meters: vec![meter(Domain::Package, Some(10.0)), meter(Domain::Dram, None)],
        processes: vec![
            process(4242, "ollama", "model_management", usage(90_000_000, 4_000_000, 10_000)),
            process(4243, HOSTILE, HOSTILE, usage(33_333_333, 1_000_003, 6_000)),
            ProcessRow {
                identity: None,
                comm: reserved::OTHER.into(),
                component: reserved::OTHER.into(),
                interval: usage(10_000_002, 1_000_000, 2_010),
                run: usage(10_000_002, 1_000_000, 2_010),
            },
        ],
        components,
        residual: vec![(Domain::Package, 0), (Domain::Dram, 0)],
        intensity: IntensityInForce {
            grams_per_kwh: 380.0,
            zone: "DEU".into(),
            provider: "static".into(),
            kind: "average".into(),
            age_seconds: 60.0,
        },
        probe_cost: ProbeCost { events: 123_456, run_time: Some(Nanos(20_000_000)), lost: Nanos(0) },
        stages: vec![
            state(Stage::Probe, StageStatus::Ok, "sched_switch by BTF tracepoint"),
            state(Stage::Energy, StageStatus::Ok, "powercap: package-0, dram-0"),
            state(Stage::Intensity, StageStatus::Degraded, "no zone configured: <world> average"),
        ],
        errors: vec![(Stage::Energy, "implausible".into(), 2)],
    }
}

pub fn state(stage: Stage, status: StageStatus, reason: &str) -> StageState {
    StageState { stage, status, reason: reason.into() }
}

pub fn publication() -> Publication {
    Publication {
        snapshot: snapshot(),
        files: Some(FilesReport {
            dir: "/var/log/tta/staging/codecarbon".into(),
            state: state(Stage::Files, StageStatus::Ok, "writing to /var/log/tta/staging/codecarbon"),
            last_write: Some("2026-03-01T12:00:15.001Z".parse().unwrap()),
            bytes: 4096,
            waiting_intervals: 0,
            dropped_lines: 0,
            errors: [("no_space", 3)].into(),
        }),
        log_bytes: Some(512),
    }
}
