//! The subcommands, one file each.

pub mod doctor;
pub mod exec;
pub mod explain;
pub mod health;
pub mod record;
pub mod replay;
pub mod report;
pub mod run;
pub mod top;

use crate::agent::OpenError;
use crate::carbon;
use crate::config::{IntensitySource, Loaded};
use crate::export::host_facts::HostFacts;
use crate::export::{Location, RunInfo};
use uuid::Uuid;

/// A command that could not do its job: one clear line for standard error, and the exit status.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub code: u8,
}

impl Failure {
    /// Unusable arguments or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The job itself failed.
    pub fn job(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}

/// A stage that the configuration asks for and that cannot be had is unusable configuration.
impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::usage(error.to_string())
    }
}

/// What does not change during a run, for the exporters.
pub fn run_info(loaded: &Loaded) -> RunInfo {
    let config = &loaded.config;
    RunInfo {
        project_name: config.project_name.clone(),
        run_id: Uuid::new_v4(),
        environment: config.environment.clone(),
        host: HostFacts::read(&config.host.procfs),
        location: location(&config.intensity),
        pue: config.pue,
        interval: config.measurement_interval,
        output_dir: Some(config.output_dir.clone()),
        config_file: loaded.file.clone(),
        emissions_threshold_kg: config.alert.on_high_emissions.then_some(config.alert.threshold_kg),
        probe_object: String::new(),
    }
}

/// The country that the operator named as the zone; nothing is guessed.
fn location(intensity: &[IntensitySource]) -> Location {
    let zone = intensity.iter().find_map(|source| match source {
        IntensitySource::Zone(zone) => carbon::zone(zone),
        _ => None,
    });
    match zone {
        Some(zone) if zone.zone != carbon::WORLD => {
            let (country, region) = zone.zone.split_once('-').unwrap_or((&zone.zone, ""));
            Location {
                country_name: carbon::zone(country).map(|country| country.name.clone()).unwrap_or_default(),
                country_iso_code: country.to_owned(),
                region: if region.is_empty() { String::new() } else { zone.name.clone() },
            }
        }
        _ => Location::default(),
    }
}
