//! The shipped Prometheus files: `promtool` accepts them and runs their unit tests, the guide's alerts are the guide's,
//! and a real Prometheus that scrapes a real agent sees them come and go.

use carbon_tests::daemon::Daemon;
use carbon_tests::http::free_address;
use carbon_tests::powercap_tree::{Machine, RunningTree, Socket, online_cpus};
use carbon_tests::prometheus::{Prometheus, installed, promtool, shipped};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(shipped().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn promtool_accepts_the_files_and_their_unit_tests_pass() {
    if !installed() {
        return;
    }
    let mut runs = vec![vec!["check".to_owned(), "config".to_owned(), "prometheus.yml".to_owned()]];
    for (verb, what, folder) in [("check", "rules", "rules"), ("test", "rules", "tests")] {
        let files = files(folder).into_iter().map(|path| path.to_str().unwrap().to_owned());
        runs.push([verb.to_owned(), what.to_owned()].into_iter().chain(files).collect());
    }
    for run in runs {
        let output = promtool(&run.iter().map(String::as_str).collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("FAILED"), "{run:?}: {said}");
    }
}

/// Every alert has a unit test that sees it fire, and a line in the documentation that says what to do.
#[test]
fn every_alert_is_tested_and_documented() {
    let page = fs::read_to_string(carbon_tests::agent::repository().join("docs/monitoring.md")).unwrap();
    let tests: String = files("tests").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let rules: String = files("rules").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut alerts = 0;
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        alerts += 1;
        let fires = tests.split("alertname: ").skip(1).any(|test| {
            let (name, rest) = test.split_once('\n').unwrap();
            name == alert && rest.trim_start().starts_with("exp_alerts:\n")
        });
        assert!(fires, "{alert} has no unit test in which it fires");
        let documented = page.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{alert}`")));
        assert!(documented, "{alert} is not in docs/monitoring.md");
    }
    assert!(alerts >= 12, "{alerts}");
}

/// The rule as Prometheus loads it, without what changes from run to run.
fn as_written(rule: &Value) -> Value {
    json!({
        "expr": rule["query"], "labels": rule["labels"], "annotations": rule["annotations"],
    })
}

/// 10 kW on a dirty grid: a kilogram in seven seconds. The most that two plausible sockets with memory can draw.
fn furnace() -> Machine {
    let cpus = online_cpus();
    let socket = |cpus: &[u32]| Socket {
        cpus: cpus.to_vec(),
        idle_watts: 2500.0,
        watts_per_busy_cpu: 1.0,
        dram_watts: Some(2500.0),
    };
    let (left, right) = cpus.split_at(cpus.len() / 2);
    Machine { range_uj: 1 << 50, ..Machine::with_sockets(vec![socket(left), socket(right)]) }
}

const FURNACE: &str = "carbon:\n  accounting_period: run\n  pue: 10\n  intensity: { grams_per_kwh: 5000 }\n\
                       monitoring:\n  carbon: { emissions_threshold_kg: 0.5 }\n";

#[test]
fn the_guides_alerts_come_and_go() {
    if !installed() {
        return;
    }
    let (hot, cool, server) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = free_address();
    let arguments = ["--interval", "0.5", "--sample-interval", "0.25"];
    let furnace = RunningTree::start(hot.path(), furnace()).unwrap();
    let daemon = Daemon::start_at(address, hot.path(), &furnace, FURNACE, &arguments);
    let mut prometheus = Prometheus::start(server.path(), address, Duration::from_secs(3));
    let limit = Duration::from_secs(60);
    let becomes = |prometheus: &mut Prometheus, alert: &str, state: Option<&str>| {
        let what = format!("{alert} is {}", state.unwrap_or("resolved"));
        prometheus.wait(limit, &what, |prometheus| prometheus.alert(alert).as_deref() == state);
        println!("{what}; emissions {:?} kg", prometheus.number("carbon_emissions_kg"));
    };

    prometheus.wait(limit, "the agent is scraped", |prometheus| prometheus.number("up") == Some(1.0));
    // Prometheus asks for OpenMetrics first, so that is what it understood.
    let targets = prometheus.api("/api/v1/targets");
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
    assert_eq!(prometheus.alert("HighCarbonEmissions"), None);
    assert_eq!(prometheus.alert("CarbonComponentDown"), None);

    // The configured threshold is crossed on the way to the guide's.
    becomes(&mut prometheus, "CarbonEmissionsThresholdExceeded", Some("pending"));
    assert_eq!(prometheus.number("carbon_emissions_threshold_kg"), Some(0.5));
    becomes(&mut prometheus, "HighCarbonEmissions", Some("pending"));
    becomes(&mut prometheus, "CarbonEmissionsThresholdExceeded", Some("firing"));
    becomes(&mut prometheus, "HighCarbonEmissions", Some("firing"));
    assert!(prometheus.number("carbon_emissions_kg").unwrap() > 1.0);

    daemon.stop();
    becomes(&mut prometheus, "CarbonComponentDown", Some("pending"));
    becomes(&mut prometheus, "CarbonComponentDown", Some("firing"));

    // A new run with an ordinary machine: the agent is back, and its emissions are small.
    let ordinary = RunningTree::start(cool.path(), Machine::single(10.0, 5.0)).unwrap();
    let config = "carbon:\n  accounting_period: run\n  intensity: { grams_per_kwh: 380 }\n\
                  monitoring:\n  carbon: { emissions_threshold_kg: 0.5 }\n";
    let daemon = Daemon::start_at(address, cool.path(), &ordinary, config, &arguments);
    for alert in ["CarbonComponentDown", "HighCarbonEmissions", "CarbonEmissionsThresholdExceeded"] {
        becomes(&mut prometheus, alert, None);
    }
    prometheus.wait(limit, "the new run is scraped", |prometheus| {
        prometheus.number("carbon_emissions_kg").is_some_and(|kilograms| kilograms < 0.5)
    });
    assert!(prometheus.number("instance:carbon_power_watts:rate5m").is_some(), "recording rules are evaluated");
    daemon.stop();
}

/// What the guide says, to the letter; `for` is read from the file, as the running copy has a shorter one.
#[test]
fn the_guides_alerts_are_the_guides() {
    if !installed() {
        return;
    }
    let guide = [
        (
            "HighCarbonEmissions",
            "5m",
            json!({
                "expr": "carbon_emissions_kg > 1",
                "labels": { "severity": "warning", "component": "carbon" },
                "annotations": {
                    "summary": "High carbon emissions detected",
                    "description": "Carbon emissions exceeded 1kg CO2eq threshold",
                },
            }),
        ),
        (
            "CarbonComponentDown",
            "2m",
            json!({
                "expr": "up{job=\"tta-staging-carbon\"} == 0",
                "labels": { "severity": "critical", "component": "carbon" },
                "annotations": {
                    "summary": "Carbon component is down",
                    "description": "Carbon component health check failing",
                },
            }),
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(directory.path(), free_address(), Duration::from_secs(300));
    let text = fs::read_to_string(shipped().join("rules/alerts-guide.yml")).unwrap();
    for (name, pending, expected) in guide {
        let rule = as_written(&prometheus.rule(name).unwrap());
        let block = text.split(&format!("- alert: {name}\n")).nth(1).unwrap();
        assert!(block.lines().nth(1).is_some_and(|line| line.trim() == format!("for: {pending}")), "{block}");
        assert_eq!(rule, expected, "{name}");
    }
    assert!(text.contains("expr: carbon_emissions_kg > 1.0\n"));
}
