//! What it costs to decide whose a process is: 200 rules, real processes, thousands of real cgroups.
//! `cargo xtask bench identity`

use carbon_agent::identity::rules::{Field, Match, Rule, RuleSet, Subject};
use carbon_agent::identity::{Host, Policy, ProcessTable};
use carbon_agent::probe::{CpuSample, TaskTime};
use carbon_agent::units::Nanos;
use carbon_tests::cgroups::Many;
use carbon_tests::identity;
use clap::Parser;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Microseconds to decide a new process")]
struct Arguments {
    /// Component rules
    #[arg(long, default_value_t = 200)]
    rules: usize,
    /// Real processes that are started
    #[arg(long, default_value_t = 200)]
    processes: usize,
    /// Real cgroups that are made
    #[arg(long, default_value_t = 4000)]
    cgroups: usize,
    /// Times that each is measured; the median is shown
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

fn key(field: Field, glob: String) -> Match {
    Match::Key { field, glob }
}

/// Rules as an operator writes them: by unit, executable, name, container, and executable with command line.
fn rules(count: usize) -> RuleSet {
    let matching = |i: usize| match i % 5 {
        0 => key(Field::Unit, format!("service-{i}.service")),
        1 => key(Field::Exe, format!("*/program-{i}")),
        2 => key(Field::Comm, format!("worker-{i}*")),
        3 => key(Field::Container, format!("tta-*-part-{i}*")),
        _ => Match::All(vec![key(Field::Exe, "*/python3*".into()), key(Field::Cmdline, format!("*module_{i}*"))]),
    };
    let rule = |i: usize| Rule { name: format!("component-{i}"), matching: matching(i), line: 0 };
    RuleSet::compile(&(0..count).map(rule).collect::<Vec<_>>()).expect("the globs are good")
}

/// A process whose fields are given.
struct Given(Vec<(Field, String)>);

impl Subject for Given {
    fn values(&self, field: Field, visit: &mut dyn FnMut(&[u8])) {
        for (_, value) in self.0.iter().filter(|(known, _)| *known == field) {
            visit(value.as_bytes());
        }
    }
}

/// Microseconds of one of `count` things done in `work`, the median of several rounds; `prepare` is not counted.
fn median<T>(rounds: usize, count: usize, mut prepare: impl FnMut() -> T, mut work: impl FnMut(&mut T)) -> f64 {
    let mut figures: Vec<f64> = (0..rounds.max(1))
        .map(|_| {
            let mut prepared = prepare();
            let begun = Instant::now();
            work(&mut prepared);
            begun.elapsed().as_secs_f64() * 1e6 / count as f64
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let arguments = Arguments::parse();
    let count = arguments.rules;
    println!("| what | µs each |\n|---|---:|");
    let row = |what: String, micros: f64| println!("| {what} | {micros:.2} |");

    let compile = median(arguments.rounds, 1, || (), |()| drop(std::hint::black_box(rules(count))));
    row(format!("compile {count} rules"), compile);
    let set = rules(count);
    // The last rule that looks at a command line.
    let last = (0..count).rev().find(|i| i % 5 == 4).unwrap_or_default();
    for (what, exe, cmdline) in [
        ("the last rule matches", "/usr/bin/python3.12", format!("python3 -m uvicorn module_{last}.api:app --port 80")),
        ("none matches, all fields looked at", "/usr/bin/python3.12", "python3 -m http.server 8080".to_owned()),
        ("none matches, no command line looked at", "/usr/lib/systemd/systemd-journald", "unread".to_owned()),
    ] {
        let given = Given(vec![
            (Field::Unit, "ssh.service".into()),
            (Field::Comm, "python3".into()),
            (Field::Container, "tta-staging-redis-1".into()),
            (Field::Exe, exe.into()),
            (Field::Cmdline, cmdline),
        ]);
        const TIMES: usize = 2000;
        let decide = |(): &mut ()| {
            for _ in 0..TIMES {
                std::hint::black_box(set.decide(&given));
            }
        };
        row(format!("decide by {count} rules, fields known: {what}"), median(arguments.rounds, TIMES, || (), decide));
    }

    processes(&arguments, row);
    cgroups(&arguments, row);
}

/// Real processes, handed to the table as the probe would: while they live, and when they are dead (a fork storm).
fn processes(arguments: &Arguments, row: impl Fn(String, f64)) {
    let start = |_| Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep runs");
    let mut children: Vec<Child> = (0..arguments.processes).map(start).collect();
    let tasks: Vec<TaskTime> = children.iter().map(|child| identity::task(child.id()).expect("it lives")).collect();
    let parent = identity::task(std::process::id()).expect("this process");
    let measure = |state: &str, tasks: &[TaskTime]| {
        let sample = CpuSample { tasks: tasks.to_vec(), ..CpuSample::default() };
        for count in [0, arguments.rules] {
            let how = if count == 0 { "discovery".to_owned() } else { format!("{count} rules") };
            let fresh = || {
                let mut policy = Policy::new(rules(count), true);
                let mut table = ProcessTable::new(Host::new(Path::new("/proc"), Path::new("/sys")));
                // Who forks has run: it is known, and the globs have been used once.
                table.observe(&CpuSample { tasks: vec![parent.clone()], ..CpuSample::default() }, &mut policy);
                (table, policy)
            };
            let new = median(arguments.rounds, tasks.len(), fresh, |(table, policy)| table.observe(&sample, policy));
            row(format!("a new process, {state}, {how}"), new);
            if state == "alive" {
                let known = || {
                    let (mut table, mut policy) = fresh();
                    table.observe(&sample, &mut policy);
                    (table, policy)
                };
                let again =
                    median(arguments.rounds, tasks.len(), known, |(table, policy)| table.observe(&sample, policy));
                row(format!("a known process, {how}"), again);
            }
        }
    };
    measure("alive", &tasks);
    for child in &mut children {
        child.kill().and_then(|()| child.wait()).expect("the child ends");
    }
    let dead: Vec<TaskTime> = tasks.into_iter().map(|task| TaskTime { exited: true, ..task }).collect();
    measure("dead", &dead);
}

/// A process in each of thousands of cgroups, dead before anybody looked: all that is left is the cgroup's id.
fn cgroups(arguments: &Arguments, row: impl Fn(String, f64)) {
    let Some(many) = Many::make("bench", arguments.cgroups) else { return };
    let like = identity::task(std::process::id()).expect("this process");
    let in_each = |round: u32| {
        let dead = |(number, (_, id)): (usize, &(String, u64))| {
            // Above any pid that the kernel gives.
            let pid = 5_000_000 + round * 1_000_000 + number as u32;
            let mut task = TaskTime { cgroup: *id, tid: pid, parent: 0, exited: true, ..like.clone() };
            (task.process.pid, task.process.start) = (pid, Nanos(1 + u64::from(pid)));
            task
        };
        CpuSample { tasks: many.all.iter().enumerate().map(dead).collect(), ..CpuSample::default() }
    };
    let (first, second) = (in_each(0), in_each(1));
    let fresh = || {
        let table = ProcessTable::new(Host::new(Path::new("/proc"), Path::new("/sys")));
        (table, Policy::new(rules(arguments.rules), true))
    };
    let known = || {
        let (mut table, mut policy) = fresh();
        table.observe(&first, &mut policy);
        (table, policy)
    };
    let cgroups = arguments.cgroups;
    let count = many.all.len();
    let new = median(arguments.rounds, count, fresh, |(table, policy)| table.observe(&first, policy));
    row(format!("a process in a cgroup never seen, one of {cgroups}"), new);
    let again = median(arguments.rounds, count, known, |(table, policy)| table.observe(&second, policy));
    row(format!("a new process in a known cgroup, one of {cgroups}"), again);
    let forget = median(arguments.rounds, count, known, |(table, _)| table.forget_ended());
    row(format!("forgetting a process and its cgroup, one of {cgroups}"), forget);
}
