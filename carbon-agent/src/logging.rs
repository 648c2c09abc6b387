//! Log lines: text or JSON, to standard error or a file that log rotation may rename.
//!
//! A layer of our own renders them, for two things that `tracing_subscriber::fmt` does not do: the level names that the
//! application's operators configure and search for (`warning`, not `WARN`), and lines that repeat said once, then
//! counted. `tracing-throttle` does the second by dropping events and reporting signatures; here the count comes under
//! the line's own words and level.

mod line;
mod repeats;

use crate::config::model::{LogConfig, LogFormat};
use jiff::Timestamp;
use line::Line;
use repeats::{Due, Repeats};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Event;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How long a line that was said is only counted when it comes again.
const REPEAT_PERIOD: Duration = Duration::from_secs(60);

/// The log file, opened for appending and opened anew when the name no longer leads to it.
#[derive(Clone, Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    /// Opens (and creates) the file; private to its group, as logs are.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(append_to(path)?)) })
    }

    /// Opens the name anew if the file was renamed or removed. A name that cannot be opened leaves the old file in use.
    pub fn reopen(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow_name(&mut file)
    }

    fn follow_name(&self, file: &mut File) -> io::Result<()> {
        let open = file.metadata()?;
        let named = std::fs::metadata(&self.path).map(|named| (named.dev(), named.ino()));
        if named.ok() != Some((open.dev(), open.ino())) {
            *file = append_to(&self.path)?;
        }
        Ok(())
    }

    /// Size of the file now.
    pub fn bytes(&self) -> Option<u64> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.metadata().ok().map(|metadata| metadata.len())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Rotation tells us of a rename only afterwards, and a rotated file may be under the compressor's hands. Two
        // calls a line, and lines are rare. Where the name cannot be opened, the old file is better than nothing.
        let _ = self.follow_name(&mut file);
        // One write a line: whole lines, whoever else appends.
        file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The running log. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    format: LogFormat,
    /// `None` is standard error.
    file: Option<LogFile>,
    repeats: Arc<Mutex<Repeats>>,
}

impl Log {
    /// A log as configured that nobody writes to yet.
    fn open(config: &LogConfig, period: Duration) -> io::Result<Self> {
        let file = config.file.as_deref().map(LogFile::open).transpose()?;
        Ok(Self { format: config.format, file, repeats: Arc::new(Mutex::new(Repeats::new(period))) })
    }

    /// Opens the file's name anew, if there is a file.
    pub fn reopen(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), LogFile::reopen)
    }

    /// Size of the file now; `None` where the log goes to standard error.
    pub fn bytes(&self) -> Option<u64> {
        self.file.as_ref().and_then(LogFile::bytes)
    }

    /// Says the counts whose time has come. Called each interval, so that they come also when nothing else is said.
    pub fn say_repeats(&self) {
        self.write(|repeats| repeats.due(Instant::now()));
    }

    /// Says all counts: the agent ends.
    pub fn end(&self) {
        self.write(|repeats| repeats.rest(Instant::now()));
    }

    /// The lock is held while writing: lines come out in the order in which they were taken.
    fn write(&self, take: impl FnOnce(&mut Repeats) -> Vec<Due>) {
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        for due in take(&mut repeats) {
            let text = due.render(self.format, Timestamp::now());
            // There is nobody to tell that the log cannot be written; what counts errors is `/metrics`.
            let _ = match self.file.as_ref() {
                Some(mut file) => file.write_all(text.as_bytes()),
                None => io::stderr().write_all(text.as_bytes()),
            };
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event);
        self.write(|repeats| repeats.take(line, Instant::now()));
    }
}

/// Starts logging as configured.
pub fn start(config: &LogConfig) -> io::Result<Log> {
    let log = Log::open(config, REPEAT_PERIOD)?;
    let level = LevelFilter::from_level(config.level.tracing());
    tracing_subscriber::registry().with(log.clone().with_filter(level)).init();
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::LogLevel;
    use serde_json::Value;
    use std::fs;

    /// What `work` logs as JSON lines at `debug`, with the counts that are left at the end.
    fn logged(period: Duration, work: impl FnOnce(&Log)) -> Vec<Value> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("carbon.log");
        let config = LogConfig { level: LogLevel::Debug, format: LogFormat::Json, file: Some(path.clone()) };
        let log = Log::open(&config, period).unwrap();
        let level = LevelFilter::from_level(config.level.tracing());
        let subscriber = tracing_subscriber::registry().with(log.clone().with_filter(level));
        tracing::subscriber::with_default(subscriber, || work(&log));
        log.end();
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn levels_have_the_names_that_are_configured() {
        let lines = logged(REPEAT_PERIOD, |_| {
            tracing::trace!("below the level");
            tracing::debug!("d");
            tracing::info!("i");
            tracing::warn!("w");
            tracing::error!("e");
        });
        let levels: Vec<&str> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["debug", "info", "warning", "error"]);
        for level in levels {
            assert!(LogLevel::NAMES.contains(&level), "{level}");
        }
    }

    #[test]
    fn a_repeated_line_is_said_once_then_counted() {
        let lines = logged(Duration::from_secs(3600), |log| {
            for _ in 0..100 {
                tracing::warn!(stage = "energy", "package-0 is gone");
                log.say_repeats();
            }
            tracing::warn!(stage = "energy", "package-1 is gone");
        });
        let said: Vec<_> = lines.iter().map(|l| (l["message"].as_str().unwrap(), l["repeated"].as_u64())).collect();
        let (zero, one) = ("package-0 is gone", "package-1 is gone");
        assert_eq!(said, [(zero, None), (one, None), (zero, Some(99))]);
        assert_eq!((&lines[2]["level"], &lines[2]["stage"]), (&"warning".into(), &"energy".into()));
    }

    #[test]
    fn a_count_comes_when_its_time_has_come() {
        let period = Duration::from_millis(50);
        let lines = logged(period, |log| {
            tracing::warn!("again");
            tracing::warn!("again");
            log.say_repeats();
            std::thread::sleep(2 * period);
            log.say_repeats();
        });
        let counts: Vec<_> = lines.iter().map(|line| line["repeated"].as_u64()).collect();
        assert_eq!(counts, [None, Some(1)], "before the end of the log");
    }

    #[test]
    fn a_renamed_log_goes_on_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("carbon.log");
        let log = LogFile::open(&path).unwrap();
        (&log).write_all(b"one\n").unwrap();
        fs::rename(&path, directory.path().join("carbon.log.1")).unwrap();
        (&log).write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("carbon.log.1")).unwrap(), "one\n");
        log.reopen().unwrap();
        (&log).write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\nthree\n");
        assert_eq!(log.bytes(), Some(10));
    }
}
