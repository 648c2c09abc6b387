//! The host's root directory somewhere else: what an agent in a container is told by `carbon.host.root`.

use carbon_tests::agent::agent;
use carbon_tests::cgroups::Many;
use carbon_tests::kernel::Running;
use std::fs;
use std::process::Command;

#[test]
fn names_are_looked_up_below_the_root_that_is_named() {
    let id = "0f".repeat(32);
    let Some(cgroup) = Many::named("root", [format!("docker-{id}.scope")]) else {
        return;
    };
    let process = Running::start(Command::new("sleep").arg("1000"));
    cgroup.take_in(0, process.pid());
    let root = tempfile::tempdir().expect("a directory");
    let container = root.path().join("var/lib/docker/containers").join(&id);
    fs::create_dir_all(&container).expect("directories");
    fs::write(container.join("config.v2.json"), r#"{"Name":"/tta-staging-neo4j"}"#).expect("the engine's file");

    let pid = process.pid().to_string();
    let explain = |arguments: &[&str], variable: &str| {
        let mut command = agent(&["explain", &pid]);
        let output = command.args(arguments).env("CARBON_HOST__ROOT", variable).output().expect("the agent runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Procfs and sysfs are not below this root, so they are named.
    let trees = ["--host-procfs", "/proc", "--host-sysfs", "/sys"];
    let root = root.path().to_str().expect("UTF-8");
    let by_variable = explain(&trees, root);
    assert!(by_variable.ends_with("component: tta-staging-neo4j\n"), "{by_variable}");
    let by_flag = explain(&[&trees[..], &["--host-root", root]].concat(), "");
    assert_eq!(by_flag, by_variable);
    let nobody = explain(&trees, "");
    assert!(nobody.ends_with(&format!("component: {}\n", &id[..12])), "{nobody}");
}

#[test]
fn a_root_that_is_not_there_is_told_at_once() {
    let output = agent(&["run", "--host-root", "/no/such/root", "--listen", "127.0.0.1:0"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("carbon.host.root: `/no/such/root` is not a directory"), "{said}");
}
