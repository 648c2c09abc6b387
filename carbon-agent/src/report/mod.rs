//! `carbon-agent report`: reads emissions files back, those that log rotation renamed or compressed too.

mod lines;
mod record;
mod render;
mod sums;

pub use render::render;
pub use sums::{Sum, Sums, Units};

use crate::cli::ReportBy;
use crate::export::files::{Fault, list, name};
use crate::export::rfc3339;
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
    Ok(Report { by, since, sums: total, files: paths.len(), skipped })
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
            if let Err(error) = read_file(path, &mut sums) {
                failures.push(format!("{}: {error}", path.display()));
            }
        }
        (sums, failures)
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len()).max(1);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a worker only sums")).collect()
    })
}

fn read_file(path: &Path, sums: &mut Sums) -> io::Result<()> {
    let file = File::open(path)?;
    let mut each = |line: &[u8]| sums.line(line);
    let too_long = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let plain = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file));
            lines::for_each(BufReader::with_capacity(BUFFER, plain), &mut each)?
        }
        Some("xz" | "bz2" | "zst") => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "only gzip is read; unpack it beside"));
        }
        _ => lines::for_each(BufReader::with_capacity(BUFFER, file), &mut each)?,
    };
    sums.lines += too_long;
    sums.damaged += too_long;
    Ok(())
}

#[cfg(test)]
mod tests;
