//! SIGHUP: a good configuration is taken over whole, a bad one changes nothing and shows.

use carbon_tests::agent::rows;
use carbon_tests::books::assert_closed;
use carbon_tests::daemon::{Daemon, Setup};
use carbon_tests::kernel::Running;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn configure(file: &Path, component: &str, more: &str) {
    let text = format!(
        "carbon:\n  components:\n    - name: {component}\n      match: {{ cmdline: \"*reload-load*\" }}\n{more}"
    );
    fs::write(file, text).expect("the configuration");
}

fn load() -> Running {
    Running::start(Command::new("sh").args(["-c", "while :; do :; done # reload-load"]))
}

fn cpu(metrics: &BTreeMap<String, f64>, component: &str) -> f64 {
    let series = format!("carbon_component_cpu_seconds_total{{component=\"{component}\"}}");
    metrics.get(&series).copied().unwrap_or(0.0)
}

fn config_up(metrics: &BTreeMap<String, f64>) -> Option<f64> {
    metrics.get("carbon_stage_up{stage=\"config\"}").copied()
}

fn hangup(daemon: &Daemon, what: &str, holds: impl Fn(&BTreeMap<String, f64>) -> bool) {
    daemon.signal(libc::SIGHUP);
    daemon.wait_for(what, LIMIT, holds);
}

#[test]
fn rules_are_swapped_and_bad_ones_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("config.yaml");
    configure(&file, "before", "");
    let setup = Setup::new(root.path(), 0.3, 0.1);
    // The interval is the file's to change.
    let setup = Setup { arguments: Vec::new(), ..setup };
    let file_name = file.to_str().expect("a path in UTF-8");
    let setup = setup.with(&["--probe", "procfs", "--energy", "model", "--config", file_name]);
    let times = "  measurement_interval: 0.3\n  sample_interval: 0.1\n";
    configure(&file, "before", times);
    let _load = load();
    let mut daemon = setup.start();
    daemon.wait_for("the first rules hold", LIMIT, |metrics| cpu(metrics, "before") > 0.2);

    configure(
        &file,
        "after",
        &format!("{times}  pue: 1.5\n  listen: 127.0.0.1:1\n  intensity: {{ grams_per_kwh: 100 }}\n"),
    );
    hangup(&daemon, "the new rules hold", |metrics| cpu(metrics, "after") > 0.2);
    let metrics = daemon.metrics();
    let (before, after) = (cpu(&metrics, "before"), cpu(&metrics, "after"));
    assert!(before > 0.2, "the old series keeps its total");
    assert_eq!(config_up(&metrics), Some(1.0));
    assert!(metrics.keys().any(|series| series.starts_with("carbon_intensity_grams_per_kwh")), "{metrics:?}");
    // Its own flag stands over the file here, so nothing was to change.
    assert!(!daemon.log().contains("carbon.listen"), "{}", daemon.log());

    fs::write(&file, "carbon:\n  components:\n    - nam: x\n").expect("a bad configuration");
    hangup(&daemon, "the refusal shows", |metrics| config_up(metrics) == Some(0.0));
    let metrics = daemon.metrics();
    assert_eq!(metrics["carbon_errors_total{stage=\"config\",kind=\"reload\"}"], 1.0);
    let health = daemon.get("/health/carbon").body;
    assert!(health.contains("config.yaml:3") && health.contains("\"valid\":false"), "{health}");
    assert_eq!(daemon.log().matches("was not reloaded").count(), 1, "{}", daemon.log());
    daemon.wait_for("the old rules still hold", LIMIT, |metrics| cpu(metrics, "after") > after + 0.2);

    configure(&file, "before", &format!("{times}  project_name: other\n"));
    hangup(&daemon, "good again", |metrics| config_up(metrics) == Some(1.0) && cpu(metrics, "before") > before + 0.2);
    assert!(daemon.log().contains("only a restart changes carbon.project_name"), "{}", daemon.log());
    daemon.terminate();

    let rows = rows(&setup.output);
    assert_closed(&rows);
    assert!(rows.iter().any(|row| row["pue"] == 1.5) && rows.iter().all(|row| row["project_name"] == "codecarbon"));
}
