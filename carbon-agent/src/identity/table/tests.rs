use super::*;
use crate::clock;
use crate::identity::cgroup::Container;
use crate::identity::names::{NameSource, Names};
use crate::identity::rules::{Field, Match, Rule, RuleSet};
use crate::probe::TaskTime;

fn task(pid: u32, start: u64, parent: u32, comm: &str) -> TaskTime {
    TaskTime {
        process: ProcessKey { pid, start: Nanos(start) },
        tid: pid,
        cpu: 0,
        time: Nanos(1),
        comm: Comm::from_bytes(comm.as_bytes()),
        parent,
        cgroup: 0,
        kernel_thread: false,
        exited: false,
        seen: Nanos(start),
    }
}

/// Rules from "NAME FIELD: GLOB" lines.
fn rules(lines: &[&str]) -> Policy {
    let rules: Vec<Rule> = lines
        .iter()
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            let (field, glob) = rest.split_once(": ").unwrap();
            let matching = Match::Key { field: Field::from_name(field).unwrap(), glob: glob.to_owned() };
            Rule { name: name.to_owned(), matching, line: 0 }
        })
        .collect();
    Policy::new(RuleSet::compile(&rules).unwrap(), true)
}

/// Comm `x-app` and `x-other` are components.
fn x_rules() -> Policy {
    rules(&["x-app comm: x-app", "x-other comm: x-other"])
}

fn nowhere() -> ProcessTable {
    ProcessTable::new(Host::new("/nowhere".as_ref(), "/nowhere".as_ref()))
}

fn observe(table: &mut ProcessTable, policy: &mut Policy, tasks: &[TaskTime]) {
    table.observe(&CpuSample { tasks: tasks.to_vec(), ..CpuSample::default() }, policy);
}

fn component(table: &ProcessTable, pid: u32, start: u64) -> String {
    table.component(ProcessKey { pid, start: Nanos(start) }, pid).to_string()
}

/// Observes each sample in turn under the rules of `x_rules`, then compares components.
#[track_caller]
fn check(samples: &[&[TaskTime]], expected: &[(u32, u64, &str)]) {
    let (mut table, mut policy) = (nowhere(), x_rules());
    for tasks in samples {
        observe(&mut table, &mut policy, tasks);
    }
    for (pid, start, expected) in expected {
        assert_eq!(component(&table, *pid, *start), *expected, "pid {pid}");
    }
}

#[test]
fn children_inherit_whatever_the_order_of_the_records() {
    check(
        &[&[task(30, 30, 20, "grandchild"), task(20, 20, 10, "child"), task(10, 10, 1, "x-app"), task(9, 9, 1, "sh")]],
        &[(10, 10, "x-app"), (20, 20, "x-app"), (30, 30, "x-app"), (9, 9, "unassigned")],
    );
}

#[test]
fn a_rule_of_its_own_beats_inheritance() {
    check(&[&[task(10, 10, 1, "x-app"), task(20, 20, 10, "x-other")]], &[(20, 20, "x-other")]);
}

#[test]
fn exec_is_judged_again_and_keeps_what_it_inherited() {
    check(&[&[task(10, 10, 1, "sh")], &[task(10, 10, 1, "x-app")], &[task(10, 10, 1, "plain")]], &[(10, 10, "x-app")]);
}

#[test]
fn inheritance_follows_a_parent_that_is_gone() {
    let mut parent = task(10, 10, 1, "x-app");
    parent.exited = true;
    check(&[&[parent, task(20, 20, 10, "orphan")]], &[(20, 20, "x-app")]);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut first = task(10, 10, 1, "x-app");
    first.exited = true;
    check(
        &[&[first], &[task(10, 50, 1, "stranger"), task(60, 60, 10, "child")]],
        &[(10, 10, "x-app"), (10, 50, "unassigned"), (60, 60, "unassigned")],
    );
    // A child older than the pid's present bearer is not the bearer's child.
    check(&[&[task(10, 50, 1, "x-app")], &[task(20, 20, 10, "older")]], &[(20, 20, "unassigned")]);
}

#[test]
fn the_dead_are_forgotten_after_the_interval() {
    let (mut table, mut policy) = (nowhere(), Policy::Nothing);
    let mut dead = task(10, 10, 1, "a");
    dead.exited = true;
    observe(&mut table, &mut policy, &[dead, task(11, 11, 1, "b")]);
    assert_eq!(table.len(), 2);
    assert!(table.is_gone(ProcessKey { pid: 10, start: Nanos(10) }));
    table.forget_ended();
    assert_eq!(table.len(), 1);
}

#[test]
fn who_vanished_without_a_word_is_forgotten_in_time() {
    let (mut table, mut policy) = (nowhere(), Policy::Nothing);
    let tasks: Vec<TaskTime> = (100..200).map(|pid| task(pid, 10, 1, "a")).collect();
    observe(&mut table, &mut policy, &tasks);
    // Still running in each interval: nothing is looked up, nobody is lost.
    for _ in 0..2 * ROUNDS {
        observe(&mut table, &mut policy, &tasks);
        table.forget_ended();
    }
    assert_eq!(table.len(), 100);
    for _ in 0..ROUNDS + 1 {
        table.forget_ended();
    }
    assert_eq!(table.len(), 0);
    // A successor to its pid settles it at once.
    observe(&mut table, &mut policy, &[task(10, 10, 1, "a")]);
    observe(&mut table, &mut policy, &[task(10, 99, 1, "b")]);
    assert!(table.is_gone(ProcessKey { pid: 10, start: Nanos(10) }));
    assert!(!table.is_gone(ProcessKey { pid: 10, start: Nanos(99) }));
}

#[test]
fn this_living_process_is_kept() {
    let (mut table, mut policy) = (ProcessTable::new(Host::new("/proc".as_ref(), "/sys".as_ref())), Policy::Nothing);
    let pid = std::process::id();
    let stat = stat::read("/proc".as_ref(), pid).unwrap();
    observe(&mut table, &mut policy, &[task(pid, stat.start * clock::tick() + 5, 1, "a")]);
    for _ in 0..2 * ROUNDS {
        table.forget_ended();
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn an_adopted_command_takes_its_descendants_along() {
    for mut policy in [Policy::Nothing, x_rules(), Policy::Discovery(Default::default())] {
        let mut table = nowhere();
        table.adopt(10, "command");
        observe(&mut table, &mut policy, &[task(10, 10, 1, "make"), task(20, 20, 10, "x-app"), task(30, 30, 20, "cc")]);
        for (pid, start) in [(10, 10), (20, 20), (30, 30)] {
            assert_eq!(component(&table, pid, start), "command");
        }
        // An exec changes nothing, a later bearer of the pid is another.
        observe(&mut table, &mut policy, &[task(10, 10, 1, "x-app")]);
        observe(&mut table, &mut policy, &[task(10, 70, 1, "y")]);
        assert_eq!(component(&table, 10, 10), "command");
        assert_ne!(component(&table, 10, 70), "command");
    }
}

#[test]
fn adoption_is_of_the_process_that_bears_the_pid_now() {
    let host = Host::new("/proc".as_ref(), "/sys".as_ref());
    let pid = std::process::id();
    let start = stat::read("/proc".as_ref(), pid).unwrap().start * clock::tick();
    let mut table = ProcessTable::new(host);
    table.adopt(pid, "command");
    observe(&mut table, &mut Policy::Nothing, &[task(pid, start - clock::tick(), 1, "before")]);
    assert_eq!(component(&table, pid, start - clock::tick()), "unassigned");
    table.adopt(pid, "command");
    observe(&mut table, &mut Policy::Nothing, &[task(pid, start + 3, 1, "this")]);
    assert_eq!(component(&table, pid, start + 3), "command");
}

/// A tree of `/proc` in which processes are as the test says.
struct Proc(tempfile::TempDir);

impl Proc {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A process that started `start` nanoseconds after boot (a multiple of a tick).
    fn process(&self, pid: u32, start: u64, parent: u32, comm: &str, cgroup: &str) {
        let directory = self.0.path().join(pid.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        let ticks = start / clock::tick();
        let stat = format!("{pid} ({comm}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0\n");
        std::fs::write(directory.join("stat"), stat).unwrap();
        std::fs::write(directory.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
        let _ = std::fs::remove_file(directory.join("exe"));
        std::os::unix::fs::symlink(format!("/usr/bin/{comm}"), directory.join("exe")).unwrap();
    }

    fn table(&self) -> ProcessTable {
        ProcessTable::new(Host::new(self.0.path(), "/nowhere".as_ref()))
    }
}

fn in_cgroup(cgroup: u64, task: TaskTime) -> TaskTime {
    TaskTime { cgroup, ..task }
}

const MS10: u64 = 10_000_000;

#[test]
fn units_match_also_of_processes_that_died_before_anybody_looked() {
    let proc = Proc::new();
    proc.process(10, MS10, 1, "server", "/system.slice/a.service");
    let (mut table, mut policy) = (proc.table(), rules(&["a unit: a.service"]));
    let dead = TaskTime { exited: true, ..in_cgroup(7, task(20, 2 * MS10, 1, "helper")) };
    observe(&mut table, &mut policy, &[in_cgroup(7, task(10, MS10, 1, "server")), dead]);
    assert_eq!(component(&table, 20, 2 * MS10), "a");
    assert_eq!(table.unit(ProcessKey { pid: 20, start: Nanos(2 * MS10) }).as_deref(), Some("a.service"));
    assert_eq!(table.exe(ProcessKey { pid: 10, start: Nanos(MS10) }).as_deref(), Some("/usr/bin/server"));
}

#[test]
fn a_process_that_moves_is_judged_again() {
    let proc = Proc::new();
    proc.process(10, MS10, 1, "server", "/a.service");
    let (mut table, mut policy) = (proc.table(), rules(&["a unit: a.service", "b unit: b.service"]));
    observe(&mut table, &mut policy, &[in_cgroup(7, task(10, MS10, 1, "server"))]);
    assert_eq!(component(&table, 10, MS10), "a");
    proc.process(10, MS10, 1, "server", "/b.service");
    observe(&mut table, &mut policy, &[in_cgroup(8, task(10, MS10, 1, "server"))]);
    assert_eq!(component(&table, 10, MS10), "b");
    // Out of every rule's reach.
    proc.process(10, MS10, 1, "server", "/");
    observe(&mut table, &mut policy, &[in_cgroup(1, task(10, MS10, 1, "server"))]);
    assert_eq!(component(&table, 10, MS10), "unassigned");
}

#[test]
fn ancestors_that_never_ran_are_read_from_proc() {
    let proc = Proc::new();
    proc.process(10, MS10, 1, "shell", "/a.service");
    proc.process(20, 2 * MS10, 10, "middle", "/");
    let (mut table, mut policy) = (proc.table(), rules(&["a unit: a.service"]));
    observe(&mut table, &mut policy, &[task(30, 3 * MS10, 20, "leaf")]);
    assert_eq!(component(&table, 30, 3 * MS10), "a");
}

#[test]
fn without_rules_units_and_executables_are_components() {
    let proc = Proc::new();
    proc.process(10, MS10, 1, "nginx", "/system.slice/nginx.service");
    proc.process(20, MS10, 1, "idle", "/user.slice/user-1000.slice/session-3.scope");
    proc.process(30, MS10, 1, "python3.11", "/");
    let (mut table, mut policy) = (proc.table(), rules(&[]));
    let dead = TaskTime { exited: true, ..task(40, 5 * MS10, 30, "python3") };
    let tasks = [task(10, MS10, 1, "nginx"), task(20, MS10, 1, "idle"), task(30, MS10, 1, "python3"), dead];
    observe(&mut table, &mut policy, &tasks);
    assert_eq!(component(&table, 10, MS10), "nginx.service");
    assert_eq!(component(&table, 20, MS10), "process:idle");
    assert_eq!(component(&table, 30, MS10), "python3.11");
    // Forked and gone: what its parent runs.
    assert_eq!(component(&table, 40, 5 * MS10), "python3.11");
}

/// Answers when it is let.
struct Gate(std::sync::mpsc::Receiver<()>);

impl NameSource for Gate {
    fn names(&self, _: Option<&Container>, _: Option<&str>) -> Names {
        let _ = self.0.recv();
        Names { container: Some("api".to_owned()), ..Names::default() }
    }
}

#[test]
fn names_that_arrive_late_are_waited_for_without_holding_up_samples() {
    let proc = Proc::new();
    let place = format!("/docker/{}", "0f".repeat(32));
    proc.process(10, MS10, 1, "app", &place);
    proc.process(20, 2 * MS10, 10, "helper", &place);
    for (mut policy, component_of_both) in [(rules(&["c container: api"]), "c"), (rules(&[]), "api")] {
        let (open, gate) = std::sync::mpsc::channel();
        let host = Host::new(proc.0.path(), "/nowhere".as_ref());
        let mut table = ProcessTable::with_names(&host, Resolver::new(vec![Box::new(Gate(gate))]));
        let tasks = [task(10, MS10, 1, "app"), task(20, 2 * MS10, 10, "helper")];
        observe(&mut table, &mut policy, &tasks);
        assert_eq!([component(&table, 10, MS10), component(&table, 20, 2 * MS10)], ["unassigned"; 2]);
        assert_eq!(table.container(tasks[0].process).as_deref(), Some("0f0f0f0f0f0f"));
        open.send(()).unwrap();
        // Neither needs to run again.
        for _ in 0..100 {
            observe(&mut table, &mut policy, &[]);
        }
        assert_eq!([component(&table, 10, MS10), component(&table, 20, 2 * MS10)], [component_of_both; 2]);
        assert_eq!(table.container(tasks[0].process).as_deref(), Some("api"));
        assert!(table.waiting.is_empty());
    }
}

fn thread(tid: u32, name: &str, process: TaskTime) -> TaskTime {
    TaskTime { tid, comm: Comm::from_bytes(name.as_bytes()), seen: Nanos(99), ..process }
}

#[test]
fn threads_may_be_components_of_their_own() {
    let (mut table, mut policy) = (nowhere(), rules(&["render thread: render-*", "app comm: app"]));
    let app = || task(10, MS10, 1, "app");
    let key = app().process;
    let of = |table: &ProcessTable, tid| table.component(key, tid).to_string();
    observe(&mut table, &mut policy, &[app(), thread(11, "render-1", app()), thread(12, "io", app())]);
    assert_eq!([of(&table, 10), of(&table, 11), of(&table, 12)], ["app", "render", "app"]);
    // Only threads ran; one has got another name. Neither renames the process.
    observe(&mut table, &mut policy, &[thread(11, "idle-1", app()), thread(12, "render-2", app())]);
    assert_eq!([of(&table, 10), of(&table, 11), of(&table, 12)], ["app", "app", "render"]);
    assert_eq!(table.comm(key), Some(Comm::from_bytes(b"app")));
    // Other rules.
    table.judge_all(&mut rules(&["io thread: render-2"]));
    assert_eq!([of(&table, 10), of(&table, 12)], ["unassigned", "io"]);
    let gone = TaskTime { exited: true, ..thread(12, "render-2", app()) };
    observe(&mut table, &mut policy, &[gone]);
    table.forget_ended();
    assert!(table.known.get(&key).is_none_or(|known| known.threads.is_empty()));
}

#[test]
fn reloaded_rules_judge_everybody_again() {
    let proc = Proc::new();
    proc.process(10, MS10, 1, "x-app", "/");
    let (mut table, mut policy) = (proc.table(), x_rules());
    let mut parent = task(10, MS10, 1, "x-app");
    parent.exited = true;
    observe(&mut table, &mut policy, &[parent, task(20, 2 * MS10, 10, "child"), task(30, MS10, 1, "y")]);
    table.forget_ended();
    std::fs::remove_dir_all(proc.0.path().join("10")).unwrap();
    // The component of the parent, who is gone, still exists.
    let mut policy = rules(&["x-app comm: x-app", "y comm: y"]);
    table.judge_all(&mut policy);
    assert_eq!([component(&table, 20, 2 * MS10), component(&table, 30, MS10)], ["x-app", "y"]);
    table.judge_all(&mut rules(&["z comm: z"]));
    assert_eq!([component(&table, 20, 2 * MS10), component(&table, 30, MS10)], ["unassigned", "unassigned"]);
}

#[test]
fn an_explanation_goes_up_the_ancestors() {
    let proc = Proc::new();
    proc.process(1, 0, 0, "init", "/init.scope");
    proc.process(10, MS10, 1, "x-app", "/a.service");
    proc.process(20, 2 * MS10, 10, "child", "/a.service");
    let (mut table, mut policy) = (proc.table(), x_rules());
    let text = table.explain(20, &mut policy).unwrap();
    let expected = "process 20 (child), parent 10
  exe /usr/bin/child
  cgroup /a.service
  unit a.service
  rule 1 x-app: does not match
    - comm child against \"x-app\"
  rule 2 x-other: does not match
    - comm child against \"x-other\"
  it inherits from its parent:
process 10 (x-app), parent 1
  exe /usr/bin/x-app
  cgroup /a.service
  unit a.service
  rule 1 x-app: matches
    + comm x-app against \"x-app\"
component: x-app";
    assert_eq!(text, expected);
    assert_eq!(table.explain(99, &mut policy), None);
    assert!(table.explain(1, &mut policy).unwrap().ends_with("component: unassigned"));
    assert!(table.explain(20, &mut rules(&[])).unwrap().ends_with("component: a.service"));
    table.adopt(20, "command");
    observe(&mut table, &mut policy, &[task(20, 2 * MS10 + 7, 10, "child")]);
    assert!(table.explain(20, &mut policy).unwrap().ends_with("component: command"));
}
