//! Thousands of cgroups of the real kernel.

use carbon_agent::identity::rules::{Field, Match, Rule, RuleSet};
use carbon_agent::identity::{Host, Policy, ProcessTable};
use carbon_agent::probe::{CpuSample, TaskTime};
use carbon_agent::units::Nanos;
use carbon_tests::cgroups::Many;
use carbon_tests::identity;
use std::path::Path;
use std::time::{Duration, Instant};

const COUNT: usize = 4000;

/// Processes that were dead before anybody looked, one in each cgroup: its id is all there is.
#[test]
fn thousands_of_cgroups_are_told_apart_and_forgotten() {
    let Some(many) = Many::make("many", COUNT) else {
        return;
    };
    let key = |glob: &str| Match::Key { field: Field::Unit, glob: glob.to_owned() };
    let rules = [("odd", "many-*[13579].service"), ("even", "many-*.service")].map(|(name, glob)| Rule {
        name: name.to_owned(),
        matching: key(glob),
        line: 0,
    });
    let mut policy = Policy::new(RuleSet::compile(&rules).unwrap(), true);
    let mut table = ProcessTable::new(Host::new(Path::new("/proc"), Path::new("/sys")));
    let like = identity::task(std::process::id()).unwrap();
    let dead = |(number, (_, id)): (usize, &(String, u64))| {
        // Above any pid that the kernel gives.
        let pid = 5_000_000 + number as u32;
        let mut task = TaskTime { cgroup: *id, tid: pid, parent: 0, exited: true, ..like.clone() };
        (task.process.pid, task.process.start) = (pid, Nanos(1 + number as u64));
        task
    };
    let tasks: Vec<TaskTime> = many.all.iter().enumerate().map(dead).collect();
    let sample = CpuSample { tasks: tasks.clone(), ..CpuSample::default() };
    let begun = Instant::now();
    table.observe(&sample, &mut policy);
    let took = begun.elapsed();
    println!("{COUNT} cgroups looked up in {took:?}");
    assert!(took < Duration::from_secs(4), "a millisecond each would be far too long: {took:?}");
    for (number, task) in tasks.iter().enumerate() {
        assert_eq!(table.unit(task.process).as_deref(), Some(many.all[number].0.as_str()));
        assert_eq!(&*table.component(task.process, task.tid), if number % 2 == 1 { "odd" } else { "even" });
    }
    table.forget_ended();
    assert!(table.is_empty());

    // What is gone is not found any more, and does no harm.
    drop(many);
    table.forget_ended();
    table.forget_ended();
    table.observe(&sample, &mut policy);
    assert_eq!(table.unit(tasks[7].process), None);
    assert_eq!(&*table.component(tasks[7].process, tasks[7].tid), "unassigned");
}
