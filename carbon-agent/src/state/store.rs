//! The files of the state directory: the checkpoint, the one before it, and what was set aside.

use super::Checkpoint;
use super::format::{self, Unreadable};
use crate::snapshot::{Stage, StageState, StageStatus};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const CURRENT: &str = "state.json";
const PREVIOUS: &str = "state.json.previous";
const NEW: &str = "state.json.new";
const LOCK: &str = "lock";

/// No checkpoint is longer; what is was not written by us.
const LIMIT: u64 = 256 << 20;

/// The state directory of a running daemon, for as long as it runs.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// Held while we may write: two daemons must not share their counters.
    lock: Option<File>,
    /// Whether the checkpoint that lies there is ours to replace.
    ours: bool,
    /// Why the last write failed.
    trouble: Option<String>,
    /// What was found when it was opened, if that was not in order.
    found: Option<String>,
    errors: BTreeMap<&'static str, u64>,
}

impl Store {
    /// Every kind of failure that is counted.
    pub const KINDS: [&str; 5] = ["open", "write", "unreadable", "damaged", "version"];

    /// Opens the directory and reads the newest checkpoint that is whole. This cannot fail: a directory that cannot be
    /// used shows in [`Store::stage`] and is tried again at each write.
    pub fn open(dir: &Path) -> (Self, Option<Checkpoint>) {
        let mut store =
            Self { dir: dir.to_owned(), lock: None, ours: false, trouble: None, found: None, errors: BTreeMap::new() };
        if let Err(error) = store.take() {
            store.failed("open", &error);
            return (store, None);
        }
        store.ours = true;
        let checkpoint = store.load();
        (store, checkpoint)
    }

    /// Makes the directory and locks it.
    fn take(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o750).create(&self.dir)?;
        let path = self.dir.join(LOCK);
        if !path.exists() {
            OpenOptions::new().create(true).append(true).mode(0o640).open(&path)?;
        }
        // Held for reading: a file that is open for writing would keep the disk from being remounted read-only.
        let lock = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path)?;
        // SAFETY: flock takes plain integers, and the descriptor is open.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            let taken = error.kind() == io::ErrorKind::WouldBlock;
            let busy = || io::Error::new(io::ErrorKind::ResourceBusy, "another agent uses this state_dir");
            return Err(if taken { busy() } else { error });
        }
        self.lock = Some(lock);
        Ok(())
    }

    fn load(&mut self) -> Option<Checkpoint> {
        for (name, which) in [(CURRENT, "checkpoint"), (PREVIOUS, "checkpoint before it")] {
            let path = self.dir.join(name);
            match read(&path) {
                Ok(checkpoint) => {
                    if let Some(found) = &mut self.found {
                        let end = checkpoint.end.wall;
                        found.push_str(&format!("; went on from the {which}, of {end:.0}"));
                        tracing::error!("{found}");
                    }
                    return Some(checkpoint);
                }
                Err(Trouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(trouble) => self.aside(&path, &trouble),
            }
        }
        if let Some(found) = &mut self.found {
            found.push_str("; nothing was left to go on from: counters begin at zero");
            tracing::error!("{found}");
        }
        None
    }

    /// Puts a file that cannot be used under another name, for somebody to look at.
    fn aside(&mut self, path: &Path, trouble: &Trouble) {
        let kind = match trouble {
            Trouble::Io(_) => "unreadable",
            Trouble::Unreadable(Unreadable::Damaged(_)) => "damaged",
            Trouble::Unreadable(Unreadable::OtherVersion(_)) => "version",
        };
        *self.errors.entry(kind).or_default() += 1;
        let kept = match set_aside(path, kind) {
            Ok(kept) => format!("set aside as {}", kept.display()),
            Err(error) => format!("cannot be set aside: {error}"),
        };
        let text = format!("{}: {trouble}; {kept}", path.display());
        match &mut self.found {
            Some(found) => found.push_str(&format!("; {text}")),
            None => self.found = Some(text),
        }
    }

    /// Writes a checkpoint: a new file, its bytes on the disk, then the name. At every moment there is a whole one.
    pub fn write(&mut self, checkpoint: &Checkpoint) {
        match self.try_write(&format::encode(checkpoint)) {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!(stage = Stage::State.name(), "works again");
                }
            }
            Err(error) => self.failed("write", &error),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The directory may have been removed, and made anew by somebody: the lock is then of another one.
        if self.lock.is_some() && !self.dir.join(LOCK).exists() {
            self.lock = None;
            self.ours = false;
        }
        self.take()?;
        let (current, new) = (self.dir.join(CURRENT), self.dir.join(NEW));
        if !self.ours {
            // It came to light after this run had begun to count: its figures are not in ours.
            if current.exists() {
                let kept = set_aside(&current, "unused")?;
                tracing::warn!("an earlier state was found too late to go on from it; kept as {}", kept.display());
            }
            self.ours = true;
        }
        // What a crash left under the temporary name is removed, never written through: it may be a link by now.
        remove_if_there(&new)?;
        let written = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(error) = written {
            // On a full disk the half-written file must not take the room of the next.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        match fs::rename(&current, self.dir.join(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&new, &current)?;
        File::open(&self.dir)?.sync_all()
    }

    fn failed(&mut self, kind: &'static str, error: &io::Error) {
        *self.errors.entry(kind).or_default() += 1;
        let dir = self.dir.display();
        let remedy = match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => "free disk space",
            Some(libc::EROFS) => "remount the file system read-write, or set carbon.state_dir to another directory",
            _ if error.kind() == io::ErrorKind::ResourceBusy => "give each agent a carbon.state_dir of its own",
            _ => "give the directory to the agent's user, or set carbon.state_dir to one that it may write",
        };
        let text = format!("{dir}: {error}; counters do not survive a restart; {remedy}");
        if self.trouble.as_deref() != Some(&text) {
            tracing::warn!(stage = Stage::State.name(), "{text}");
            self.trouble = Some(text);
        }
    }

    /// How the state directory does. A damaged file shows for as long as the agent runs: somebody should know.
    pub fn stage(&self) -> StageState {
        let (status, reason) = match (&self.trouble, &self.found) {
            (Some(trouble), _) => (StageStatus::Degraded, trouble.clone()),
            (None, Some(found)) => (StageStatus::Degraded, found.clone()),
            (None, None) => (StageStatus::Ok, format!("checkpoints in {}", self.dir.display())),
        };
        StageState { stage: Stage::State, status, reason }
    }

    /// Failures since the start, by kind.
    pub fn errors(&self) -> Vec<(Stage, String, u64)> {
        self.errors.iter().map(|(kind, count)| (Stage::State, (*kind).to_owned(), *count)).collect()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Reads the newest whole checkpoint of a directory without touching anything: for tests and for looking on.
pub fn peek(dir: &Path) -> Option<Checkpoint> {
    read(&dir.join(CURRENT)).or_else(|_| read(&dir.join(PREVIOUS))).ok()
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

fn read(path: &Path) -> Result<Checkpoint, Trouble> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LIMIT {
        return Err(Unreadable::Damaged("it is no file of ours".to_owned()).into());
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut &file, &mut bytes)?;
    Ok(format::decode(&bytes)?)
}

fn set_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{why}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    let kept = PathBuf::from(name);
    fs::rename(path, &kept)?;
    Ok(kept)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
