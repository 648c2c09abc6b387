//! A file of `timestamp,grams_per_kwh`, as CSV or JSON (an array, or an object a line), that may be replaced while the
//! agent runs.
//!
//! A value holds until the next line's; the last one for as long as the file's usual (median) step, at least an hour,
//! and [`GRACE`] more. A bad line is one fault with file and line, and the values known before stay. Nothing of a line
//! is quoted: a path that was meant to be the token's is a slip that must not end in a log.

use super::{News, Poll};
use crate::carbon::fault::{Fault, FaultKind};
use crate::carbon::plausible;
use crate::carbon::series::{Kind, Label, Point, Series};
use jiff::{SignedDuration, Timestamp};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the last value is carried past its own step.
pub const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// No step is taken to be shorter: a file that holds only the current value is rewritten at least hourly.
const MIN_STEP: SignedDuration = SignedDuration::from_hours(1);

/// Some years of hourly values. What is longer is no file of intensities, or one to be cut.
const MAX_BYTES: u64 = 16 << 20;

/// How far back values are of use: samples are priced anew for two hours, and a host may have slept.
const KEEP: SignedDuration = SignedDuration::from_hours(48);

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// The file, and how it stood when it was last looked at.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    seen: Option<Result<Stamp, io::ErrorKind>>,
}

impl FileSource {
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// The series that the file's values go to. They count as averages.
    pub fn series(&self) -> Series {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let label = Label {
            provider: "file".to_owned(),
            zone: String::new(),
            kind: Kind::Average,
            method: format!("file:{name}"),
        };
        Series::empty(label, GRACE)
    }

    fn fault(&self, line: Option<usize>, what: &str) -> Fault {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        Fault::new(FaultKind::File, format!("{}{line}: {what}", self.path.display()))
    }
}

impl Poll for FileSource {
    fn poll(&mut self, now: Timestamp) -> Result<News, Fault> {
        let stamp = stamp(&self.path);
        if self.seen == Some(stamp) {
            return Ok(News::None);
        }
        self.seen = Some(stamp);
        let stamp = stamp.map_err(|kind| self.fault(None, &kind.to_string()))?;
        if stamp.bytes > MAX_BYTES {
            return Err(self.fault(None, &format!("larger than {MAX_BYTES} bytes; cut it to what is of use now")));
        }
        let mut text = String::new();
        let read = std::fs::File::open(&self.path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        read.map_err(|error| self.fault(None, &error.kind().to_string()))?;
        let values = parse(&text).map_err(|bad| self.fault(bad.line, &bad.what))?;
        if values.is_empty() {
            return Err(self.fault(None, "no values in it"));
        }
        Ok(News::Whole(points(values, now)))
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(5)
    }
}

fn stamp(path: &Path) -> Result<Stamp, io::ErrorKind> {
    let of = std::fs::metadata(path).map_err(|error| error.kind())?;
    if !of.is_file() {
        // A FIFO would hold the reader up, a device would never end.
        return Err(io::ErrorKind::InvalidInput);
    }
    Ok(Stamp { device: of.dev(), inode: of.ino(), modified: (of.mtime(), of.mtime_nsec()), bytes: of.size() })
}

/// Values in order of time, each with the end of its period; only what is still of use.
fn points(mut values: Vec<(Timestamp, f64)>, now: Timestamp) -> Vec<Point> {
    // Stable: of two lines for one moment the later one counts.
    values.sort_by_key(|(time, _)| *time);
    let mut steps: Vec<SignedDuration> =
        values.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0)).filter(|step| step.is_positive()).collect();
    steps.sort_unstable();
    let step = steps.get(steps.len() / 2).copied().unwrap_or(MIN_STEP).max(MIN_STEP);
    let oldest = now.checked_sub(KEEP).unwrap_or(Timestamp::MIN);
    let first = values.partition_point(|(time, _)| *time <= oldest).saturating_sub(1);
    let mut points: Vec<Point> = Vec::with_capacity(values.len() - first);
    for (index, (valid_from, grams_per_kwh)) in values.iter().copied().enumerate().skip(first) {
        if points.last().is_some_and(|last| last.valid_from == valid_from) {
            points.pop();
        }
        let next = values.get(index + 1).map(|(time, _)| *time);
        let valid_until = next.or_else(|| valid_from.checked_add(step).ok());
        points.push(Point { valid_from, valid_until, grams_per_kwh, fetched_at: now, estimated: false });
    }
    points
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq)]
struct Bad {
    line: Option<usize>,
    what: String,
}

impl Bad {
    fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line: Some(line), what: what.into() }
    }
}

fn parse(text: &str) -> Result<Vec<(Timestamp, f64)>, Bad> {
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().bytes().next() {
        Some(b'[') => array(text),
        Some(b'{') => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            lines.map(|(index, line)| entry(line).map_err(|what| Bad::at(index + 1, what))).collect()
        }
        _ => csv(text),
    }
}

/// An object with exactly the two values; others beside them are passed over.
#[derive(serde::Deserialize)]
#[serde(try_from = "serde_json::Value")]
struct Entry(Timestamp, f64);

impl TryFrom<serde_json::Value> for Entry {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let time = value.get("timestamp").and_then(|time| time.as_str());
        let grams = value.get("grams_per_kwh").and_then(|grams| grams.as_f64());
        Ok(Self(moment(time.unwrap_or_default())?, number(grams)?))
    }
}

fn entry(text: &str) -> Result<(Timestamp, f64), String> {
    let Entry(time, grams) = serde_json::from_str(text).map_err(|error| own_words(&error))?;
    Ok((time, grams))
}

fn array(text: &str) -> Result<Vec<(Timestamp, f64)>, Bad> {
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| Bad::at(error.line(), own_words(&error)))?;
    Ok(entries.into_iter().map(|Entry(time, grams)| (time, grams)).collect())
}

/// Of serde's messages only our own are passed on; others may quote the text.
fn own_words(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return format!("not JSON (column {})", error.column());
    }
    let text = error.to_string();
    // An `Entry` is made from any JSON, so a data error is one of ours, with the place behind it.
    text.rsplit_once(" at line ").map_or(text.clone(), |(message, _)| message.to_owned())
}

/// Two columns need no more of CSV than commas and quotes, and so each line has its own number.
fn csv(text: &str) -> Result<Vec<(Timestamp, f64)>, Bad> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut values = Vec::new();
    let (mut time_column, mut grams_column) = (0, 1);
    let mut first = true;
    for (line, text) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = text.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let column = |name: &str| fields.iter().position(|field| field.eq_ignore_ascii_case(name));
        if std::mem::take(&mut first)
            && let (Some(time), Some(grams)) = (column("timestamp"), column("grams_per_kwh"))
        {
            (time_column, grams_column) = (time, grams);
            continue;
        }
        let field = |column: usize| fields.get(column).copied().unwrap_or_default();
        let time = moment(field(time_column)).map_err(|what| Bad::at(line, what))?;
        let grams = number(field(grams_column).parse().ok()).map_err(|what| Bad::at(line, what))?;
        values.push((time, grams));
    }
    Ok(values)
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "timestamp: expected a time with its offset, as 2026-01-31T13:00:00Z".to_owned())
}

fn number(grams: Option<f64>) -> Result<f64, String> {
    let grams = grams.ok_or_else(|| "grams_per_kwh: expected a number".to_owned())?;
    plausible::grams(grams).map_err(|fault| format!("grams_per_kwh: {}", fault.message))
}

#[cfg(test)]
mod tests;
