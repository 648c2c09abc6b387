//! Embodied emissions and Software Carbon Intensity, by the real agent, on a fake meter, with an application on loopback
//! that counts its requests: rows, metrics and report against a computation by hand.

use carbon_tests::agent::{agent, rows};
use carbon_tests::books::assert_closed;
use carbon_tests::counter_page::{Answer, CounterPage};
use carbon_tests::daemon::{Daemon, Setup};
use carbon_tests::http::free_address;
use carbon_tests::kernel::Running;
use carbon_tests::powercap_tree::{Machine, RunningTree};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What the configuration below says, for the computation by hand.
const GRAMS_PER_KWH: f64 = 400.0;
const PUE: f64 = 1.5;
const EMBODIED_GRAMS_PER_SECOND: f64 = 1000.0 * 1e3 / (5.0 * 365.25 * 86_400.0);

fn configuration(functional_unit: &str) -> String {
    format!(
        "carbon:\n  intensity: {{ grams_per_kwh: 400 }}\n  pue: 1.5\n  embodied: {{ total_kg: 1000, lifetime_years: 5 }}\n  \
         components:\n    - name: web\n      match: {{ cmdline: \"*sci-load*\" }}\n      {functional_unit}\n"
    )
}

/// The count of POSTs, at `posts`, among what an application shows besides.
fn page(posts: u64) -> Answer {
    Answer::Text(format!(
        "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n\
         http_requests_total{{method=\"GET\",path=\"/a\"}} {}\n\
         http_requests_total{{method=\"POST\",path=\"/a\"}} {}\nhttp_requests_total{{method=\"POST\",path=\"/b\"}} {}\n\
         http_requests_total_created{{method=\"POST\"}} 1.7e9\nup 1\n",
        posts * 3,
        posts / 2,
        posts - posts / 2
    ))
}

fn posts_at(address: &SocketAddr) -> String {
    format!(
        "functional_unit: {{ name: request, url: \"http://{address}/metrics\", metric: http_requests_total, \
         labels: {{ method: POST }} }}"
    )
}

/// Work for the component: one busy CPU.
fn load() -> Running {
    Running::start(Command::new("sh").args(["-c", "while :; do :; done # sci-load"]))
}

/// A machine that draws power, under `directory`.
fn tree(directory: &Path) -> RunningTree {
    RunningTree::start(directory, Machine::single(20.0, 10.0)).expect("a powercap tree")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

#[track_caller]
fn assert_same(what: &str, found: f64, expected: f64) {
    let tolerance = 1e-9 * expected.abs().max(1e-12);
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, by hand {expected}");
}

/// The rows of a kind; for components those of `name`.
fn of<'a>(all: &'a [Value], record: &str, name: Option<&str>) -> Vec<&'a Value> {
    all.iter().filter(|row| row["record"] == record && name.is_none_or(|name| row["component"] == name)).collect()
}

fn sum(rows: &[&Value], figure: impl Fn(&Value) -> f64) -> f64 {
    rows.iter().map(|row| figure(row)).sum()
}

fn units_so_far(daemon: &Daemon) -> f64 {
    daemon.scrape().of("carbon_component_functional_units_total").map(|(_, value)| value).sum()
}

fn report(output: &Path, format: &str) -> String {
    let output_dir = output.to_str().expect("a path in UTF-8");
    let output = agent(&["report", "--output-dir", output_dir, "--since", "1h", "--format", format]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn rows_metrics_and_report_agree_with_a_computation_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(directory.path());
    let application = free_address();
    let server = CounterPage::start(application, page(1000));
    let _load = load();
    let config = configuration(&posts_at(&application));
    let mut daemon =
        Daemon::start(directory.path(), &tree, &config, &["--interval", "0.5", "--sample-interval", "0.1"]);
    daemon.wait(LIMIT, "the first count", |daemon| {
        daemon.scrape().of("carbon_component_functional_units_total").count() > 0
    });
    let mut posts = 1000;
    for _ in 0..8 {
        posts += 7;
        server.now(page(posts));
        sleep(Duration::from_millis(300));
    }
    daemon.wait(LIMIT, "56 requests", |daemon| units_so_far(daemon) == 56.0);
    // The application is started anew: what it shows then was counted since.
    server.now(page(3));
    daemon.wait(LIMIT, "3 more", |daemon| units_so_far(daemon) == 59.0);
    server.now(page(10));
    daemon.wait(LIMIT, "7 more", |daemon| units_so_far(daemon) == 66.0);
    let scrape = daemon.scrape();
    let output = daemon.output();
    daemon.stop();
    let all = rows(&output);
    assert_closed(&all);

    // Operational emissions bear PUE once, embodied ones neither PUE nor the grid; each is shared out whole.
    for host in of(&all, "host", None) {
        let components: Vec<&Value> =
            of(&all, "component", None).into_iter().filter(|row| row["timestamp"] == host["timestamp"]).collect();
        let joules = |row: &Value| number(&row["interval_energy_joules"]["total"]);
        let embodied = |row: &Value| number(&row["interval_embodied_emissions"]);
        let by_hand = EMBODIED_GRAMS_PER_SECOND * number(&host["interval_seconds"]) / 1e3;
        assert_same("embodied of the host", embodied(host), by_hand);
        assert_same("embodied of all components", sum(&components, embodied), by_hand);
        for row in &components {
            let kilograms = joules(row) / 3.6e6 * GRAMS_PER_KWH * PUE / 1e3;
            assert_same("operational", number(&row["interval_emissions"]), kilograms);
            if joules(host) > 0.0 {
                assert_same("embodied by energy", embodied(row), by_hand * joules(row) / joules(host));
            }
        }
    }

    // Each count is set against the rows since the one before it.
    let web = of(&all, "component", Some("web"));
    let mut waiting: Vec<&Value> = Vec::new();
    let mut first = true;
    for row in &web {
        let sci = &row["sci"];
        if !sci.is_null() {
            if std::mem::take(&mut first) {
                // Rows from before the first reading are set against nothing.
                while waiting.len() > 1
                    && sum(&waiting, |row| number(&row["interval_seconds"])) > number(&sci["seconds"]) + 1e-6
                {
                    waiting.remove(0);
                }
            }
            let operational = sum(&waiting, |row| number(&row["interval_emissions"]));
            let embodied = sum(&waiting, |row| number(&row["interval_embodied_emissions"]));
            assert_eq!(sci["functional_unit"], "request");
            assert_same("seconds", number(&sci["seconds"]), sum(&waiting, |row| number(&row["interval_seconds"])));
            assert_same("E × I", number(&sci["operational_emissions"]), operational);
            assert_same("M", number(&sci["embodied_emissions"]), embodied);
            let units = number(&sci["units"]);
            if units > 0.0 {
                assert_same("SCI", number(&sci["grams_per_unit"]), (operational + embodied) * 1e3 / units);
            } else {
                assert!(sci.get("grams_per_unit").is_none(), "{sci}");
            }
            waiting.clear();
        }
        waiting.push(row);
    }
    let counted: Vec<&Value> = web.iter().map(|row| &row["sci"]).filter(|sci| !sci.is_null()).collect();
    assert!(counted.len() >= 5, "{} of {} rows have a count", counted.len(), web.len());
    let units = sum(&counted, |sci| number(&sci["units"]));
    assert_eq!(units, 66.0, "every request is in one row");
    let grams = |sci: &Value| (number(&sci["operational_emissions"]) + number(&sci["embodied_emissions"])) * 1e3;
    assert!(sum(&counted, grams) > 0.0);

    // The counters are the sums of the rows up to the same moment.
    let last = scrape.value("carbon_last_sample_timestamp_seconds", &[]);
    let until = |rows: &[&Value], figure: &dyn Fn(&Value) -> f64| -> f64 {
        let before = |row: &&&Value| {
            let time: jiff::Timestamp = row["timestamp"].as_str().unwrap().parse().unwrap();
            time.as_millisecond() as f64 / 1e3 <= last
        };
        rows.iter().filter(before).map(|row| figure(row)).sum()
    };
    let sci = |figure: &'static dyn Fn(&Value) -> f64| {
        move |row: &Value| if row["sci"].is_null() { 0.0 } else { figure(&row["sci"]) }
    };
    let unit = [("component", "web"), ("functional_unit", "request")];
    assert_same(
        "units",
        scrape.value("carbon_component_functional_units_total", &unit),
        until(&web, &sci(&|sci| number(&sci["units"]))),
    );
    assert_same(
        "grams of SCI",
        scrape.value("carbon_component_sci_co2e_grams_total", &unit),
        until(&web, &sci(&|sci| (number(&sci["operational_emissions"]) + number(&sci["embodied_emissions"])) * 1e3)),
    );
    let embodied_grams = |row: &Value| number(&row["interval_embodied_emissions"]) * 1e3;
    assert_same(
        "embodied of the host",
        scrape.value("carbon_co2e_grams_total", &[("scope", "embodied")]),
        until(&of(&all, "host", None), &embodied_grams),
    );
    assert_same(
        "embodied of a component",
        scrape.value("carbon_component_embodied_co2e_grams_total", &[("component", "web")]),
        until(&web, &embodied_grams),
    );
    assert_same(
        "operational of the host",
        scrape.value("carbon_co2e_grams_total", &[("scope", "operational")]),
        until(&of(&all, "host", None), &|row| number(&row["interval_emissions"]) * 1e3),
    );
    let at_last = web.iter().find(|row| {
        let time: jiff::Timestamp = row["timestamp"].as_str().unwrap().parse().unwrap();
        time.as_millisecond() as f64 / 1e3 == last
    });
    let gauge: Vec<f64> = scrape.of("carbon_component_sci_grams_per_unit").map(|(_, value)| value).collect();
    let expected: Vec<f64> = at_last.iter().filter_map(|row| row["sci"]["grams_per_unit"].as_f64()).collect();
    assert_eq!(gauge, expected, "the gauge is the last row's");

    // The report divides sums by sums.
    let json: Value = serde_json::from_str(&report(&output, "json")).unwrap();
    let row = json["rows"].as_array().unwrap().iter().find(|row| row["name"] == "web").expect("the component");
    assert_eq!((&row["functional_unit"], number(&row["functional_units"])), (&"request".into(), units));
    assert_same("SCI of the report", number(&row["sci_grams_per_unit"]), sum(&counted, grams) / units);
    assert_same("embodied of the report", number(&row["embodied_kg"]), sum(&web, |row| embodied_grams(row) / 1e3));
    for format in ["table", "html"] {
        let text = report(&output, format);
        assert!(text.contains("66 request") && text.contains("/request"), "{text}");
    }
}

/// Sampling and exporting go on at their pace whatever the endpoint does, and what is not known is absent.
#[test]
fn an_endpoint_that_is_down_or_hangs_costs_only_its_own_figure() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(directory.path());
    let application = free_address();
    let config = configuration(&posts_at(&application));
    let mut daemon =
        Daemon::start(directory.path(), &tree, &config, &["--interval", "0.5", "--sample-interval", "0.1"]);
    let hosts = |daemon: &Daemon| of(&rows(&daemon.output()), "host", None).len();
    let known = |daemon: &Daemon| {
        let scrape = daemon.scrape();
        let names = ["functional_units_total", "sci_co2e_grams_total", "sci_grams_per_unit"];
        names.iter().map(|name| scrape.of(&format!("carbon_component_{name}")).count()).sum::<usize>()
    };
    let up = |daemon: &Daemon| {
        let scrape = daemon.scrape();
        scrape.of("carbon_stage_up").find(|(labels, _)| labels["stage"] == "functional_units").map(|(_, value)| value)
    };

    // Down from the start.
    daemon.wait(LIMIT, "five intervals", |daemon| hosts(daemon) >= 5);
    assert_eq!((known(&daemon), up(&daemon)), (0, Some(0.0)), "absent, and shown");
    let health = daemon.get("/health/carbon");
    assert_eq!(health.status, 200, "the agent is up");
    assert!(health.body.contains("web has no SCI until its functional units can be read"), "{}", health.body);
    assert!(of(&rows(&daemon.output()), "component", None).iter().all(|row| row.get("sci").is_none()));
    let scrape = daemon.scrape();
    let errors = [("stage", "functional_units"), ("kind", "unreachable")];
    assert!(scrape.value("carbon_errors_total", &errors) >= 4.0, "each attempt is counted");
    let log = || fs::read_to_string(directory.path().join("log")).unwrap();
    assert_eq!(log().matches("has no SCI until").count(), 1, "said once: {}", log());

    // It comes up, and what it counted before that belongs to a time that nobody knows.
    let server = CounterPage::start(application, page(500));
    daemon.wait(LIMIT, "a first count", |daemon| known(daemon) > 0);
    assert_eq!((units_so_far(&daemon), up(&daemon)), (0.0, Some(1.0)));
    server.now(page(540));
    daemon.wait(LIMIT, "forty requests", |daemon| units_so_far(daemon) == 40.0);

    // It hangs: intervals go on ending on time, the sums stand.
    server.now(Answer::Hang);
    daemon.wait(LIMIT, "it shows", |daemon| up(daemon) == Some(0.0));
    let before = rows(&daemon.output()).len();
    daemon.wait(LIMIT, "six more intervals", |daemon| of(&rows(&daemon.output())[before..], "host", None).len() >= 6);
    let during = rows(&daemon.output());
    for host in of(&during[before..], "host", None) {
        let seconds = number(&host["interval_seconds"]);
        assert!(seconds < 2.0, "an interval of 0.5 s took {seconds} s");
    }
    let hanging = of(&during[before..], "component", Some("web"));
    assert!(hanging.iter().all(|row| row.get("sci").is_none()), "absent, never 0");
    assert_eq!(units_so_far(&daemon), 40.0);
    assert_eq!(daemon.scrape().of("carbon_component_sci_grams_per_unit").count(), 0);

    // What it counted meanwhile comes with what was emitted meanwhile.
    server.now(page(600));
    daemon.wait(LIMIT, "sixty more", |daemon| units_so_far(daemon) == 100.0);
    let output = daemon.output();
    daemon.stop();
    let all = rows(&output);
    assert_closed(&all);
    let longest =
        of(&all, "component", Some("web")).iter().filter_map(|row| row["sci"]["seconds"].as_f64()).fold(0.0, f64::max);
    assert!(longest > 2.5, "the time that it hung is in the figure after: {longest} s");
    assert_eq!(log().matches("can be read again").count(), 2, "{}", log());
}

#[test]
fn a_file_beside_the_configuration_is_a_count_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(&directory.path().join("rapl"));
    let count = directory.path().join("stories");
    let file = directory.path().join("config.yaml");
    fs::write(&file, configuration("functional_unit: { name: story, file: stories }")).unwrap();
    fs::write(&count, "10\n").unwrap();
    let powercap = format!("--powercap={}", tree.tree().powercap().display());
    let setup = Setup::new(directory.path(), 0.4, 0.1).with(&[
        "--energy=rapl",
        &powercap,
        "--config",
        file.to_str().expect("a path in UTF-8"),
    ]);
    let units = "carbon_component_functional_units_total{component=\"web\",functional_unit=\"story\"}";
    let embodied = "carbon_co2e_grams_total{scope=\"embodied\"}";
    let mut daemon = setup.start();
    daemon.wait_for("a first count", LIMIT, |metrics| metrics.get(units) == Some(&0.0));
    fs::write(&count, "25.5").unwrap();
    daemon.wait_for("fifteen and a half stories", LIMIT, |metrics| metrics.get(units) == Some(&15.5));
    fs::write(&count, "many").unwrap();
    daemon.wait_for("it is not a number", LIMIT, |metrics| {
        metrics.get("carbon_errors_total{stage=\"functional_units\",kind=\"file\"}").is_some()
    });
    assert_eq!(daemon.metrics().get(units), Some(&15.5));
    daemon.terminate();
    let before: f64 =
        of(&rows(&setup.output), "host", None).iter().map(|row| number(&row["interval_embodied_emissions"])).sum();

    // While the agent is down the count goes on; nobody knows what that cost, so it is in no figure.
    fs::write(&count, "1000").unwrap();
    let mut daemon = setup.start();
    daemon.wait_for("the counter goes on", LIMIT, |metrics| metrics.get(units) == Some(&15.5));
    fs::write(&count, "1001").unwrap();
    daemon.wait_for("one more story", LIMIT, |metrics| metrics.get(units) == Some(&16.5));
    daemon.wait_for("the machine ages on", LIMIT, |metrics| {
        metrics.get(embodied).is_some_and(|grams| *grams > before * 1e3)
    });
    // SIGHUP: without the unit its stage and its series are gone. (Errors that were counted remain counted.)
    fs::write(&file, configuration("")).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("the unit is gone", LIMIT, |metrics| {
        let gone = |series: &String| !series.contains("functional_unit") || series.starts_with("carbon_errors_total");
        !metrics.is_empty() && metrics.keys().all(gone)
    });
    daemon.terminate();
    let all = rows(&setup.output);
    assert_closed(&all);
    let run = |row: &Value| row["run_id"].clone();
    let hosts = of(&all, "host", None);
    let last = hosts.last().expect("rows");
    let of_run: Vec<&Value> = hosts.iter().filter(|row| run(row) == run(last)).copied().collect();
    assert_same(
        "cumulative over the run",
        number(&last["embodied_emissions"]),
        sum(&of_run, |row| number(&row["interval_embodied_emissions"])),
    );
}

fn check(directory: &Path, functional_unit: &str) -> Output {
    let path = directory.join("config.yaml");
    fs::write(&path, configuration(functional_unit)).unwrap();
    agent(&["check", "--config", path.to_str().expect("a path in UTF-8")]).output().expect("the agent runs")
}

#[test]
fn check_shows_a_good_unit_and_names_what_is_wrong_with_a_bad_one() {
    let directory = tempfile::tempdir().unwrap();
    let output = check(directory.path(), &posts_at(&"127.0.0.1:8000".parse().unwrap()));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = "web  request: http_requests_total{method=\"POST\"} at http://127.0.0.1:8000/metrics";
    assert!(shown.contains(expected), "{shown}");

    for (unit, words) in [
        ("functional_unit: request", "expected a mapping such as { name: request, url: "),
        ("functional_unit: { url: \"http://a/m\", metric: x }", "has no `name`"),
        ("functional_unit: { name: x }", "expected `url` and `metric`, or `file`"),
        ("functional_unit: { name: x, url: \"http://a/m\" }", "`url` needs a `metric`"),
        ("functional_unit: { name: x, url: \"http://a/m\", metric: y, file: z }", "exclude each other"),
        ("functional_unit: { name: x, file: z, metric: y }", "belong to a `url`"),
        ("functional_unit: { name: x, url: a, metric: y }", "functional_unit.url: `a`: expected an address"),
        ("functional_unit: { name: x, url: \"http://a/m\", metric: 'y{z=\"1\"}' }", "a metric's name alone"),
        ("functional_unit: { name: x, url: \"http://a/m\", metric: y, labels: [z] }", "labels: expected a mapping"),
        ("functional_unit: { name: x, url: \"http://a/m\", metrik: y }", "did you mean `metric`?"),
        ("functional_units: { name: x, file: y }", "did you mean `functional_unit`?"),
    ] {
        let output = check(directory.path(), unit);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{unit}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
        assert!(stderr.contains("config.yaml:8: carbon.components[0].functional_unit"), "{unit}: {stderr}");
        assert!(stderr.contains(words), "{unit}: {stderr}");
    }
    let output = check(directory.path(), "functional_unit: { name: x, url: \"http://me:geheim@a/m\", metric: y }");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("functional_unit.url: a user name or password") && !stderr.contains("geheim"), "{stderr}");
}
