//! Is the agent well? One judgement for `/health/carbon`, for `carbon-agent health` and for the page.

pub mod client;

use crate::export::RunInfo;
use crate::export::codecarbon::PRODUCER;
use crate::export::published::{Publication, Published};
use crate::snapshot::{Stage, StageState, StageStatus};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// The answer of `/health/carbon`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub status: StageStatus,
    pub producer: String,
    pub project_name: String,
    pub run_id: Uuid,
    /// One entry for each line that `carbon-agent health` prints.
    pub checks: Vec<Check>,
    pub stages: Vec<StageState>,
    pub freshness: Freshness,
    pub output_directory: Option<OutputDirectory>,
    pub configuration: Configuration,
}

/// One line of `carbon-agent health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub status: StageStatus,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// End of the last interval, RFC 3339.
    pub last_sample: Option<String>,
    pub age_seconds: Option<f64>,
    /// Beyond this age the agent counts as failed.
    pub limit_seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputDirectory {
    pub path: PathBuf,
    pub writable: bool,
    pub last_write: Option<String>,
    pub waiting_intervals: usize,
    pub dropped_lines: u64,
}

/// A running agent has a valid configuration; `valid` is false after a reload that failed, while the old one holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    pub valid: bool,
    pub file: Option<PathBuf>,
}

impl Health {
    /// The state of a running agent, now.
    pub fn of(published: &Published, run: &RunInfo) -> Self {
        let latest = published.latest();
        let latest = latest.as_ref().map(|latest| (&*latest.publication, latest.at.elapsed()));
        judge(latest, published.writing(), published.started().elapsed(), run)
    }

    /// As a terminal shows it: `✅ Carbon component: OK`, then a line for each check.
    pub fn lines(&self) -> String {
        let overall = match self.status {
            StageStatus::Ok => "OK",
            StageStatus::Degraded => "DEGRADED",
            StageStatus::Failed => "FAILED",
        };
        let mut text = format!("{} Carbon component: {overall}\n", mark(self.status));
        for check in &self.checks {
            let _ = writeln!(text, "{} {}", mark(check.status), one_line(&check.text));
        }
        text
    }

    /// Degraded is not down.
    pub fn is_up(&self) -> bool {
        self.status != StageStatus::Failed
    }
}

/// No healthy disk takes longer for an interval: the rows wait in memory by then.
const STALLED: Duration = Duration::from_secs(3);

/// `latest` comes with its age by the monotonic clock; `writing` is how long the write under way has taken; `uptime` is
/// that of the agent.
fn judge(
    latest: Option<(&Publication, Duration)>,
    writing: Option<Duration>,
    uptime: Duration,
    run: &RunInfo,
) -> Health {
    let stages = latest.map(|(publication, _)| publication.stages()).unwrap_or_default();
    let files = latest.and_then(|(publication, _)| publication.files.as_ref());
    let limit = freshness_limit(run.interval);
    let files_state = stages.iter().find(|state| state.stage == Stage::Files).filter(|_| files.is_some());
    let stalled = writing.filter(|time| *time > STALLED);
    let mut checks = vec![output(run, files_state, stalled)];
    let refused = stages.iter().find(|state| state.stage == Stage::Config && state.status != StageStatus::Ok);
    let valid = refused.is_none();
    checks.push(match refused {
        None => Check { status: StageStatus::Ok, text: "Configuration: Valid".into() },
        Some(state) => Check { status: state.status, text: format!("Configuration: {}", state.reason) },
    });
    // These two have checks of their own.
    for state in stages.iter().filter(|state| !matches!(state.stage, Stage::Files | Stage::Config)) {
        let name = match state.stage {
            Stage::Probe => "Probe",
            Stage::Energy => "Energy",
            Stage::Intensity => "Intensity",
            Stage::Files => "Files",
            Stage::State => "State",
            Stage::Config => "Configuration",
            Stage::FunctionalUnits => "Functional units",
        };
        checks.push(Check { status: state.status, text: format!("{name}: {}", state.reason) });
    }
    checks.push(freshness(latest.map(|(_, age)| age), stalled, uptime, limit));
    Health {
        status: checks.iter().map(|check| check.status).max().unwrap_or(StageStatus::Ok),
        producer: PRODUCER.into(),
        project_name: run.project_name.clone(),
        run_id: run.run_id,
        checks,
        stages,
        freshness: Freshness {
            last_sample: latest.map(|(publication, _)| crate::export::rfc3339(publication.snapshot.timestamp)),
            age_seconds: latest.map(|(_, age)| age.as_secs_f64()),
            limit_seconds: limit.as_secs_f64(),
        },
        output_directory: files.map(|files| OutputDirectory {
            path: files.dir.clone(),
            writable: files.state.status == StageStatus::Ok && stalled.is_none(),
            last_write: files.last_write.map(crate::export::rfc3339),
            waiting_intervals: files.waiting_intervals,
            dropped_lines: files.dropped_lines,
        }),
        configuration: Configuration { valid, file: run.config_file.clone() },
    }
}

/// Three intervals may pass without news, as a host under load or a slow disk may delay one or two.
fn freshness_limit(interval: Duration) -> Duration {
    interval * 3 + Duration::from_secs(5)
}

fn output(run: &RunInfo, state: Option<&StageState>, stalled: Option<Duration>) -> Check {
    let dir = run.output_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default();
    if let Some(time) = stalled {
        let text = format!(
            "Output directory: the disk of {dir} or of the state has held up a write for {} s; sampling goes on and \
             rows wait in memory",
            time.as_secs()
        );
        return Check { status: StageStatus::Degraded, text };
    }
    match state {
        None if dir.is_empty() => Check { status: StageStatus::Ok, text: "Output directory: none configured".into() },
        None => {
            Check { status: StageStatus::Degraded, text: format!("Output directory: nothing written yet to {dir}") }
        }
        Some(state) if state.status == StageStatus::Ok => {
            Check { status: StageStatus::Ok, text: format!("Output directory writable: {dir}") }
        }
        Some(state) => {
            Check { status: state.status, text: format!("Output directory does not take lines: {}", state.reason) }
        }
    }
}

fn freshness(age: Option<Duration>, stalled: Option<Duration>, uptime: Duration, limit: Duration) -> Check {
    let why = if stalled.is_some() { "what came after it is not written yet" } else { "sampling has stopped" };
    let (status, text) = match age {
        Some(age) if age <= limit => (StageStatus::Ok, format!("last interval ended {} s ago", age.as_secs())),
        Some(age) => (
            StageStatus::Failed,
            format!("last interval ended {} s ago, more than {} s: {why}", age.as_secs(), limit.as_secs()),
        ),
        None if uptime <= limit => (StageStatus::Degraded, "the first interval has not ended yet".into()),
        None => (StageStatus::Failed, format!("no interval ended in {} s", uptime.as_secs())),
    };
    Check { status, text: format!("Freshness: {text}") }
}

fn mark(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Ok => "✅",
        // The sign is narrow in many terminals; the guide's script adds a blank as well.
        StageStatus::Degraded => "⚠️ ",
        StageStatus::Failed => "❌",
    }
}

/// A check is one line, whatever an error message or the other end of the connection brings.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
