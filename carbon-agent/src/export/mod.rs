//! Renders a [`Snapshot`](crate::snapshot::Snapshot) for people and programs.
//!
//! Every renderer is a pure function of a snapshot and the [`RunInfo`]; what touches the system (files, sockets,
//! `/proc`) is in modules of its own: [`files`], [`csv`]'s writer, [`http`], [`host_facts`].

pub mod codecarbon;
pub mod csv;
pub mod figures;
pub mod files;
pub mod history;
pub mod host_facts;
pub mod html;
pub mod http;
pub mod json;
pub mod metrics;
pub mod published;
pub mod terminal;
pub mod top;

#[cfg(test)]
pub(crate) mod fixture;

use host_facts::HostFacts;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// What does not change during a run of the agent.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    pub project_name: String,
    pub run_id: Uuid,
    /// `TTA_ENV`.
    pub environment: Option<String>,
    pub host: HostFacts,
    pub location: Location,
    /// Power usage effectiveness, already part of every emission figure.
    pub pue: f64,
    /// The configured interval: what freshness is judged by.
    pub interval: Duration,
    pub output_dir: Option<PathBuf>,
    /// The configuration file in force, if any.
    pub config_file: Option<PathBuf>,
    pub emissions_threshold_kg: Option<f64>,
    /// Identity (hash) of the eBPF object; empty where none is loaded.
    pub probe_object: String,
}

/// Where the host is, as far as the operator said so. Never guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    pub country_name: String,
    /// ISO 3166-1 alpha-3.
    pub country_iso_code: String,
    pub region: String,
}

/// RFC 3339 in UTC to the millisecond. The width is fixed, so that timestamps sort as text too.
pub fn rfc3339(timestamp: jiff::Timestamp) -> String {
    format!("{timestamp:.3}")
}
