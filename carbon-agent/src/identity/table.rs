//! The processes that have run, their lineage and their component. Grows with what runs, not with what exists.

mod explain;
mod newest;
#[cfg(test)]
mod tests;

use super::cgroups::{Cgroup, Cgroups};
use super::discovery;
use super::facts::{Facts, Sources};
use super::host::Host;
use super::label::label;
use super::names::{Answer, Resolver};
use super::policy::{Policy, Verdict};
use super::stat;
use super::users::Users;
use crate::clock;
use crate::ledger::reserved;
use crate::probe::{Comm, CpuSample, ProcessKey};
use crate::units::Nanos;
use newest::{Newest, NewestThread};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Longest chain of unknown ancestors that is followed through `/proc`.
const ANCESTORS: usize = 64;

/// A process that did not run is looked for in `/proc` once in so many intervals, in case its end was missed.
const ROUNDS: u32 = 16;

/// Why a process is in its component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Matched by a rule.
    Matched,
    /// Matched by no rule: the component of its parent when it was born.
    Inherited,
    /// There are no rules: named after its container, unit or executable.
    Discovered,
    /// None of these.
    Nothing,
    /// The command that `exec` measures.
    Adopted,
}

/// A component and why.
type Judged = (Arc<str>, Basis);

#[derive(Debug)]
struct Known {
    comm: Comm,
    exe: Option<String>,
    /// Its parent when it was first seen; the kernel forgets it when the parent ends.
    parent: u32,
    cgroup_id: u64,
    cgroup: Option<Arc<Cgroup>>,
    component: Arc<str>,
    basis: Basis,
    /// The threads that were judged, by tid.
    threads: HashMap<u32, Thread>,
    ended: bool,
    /// Seen since the last [`ProcessTable::forget_ended`].
    seen: bool,
}

#[derive(Debug)]
struct Thread {
    name: Comm,
    /// `None`: its process's.
    component: Option<Arc<str>>,
    ended: bool,
}

#[derive(Clone, Debug)]
struct Adoption {
    /// Start of the adopted process in ticks, unless it was gone already.
    start: Option<u64>,
    component: Arc<str>,
}

/// Every process that has run since the agent looked, until the interval after its end.
pub struct ProcessTable {
    sources: Sources,
    cgroups: Cgroups,
    known: HashMap<ProcessKey, Known>,
    /// The process that last bore a pid.
    bearer: HashMap<u32, ProcessKey>,
    adopted: HashMap<u32, Adoption>,
    /// Judged before the names of their containers had arrived.
    waiting: Vec<ProcessKey>,
    round: u32,
    unassigned: Arc<str>,
}

impl ProcessTable {
    pub fn new(host: Host) -> Self {
        Self::with_names(&host, Resolver::new(super::names::sources(&host.root)))
    }

    /// With name sources of the caller's choice.
    pub fn with_names(host: &Host, names: Resolver) -> Self {
        Self {
            sources: Sources {
                procfs: host.procfs.clone(),
                tick: clock::tick(),
                users: Users::default(),
                names: RefCell::new(names),
            },
            cgroups: Cgroups::new(&host.procfs, &host.sysfs),
            known: HashMap::new(),
            bearer: HashMap::new(),
            adopted: HashMap::new(),
            waiting: Vec::new(),
            round: 0,
            unassigned: Arc::from(reserved::UNASSIGNED),
        }
    }

    /// Puts a process and the descendants it will have into `component`, whatever the rules say of them. For `exec`, right
    /// after it started the command; a later bearer of the pid is not meant.
    pub fn adopt(&mut self, pid: u32, component: &str) {
        let component: Arc<str> = Arc::from(component);
        let start = stat::read(&self.sources.procfs, pid).map(|stat| stat.start);
        let tick = self.sources.tick;
        let key = self.bearer.get(&pid).filter(|key| start.is_none_or(|start| key.start.0 / tick == start));
        match key.and_then(|key| self.known.get_mut(key)) {
            Some(known) => (known.component, known.basis) = (component, Basis::Adopted),
            None => drop(self.adopted.insert(pid, Adoption { start, component })),
        }
    }

    /// Takes in a sample: new processes are judged, renamed (exec) and moved ones (cgroup) judged again, ended ones
    /// marked.
    pub fn observe(&mut self, sample: &CpuSample, policy: &mut Policy) {
        self.sources.names.get_mut().begin_sample();
        self.judge_waiting(policy);
        let newest = newest::of(sample);
        for process in &newest.processes {
            self.take_in(process, policy);
        }
        if policy.needs_threads() {
            for thread in &newest.threads {
                self.take_in_thread(thread, policy);
            }
        }
        for (process, tid) in newest.ended {
            // A thread's record tells of the thread's end or of the whole group's.
            let whole = tid == process.pid || !self.sources.shows(process);
            if let Some(known) = self.known.get_mut(&process) {
                known.ended |= whole;
                if let Some(thread) = known.threads.get_mut(&tid) {
                    thread.ended = true;
                }
            }
        }
    }

    fn take_in(&mut self, newest: &Newest, policy: &mut Policy) {
        let process = newest.process;
        let Some(known) = self.known.get_mut(&process) else {
            return self.welcome(newest, policy);
        };
        known.seen = true;
        let comm = newest.comm.unwrap_or(known.comm);
        let renamed = known.comm != comm;
        // A probe that does not tell cgroups cannot tell a move; between fork and exec is when most happen.
        let moved = if newest.cgroup == 0 { renamed } else { known.cgroup_id != newest.cgroup };
        if !renamed && !moved {
            return;
        }
        known.comm = comm;
        if renamed {
            known.exe = None;
            known.threads.clear();
        }
        if moved {
            known.cgroup_id = newest.cgroup;
            let sources = &self.sources;
            let cgroup = self.cgroups.of(process.pid, newest.cgroup, || sources.shows(process));
            let elsewhere = cgroup.is_some() && cgroup != known.cgroup;
            if cgroup.is_some() || newest.cgroup != 0 {
                known.cgroup = cgroup;
            }
            known.threads.clear();
            // What it was matched for may have been the place.
            if elsewhere && known.basis == Basis::Matched {
                return self.judge_again(process, policy, Change::Place);
            }
        }
        self.judge_again(process, policy, Change::Name);
    }

    /// A process that was never seen.
    fn welcome(&mut self, newest: &Newest, policy: &mut Policy) {
        let process = newest.process;
        let mut comm = newest.comm;
        if comm.is_none() {
            // Only threads of it have run; their names are not its own.
            let stat = stat::read(&self.sources.procfs, process.pid);
            comm = stat.filter(|stat| stat.start == process.start.0 / self.sources.tick).map(|stat| stat.comm);
        }
        let comm = comm.unwrap_or(newest.any_comm);
        let sources = &self.sources;
        let mut cgroup = self.cgroups.of(process.pid, newest.cgroup, || sources.shows(process));
        let mut exe = None;
        if let Some(parent) = bearer_at(&self.bearer, &self.known, newest.parent, process.start) {
            // Dead before anybody looked: it was born where its parent was, and until it bears another name it runs what
            // its parent ran.
            if cgroup.is_none() && (newest.cgroup == 0 || newest.cgroup == parent.cgroup_id) {
                cgroup = parent.cgroup.clone();
            }
            if newest.exited && parent.comm == comm {
                exe = parent.exe.clone();
            }
        }
        let facts = Facts::new(process, comm, cgroup.clone(), &self.sources).with_exe(exe);
        let (component, basis) = match self.adoption(process, newest.parent) {
            Some(component) => (component, Basis::Adopted),
            None => match policy.judge(&facts) {
                Verdict::Matched(component) => (component, Basis::Matched),
                Verdict::Discovered(component) => (component, Basis::Discovered),
                Verdict::Silent => self.inherited(process, newest.parent, policy),
            },
        };
        if facts.pending() {
            self.waiting.push(process);
        }
        let exe = facts.into_exe();
        self.adopted.remove(&process.pid);
        let known = Known {
            comm,
            exe,
            parent: newest.parent,
            cgroup_id: newest.cgroup,
            cgroup,
            component,
            basis,
            threads: HashMap::new(),
            ended: false,
            seen: true,
        };
        self.known.insert(process, known);
        if let Some(before) = self.bearer.insert(process.pid, process)
            && let Some(before) = self.known.get_mut(&before)
        {
            // Nobody else can bear its pid while it lives.
            before.ended = true;
        }
    }

    /// The component of a process that is adopted or whose parent is.
    fn adoption(&self, process: ProcessKey, parent: u32) -> Option<Arc<str>> {
        let adoption = self.adopted.get(&process.pid);
        let same = |start: Option<u64>| start.is_none_or(|start| start == process.start.0 / self.sources.tick);
        if let Some(adoption) = adoption.filter(|adoption| same(adoption.start)) {
            return Some(adoption.component.clone());
        }
        let parent = bearer_at(&self.bearer, &self.known, parent, process.start)?;
        (parent.basis == Basis::Adopted).then(|| parent.component.clone())
    }

    fn take_in_thread(&mut self, newest: &NewestThread, policy: &mut Policy) {
        let Some(known) = self.known.get(&newest.process) else { return };
        if known.basis == Basis::Adopted || known.threads.get(&newest.tid).is_some_and(|t| t.name == newest.name) {
            return;
        }
        let (component, pending) = self.judge_thread(newest.process, known, newest.name, policy);
        // Without the names it is its process's for now, and judged again when it next runs.
        if !pending {
            let thread = Thread { name: newest.name, component, ended: false };
            let known = self.known.get_mut(&newest.process).expect("was found above");
            known.threads.insert(newest.tid, thread);
        }
    }

    /// The component of a thread where that is not for its process to say, and whether names are missing.
    fn judge_thread(
        &self,
        process: ProcessKey,
        known: &Known,
        name: Comm,
        policy: &mut Policy,
    ) -> (Option<Arc<str>>, bool) {
        let mut facts = self.facts(process, known);
        facts.thread = name;
        let component = match policy.judge(&facts) {
            Verdict::Matched(component) => Some(component),
            Verdict::Discovered(_) | Verdict::Silent => None,
        };
        (component, facts.pending())
    }

    fn facts(&self, process: ProcessKey, known: &Known) -> Facts<'_> {
        Facts::new(process, known.comm, known.cgroup.clone(), &self.sources).with_exe(known.exe.clone())
    }

    fn judge_waiting(&mut self, policy: &mut Policy) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_unstable_by_key(|key| (key.start, key.pid));
        for process in waiting {
            self.judge_again(process, policy, Change::Names);
        }
    }

    fn judge_again(&mut self, process: ProcessKey, policy: &mut Policy, change: Change) {
        let Some(known) = self.known.get(&process) else { return };
        if known.basis == Basis::Adopted {
            return;
        }
        let facts = self.facts(process, known);
        let verdict = policy.judge(&facts);
        let pending = facts.pending();
        let exe = facts.into_exe();
        let before = (known.component.clone(), known.basis);
        let (component, basis) = match verdict {
            Verdict::Matched(component) => (component, Basis::Matched),
            Verdict::Discovered(component) => (component, Basis::Discovered),
            Verdict::Silent => match change {
                // What it became is matched by no rule: it inherits from what it was.
                Change::Name => before,
                Change::Place | Change::Names => self.inherited(process, known.parent, policy),
                Change::Rules => match self.inherited(process, known.parent, policy) {
                    // Its ancestors may be gone; a component that still exists is still theirs.
                    (_, Basis::Nothing) if policy.inherits() && policy.components().contains(&before.0) => {
                        (before.0, Basis::Inherited)
                    }
                    inherited => inherited,
                },
            },
        };
        if pending {
            self.waiting.push(process);
        }
        let known = self.known.get_mut(&process).expect("was found above");
        (known.component, known.basis, known.exe) = (component, basis, exe);
    }

    /// The component that a process gets from its ancestors: of the parent if that has run, else by judging the
    /// ancestors that `/proc` still shows.
    fn inherited(&self, child: ProcessKey, mut parent: u32, policy: &mut Policy) -> Judged {
        let nothing = (self.unassigned.clone(), Basis::Nothing);
        if !policy.inherits() {
            return nothing;
        }
        for _ in 0..ANCESTORS {
            if parent == 0 {
                break;
            }
            if let Some(known) = bearer_at(&self.bearer, &self.known, parent, child.start) {
                return match known.basis {
                    Basis::Matched | Basis::Inherited | Basis::Adopted => (known.component.clone(), Basis::Inherited),
                    Basis::Nothing | Basis::Discovered => nothing,
                };
            }
            let Some((facts, grandparent)) = self.ancestor(parent, child.start) else { break };
            if let Verdict::Matched(component) = policy.judge(&facts) {
                return (component, Basis::Inherited);
            }
            parent = grandparent;
        }
        nothing
    }

    /// What `/proc` shows of a process that has not run since the agent looked, and its parent. Somebody who started
    /// after `time` is no ancestor of who was born then, but took the pid later.
    fn ancestor(&self, pid: u32, time: Nanos) -> Option<(Facts<'_>, u32)> {
        let stat = stat::read(&self.sources.procfs, pid)?;
        let start = Nanos(stat.start * self.sources.tick);
        if start > time {
            return None;
        }
        let text = std::fs::read(self.sources.procfs.join(format!("{pid}/cgroup"))).unwrap_or_default();
        let cgroup = Cgroup::parse(&String::from_utf8_lossy(&text));
        let facts = Facts::new(ProcessKey { pid, start }, stat.comm, cgroup, &self.sources).living();
        Some((facts, stat.parent))
    }

    /// The component of a task that was observed; `tid` is the process's pid unless threads are kept apart.
    pub fn component(&self, process: ProcessKey, tid: u32) -> Arc<str> {
        let Some(known) = self.known.get(&process) else { return self.unassigned.clone() };
        let own = known.threads.get(&tid).and_then(|thread| thread.component.as_ref());
        own.unwrap_or(&known.component).clone()
    }

    /// The process that bears `pid` now, or bore it last, if it has run since the agent looked.
    pub fn bearer(&self, pid: u32) -> Option<ProcessKey> {
        self.bearer.get(&pid).copied()
    }

    /// The name last seen.
    pub fn comm(&self, process: ProcessKey) -> Option<Comm> {
        self.known.get(&process).map(|known| known.comm)
    }

    /// The systemd unit it runs in, safe as a label.
    pub fn unit(&self, process: ProcessKey) -> Option<String> {
        let unit = self.known.get(&process)?.cgroup.as_ref()?.placement.unit.as_ref()?;
        Some(label(unit.as_bytes()))
    }

    /// The container it runs in: `namespace/name` in a pod, else the name, else the short id. A virtual machine is
    /// contained in itself. Safe as a label.
    pub fn container(&self, process: ProcessKey) -> Option<String> {
        let placement = &self.known.get(&process)?.cgroup.as_ref()?.placement;
        if placement.container.is_none() {
            return placement.machine.as_ref().map(|name| label(name.as_bytes()));
        }
        let names = match self.sources.names.borrow_mut().names(placement) {
            Answer::Names(names) => names,
            Answer::Pending => Arc::default(),
        };
        discovery::container(placement, &names).map(|name| label(name.as_bytes()))
    }

    /// Path of the executable, read now if no rule asked for it before; `None` when the process is gone.
    pub fn exe(&mut self, process: ProcessKey) -> Option<String> {
        let known = self.known.get_mut(&process)?;
        if known.exe.is_none() && !known.ended {
            known.exe = Facts::new(process, known.comm, None, &self.sources).into_exe_read();
        }
        known.exe.clone()
    }

    /// Whether the process has ended (or was never seen).
    pub fn is_gone(&self, process: ProcessKey) -> bool {
        self.known.get(&process).is_none_or(|known| known.ended)
    }

    /// Forgets the ended ones, and looks for those whose end was missed; call when an interval has been closed.
    pub fn forget_ended(&mut self) {
        self.known.retain(|_, known| !known.ended);
        let known = &self.known;
        self.bearer.retain(|_, key| known.contains_key(key));
        self.round = (self.round + 1) % ROUNDS;
        for (process, known) in &mut self.known {
            known.threads.retain(|_, thread| !thread.ended);
            let seen = std::mem::take(&mut known.seen);
            if process.pid % ROUNDS == self.round {
                // Found gone now, forgotten when the next interval has been closed: the books still know it.
                known.ended = !seen && !self.sources.shows(*process);
                let tasks = self.sources.procfs.join(format!("{}/task", process.pid));
                known.threads.retain(|tid, _| tasks.join(tid.to_string()).exists());
            }
        }
        let placements = self.known.values().filter_map(|known| Some(&known.cgroup.as_ref()?.placement));
        self.sources.names.get_mut().prune(placements);
        self.cgroups.prune();
    }

    /// Judges everybody again, after the rules changed. What no rule matches keeps the component it inherited, unless
    /// that is gone.
    pub fn judge_all(&mut self, policy: &mut Policy) {
        self.sources.names.get_mut().begin_sample();
        let mut keys: Vec<ProcessKey> = self.known.keys().copied().collect();
        keys.sort_by_key(|key| (key.start, key.pid));
        for key in keys {
            self.judge_again(key, policy, Change::Rules);
            let mut threads = std::mem::take(&mut self.known.get_mut(&key).expect("the key is from the table").threads);
            if policy.needs_threads() {
                let known = &self.known[&key];
                threads.retain(|_, thread| {
                    let (component, pending) = self.judge_thread(key, known, thread.name, policy);
                    thread.component = component;
                    !pending
                });
                self.known.get_mut(&key).expect("the key is from the table").threads = threads;
            }
        }
    }

    /// Processes in the table.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// Why a process is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It bears another name: exec.
    Name,
    /// It was matched, and is in another cgroup now.
    Place,
    /// The names of its container have arrived.
    Names,
    Rules,
}

/// Who bore `pid` at the time.
fn bearer_at<'a>(
    bearer: &HashMap<u32, ProcessKey>,
    known: &'a HashMap<ProcessKey, Known>,
    pid: u32,
    time: Nanos,
) -> Option<&'a Known> {
    let key = bearer.get(&pid).filter(|key| key.start <= time)?;
    known.get(key)
}
