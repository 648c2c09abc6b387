//! The shipped dashboards: sound in structure, and every query of every panel finds series in a real Prometheus that
//! scrapes a real agent.

use carbon_agent::export::metrics::family::ALL;
use carbon_tests::agent::repository;
use carbon_tests::contract::MAY_BE_ABSENT;
use carbon_tests::daemon::Daemon;
use carbon_tests::powercap_tree::{Machine, RunningTree, Socket, online_cpus};
use carbon_tests::prometheus::{Prometheus, installed, shipped};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn grafana() -> PathBuf {
    repository().join("deploy/grafana")
}

/// Name and content of every dashboard.
fn dashboards() -> Vec<(String, Value)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(grafana().join("dashboards")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), serde_json::from_str(&text).expect("JSON"))
    };
    paths.into_iter().map(read).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Left, top, right, bottom.
fn place(panel: &Value) -> [u64; 4] {
    let number = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("gridPos.{key}: {panel}"));
    [number("x"), number("y"), number("x") + number("w"), number("y") + number("h")]
}

#[test]
fn dashboards_are_sound() {
    let mut uids = BTreeSet::new();
    for (name, board) in dashboards() {
        assert!(board["schemaVersion"].as_u64().unwrap() >= 36 && board["id"].is_null(), "{name}");
        assert_eq!(format!("{}.json", text(&board, "uid")), name, "a stable address");
        assert!(uids.insert(text(&board, "uid").to_owned()));
        assert!(!text(&board, "title").is_empty() && !text(&board, "description").is_empty());

        let variables: BTreeSet<&str> = list(&board["templating"], "list").iter().map(|it| text(it, "name")).collect();
        assert!(variables.contains("datasource"), "{name} works with any data source");
        let panels = list(&board, "panels");
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: panel ids are unique");
        let titles: BTreeSet<&str> = panels.iter().map(|panel| text(panel, "title")).collect();
        assert_eq!(titles.len(), panels.len(), "{name}: titles are unique");
        assert_eq!(text(&panels[0], "type"), "row", "{name} begins with a row");

        for (index, panel) in panels.iter().enumerate() {
            let title = format!("{name}: {}", text(panel, "title"));
            let [left, top, right, bottom] = place(panel);
            assert!(left < right && right <= 24 && top < bottom, "{title}");
            for other in &panels[index + 1..] {
                let [l, t, r, b] = place(other);
                assert!(
                    r <= left || right <= l || b <= top || bottom <= t,
                    "{title} overlaps {}",
                    text(other, "title")
                );
            }
            if text(panel, "type") != "row" {
                check_panel(panel, &title, &variables);
            }
        }
        for row in panels.iter().filter(|panel| text(panel, "type") == "row") {
            let [.., below] = place(row);
            assert!(panels.iter().any(|panel| place(panel)[1] == below), "{name}: row {} is empty", text(row, "title"));
        }
    }
}

fn check_panel(panel: &Value, title: &str, variables: &BTreeSet<&str>) {
    assert!(text(panel, "description").len() > 20, "{title} is explained");
    assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title} has a unit");
    let targets = list(panel, "targets");
    assert!(!targets.is_empty(), "{title} asks for something");
    let refs: BTreeSet<&str> = targets.iter().map(|target| text(target, "refId")).collect();
    assert_eq!(refs.len(), targets.len(), "{title}");
    for target in targets {
        assert_eq!(text(&target["datasource"], "uid"), "${datasource}", "{title}");
        for variable in text(target, "expr").split('$').skip(1) {
            let known = |name: &&str| variable.starts_with(*name);
            let known = variables.iter().any(known)
                || variable.starts_with("__rate_interval")
                || variable.starts_with("__range");
            assert!(known, "{title}: ${variable}");
        }
    }
    if ["stat", "gauge"].contains(&text(panel, "type")) {
        assert!(!list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps").is_empty(), "{title} has thresholds");
    }
}

/// The guide's four panels and what the project promises besides, by what they ask for.
#[test]
fn what_was_promised_is_shown() {
    let all: String =
        dashboards().iter().flat_map(|(_, board)| queries(board)).map(|query| query.expr + "\n").collect();
    for promised in [
        "carbon_component_emissions_kg",
        "carbon_stage_up",
        "carbon_output_bytes",
        "rate(carbon_errors_total",
        "carbon_component_power_watts",
        "carbon_host_power_watts",
        "by (component, domain) (increase(carbon_component_energy_joules_total",
        "carbon_process_energy_joules_total",
        "carbon_intensity_grams_per_kwh",
        "component=\"idle\"",
        "component=\"carbon-agent\"",
        "process_cpu_seconds_total",
        "carbon_probe_events_total",
        "carbon_component_sci_co2e_grams_total",
        "carbon_component_functional_units_total",
    ] {
        assert!(all.contains(promised), "{promised}");
    }
}

struct Query {
    panel: String,
    expr: String,
}

/// Every query of a dashboard, its variables' included, as Grafana would send it with everything selected.
fn queries(board: &Value) -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in list(board, "panels") {
        for target in list(panel, "targets") {
            queries.push(Query { panel: text(panel, "title").to_owned(), expr: substituted(text(target, "expr")) });
        }
    }
    for variable in list(&board["templating"], "list").iter().filter(|variable| text(variable, "type") == "query") {
        let query = text(&variable["query"], "query");
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect("label_values");
        let (selector, label) = inside.rsplit_once(", ").expect("a metric and a label");
        let expr = format!("group by ({label}) ({})", substituted(selector));
        queries.push(Query { panel: format!("variable {}", text(variable, "name")), expr });
    }
    queries
}

fn substituted(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", "15s").replace("$__range", "5m");
    ["instance", "project", "component"].iter().fold(expr, |expr, name| expr.replace(&format!("${name}"), ".*"))
}

/// The metrics that a query names: identifiers outside of quotes that look like ours, Prometheus' own, or a rule's.
fn metrics(expr: &str) -> BTreeSet<String> {
    let outside = expr.split('"').step_by(2);
    let words = outside.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':'));
    let is_metric = |word: &&str| {
        ["carbon_", "process_", "scrape_"].iter().any(|prefix| word.starts_with(prefix))
            || word.contains(':')
            || *word == "up"
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn every_query_finds_series_and_names_only_what_is_emitted() {
    if !installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = tempfile::tempdir().unwrap();
    let socket = Socket { cpus: online_cpus(), idle_watts: 20.0, watts_per_busy_cpu: 10.0, dram_watts: Some(3.0) };
    let machine = Machine { core: true, ..Machine::with_sockets(vec![socket]) };
    let tree = RunningTree::start(directory.path(), machine).unwrap();
    let config = format!(
        "carbon:\n  intensity: {{ zone: DEU }}\n  embodied: {{ total_kg: 1200, lifetime_years: 4 }}\n  components:\n    \
         - name: carbon-agent\n      match: {{ exe: \"*/carbon-agent\" }}\n      \
         functional_unit: {{ name: tick, file: ticks }}\n\
         monitoring:\n  carbon: {{ emissions_threshold_kg: 0.000000001 }}\n\
         logging:\n  components: {{ carbon: {{ file: \"{}\" }} }}\n",
        directory.path().join("carbon.log").display()
    );
    let arguments = ["--interval", "1", "--sample-interval", "0.25"];
    let _ticks = Ticks::start(directory.path().join("ticks"));
    let daemon = Daemon::start(directory.path(), &tree, &config, &arguments);
    let mut prometheus = Prometheus::start(server.path(), daemon.address(), Duration::from_secs(300));

    learn_idle_power(&daemon);

    // Errors to show: a meter that claims more than it can draw, now and then.
    let set = |watts| tree.change(|machine| machine.sockets[0].idle_watts = watts);
    let mut hot = false;
    prometheus.wait(Duration::from_secs(60), "errors have a rate", |prometheus| {
        hot = !hot;
        set(if hot { 9000.0 } else { 20.0 });
        std::thread::sleep(Duration::from_millis(700));
        !prometheus.query("rate(carbon_errors_total[15s]) > 0").is_empty()
    });
    set(20.0);

    let scrape = daemon.scrape();
    let rules: String = fs::read_dir(shipped().join("rules"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for (name, board) in dashboards() {
        for Query { panel, expr } in queries(&board) {
            let mut excused = false;
            for metric in metrics(&expr) {
                let emitted = scrape.types.contains_key(&metric)
                    || metric == "up"
                    || rules.contains(&format!("- record: {metric}\n"));
                let may_be_absent = MAY_BE_ABSENT.iter().find(|(known, _)| *known == metric);
                assert!(emitted || may_be_absent.is_some(), "{name}: {panel} names {metric}, which is not emitted");
                if let (false, Some((_, why))) = (emitted, may_be_absent) {
                    println!("{name}: {panel}: {metric} {why}");
                    excused = true;
                }
            }
            let found = prometheus.query(&expr).len();
            assert!(found > 0 || excused, "{name}: {panel}: no series for {expr}");
        }
    }
    // The examples of docs/metrics.md too.
    for family in ALL {
        let example = family.example.replace("[5m]", "[15s]");
        let excused = MAY_BE_ABSENT.iter().any(|(known, _)| *known == family.name);
        assert!(!prometheus.query(&example).is_empty() || excused, "docs/metrics.md: no series for {example}");
    }
    daemon.stop();
}

/// A count of functional units in a file, which rises until this is dropped.
struct Ticks(Arc<AtomicBool>);

impl Ticks {
    fn start(file: PathBuf) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = ended.clone();
        fs::write(&file, "0").unwrap();
        std::thread::spawn(move || {
            for tick in 1.. {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                let next = file.with_extension("next");
                // Renamed into place, so that no reader finds half of it; the directory may be gone at the end.
                let _ = fs::write(&next, tick.to_string()).and_then(|()| fs::rename(&next, &file));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self(ended)
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Load that comes and goes, from which the idle power can be told, for a while: where others keep every CPU busy it
/// cannot be learned, and the panel that shows it stays empty.
fn learn_idle_power(daemon: &Daemon) {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end && daemon.scrape().of("carbon_host_idle_power_watts").count() < 1 {
        let busy = Command::new("sh").args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]).status();
        assert!(busy.is_ok());
        std::thread::sleep(Duration::from_millis(1100));
    }
}

/// What the data source and the provider name is what the dashboards and Prometheus' own configuration expect.
#[test]
fn provisioning_fits() {
    let read = |path: &str| fs::read_to_string(grafana().join("provisioning").join(path)).unwrap();
    let source = read("datasources/prometheus.yml");
    assert!(source.contains("type: prometheus") && source.contains("timeInterval: 30s"));
    let scraped = fs::read_to_string(shipped().join("prometheus.yml")).unwrap();
    assert!(scraped.contains("scrape_interval: 30s"));
    for (name, board) in dashboards() {
        let variables = list(&board["templating"], "list");
        let datasource = variables.iter().find(|it| text(it, "name") == "datasource").unwrap();
        let uid = text(&datasource["current"], "value");
        assert!(source.contains(&format!("uid: {uid}\n")), "{name} starts with the provisioned data source");
    }
    assert!(read("dashboards/carbon.yml").contains("type: file"));
}
