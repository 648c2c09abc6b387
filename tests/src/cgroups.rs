//! Real cgroups by the thousand, for tests and benches of identity.

use crate::need::need;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories of the unified hierarchy, removed when dropped.
pub struct Many {
    root: PathBuf,
    /// Name and id of each.
    pub all: Vec<(String, u64)>,
}

impl Many {
    /// `count` units `NAME-0.service` … below a cgroup of this process's own; `None` (said why) where none can be made.
    pub fn make(name: &str, count: usize) -> Option<Self> {
        Self::named(name, (0..count).map(|number| format!("{name}-{number}.service")))
    }

    /// The same with names of the caller's choice.
    pub fn named(name: &str, names: impl IntoIterator<Item = String>) -> Option<Self> {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let mount = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists());
        let root = mount.map(|mount| mount.join(format!("carbon-{name}-{}.slice", std::process::id())));
        let root = root.filter(|root| fs::create_dir(root).is_ok());
        if !need(root.is_some(), "a cgroup v2 hierarchy in which cgroups can be made") {
            return None;
        }
        let mut many = Self { root: root?, all: Vec::new() };
        for name in names {
            let directory = many.root.join(&name);
            fs::create_dir(&directory).expect("a cgroup");
            many.all.push((name, fs::metadata(&directory).expect("its inode").ino()));
        }
        Some(many)
    }

    /// Moves a process into one of them.
    pub fn take_in(&self, number: usize, pid: u32) {
        let procs = self.root.join(&self.all[number].0).join("cgroup.procs");
        fs::write(procs, pid.to_string()).expect("the process can be moved");
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        for (unit, _) in &self.all {
            let _ = fs::remove_dir(self.root.join(unit));
        }
        let _ = fs::remove_dir(&self.root);
    }
}
