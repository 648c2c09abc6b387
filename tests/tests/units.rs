//! Units of a real systemd, as the agent's identity sees their processes from outside.

use anyhow::Result;
use carbon_agent::identity::rules::{Field, Match, Rule, RuleSet};
use carbon_agent::identity::{Host, Policy, ProcessTable};
use carbon_agent::probe::{CpuSample, TaskTime};
use carbon_tests::debian::{lives, wait_for};
use carbon_tests::{identity, systemd};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn observe(table: &mut ProcessTable, policy: &mut Policy, task: TaskTime) -> String {
    let (process, tid) = (task.process, task.tid);
    table.observe(&CpuSample { tasks: vec![task], ..CpuSample::default() }, policy);
    table.component(process, tid).to_string()
}

#[test]
fn processes_are_known_by_their_unit() -> Result<()> {
    if !systemd::possible() {
        return Ok(());
    }
    let host = systemd::Systemd::boot("carbon-units", &[])?;
    let table = || ProcessTable::new(Host::new(Path::new("/proc"), Path::new("/sys")));
    let rule = |name: &str, glob: &str| Rule {
        name: name.to_owned(),
        matching: Match::Key { field: Field::Unit, glob: glob.to_owned() },
        line: 0,
    };
    let mut rules =
        Policy::new(RuleSet::compile(&[rule("one", "carbon-one.service"), rule("two", "carbon-two.*")])?, true);
    let mut discovery = Policy::new(RuleSet::compile(&[])?, true);

    let one = host.service("carbon-one", &["sleep", "1000"])?;
    let two = host.service("carbon-two", &["sleep", "1000"])?;
    for (pid, component) in [(one, "one"), (two, "two")] {
        let task = identity::task(pid)?;
        assert_ne!(task.cgroup, 0);
        let mut known = table();
        assert_eq!(observe(&mut known, &mut rules, task.clone()), component);
        assert_eq!(known.unit(task.process), Some(format!("carbon-{component}.service")));
        let explanation = known.explain(pid, &mut rules).expect("it lives");
        assert!(explanation.ends_with(&format!("component: {component}")), "{explanation}");
        assert_eq!(observe(&mut table(), &mut discovery, task), format!("carbon-{component}.service"));
    }

    // A process that was dead before anybody looked: the id of its cgroup is all there is.
    let mut dead = identity::task(one)?;
    let mut child = std::process::Command::new("true").spawn()?;
    dead.process.pid = child.id();
    child.wait()?;
    dead.tid = dead.process.pid;
    assert_eq!(observe(&mut table(), &mut rules, dead), "one");

    // Moved while it runs.
    let mut moving = table();
    let task = identity::task(one)?;
    assert_eq!(observe(&mut moving, &mut rules, task), "one");
    for hierarchy in ["", "systemd", "unified"] {
        let procs = Path::new("/sys/fs/cgroup")
            .join(hierarchy)
            .join("carbon-units/payload/system.slice/carbon-two.service/cgroup.procs");
        if procs.exists() {
            fs::write(procs, one.to_string())?;
        }
    }
    let task = identity::task(one)?;
    let place = host.cgroup().join("payload/system.slice/carbon-two.service");
    assert_eq!(task.cgroup, fs::metadata(place)?.ino());
    assert_eq!(observe(&mut moving, &mut rules, task.clone()), "two");

    // Stopped without a word to the table: forgotten in time.
    host.run(&["systemctl", "stop", "carbon-two.service"])?;
    wait_for("the service to end", 10, || (!lives(one)).then_some(()))?;
    for _ in 0..40 {
        moving.forget_ended();
    }
    assert!(moving.is_empty());
    Ok(())
}
