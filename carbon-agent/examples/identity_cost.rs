//! What it costs to take in new processes: `cargo run --release --example identity_cost [PROCESSES]`.
//!
//! Starts real processes and hands the table a record of each, as the probe would: once while they live, once when they
//! are dead (a fork storm), by discovery and under 200 rules that look at names, executables and units.

use carbon_agent::identity::rules::{Field, Match, Rule, RuleSet};
use carbon_agent::identity::{Host, Policy, ProcessTable};
use carbon_agent::probe::{Comm, CpuSample, ProcessKey, TaskTime};
use carbon_agent::units::Nanos;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

fn rules(count: usize) -> Policy {
    let rule = |i: usize| {
        let key = |field, glob: String| Match::Key { field, glob };
        let parts = vec![
            key(Field::Comm, format!("worker-{i}-*")),
            key(Field::Exe, format!("*/bin/service-{i}")),
            key(Field::Unit, format!("service-{i}@*.service")),
        ];
        Rule { name: format!("component-{i}"), matching: Match::Any(parts), line: 0 }
    };
    let rules: Vec<Rule> = (0..count).map(rule).collect();
    Policy::new(RuleSet::compile(&rules).expect("the globs are good"), true)
}

fn task(pid: u32) -> TaskTime {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let start = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).and_then(|f| f.parse().ok());
    TaskTime {
        process: ProcessKey { pid, start: Nanos(start.unwrap_or(0u64) * 10_000_000) },
        tid: pid,
        cpu: 0,
        time: Nanos(1),
        comm: Comm::from_bytes(b"sleep"),
        parent: std::process::id(),
        cgroup: 1,
        kernel_thread: false,
        exited: false,
        seen: Nanos(1),
    }
}

fn main() {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200usize);
    let start = |_| Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep runs");
    let mut children: Vec<Child> = (0..count).map(start).collect();
    let tasks: Vec<TaskTime> = children.iter().map(|child| task(child.id())).collect();
    let parent = task(std::process::id());
    let measure = |what: &str, mut policy: Policy, tasks: &[TaskTime]| {
        let sample = CpuSample { tasks: tasks.to_vec(), ..CpuSample::default() };
        let mut table = ProcessTable::new(Host::new(Path::new("/proc"), Path::new("/sys")));
        // Who forks has run: it is known, and the globs have been used once.
        table.observe(&CpuSample { tasks: vec![parent.clone()], ..CpuSample::default() }, &mut policy);
        let mut took = |what: &str, table: &mut ProcessTable| {
            let begun = Instant::now();
            table.observe(&sample, &mut policy);
            println!("{what}: {:.2} us a process", begun.elapsed().as_secs_f64() * 1e6 / tasks.len() as f64);
        };
        took(&format!("{what}, new"), &mut table);
        took(&format!("{what}, known"), &mut table);
    };
    measure("living, discovery", rules(0), &tasks);
    measure("living, 200 rules", rules(200), &tasks);
    for child in &mut children {
        child.kill().and_then(|()| child.wait()).expect("the child ends");
    }
    let dead: Vec<TaskTime> = tasks.into_iter().map(|task| TaskTime { exited: true, ..task }).collect();
    measure("dead, discovery", rules(0), &dead);
    measure("dead, 200 rules", rules(200), &dead);
}
