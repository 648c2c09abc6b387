//! Names of users, as the host or the container a process lives in writes them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files remembered: one a container image that rules look into.
const FILES: usize = 256;

type Names = HashMap<u32, String>;

/// A file as it was when it was read: a change makes it another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

pub struct Users {
    /// The host's own list.
    list: PathBuf,
    read: RefCell<HashMap<Version, Arc<Names>>>,
}

impl Users {
    /// Of a host whose root directory is `root`.
    pub fn new(root: &Path) -> Self {
        Self { list: root.join("etc/passwd"), read: RefCell::default() }
    }

    /// Name of the user a process runs as; the number where nobody has a name for it; `None` when it is gone.
    pub fn of(&self, process: &Path) -> Option<String> {
        let uid = fs::metadata(process).ok()?.uid();
        // The container's own list comes first: its users are the ones the operator of the container knows.
        let lists = [process.join("root/etc/passwd"), self.list.clone()];
        let name = lists.iter().find_map(|list| self.list(list)?.get(&uid).cloned());
        Some(name.unwrap_or_else(|| uid.to_string()))
    }

    fn list(&self, path: &Path) -> Option<Arc<Names>> {
        let metadata = fs::metadata(path).ok()?;
        let version = Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.len(),
        };
        let mut read = self.read.borrow_mut();
        if let Some(names) = read.get(&version) {
            return Some(names.clone());
        }
        if read.len() >= FILES {
            read.clear();
        }
        let names = Arc::new(parse(&fs::read(path).ok()?));
        read.insert(version, names.clone());
        Some(names)
    }
}

/// "NAME:PASSWORD:UID:…"; the first of several names counts, as it does for getpwuid.
fn parse(passwd: &[u8]) -> Names {
    let mut names = Names::new();
    for line in String::from_utf8_lossy(passwd).lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_list_is_read_again() {
        let process = tempfile::tempdir().unwrap();
        let uid = fs::metadata(process.path()).unwrap().uid();
        let etc = process.path().join("root/etc");
        fs::create_dir_all(&etc).unwrap();
        let host = tempfile::tempdir().unwrap();
        let users = Users::new(host.path());
        fs::write(etc.join("passwd"), format!("other:x:4242:1::/:\nmine:x:{uid}:1::/:\nalias:x:{uid}:1::/:\n"))
            .unwrap();
        assert_eq!(users.of(process.path()).as_deref(), Some("mine"));
        fs::write(etc.join("passwd"), format!("renamed:x:{uid}:1::/:\n")).unwrap();
        assert_eq!(users.of(process.path()).as_deref(), Some("renamed"));
        assert_eq!(users.of(Path::new("/nowhere")), None);
        // Without a list of its own: the host's.
        fs::remove_file(etc.join("passwd")).unwrap();
        assert_eq!(users.of(process.path()), Some(uid.to_string()));
        fs::create_dir_all(host.path().join("etc")).unwrap();
        fs::write(host.path().join("etc/passwd"), format!("hosts:x:{uid}:1::/:\n")).unwrap();
        assert_eq!(users.of(process.path()).as_deref(), Some("hosts"));
    }

    #[test]
    fn torn_lines_are_passed_over() {
        let names = parse(b"root:x:0:0::/root:/bin/sh\n\n::\nx\nbad:x:y:1\n\xff:x:5:1\n");
        assert_eq!(names.len(), 2);
        assert_eq!(names[&0], "root");
    }
}
