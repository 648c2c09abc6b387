//! The cgroups that processes are in: read once a cgroup, not once a process.

use super::cgroup::{Placement, classify_all, paths};
use super::hierarchy::Hierarchy;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More than any host runs; beyond it what nobody is in is dropped at once.
const KEPT: usize = 65_536;

/// One cgroup: its paths (one a hierarchy that differs) and what they tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    pub paths: Vec<String>,
    pub placement: Placement,
}

impl Cgroup {
    /// From the text of `/proc/<pid>/cgroup`; `None` where it names no cgroup.
    pub fn parse(text: &str) -> Option<Arc<Self>> {
        let paths = paths(text);
        (!paths.is_empty()).then(|| Self::at(paths))
    }

    fn at<'a>(paths: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        let paths: Vec<String> = paths.into_iter().map(str::to_owned).collect();
        let placement = classify_all(paths.iter().map(String::as_str));
        Arc::new(Self { paths, placement })
    }
}

struct Kept {
    /// `None`: the id could not be resolved. A living process in it may still tell.
    cgroup: Option<Arc<Cgroup>>,
    /// Whether it holds for every process with this id. What the hierarchy alone told holds for the dead, who cannot tell
    /// more.
    for_all: bool,
    /// Asked for since the last [`Cgroups::prune`].
    used: bool,
}

pub struct Cgroups {
    procfs: PathBuf,
    hierarchy: Hierarchy,
    by_id: HashMap<u64, Kept>,
}

impl Cgroups {
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), hierarchy: Hierarchy::find(sysfs), by_id: HashMap::new() }
    }

    /// The cgroup of a process, given the id in the record of it (0 where unknown): from what others in it told, from
    /// `/proc` if `lives()`, from the hierarchy.
    pub fn of(&mut self, pid: u32, id: u64, lives: impl FnOnce() -> bool) -> Option<Arc<Cgroup>> {
        if let Some(Kept { cgroup: Some(cgroup), for_all: true, used }) = self.by_id.get_mut(&id) {
            *used = true;
            return Some(cgroup.clone());
        }
        if let Ok(bytes) = fs::read(self.procfs.join(format!("{pid}/cgroup")))
            && lives()
        {
            let text = String::from_utf8_lossy(&bytes);
            if let Some(cgroup) = Cgroup::parse(&text) {
                if id != 0 && has_unified(&text) && one_tells_all(&cgroup.paths) {
                    self.keep(id, Some(cgroup.clone()), true);
                }
                return Some(cgroup);
            }
        }
        if id == 0 {
            return None;
        }
        if let Some(kept) = self.by_id.get_mut(&id) {
            kept.used = true;
            return kept.cgroup.clone();
        }
        let found = self.hierarchy.path(id).map(|path| Cgroup::at([path.as_str()]));
        self.keep(id, found.clone(), false);
        found
    }

    fn keep(&mut self, id: u64, cgroup: Option<Arc<Cgroup>>, for_all: bool) {
        if self.by_id.len() >= KEPT {
            self.by_id.retain(|_, kept| kept.cgroup.as_ref().is_some_and(|cgroup| Arc::strong_count(cgroup) > 1));
        }
        if self.by_id.len() < KEPT {
            self.by_id.insert(id, Kept { cgroup, for_all, used: true });
        }
    }

    /// Drops the cgroups that no process in the table is in and nobody asked for since the last call.
    pub fn prune(&mut self) {
        self.by_id.retain(|_, kept| {
            let held = kept.cgroup.as_ref().is_some_and(|cgroup| Arc::strong_count(cgroup) > 1);
            std::mem::take(&mut kept.used) || held
        });
    }
}

/// Without the unified hierarchy every process has the same id, that of its root.
fn has_unified(proc_cgroup: &str) -> bool {
    proc_cgroup.lines().any(|line| line.starts_with("0::"))
}

/// Whether the unified path tells all, so that its id stands for the process's place in every hierarchy. It does not
/// where v1 controllers are set up apart from it.
fn one_tells_all(paths: &[String]) -> bool {
    let unified = Path::new(&paths[0]);
    paths[1..].iter().all(|path| unified.starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host {
        root: tempfile::TempDir,
        cgroups: Cgroups,
    }

    impl Host {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let cgroups = Cgroups::new(root.path(), Path::new("/nowhere"));
            Self { root, cgroups }
        }

        fn process(&self, pid: u32, cgroup: &str) {
            fs::create_dir_all(self.root.path().join(pid.to_string())).unwrap();
            fs::write(self.root.path().join(format!("{pid}/cgroup")), cgroup).unwrap();
        }

        fn unit(&mut self, pid: u32, id: u64) -> Option<String> {
            self.cgroups.of(pid, id, || true)?.placement.unit.clone()
        }
    }

    #[test]
    fn a_cgroup_is_read_once() {
        let mut host = Host::new();
        host.process(7, "0::/system.slice/a.service\n");
        assert_eq!(host.unit(7, 100).as_deref(), Some("a.service"));
        // 8 is dead already: known from 7.
        assert_eq!(host.unit(8, 100).as_deref(), Some("a.service"));
        assert_eq!(host.unit(8, 101), None);
        // A process that lives tells what could not be resolved before.
        host.process(9, "0::/system.slice/b.service\n");
        assert_eq!(host.unit(9, 101).as_deref(), Some("b.service"));
    }

    #[test]
    fn what_a_stranger_with_the_same_pid_tells_is_not_taken() {
        let mut host = Host::new();
        host.process(7, "0::/system.slice/a.service\n");
        assert_eq!(host.cgroups.of(7, 100, || false), None);
    }

    #[test]
    fn an_id_that_does_not_tell_all_is_not_kept() {
        let mut host = Host::new();
        host.process(7, "2:cpu:/\n1:name=systemd:/system.slice/a.service\n0::/\n");
        host.process(8, "2:cpu:/\n1:name=systemd:/system.slice/b.service\n0::/\n");
        assert_eq!(host.unit(7, 1).as_deref(), Some("a.service"));
        assert_eq!(host.unit(8, 1).as_deref(), Some("b.service"));
        host.process(7, "1:name=systemd:/system.slice/a.service\n");
        host.unit(7, 3);
        assert_eq!(host.unit(11, 3), None);
        // Controllers further up the same path are no contradiction.
        host.process(9, "2:cpu:/system.slice\n1:name=systemd:/system.slice/c.service\n0::/system.slice/c.service\n");
        host.unit(9, 2);
        assert_eq!(host.unit(10, 2).as_deref(), Some("c.service"));
    }

    #[test]
    fn cgroups_that_nobody_is_in_are_dropped() {
        let mut host = Host::new();
        host.process(7, "0::/a.service\n");
        let held = host.cgroups.of(7, 100, || true);
        for id in 1000..3000 {
            host.process(8, &format!("0::/{id}.service\n"));
            host.unit(8, id);
        }
        assert_eq!(host.cgroups.by_id.len(), 2001);
        host.cgroups.prune();
        host.cgroups.prune();
        assert_eq!(host.cgroups.by_id.len(), 1);
        drop(held);
        host.cgroups.prune();
        assert_eq!(host.cgroups.by_id.len(), 0);
    }
}
