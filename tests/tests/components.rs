//! Components as an operator sees them: who wins, who is there without a process, what a new name does.

use carbon_tests::agent::rows;
use carbon_tests::books::assert_closed;
use carbon_tests::daemon::{Daemon, Setup};
use carbon_tests::kernel::Running;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn start(directory: &Path, rules: &str) -> (Setup, Daemon) {
    let file = directory.join("config.yaml");
    std::fs::write(&file, format!("carbon:\n  components:\n{rules}")).expect("the configuration");
    let setup = Setup::new(directory, 0.3, 0.1);
    let file = file.to_str().expect("UTF-8");
    let setup = setup.with(&["--probe", "procfs", "--energy", "model", "--config", file]);
    let daemon = setup.start();
    (setup, daemon)
}

fn rule(name: &str, glob: &str) -> String {
    format!("    - {{ name: {name}, match: {{ cmdline: \"{glob}\" }} }}\n")
}

fn value(metrics: &BTreeMap<String, f64>, what: &str, component: &str) -> Option<f64> {
    let series = format!("carbon_component_{what}{{component=\"{component}\"");
    metrics.iter().find(|(name, _)| name.starts_with(&series)).map(|(_, value)| *value)
}

fn cpu(metrics: &BTreeMap<String, f64>, component: &str) -> Option<f64> {
    value(metrics, "cpu_seconds_total", component)
}

#[test]
fn the_first_match_wins_the_idle_exist_and_a_new_name_takes_nothing_from_the_old() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = "while :; do :; done # components-load";
    let _load = Running::start(Command::new("sh").args(["-c", script]));
    let both = rule("first", "*components-load*") + &rule("second", "*-load*") + &rule("nobody", "*no such process*");
    let (setup, mut daemon) = start(directory.path(), &both);
    daemon.wait_for("the load", LIMIT, |metrics| cpu(metrics, "first").is_some_and(|seconds| seconds > 0.5));
    let metrics = daemon.metrics();
    // Two match: the first has all, the second and the one without a process are there, at zero.
    for component in ["second", "nobody"] {
        for what in ["cpu_seconds_total", "energy_joules_total", "power_watts", "co2e_grams_total"] {
            assert_eq!(value(&metrics, what, component), Some(0.0), "{component} {what}");
        }
    }
    daemon.terminate();
    let before = cpu(&metrics, "first").expect("a series");
    let host =
        |metrics: &BTreeMap<String, f64>| metrics["carbon_host_energy_joules_total{domain=\"package\",socket=\"0\"}"];
    let energy = host(&metrics);

    // The same rules under other names.
    let renamed = rule("renamed", "*components-load*") + &rule("second", "*-load*");
    let (_, mut daemon) = start(directory.path(), &renamed);
    daemon.wait_for("the new name", LIMIT, |metrics| cpu(metrics, "renamed").is_some_and(|seconds| seconds > 0.5));
    let metrics = daemon.metrics();
    let old = cpu(&metrics, "first").expect("the old name keeps its series");
    assert!(old >= before, "{old} {before}: no counter goes back");
    assert_eq!(value(&metrics, "power_watts", "first"), Some(0.0));
    assert!(host(&metrics) > energy);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(cpu(&daemon.metrics(), "first"), Some(old), "and gets nothing more");
    daemon.terminate();
    assert!(assert_closed(&rows(&setup.output)) > 3);
}
