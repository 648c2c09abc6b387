//! The file of one day, open for appending.

use super::{name, tail};
use jiff::civil::Date;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An emissions file whose end is sound.
#[derive(Debug)]
pub struct DayFile {
    pub day: Date,
    path: PathBuf,
    file: File,
    /// Where our last write ended. A file of another length was changed by somebody else.
    length: u64,
    /// Bytes set aside when it was opened.
    pub torn: u64,
}

impl DayFile {
    /// Opens or creates the file of `day` and mends its end. The directory is created if it went away.
    pub fn open(dir: &Path, day: Date) -> io::Result<Self> {
        let path = dir.join(name::of_day(day));
        let file = match open_append(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(dir)?;
                open_append(&path)?
            }
            other => other?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::from_raw_os_error(libc::ENXIO));
        }
        let torn = tail::mend(&file, &path)?;
        let length = file.metadata()?.len();
        Ok(Self { day, path, file, length, torn })
    }

    /// Whether the usual name still leads to this file, and nobody else wrote to it or cut it.
    pub fn is_current(&self) -> bool {
        let (Ok(named), Ok(open)) = (fs::symlink_metadata(&self.path), self.file.metadata()) else { return false };
        named.dev() == open.dev() && named.ino() == open.ino() && open.nlink() > 0 && open.len() == self.length
    }

    /// Appends `lines` whole and brings them to the disk, or leaves the file as it was.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match write_once(&mut self.file, lines).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Should this fail as well, the next opening mends the end.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }
}

/// One `write(2)` for everything. What is left after a short one is tried once more: either it completes, or the
/// kernel now says why it did not (a full disk shows itself as a short write first).
fn write_once(file: &mut File, lines: &[u8]) -> io::Result<()> {
    let written = write(file, lines)?;
    if written < lines.len() && written + write(file, &lines[written..])? < lines.len() {
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    Ok(())
}

fn write(file: &mut File, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Neither a link nor a pipe that somebody put in the place of the file may redirect or block us.
fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}
