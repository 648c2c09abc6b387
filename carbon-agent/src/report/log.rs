//! What the agent's own log says of the time of a report: warnings and errors, those that rotation put aside too.

use super::each_line;
use crate::config::LogLevel;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Different messages kept apart; the rest count, without words.
const MAX_MESSAGES: usize = 1000;

/// A message, and how often it came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    pub level: &'static str,
    pub message: String,
    pub times: u64,
    /// When it came last.
    pub last: String,
}

/// The log as far as it goes back, or the time of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Log {
    pub files: usize,
    /// Time of the first line read, of whatever time.
    pub first: Option<String>,
    pub errors: u64,
    pub warnings: u64,
    /// Errors first, then by number.
    pub said: Vec<Said>,
    /// Files that could not be read, each with its reason.
    pub skipped: Vec<String>,
}

/// Reads `path` and what rotation made of it; lines after `since` (RFC 3339) count.
pub fn read(path: &Path, since: &str) -> io::Result<Log> {
    let mut log = Log::default();
    let mut said: BTreeMap<(bool, String), Said> = BTreeMap::new();
    for file in rotated(path)? {
        let mut each = |line: &[u8]| {
            let Some(line) = parse(line) else { return };
            if log.first.as_deref().is_none_or(|first| *line.timestamp < *first) {
                log.first = Some(line.timestamp.to_string());
            }
            let error = match line.level {
                LogLevel::Warning => false,
                LogLevel::Error | LogLevel::Critical => true,
                _ => return,
            };
            if *line.timestamp <= *since {
                return;
            }
            // A count says how often a line came beside the times it was said.
            let times = line.repeated.unwrap_or(1);
            *(if error { &mut log.errors } else { &mut log.warnings }) += times;
            let key = (!error, line.message.into_owned());
            if said.len() == MAX_MESSAGES && !said.contains_key(&key) {
                return;
            }
            let entry = said.entry(key.clone()).or_insert_with(|| Said {
                level: line.level.name(),
                message: key.1,
                times: 0,
                last: String::new(),
            });
            entry.times += times;
            entry.last = entry.last.clone().max(line.timestamp.into_owned());
        };
        match each_line(&file, &mut each) {
            Ok(_) => log.files += 1,
            Err(error) => log.skipped.push(format!("{}: {error}", file.display())),
        }
    }
    log.said = said.into_values().collect();
    log.said.sort_by_key(|said| (said.level != LogLevel::Error.name(), std::cmp::Reverse(said.times)));
    Ok(log)
}

/// The file, and those in its directory whose name goes on with a number or a date (`.1`, `-20260301`, `.2.gz`).
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let found = entry?.file_name().to_string_lossy().into_owned();
        let Some(rest) = found.strip_prefix(&name) else { continue };
        let rest = rest.strip_suffix(".gz").unwrap_or(rest);
        let rotation =
            rest.strip_prefix(['.', '-']).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        if rest.is_empty() || rotation {
            files.push(directory.join(found));
        }
    }
    files.sort();
    Ok(files)
}

struct Parsed<'a> {
    timestamp: Cow<'a, str>,
    level: LogLevel,
    message: Cow<'a, str>,
    repeated: Option<u64>,
}

/// One line in either format; `None` for what is no line of ours.
fn parse(line: &[u8]) -> Option<Parsed<'_>> {
    #[derive(Deserialize)]
    struct Json<'a> {
        #[serde(borrow)]
        timestamp: Cow<'a, str>,
        #[serde(borrow)]
        level: Cow<'a, str>,
        #[serde(borrow)]
        message: Cow<'a, str>,
        repeated: Option<u64>,
    }
    if line.starts_with(b"{") {
        let Json { timestamp, level, message, repeated } = serde_json::from_slice(line).ok()?;
        return Some(Parsed { timestamp, level: LogLevel::from_name(&level)?, message, repeated });
    }
    let (timestamp, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let (level, message) = rest.trim_start().split_once(' ')?;
    let repeated = message.rsplit_once(" (repeated ").and_then(|(_, count)| count.split(' ').next()?.parse().ok());
    let (timestamp, message) = (Cow::Borrowed(timestamp), Cow::Borrowed(message.trim_start()));
    Some(Parsed { timestamp, level: LogLevel::from_name(level)?, message, repeated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn warnings_and_errors_are_counted_over_rotated_files_and_formats() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("carbon.log");
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write(
            "carbon.log",
            "{\"timestamp\":\"2026-03-02T10:00:00.1Z\",\"level\":\"warning\",\"message\":\"a \\\"b\\\"\",\"stage\":\"files\"}\n\
             {\"timestamp\":\"2026-03-02T10:01:00.1Z\",\"level\":\"warning\",\"message\":\"a \\\"b\\\"\",\"repeated\":9}\n\
             {\"timestamp\":\"2026-03-02T10:01:00.2Z\",\"level\":\"info\",\"message\":\"fine\"}\nrubbish\n{\n",
        );
        write("carbon.log.1", "2026-03-01T10:00:00.000000Z error   it broke stage=energy\n");
        write("carbon.log.2", "2026-02-01T10:00:00.000000Z error   long ago\n");
        write("carbon.log.keep", "2026-03-01T10:00:00.000000Z error   not a rotation\n");
        fs::write(root.path().join("carbon.log.3.gz"), b"no gzip").unwrap();
        let log = read(&path, "2026-02-25T00:00:00.000Z").unwrap();
        assert_eq!((log.errors, log.warnings, log.files, log.skipped.len()), (1, 10, 3, 1), "{log:?}");
        assert_eq!(log.first.as_deref(), Some("2026-02-01T10:00:00.000000Z"));
        assert_eq!((log.said[0].level, log.said[0].message.as_str()), ("error", "it broke stage=energy"));
        assert_eq!((log.said[1].message.as_str(), log.said[1].times), ("a \"b\"", 10));
        assert_eq!(log.said[1].last, "2026-03-02T10:01:00.1Z");
        assert_eq!(log.said.len(), 2);
    }
}
