//! What is known of a process when its component is decided: what the probe captured, and `/proc/<pid>` while it lives,
//! read only when a rule asks.

use super::cgroups::Cgroup;
use super::names::{Answer, Resolver};
use super::rules::{Field, Subject};
use super::stat;
use super::users::Users;
use crate::probe::{Comm, ProcessKey};
use std::cell::{Cell, OnceCell, RefCell};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where facts are read.
pub struct Sources {
    pub procfs: PathBuf,
    /// Nanoseconds in a clock tick.
    pub tick: u64,
    pub users: Users,
    pub names: RefCell<Resolver>,
}

impl Sources {
    /// Whether `/proc/<pid>` is this process and not a later bearer of its pid.
    pub fn shows(&self, process: ProcessKey) -> bool {
        stat::read(&self.procfs, process.pid).is_some_and(|stat| stat.start == process.start.0 / self.tick)
    }
}

/// A process (or one thread of it) to be judged. Everything but the name is read on demand; what a dead process can no
/// longer tell is unknown.
pub struct Facts<'a> {
    pub process: ProcessKey,
    pub comm: Comm,
    /// Name of the thread; the process's own where it is not a thread that is judged.
    pub thread: Comm,
    pub cgroup: Option<Arc<Cgroup>>,
    sources: &'a Sources,
    lives: OnceCell<bool>,
    exe: OnceCell<Option<String>>,
    /// Somebody asked for names that have not arrived yet.
    pending: Cell<bool>,
}

impl<'a> Facts<'a> {
    pub fn new(process: ProcessKey, comm: Comm, cgroup: Option<Arc<Cgroup>>, sources: &'a Sources) -> Self {
        let (lives, exe, pending) = (OnceCell::new(), OnceCell::new(), Cell::new(false));
        Self { process, comm, thread: comm, cgroup, sources, lives, exe, pending }
    }

    /// With the executable as it was read before.
    pub fn with_exe(self, exe: Option<String>) -> Self {
        let known = exe.is_some().then_some(exe);
        Self { exe: known.map(OnceCell::from).unwrap_or_default(), ..self }
    }

    /// Of a process that was just seen to live.
    pub fn living(self) -> Self {
        Self { lives: OnceCell::from(true), ..self }
    }

    /// Directory of the process in `/proc`, if it is still there and still its own.
    fn directory(&self) -> Option<PathBuf> {
        let lives = *self.lives.get_or_init(|| self.sources.shows(self.process));
        lives.then(|| self.sources.procfs.join(self.process.pid.to_string()))
    }

    /// Path of the executable, without the kernel's ` (deleted)` mark.
    pub fn exe(&self) -> Option<&str> {
        self.exe.get_or_init(|| read_exe(&self.directory()?.join("exe"))).as_deref()
    }

    /// The executable's path if it was asked for and found.
    pub fn into_exe(self) -> Option<String> {
        self.exe.into_inner().flatten()
    }

    /// The executable's path, read now.
    pub fn into_exe_read(self) -> Option<String> {
        self.exe();
        self.into_exe()
    }

    /// What its container and pod are called.
    pub fn names(&self) -> Answer {
        let Some(cgroup) = &self.cgroup else { return Answer::Names(Arc::default()) };
        let answer = self.sources.names.borrow_mut().names(&cgroup.placement);
        if answer == Answer::Pending {
            self.pending.set(true);
        }
        answer
    }

    /// Whether it is to be judged again when names have arrived.
    pub fn pending(&self) -> bool {
        self.pending.get()
    }

    /// The arguments joined with spaces. Never stored: command lines hold secrets.
    fn cmdline(&self) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.directory()?.join("cmdline")).ok()?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        Some(bytes)
    }

    fn environment(&self) -> Vec<u8> {
        self.directory().and_then(|directory| fs::read(directory.join("environ")).ok()).unwrap_or_default()
    }
}

impl Subject for Facts<'_> {
    fn values(&self, field: Field, visit: &mut dyn FnMut(&[u8])) {
        let mut visit_text = |text: Option<&str>| {
            if let Some(text) = text {
                visit(text.as_bytes());
            }
        };
        let placement = self.cgroup.as_ref().map(|cgroup| &cgroup.placement);
        match field {
            Field::Comm => visit(self.comm.bytes()),
            Field::Thread => visit(self.thread.bytes()),
            Field::Exe => visit_text(self.exe()),
            Field::Cmdline => {
                if let Some(line) = self.cmdline() {
                    visit(&line);
                }
            }
            Field::Env => {
                for entry in self.environment().split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
                    visit(entry);
                }
            }
            Field::User => {
                visit_text(self.directory().and_then(|directory| self.sources.users.of(&directory)).as_deref())
            }
            Field::Cgroup => {
                for path in self.cgroup.iter().flat_map(|cgroup| &cgroup.paths) {
                    visit(path.as_bytes());
                }
            }
            Field::Unit => visit_text(placement.and_then(|p| p.unit.as_deref())),
            // A container and a pod answer to their name and to their id.
            Field::Container => {
                if let Some(container) = placement.and_then(|p| p.container.as_ref()) {
                    if let Answer::Names(names) = self.names() {
                        visit_text(names.container.as_deref());
                    }
                    visit_text(Some(&container.id));
                }
            }
            Field::Pod => {
                if let Some(placement) = placement {
                    if let Answer::Names(names) = self.names() {
                        visit_text(names.pod.as_deref());
                    }
                    visit_text(placement.pod.as_deref());
                }
            }
            Field::Namespace => {
                if let Answer::Names(names) = self.names() {
                    visit_text(names.namespace.as_deref());
                }
            }
        }
    }
}

fn read_exe(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    let path = String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned();
    Some(path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::cgroups::Cgroups;
    use crate::units::Nanos;

    fn sources() -> Sources {
        Sources {
            procfs: "/proc".into(),
            tick: crate::clock::tick(),
            users: Users::default(),
            names: RefCell::new(Resolver::new(Vec::new())),
        }
    }

    /// This test process, which started `late` clock ticks after it did.
    fn values(late: u64, field: Field) -> Vec<String> {
        let sources = sources();
        let pid = std::process::id();
        let start = stat::read(Path::new("/proc"), pid).unwrap().start;
        let this = ProcessKey { pid, start: Nanos((start + late) * sources.tick + 1) };
        let cgroup = Cgroups::new(Path::new("/proc"), Path::new("/sys")).of(pid, 0, || true);
        let facts = Facts::new(this, Comm::from_bytes(b"a name"), cgroup, &sources);
        let mut values = Vec::new();
        facts.values(field, &mut |value| values.push(String::from_utf8_lossy(value).into_owned()));
        values
    }

    #[test]
    fn this_process_is_known_by_every_field() {
        assert_eq!(values(0, Field::Comm), ["a name"]);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(values(0, Field::Exe), [exe.to_str().unwrap()]);
        assert!(values(0, Field::Cmdline)[0].starts_with(&std::env::args().next().unwrap()));
        let variable = format!("PATH={}", std::env::var("PATH").unwrap());
        assert!(values(0, Field::Env).contains(&variable));
        assert_eq!(values(0, Field::User).len(), 1);
        let cgroups = values(0, Field::Cgroup);
        assert!(!cgroups.is_empty() && cgroups.iter().all(|path| path.starts_with('/')));
    }

    #[test]
    fn a_stranger_with_the_same_pid_tells_nothing() {
        for field in [Field::Exe, Field::Cmdline, Field::Env, Field::User] {
            assert_eq!(values(1, field), Vec::<String>::new(), "{field}");
        }
        assert_eq!(values(1, Field::Comm), ["a name"]);
    }
}
