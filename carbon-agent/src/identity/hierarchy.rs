//! From the id of a cgroup, as the kernel's programs see it, to its path: for processes that died before anybody looked.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `FILEID_KERNFS`: a file handle that is nothing but the 64-bit id of a kernfs node.
const FILEID_KERNFS: i32 = 0xfe;
/// The most directories that one walk reads.
const WALKED: usize = 65_536;
/// A walk costs about 10 µs a cgroup, so that thousands of them must not be walked each sample.
const BETWEEN_WALKS: Duration = Duration::from_secs(10);

/// The mounted cgroup v2 hierarchy.
pub struct Hierarchy {
    root: Option<(PathBuf, File)>,
    /// Handles need CAP_DAC_READ_SEARCH; without it the tree is walked.
    handles_work: bool,
    walked: HashMap<u64, String>,
    last_walk: Option<Instant>,
}

#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

impl Hierarchy {
    /// The hierarchy under a sysfs root: the unified mount, or the one beside v1 controllers. None is no error: every
    /// id is then unknown.
    pub fn find(sysfs: &Path) -> Self {
        let mount = sysfs.join("fs/cgroup");
        let root = [mount.clone(), mount.join("unified")]
            .into_iter()
            .find(|root| root.join("cgroup.controllers").exists())
            .and_then(|root| File::open(&root).ok().map(|file| (root, file)));
        Self { root, handles_work: true, walked: HashMap::new(), last_walk: None }
    }

    /// The path of a cgroup under the hierarchy's root ("/" is the root); `None` when it is gone or cannot be found.
    pub fn path(&mut self, id: u64) -> Option<String> {
        if self.handles_work {
            match self.by_handle(id) {
                Ok(path) => return Some(path),
                // Gone. A walk would not find it either.
                Err(error) if error.raw_os_error() == Some(libc::ESTALE) => return None,
                Err(_) => self.handles_work = false,
            }
        }
        self.by_walk(id)
    }

    fn by_handle(&self, id: u64) -> std::io::Result<String> {
        let Some((root, mount)) = &self.root else { return Err(std::io::ErrorKind::NotFound.into()) };
        let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
        // SAFETY: `handle` has the layout of a file_handle of 8 bytes and outlives the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                mount.as_raw_fd(),
                &raw mut handle,
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
        let below = path.strip_prefix(root).map_err(|_| std::io::Error::from_raw_os_error(libc::ESTALE))?;
        let path = shown(below.as_os_str());
        Ok(path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned))
    }

    fn by_walk(&mut self, id: u64) -> Option<String> {
        if !self.walked.contains_key(&id) && self.last_walk.is_none_or(|last| last.elapsed() > BETWEEN_WALKS) {
            self.walk();
            self.last_walk = Some(Instant::now());
        }
        self.walked.get(&id).cloned()
    }

    /// Names every cgroup anew. A directory's entry holds its inode number, which is the id: nothing else is read.
    fn walk(&mut self) {
        self.walked.clear();
        let Some((root, _)) = &self.root else { return };
        let mut open: Vec<PathBuf> = vec![PathBuf::new()];
        while let Some(directory) = open.pop() {
            let Ok(entries) = std::fs::read_dir(root.join(&directory)) else { continue };
            for entry in entries.flatten() {
                if self.walked.len() >= WALKED {
                    return;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let path = directory.join(entry.file_name());
                    self.walked.insert(entry.ino(), shown(path.as_os_str()));
                    open.push(path);
                }
            }
        }
    }
}

fn shown(below: &OsStr) -> String {
    format!("/{}", String::from_utf8_lossy(below.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_walk_finds_by_inode_and_is_not_repeated_at_once() {
        let sysfs = tempfile::tempdir().unwrap();
        let root = sysfs.path().join("fs/cgroup/unified");
        let deep = root.join("system.slice/a.service");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(root.join("cgroup.controllers"), "").unwrap();
        let mut hierarchy = Hierarchy::find(sysfs.path());
        hierarchy.handles_work = false;
        let id = std::fs::metadata(&deep).unwrap().ino();
        assert_eq!(hierarchy.path(id).as_deref(), Some("/system.slice/a.service"));

        let late = root.join("late.service");
        std::fs::create_dir(&late).unwrap();
        let id = std::fs::metadata(&late).unwrap().ino();
        assert_eq!(hierarchy.path(id), None);
        hierarchy.last_walk = None;
        assert_eq!(hierarchy.path(id).as_deref(), Some("/late.service"));
    }

    #[test]
    fn no_hierarchy_is_no_error() {
        assert_eq!(Hierarchy::find(Path::new("/nowhere")).path(1), None);
    }

    /// On the real tree the two ways agree, where this user may use both.
    #[test]
    fn handles_and_the_walk_agree() {
        let mut hierarchy = Hierarchy::find(Path::new("/sys"));
        let Some((root, _)) = &hierarchy.root else { return };
        let id = std::fs::metadata(root).unwrap().ino();
        if let Ok(path) = hierarchy.by_handle(id) {
            assert_eq!(path, "/");
        }
        hierarchy.walk();
        let walked: Vec<(u64, String)> = hierarchy.walked.clone().into_iter().take(100).collect();
        for (id, path) in walked {
            if let Ok(by_handle) = hierarchy.by_handle(id) {
                assert_eq!(by_handle, path);
            }
        }
    }
}
