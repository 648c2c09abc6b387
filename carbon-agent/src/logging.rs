//! Log lines: text or JSON, to standard error or a file that log rotation may rename.

use crate::config::model::{LogConfig, LogFormat};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

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

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a LogFile;
    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// RFC 3339 in UTC, as the rows have it.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.6}", jiff::Timestamp::now())
    }
}

/// Starts logging as configured. Returns the log file, if there is one, for reopening.
pub fn start(config: &LogConfig) -> io::Result<Option<LogFile>> {
    let file = config.file.as_deref().map(LogFile::open).transpose()?;
    let builder = tracing_subscriber::fmt()
        .with_max_level(config.level.tracing())
        .with_timer(Utc)
        .with_target(false)
        .with_ansi(false);
    match (config.format, file.clone()) {
        (LogFormat::Json, Some(file)) => builder.json().flatten_event(true).with_writer(file).init(),
        (LogFormat::Json, None) => builder.json().flatten_event(true).with_writer(io::stderr).init(),
        (LogFormat::Text, Some(file)) => builder.with_writer(file).init(),
        (LogFormat::Text, None) => builder.with_writer(io::stderr).init(),
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
