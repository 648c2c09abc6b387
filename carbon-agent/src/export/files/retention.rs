//! Which of our own files are deleted, and when.

use super::name;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// 0 keeps files for ever.
    pub days: u32,
    pub max_bytes: Option<u64>,
}

/// `retain_days` where none is configured: twelve weeks, as the rotation of the staging guide keeps.
pub const DEFAULT_DAYS: u32 = 84;

impl Default for Retention {
    fn default() -> Self {
        Self { days: DEFAULT_DAYS, max_bytes: None }
    }
}

/// A file of ours on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub day: Date,
    pub path: PathBuf,
    pub bytes: u64,
}

/// All emissions files in `dir`, the oldest day first. Only regular files: a link is not ours to follow.
pub fn list(dir: &Path) -> io::Result<Vec<Kept>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(day) = name::day_in(&entry.file_name()) else { continue };
        // A file may vanish between the listing and the look at it.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            files.push(Kept { day, path: entry.path(), bytes: metadata.len() });
        }
    }
    files.sort_by(|a, b| (a.day, &a.path).cmp(&(b.day, &b.path)));
    Ok(files)
}

/// What of `files` (oldest first) goes. Today's own files always stay.
pub fn expired(files: &[Kept], today: Date, retention: Retention) -> Vec<&Kept> {
    let old = |file: &Kept| retention.days > 0 && i64::from(days_between(file.day, today)) > i64::from(retention.days);
    let mut left: u64 = files.iter().filter(|f| !old(f)).map(|f| f.bytes).sum();
    let mut over = |file: &Kept| {
        let goes = file.day < today && retention.max_bytes.is_some_and(|max| left > max);
        if goes {
            left -= file.bytes;
        }
        goes
    };
    files.iter().filter(|file| old(file) || over(file)).collect()
}

fn days_between(from: Date, to: Date) -> i32 {
    (to - from).get_days()
}

/// Tells a clock that runs from a clock that jumped: after a jump nothing is deleted for an hour, so that a clock set
/// to a wrong year for a moment does not cost months of files.
#[derive(Debug, Default)]
pub struct JumpGuard {
    last: Option<(Timestamp, Instant)>,
    held_until: Option<Instant>,
}

impl JumpGuard {
    const HOLD: std::time::Duration = std::time::Duration::from_secs(3600);

    /// Whether the wall clock can be believed now.
    pub fn trusts(&mut self, wall: Timestamp, monotonic: Instant) -> bool {
        let last = self.last.replace((wall, monotonic));
        if let Some((last_wall, last_monotonic)) = last {
            let ran = SignedDuration::try_from(monotonic.saturating_duration_since(last_monotonic));
            let drift = wall.duration_since(last_wall) - ran.unwrap_or_default();
            if drift.abs() > SignedDuration::from_hours(1) {
                self.held_until = Some(monotonic + Self::HOLD);
            }
        }
        self.held_until.is_none_or(|until| monotonic >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use std::time::Duration;

    fn kept(day: Date, bytes: u64) -> Kept {
        Kept { day, path: name::of_day(day).into(), bytes }
    }

    /// Files of 10 bytes for each given day of March; today is the 20th.
    fn check(days: &[i8], retention: Retention, expected: &[i8]) {
        let files: Vec<Kept> = days.iter().map(|d| kept(date(2026, 3, *d), 10)).collect();
        let gone: Vec<i8> = expired(&files, date(2026, 3, 20), retention).iter().map(|f| f.day.day()).collect();
        assert_eq!(gone, expected, "{days:?} {retention:?}");
    }

    #[test]
    fn what_is_too_old_or_too_much_goes_oldest_first() {
        let days = |days| Retention { days, max_bytes: None };
        let bytes = |max| Retention { days: 84, max_bytes: Some(max) };
        check(&[1, 9, 10, 20], days(10), &[1, 9]);
        check(&[1, 20], days(84), &[]);
        check(&[18, 19, 20], days(1), &[18]);
        check(&[1, 20], days(0), &[]);
        check(&[1, 2, 3, 20], bytes(40), &[]);
        check(&[1, 2, 3, 20], bytes(25), &[1, 2]);
        check(&[1, 20], bytes(0), &[1]);
        check(&[1, 15, 16, 20], Retention { days: 10, max_bytes: Some(20) }, &[1, 15]);
        // A clock that jumped back: files of the future are not old.
        check(&[20, 25, 31], Retention { days: 1, max_bytes: Some(0) }, &[]);
    }

    #[test]
    fn months_are_counted_in_days() {
        let files = [kept(date(2025, 12, 25), 1), kept(date(2025, 12, 26), 1)];
        let gone = expired(&files, date(2026, 3, 20), Retention::default());
        assert_eq!(gone.iter().map(|f| f.day).collect::<Vec<_>>(), [date(2025, 12, 25)]);
    }

    #[test]
    fn a_clock_that_jumped_deletes_nothing_for_an_hour() {
        let (start, wall) = (Instant::now(), "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let at = |seconds: u64, year_later: bool| {
            let jump = if year_later { 365 * 86_400 } else { 0 };
            (wall + Duration::from_secs(seconds + jump), start + Duration::from_secs(seconds))
        };
        let mut guard = JumpGuard::default();
        for (seconds, jumped, trusted) in [
            (0, false, true),
            (15, false, true),
            (30, true, false),
            (45, true, false),
            (60, false, false),
            (3675, false, true),
        ] {
            let (wall, monotonic) = at(seconds, jumped);
            assert_eq!(guard.trusts(wall, monotonic), trusted, "at {seconds} s");
        }
    }
}
