//! Containers of a real engine, as the agent's identity sees their processes from outside.

use anyhow::{Context, Result};
use carbon_agent::identity::names::{Resolver, sources};
use carbon_agent::identity::rules::{Field, Match, Rule, RuleSet};
use carbon_agent::identity::{Host, Policy, ProcessTable};
use carbon_agent::probe::{CpuSample, TaskTime};
use carbon_tests::engine::{self, Engine};
use carbon_tests::identity;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A host's root in which the engine's socket or its files are where engines have them.
fn root_with(engine: &Engine, api: bool, files: bool) -> Result<TempDir> {
    let root = tempfile::tempdir()?;
    fs::create_dir_all(root.path().join("run"))?;
    fs::create_dir_all(root.path().join("var/lib"))?;
    if api {
        symlink(engine.socket(), root.path().join("run/docker.sock"))?;
    }
    if files {
        symlink(&engine.data, root.path().join("var/lib/docker"))?;
    }
    Ok(root)
}

fn table(root: &TempDir) -> ProcessTable {
    let host = Host::new(Path::new("/proc"), Path::new("/sys"));
    ProcessTable::with_names(&host, Resolver::new(sources(root.path())))
}

/// The component after at most a few samples: the name may take one or two to arrive.
fn settled(table: &mut ProcessTable, policy: &mut Policy, task: &TaskTime) -> String {
    let mut component = String::new();
    for _ in 0..20 {
        table.observe(&CpuSample { tasks: vec![task.clone()], ..CpuSample::default() }, policy);
        component = table.component(task.process, task.tid).to_string();
        if component != "unassigned" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    component
}

#[test]
fn containers_are_known_by_name() -> Result<()> {
    if !engine::possible() {
        return Ok(());
    }
    let engine = Engine::start()?;
    let container = engine.run("carbon-test-player-api", &["sh", "-c", "sleep 1000 & sleep 1000; true"])?;
    let rule = Rule {
        name: "player_experience".to_owned(),
        matching: Match::Key { field: Field::Container, glob: "*-player-api*".to_owned() },
        line: 0,
    };
    let mut rules = Policy::new(RuleSet::compile(&[rule])?, true);
    let mut discovery = Policy::new(RuleSet::compile(&[])?, true);
    let task = identity::task(container.pid)?;

    for (api, files) in [(true, false), (false, true), (true, true)] {
        let root = root_with(&engine, api, files)?;
        let why = format!("api {api}, files {files}");
        let mut known = table(&root);
        assert_eq!(settled(&mut known, &mut rules, &task), "player_experience", "{why}");
        assert_eq!(known.container(task.process).as_deref(), Some("carbon-test-player-api"), "{why}");
        let explanation = known.explain(container.pid, &mut rules).context("it lives")?;
        assert!(
            explanation.contains(&format!("container carbon-test-player-api (docker {})", container.id)),
            "{explanation}"
        );
        assert_eq!(settled(&mut table(&root), &mut discovery, &task), "carbon-test-player-api", "{why}");
    }

    // Nobody there to name it: the id.
    let root = root_with(&engine, false, false)?;
    let mut unnamed = table(&root);
    assert_eq!(settled(&mut unnamed, &mut discovery, &task), container.id[..12]);
    assert_eq!(unnamed.container(task.process).as_deref(), Some(&container.id[..12]));

    // Another container of the same name is the same component.
    let root = root_with(&engine, true, true)?;
    let mut known = table(&root);
    assert_eq!(settled(&mut known, &mut rules, &task), "player_experience");
    let first = container.id.clone();
    drop(container);
    let container = engine.run("carbon-test-player-api", &["sleep", "1000"])?;
    assert_ne!(container.id, first);
    let task = identity::task(container.pid)?;
    assert_eq!(settled(&mut known, &mut rules, &task), "player_experience");
    assert_eq!(known.container(task.process).as_deref(), Some("carbon-test-player-api"));
    Ok(())
}

#[test]
fn what_runs_in_a_container_is_not_the_engines() -> Result<()> {
    if !engine::possible() {
        return Ok(());
    }
    let engine = Engine::start()?;
    let container = engine.run("carbon-test-unnamed", &["sh", "-c", "sleep 1000 & sleep 1000; true"])?;
    let root = root_with(&engine, true, true)?;
    let rule = |name: &str, field, glob: &str| Rule {
        name: name.to_owned(),
        matching: Match::Key { field, glob: glob.to_owned() },
        line: 0,
    };
    let mut rules = Policy::new(RuleSet::compile(&[rule("engine", Field::Comm, "containerd*")])?, true);
    let task = identity::task(container.pid)?;
    let shim = identity::task(task.parent)?;
    assert!(shim.comm.to_string().starts_with("containerd"), "the container's parent is the shim: {shim:?}");

    // Whether the shim has run since the agent looked or not.
    for tasks in [vec![shim.clone(), task.clone()], vec![task.clone()]] {
        let mut known = table(&root);
        known.observe(&CpuSample { tasks: tasks.clone(), ..CpuSample::default() }, &mut rules);
        assert_eq!(&*known.component(task.process, task.tid), "unassigned");
        if tasks.len() > 1 {
            assert_eq!(&*known.component(shim.process, shim.tid), "engine");
        }
    }
    // A rule of its own, and what it starts inherits from it.
    let both = [rule("engine", Field::Comm, "containerd*"), rule("inside", Field::Container, "carbon-test-unnamed")];
    let mut rules = Policy::new(RuleSet::compile(&both)?, true);
    assert_eq!(settled(&mut table(&root), &mut rules, &task), "inside");
    Ok(())
}
