//! CodeCarbon's record of a run: the 38 fields of its `EmissionsData` (release 3.3.2), in its order and units.
//!
//! Energy in kWh, power in W (mean over the run), emissions in kg, `emissions_rate` in kg/s, memory in GiB. As in
//! CodeCarbon, energy and power here include PUE, so that `emissions = energy_consumed × intensity` holds in the row.
//! Facts that this agent does not have are empty, never invented.

use super::{RunInfo, rfc3339};
use crate::energy::Domain;
use crate::ledger::reserved;
use crate::snapshot::Snapshot;
use crate::units::{MicroJoules, Nanos};
use serde::Serialize;
use uuid::Uuid;

/// What `codecarbon_version` says: the field names the producer, and the producer is not CodeCarbon.
pub const PRODUCER: &str = concat!("carbon-agent/", env!("CARGO_PKG_VERSION"));

const GIB: f64 = (1u64 << 30) as f64;

/// One row: cumulative over the run. The order of the fields is the order of the columns.
#[derive(Clone, Debug, Serialize)]
pub struct Record<'a> {
    pub timestamp: String,
    pub project_name: &'a str,
    pub run_id: Uuid,
    pub experiment_id: &'static str,
    pub duration: f64,
    pub emissions: f64,
    pub emissions_rate: f64,
    pub cpu_power: f64,
    pub gpu_power: f64,
    pub ram_power: f64,
    pub cpu_energy: f64,
    pub gpu_energy: f64,
    pub ram_energy: f64,
    pub energy_consumed: f64,
    pub water_consumed: f64,
    pub country_name: &'a str,
    pub country_iso_code: &'a str,
    pub region: &'a str,
    pub cloud_provider: &'static str,
    pub cloud_region: &'static str,
    pub os: &'a str,
    pub python_version: &'static str,
    pub codecarbon_version: &'static str,
    pub cpu_count: u32,
    pub cpu_model: &'a str,
    pub gpu_count: usize,
    pub gpu_model: &'static str,
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
    pub ram_total_size: f64,
    pub tracking_mode: &'static str,
    pub cpu_utilization_percent: f64,
    pub gpu_utilization_percent: f64,
    pub ram_utilization_percent: f64,
    pub ram_used_gb: f64,
    pub on_cloud: &'static str,
    pub pue: f64,
    pub wue: f64,
}

impl<'a> Record<'a> {
    /// The run so far.
    pub fn of(snapshot: &Snapshot, run: &'a RunInfo) -> Self {
        let energy = snapshot.host_run.energy;
        let watts = |joules: MicroJoules| joules.watts_over(snapshot.run_duration) * run.pue;
        let kwh = |joules: MicroJoules| joules.kwh() * run.pue;
        let duration = snapshot.run_duration.seconds();
        let emissions = snapshot.host_run.emissions.kilograms();
        Self {
            timestamp: rfc3339(snapshot.timestamp),
            project_name: &run.project_name,
            run_id: run.run_id,
            experiment_id: "",
            duration,
            emissions,
            emissions_rate: if duration > 0.0 { emissions / duration } else { 0.0 },
            cpu_power: watts(energy[Domain::Package]),
            gpu_power: watts(energy[Domain::Gpu]),
            ram_power: watts(energy[Domain::Dram]),
            cpu_energy: kwh(energy[Domain::Package]),
            gpu_energy: kwh(energy[Domain::Gpu]),
            ram_energy: kwh(energy[Domain::Dram]),
            energy_consumed: kwh(energy.total()),
            water_consumed: 0.0,
            country_name: &run.location.country_name,
            country_iso_code: &run.location.country_iso_code,
            region: &run.location.region,
            cloud_provider: "",
            cloud_region: "",
            os: &run.host.os,
            python_version: "",
            codecarbon_version: PRODUCER,
            cpu_count: run.host.cpu_count,
            cpu_model: &run.host.cpu_model,
            gpu_count: snapshot.meters.iter().filter(|row| row.meter.domain == Domain::Gpu).count(),
            gpu_model: "",
            longitude: None,
            latitude: None,
            ram_total_size: run.host.memory_bytes as f64 / GIB,
            tracking_mode: "machine",
            cpu_utilization_percent: percent(
                busy(snapshot).0 as f64,
                snapshot.run_duration.0 as f64 * f64::from(run.host.cpu_count),
            ),
            gpu_utilization_percent: 0.0,
            ram_utilization_percent: percent(snapshot.memory_used.unwrap_or(0) as f64, run.host.memory_bytes as f64),
            ram_used_gb: snapshot.memory_used.unwrap_or(0) as f64 / GIB,
            on_cloud: "N",
            pue: run.pue,
            wue: 0.0,
        }
    }
}

/// CPU time of the run that was not idle.
fn busy(snapshot: &Snapshot) -> Nanos {
    let idle = snapshot.components.iter().find(|row| row.component == reserved::IDLE).map_or(0, |row| row.run.cpu.0);
    Nanos(snapshot.host_run.cpu.0.saturating_sub(idle))
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (100.0 * part / whole).min(100.0) } else { 0.0 }
}
