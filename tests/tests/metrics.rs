//! What a real agent says over HTTP: the contract's metrics, in both formats, and the paths beside them.

use carbon_tests::contract::{CONTRACT, MAY_BE_ABSENT};
use carbon_tests::daemon::Daemon;
use carbon_tests::exposition::{Exposition, Labels};
use carbon_tests::http;
use carbon_tests::need;
use carbon_tests::powercap_tree::{Machine, RunningTree, Socket, online_cpus};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Two sockets with memory and cores and a platform counter: every domain that a fake tree can have.
fn tree(directory: &TempDir) -> RunningTree {
    let cpus = online_cpus();
    let (left, right) = cpus.split_at(cpus.len() / 2);
    let socket = |cpus: &[u32]| Socket {
        cpus: cpus.to_vec(),
        idle_watts: 20.0,
        watts_per_busy_cpu: 10.0,
        dram_watts: Some(3.0),
    };
    let sockets = [left, right].into_iter().filter(|cpus| !cpus.is_empty()).map(socket).collect();
    let machine = Machine { core: true, psys_watts: Some(15.0), ..Machine::with_sockets(sockets) };
    RunningTree::start(directory.path(), machine).expect("a powercap tree")
}

const CONFIG: &str = "carbon:\n  project_name: Metrics\n  embodied: { total_kg: 1200, lifetime_years: 4 }\n  \
                      intensity: { grams_per_kwh: 380 }\n  components:\n    - name: tests\n      \
                      match: { comm: \"metrics-*\" }\nmonitoring:\n  carbon: { emissions_threshold_kg: 2.5 }\n";

fn daemon(interval: &str) -> (TempDir, RunningTree, Daemon) {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(&directory);
    let log = directory.path().join("carbon.log");
    let config = format!("{CONFIG}logging:\n  components: {{ carbon: {{ file: \"{}\" }} }}\n", log.display());
    let sample = if interval.parse::<f64>().unwrap() < 1.0 { interval } else { "0.5" };
    let arguments = ["--interval", interval, "--sample-interval", sample];
    let mut daemon = Daemon::start(directory.path(), &tree, &config, &arguments);
    daemon.wait_ready();
    (directory, tree, daemon)
}

const STAGES: [&str; 6] = ["probe", "energy", "intensity", "files", "config", "state"];

/// Lets a meter claim more than any can draw, for a moment, so that there are errors to show.
fn stumble(tree: &RunningTree, daemon: &mut Daemon) {
    let set = |watts| tree.change(|machine| machine.sockets[0].idle_watts = watts);
    set(9000.0);
    daemon.wait(Duration::from_secs(20), "the implausible reading shows", |daemon| {
        daemon.scrape().of("carbon_errors_total").next().is_some()
    });
    set(20.0);
}

#[test]
fn the_contracts_metrics_are_there_with_their_types_and_labels() {
    let (_directory, tree, mut daemon) = daemon("0.5");
    stumble(&tree, &mut daemon);
    let scrape = daemon.scrape();
    let mut absent = Vec::new();
    for (name, kind, labels) in CONTRACT {
        if scrape.of(name).next().is_none() {
            absent.push(*name);
            continue;
        }
        assert_eq!(scrape.types.get(*name).map(String::as_str), Some(*kind), "{name}");
        assert!(scrape.helps.contains_key(*name), "{name} is explained");
        let labels: BTreeSet<&str> = labels.iter().copied().collect();
        for (has, _) in scrape.of(name) {
            assert_eq!(has.keys().map(String::as_str).collect::<BTreeSet<_>>(), labels, "{name}");
        }
    }
    for name in &absent {
        let why = MAY_BE_ABSENT.iter().find(|(known, _)| known == name);
        let (_, why) = why.unwrap_or_else(|| panic!("{name} of the contract is missing"));
        println!("not emitted: {name}, {why}");
    }
    assert_eq!(scrape.value("carbon_emissions_threshold_kg", &[]), 2.5);
    assert_eq!(scrape.value("carbon_intensity_grams_per_kwh", &[("provider", "fixed"), ("kind", "average")]), 380.0);
    let values = |metric: &str, label: &str| -> BTreeSet<String> {
        scrape.of(metric).map(|(labels, _)| labels[label].clone()).collect()
    };
    let named = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    // The contract's four, and the two that an operator can mend as well.
    assert_eq!(values("carbon_stage_up", "stage"), named(&STAGES));
    assert_eq!(values("carbon_output_bytes", "kind"), named(&["emissions", "log"]));
    let components = named(&["tests", "unassigned", "kernel", "idle", "unattributed"]);
    assert!(values("carbon_component_power_watts", "component").is_superset(&components));
    assert_eq!(values("carbon_host_energy_joules_total", "domain"), named(&["package", "core", "dram", "psys"]));
    for (labels, _) in scrape.of("carbon_process_cpu_seconds_total") {
        assert!(labels["pid"].parse::<u32>().is_ok());
    }
    assert_eq!(values("carbon_co2e_grams_total", "scope"), named(&["operational", "embodied"]));
    let object = values("carbon_build_info", "probe_object").into_iter().next().unwrap();
    let ebpf = daemon.get("/api/v1/snapshot").json()["host"]["method"]["cpu_time"] == "ebpf";
    assert_eq!(ebpf, object.starts_with("sha256:"), "{object}");
}

#[test]
fn promtool_accepts_the_exposition() {
    if !need::program("promtool") {
        return;
    }
    let (_directory, tree, mut daemon) = daemon("0.5");
    stumble(&tree, &mut daemon);
    let answer = daemon.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(answer.body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// The interval is long, so nothing but the agent's own figures and the time may move between two scrapes; and the
/// figures are the same in both formats.
#[test]
fn a_scrape_changes_nothing_and_openmetrics_says_the_same() {
    let (_directory, _tree, daemon) = daemon("10");
    // Right after the first interval, so that the second is far away.
    let (first, second) = (daemon.scrape(), daemon.scrape());
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";
    let answer = http::get(daemon.address(), "/metrics", accept).unwrap();
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.body.ends_with("\n# EOF\n"));
    let open = Exposition::parse(&answer.body);
    let carbon = |scrape: &Exposition| -> BTreeMap<(String, Labels), f64> {
        scrape
            .samples
            .iter()
            .filter(|((name, _), _)| !name.starts_with("process_"))
            .map(|(k, v)| (k.clone(), *v))
            .collect()
    };
    assert_eq!(carbon(&first), carbon(&second));
    assert_eq!(carbon(&second), carbon(&open));
    assert!(open.ended && !first.ended);
    for (family, kind) in &open.types {
        let counter = format!("{family}_total");
        let classic = if kind == "counter" { &counter } else { family };
        assert_eq!(first.types.get(classic), Some(kind), "{family}");
    }
    for (family, unit) in &open.units {
        assert!(family.ends_with(unit.as_str()), "{family} has unit {unit}");
    }
}

#[test]
fn counters_never_decrease_and_components_sum_to_the_host() {
    let (_directory, tree, mut daemon) = daemon("0.3");
    let mut before = daemon.scrape();
    let mut intervals = BTreeSet::new();
    for step in 0..60 {
        // Work that comes and goes: new processes, others that end.
        let mut work =
            Command::new("sh").args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        work.wait().unwrap();
        if step == 30 {
            stumble(&tree, &mut daemon);
        }
        let now = daemon.scrape();
        for ((name, labels), value) in &now.samples {
            if now.types.get(name).is_some_and(|kind| kind == "counter") {
                let earlier = before.samples.get(&(name.clone(), labels.clone())).copied().unwrap_or(0.0);
                assert!(*value >= earlier, "{name}{labels:?}: {earlier}, then {value}");
            }
        }
        assert_books_close(&now);
        intervals.insert(now.value("carbon_last_sample_timestamp_seconds", &[]).to_bits());
        before = now;
    }
    assert!(intervals.len() >= 5, "several intervals were seen: {}", intervals.len());
}

/// Component energies sum to the meters in every domain, over all time. The text holds whole microjoules.
fn assert_books_close(scrape: &Exposition) {
    let sum = |metric: &str| -> BTreeMap<String, i128> {
        let mut sums = BTreeMap::new();
        for (labels, joules) in scrape.of(metric) {
            *sums.entry(labels["domain"].clone()).or_default() += (joules * 1e6).round() as i128;
        }
        sums
    };
    assert_eq!(sum("carbon_component_energy_joules_total"), sum("carbon_host_energy_joules_total"));
    for (labels, residual) in scrape.of("carbon_attribution_residual_joules") {
        assert_eq!(residual, 0.0, "{labels:?}");
    }
    for (labels, joules) in scrape.of("carbon_energy_unattributed_joules_total") {
        let row = [("component", "unattributed"), ("domain", labels["domain"].as_str())];
        assert_eq!(joules, scrape.value("carbon_component_energy_joules_total", &row));
    }
}

#[test]
fn every_path_answers_and_the_rest_is_refused() {
    let (_directory, _tree, mut daemon) = daemon("0.5");
    for path in ["/health", "/health/carbon"] {
        let answer = daemon.get(path);
        let health = answer.json();
        assert_eq!(answer.status, 200, "{health}");
        assert!(["ok", "degraded"].contains(&health["status"].as_str().unwrap()), "{health}");
        let stages: Vec<&str> =
            health["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
        assert_eq!(BTreeSet::from_iter(stages), BTreeSet::from(STAGES));
    }
    assert_eq!(daemon.get("/ready").status, 200);
    let page = daemon.get("/");
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.body.contains("Metrics") && page.body.contains("unassigned"), "{}", page.body);

    let snapshot = daemon.get("/api/v1/snapshot").json();
    assert_eq!(snapshot["schema"], "carbon-agent/1");
    assert_eq!(snapshot["host"]["project_name"], "Metrics");
    let rows = [std::slice::from_ref(&snapshot["host"]), snapshot["components"].as_array().unwrap()].concat();
    assert_eq!(carbon_tests::books::assert_closed(&rows), 1);

    daemon.wait(Duration::from_secs(20), "three intervals are in the history", |daemon| {
        daemon.get("/api/v1/history?since=1h").json()["intervals"].as_array().unwrap().len() >= 3
    });
    let history = daemon.get("/api/v1/history?since=1h").json();
    let intervals = history["intervals"].as_array().unwrap();
    let times: Vec<&str> = intervals.iter().map(|entry| entry["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    for entry in intervals {
        let parts = entry["components"].as_array().unwrap().iter();
        let sum: i128 = parts.map(|part| carbon_tests::books::microjoules(&part["energy_joules"])).sum();
        assert_eq!(sum, carbon_tests::books::microjoules(&entry["host"]["energy_joules"]));
    }
    let later = format!("/api/v1/history?since={}", times[1]);
    assert!(daemon.get(&later).json()["intervals"].as_array().unwrap().len() >= times.len() - 2);
    assert_eq!(daemon.get("/api/v1/history?since=0s").json()["intervals"].as_array().unwrap().len(), 0);

    assert_eq!(daemon.get("/api/v1/history?since=yesterday").status, 400);
    for path in ["/nothing", "/metrics/x", "/api/v2/snapshot", "/health/other"] {
        assert_eq!(daemon.get(path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let answer = http::request(daemon.address(), method, "/metrics", "Content-Length: 0\r\n").unwrap();
        assert_eq!(answer.status, 405, "{method}");
    }
    daemon.stop();
}

#[test]
fn where_no_alert_is_wanted_there_is_no_threshold() {
    let directory = tempfile::tempdir().unwrap();
    let tree = RunningTree::start(directory.path(), Machine::single(10.0, 5.0)).unwrap();
    let config = "monitoring:\n  carbon: { alert_on_high_emissions: false, emissions_threshold_kg: 2.5 }\n";
    let daemon = Daemon::start(directory.path(), &tree, config, &[]);
    assert_eq!(daemon.scrape().of("carbon_emissions_threshold_kg").count(), 0);
}
