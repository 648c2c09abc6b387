//! `carbon-agent report`: reads emissions files back, those that log rotation renamed or compressed too.

mod criteria;
mod lines;
mod log;
mod observed;
mod record;
mod render;
mod sums;

pub use render::render;
pub use sums::{Sum, Sums, Units};

use crate::cli::ReportBy;
use crate::config::{AccountingPeriod, Config};
use crate::export::files::{Fault, list, name};
use crate::export::rfc3339;
use criteria::Criterion;
use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const BUFFER: usize = 1 << 18;

/// A report, ready to be rendered.
#[derive(Debug)]
pub struct Report {
    pub by: ReportBy,
    pub since: Timestamp,
    pub sums: Sums,
    pub files: usize,
    /// Files that could not be read, each with its reason.
    pub skipped: Vec<String>,
    pub now: Timestamp,
    pub terms: Terms,
    /// What the log says; the reason where it cannot be read; `None` where none is configured.
    pub log: Option<Result<log::Log, String>>,
}

/// What the configuration measures success by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Kilograms of CO2e in an accounting period; `None` where no alert is wanted.
    pub threshold_kg: Option<f64>,
    pub period: AccountingPeriod,
}

impl Report {
    /// Reads the log too, and takes the configuration's word for what is much.
    #[must_use]
    pub fn judged_by(self, config: &Config) -> Self {
        let threshold_kg = config.alert.on_high_emissions.then_some(config.alert.threshold_kg);
        let terms = Terms { threshold_kg, period: config.accounting_period };
        let since = rfc3339(self.since);
        let log = config
            .log
            .file
            .as_deref()
            .map(|path| log::read(path, &since).map_err(|error| format!("{}: {error}", path.display())));
        Self { terms, log, ..self }
    }

    /// The promotion checklist's questions, answered; empty where nothing was recorded.
    pub fn criteria(&self) -> Vec<Criterion> {
        if self.sums.first.is_some() { criteria::judge(self) } else { Vec::new() }
    }
}

/// Reads what `dir` holds of the time `since` before `now`. A file that cannot be read is passed over and named.
pub fn read(dir: &Path, by: ReportBy, since: Duration, now: Timestamp) -> Result<Report, Fault> {
    let since = now.checked_sub(since).unwrap_or(Timestamp::MIN);
    let paths = relevant(dir, since).map_err(|source| Fault::new(dir, source))?;
    let mut total = Sums::new(by, rfc3339(since));
    let mut skipped = Vec::new();
    for (sums, failures) in in_parallel(&paths, &total) {
        total.merge(sums);
        skipped.extend(failures);
    }
    skipped.sort();
    let terms = Terms { threshold_kg: None, period: AccountingPeriod::Day };
    Ok(Report { by, since, sums: total, files: paths.len(), skipped, now, terms, log: None })
}

/// Files whose day may hold lines of the time asked for. While logrotate compresses, a file is there twice: the plain
/// one is the whole one.
fn relevant(dir: &Path, since: Timestamp) -> io::Result<Vec<PathBuf>> {
    let first_day = name::day_of(since);
    let files = list(dir)?;
    let all: BTreeSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
    let twice = |path: &Path| path.extension().is_some_and(|e| e == "gz") && all.contains(&*path.with_extension(""));
    let readable = |path: &Path| path.file_name().is_some_and(name::is_readable);
    Ok(files
        .iter()
        .filter(|file| file.day >= first_day && readable(&file.path) && !twice(&file.path))
        .map(|file| file.path.clone())
        .collect())
}

/// One worker a CPU; each takes the next file, so a large one does not hold up the others.
fn in_parallel(paths: &[PathBuf], like: &Sums) -> Vec<(Sums, Vec<String>)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut sums, mut failures) = (like.empty(), Vec::new());
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            match each_line(path, &mut |line| sums.line(line)) {
                Ok(too_long) => {
                    sums.lines += too_long;
                    sums.damaged += too_long;
                }
                Err(error) => failures.push(format!("{}: {error}", path.display())),
            }
            sums.observed.end_of_file();
        }
        (sums, failures)
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len()).max(1);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a worker only sums")).collect()
    })
}

/// Calls `each` with every line of a file, unpacked; returns how many were too long to be lines of ours.
fn each_line(path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let file = File::open(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let plain = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file));
            lines::for_each(BufReader::with_capacity(BUFFER, plain), each)
        }
        Some("xz" | "bz2" | "zst") => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "only gzip is read; unpack it beside"))
        }
        _ => lines::for_each(BufReader::with_capacity(BUFFER, file), each),
    }
}

#[cfg(test)]
mod tests;
