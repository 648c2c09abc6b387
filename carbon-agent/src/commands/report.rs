//! `carbon-agent report`: what the emissions files say about a span of time.

use super::Failure;
use crate::cli::ReportArgs;
use crate::config::Config;
use crate::report;

/// The report, ready to be printed.
pub fn report(config: &Config, arguments: &ReportArgs) -> Result<String, Failure> {
    let report = report::read(&config.output_dir, arguments.by, arguments.since, jiff::Timestamp::now())
        .map_err(|fault| Failure::job(fault.to_string()))?;
    Ok(report::render(&report.judged_by(config), arguments.format))
}
