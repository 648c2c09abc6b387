//! `carbon-agent report`: what the emissions files say about a span of time.

use super::Failure;
use crate::cli::ReportArgs;
use crate::report;
use std::path::Path;

/// The report, ready to be printed.
pub fn report(output_dir: &Path, arguments: &ReportArgs) -> Result<String, Failure> {
    let report = report::read(output_dir, arguments.by, arguments.since, jiff::Timestamp::now())
        .map_err(|fault| Failure::job(fault.to_string()))?;
    Ok(report::render(&report, arguments.format))
}
