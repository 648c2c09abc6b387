//! What we write, read by the real CodeCarbon from PyPI; and its settings, read by us as it reads them.

use carbon_tests::agent::{agent, rows};
use carbon_tests::books::microjoules;
use carbon_tests::codecarbon::CodeCarbon;
use carbon_tests::daemon::Daemon;
use carbon_tests::powercap_tree::{Machine, RunningTree, Socket, online_cpus};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

const PUE: f64 = 1.25;
/// Grams of CO2e per kWh.
const INTENSITY: f64 = 380.0;

#[track_caller]
fn near(got: f64, wanted: f64, what: &str) {
    // Floats are written and read whole; pandas' usual reader is off by a bit in the last place.
    assert!((got - wanted).abs() <= wanted.abs() * 1e-12, "{what}: {got} instead of {wanted}");
}

#[track_caller]
fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} is no number in {row}"))
}

/// kWh with PUE, as CodeCarbon counts, to the microjoules of the meter.
fn metered(kwh: f64) -> f64 {
    kwh * 3.6e12 / PUE
}

#[test]
fn codecarbon_reads_what_we_write() {
    let Some(codecarbon) = CodeCarbon::find() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let socket = Socket { cpus: online_cpus(), idle_watts: 20.0, watts_per_busy_cpu: 15.0, dram_watts: Some(4.0) };
    let machine = Machine::with_sockets(vec![socket]);
    let tree = RunningTree::start(&directory.path().join("rapl"), machine).expect("a meter");
    let configuration = format!(
        "carbon:\n  project_name: \"of us, \\\"quoted\\\" é\"\n  pue: {PUE}\n  intensity: [{{grams_per_kwh: {INTENSITY}}}, \
         {{zone: DEU}}]\n"
    );
    let arguments = ["--probe=procfs", "--interval=0.5", "--sample-interval=0.1"];
    let mut daemon = Daemon::start(directory.path(), &tree, &configuration, &arguments);
    daemon.wait(Duration::from_secs(60), "some intervals", |daemon| hosts(&daemon.output()).len() >= 8);
    let output = daemon.output();
    daemon.stop();

    let ours = hosts(&output);
    let read = codecarbon.run("read_emissions.py", "", |command| {
        command.arg(&output);
    });
    // Every row of both was accepted by its EmissionsData, and the columns are in its order: the script saw to it.
    let theirs = read["hosts"].as_array().expect("rows");
    assert_eq!(theirs.len(), ours.len());
    let [row] = read["csv"].as_array().expect("rows").as_slice() else { panic!("one row for the run: {read}") };
    let last = ours.last().expect("rows");
    for (field, value) in row.as_object().expect("a record") {
        match (value.as_f64(), last[field].as_f64()) {
            (Some(csv), Some(json)) => near(csv, json, field),
            // Nothing has no other name in CSV.
            _ if value.is_null() => assert!(last[field].is_null() || last[field] == "", "{field}: {}", last[field]),
            _ => assert_eq!(value, &last[field], "{field}"),
        }
    }
    assert_eq!(row["project_name"], "of us, \"quoted\" é");

    // Totals: what CodeCarbon makes of them is what our rows say interval by interval.
    let joules: i128 = ours.iter().map(|host| microjoules(&host["interval_energy_joules"]["total"])).sum();
    near(metered(number(row, "energy_consumed")), joules as f64, "energy");
    for (field, domain) in [("cpu_energy", "package"), ("ram_energy", "dram")] {
        let joules: i128 = ours.iter().map(|host| microjoules(&host["interval_energy_joules"][domain])).sum();
        near(metered(number(row, field)), joules as f64, field);
        assert!(joules > 0, "{field}");
    }
    let parts = ["cpu_energy", "gpu_energy", "ram_energy"].map(|field| number(row, field));
    near(number(row, "energy_consumed"), parts.iter().sum(), "energy_consumed");
    let kilograms: f64 = ours.iter().map(|host| number(host, "interval_emissions")).sum();
    assert!((number(row, "emissions") - kilograms).abs() < kilograms * 1e-9);
    near(number(row, "emissions"), number(row, "energy_consumed") * INTENSITY / 1e3, "emissions");
    near(number(row, "emissions_rate"), number(row, "emissions") / number(row, "duration"), "emissions_rate");
    near(number(row, "cpu_power"), number(row, "cpu_energy") * 3.6e6 / number(row, "duration"), "cpu_power");
    assert_eq!(number(row, "pue"), PUE);
    for field in ["duration", "emissions", "energy_consumed"] {
        near(number(&read["summary"], field), number(row, field), field);
    }

    // Cumulative over the run: CodeCarbon's own difference of two records is our interval.
    let deltas = read["deltas"].as_array().expect("rows");
    assert_eq!(deltas.len(), ours.len() - 1);
    for (delta, host) in deltas.iter().zip(&ours[1..]) {
        let close = |got: f64, wanted: f64, what: &str| {
            assert!((got - wanted).abs() <= wanted.abs() * 1e-6, "{what}: {got} instead of {wanted}");
        };
        close(number(delta, "duration"), number(host, "interval_seconds"), "duration");
        close(number(delta, "emissions"), number(host, "interval_emissions"), "emissions");
        let joules = microjoules(&host["interval_energy_joules"]["total"]) as f64;
        close(metered(number(delta, "energy_consumed")), joules, "energy");
    }

    // Its writer goes on with our file: one row appended, then one more that it replaces, and nothing put aside.
    assert_eq!(read["file_output"], json!({ "appended": 2, "updated": 3, "files": ["emissions.csv"] }));
    // Its dashboard draws everything it has.
    let drawn = read["drawn"].as_array().expect("names");
    for figure in ["project_time_series.figure", "project_emissions_bar_chart.figure", "hidden_project_summary.data"] {
        assert!(drawn.iter().any(|name| name == figure), "{figure} is not among {drawn:?}");
    }
}

fn hosts(output: &Path) -> Vec<Value> {
    rows(output).into_iter().filter(|row| row["record"] == "host").collect()
}

/// What `check` says: its exit status, each setting with value and origin, and of CodeCarbon's settings their fate.
struct Check {
    code: Option<i32>,
    complaint: String,
    settings: BTreeMap<String, (String, String)>,
    theirs: BTreeMap<String, String>,
}

fn check(home: &Path, here: &Path, variables: &[(&str, &str)]) -> Check {
    let output = agent(&["check"])
        .current_dir(here)
        .env("HOME", home)
        .envs(variables.iter().copied())
        .output()
        .expect("the agent runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let columns = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let mut check = Check {
        code: output.status.code(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        settings: BTreeMap::new(),
        theirs: BTreeMap::new(),
    };
    for line in text.lines() {
        match columns(line).as_slice() {
            [key, value, origin] if line.starts_with("carbon.") => {
                check.settings.insert(key.clone(), (value.clone(), origin.clone()));
            }
            // The strongest of each is the last.
            [key, place, fate] if line.starts_with("  ") => {
                check.theirs.insert(key.clone(), format!("{place}: {fate}"));
            }
            _ => {}
        }
    }
    check
}

#[test]
fn its_settings_are_found_where_it_finds_them() {
    let Some(codecarbon) = CodeCarbon::find() else { return };
    let root = tempfile::tempdir().expect("a directory");
    // As CodeCarbon names it: without links.
    let root = root.path().canonicalize().expect("a path");
    let [home, here] = ["home", "here"].map(|name| root.join(name));
    for directory in [&home, &here] {
        fs::create_dir(directory).expect("a directory");
    }
    let [of_home, of_here] = [&home, &here].map(|directory| directory.join(".codecarbon.config"));
    let text = "# ours\n[codecarbon]\nproject_name = of home\npue = 1.1\nMEASURE_POWER_SECS: 20\noutput_dir=/of/home\n\
                tracking_mode = process\n";
    fs::write(&of_home, text).expect("a file");
    fs::write(&of_here, "[codecarbon]\npue = 1.2\ncountry_iso_code = FRA\nlog_level = warning\n").expect("a file");
    let variables = [("CODECARBON_COUNTRY_ISO_CODE", "DEU"), ("codecarbon_gpu_ids", "0,1")];

    let read = codecarbon.run("read_configuration.py", "[]", |command| {
        for (name, _) in std::env::vars().filter(|(name, _)| name.to_lowercase().starts_with("codecarbon_")) {
            command.env_remove(name);
        }
        command.current_dir(&here).env("HOME", &home).envs(variables);
    });
    let check = check(&home, &here, &variables);
    assert_eq!(check.code, Some(0), "{}", check.complaint);
    let line = |key: &str, place: &str| -> usize {
        let text = fs::read_to_string(place).expect("a file");
        1 + text.lines().position(|line| line.to_lowercase().starts_with(key)).expect("the key")
    };
    let theirs = read["here"].as_object().expect("settings");
    assert_eq!(theirs.len(), 8, "{theirs:?}");
    for (key, setting) in theirs {
        let source = setting["source"].as_str().expect("a path or a name");
        // The same place, and the line besides.
        let place = match source.strip_prefix("CODECARBON_") {
            Some(_) if key == "gpu_ids" => "env codecarbon_gpu_ids".to_owned(),
            Some(_) => format!("env {source}"),
            None => format!("{source}, line {}", line(key, source)),
        };
        let fate = check.theirs.get(key).unwrap_or_else(|| panic!("{key} is not listed: {:?}", check.theirs));
        let Some(ours) = fate.strip_prefix(&format!("{place}: read as ")) else {
            let without = ["tracking_mode", "gpu_ids"].contains(&key.as_str());
            assert!(without && fate.starts_with(&format!("{place}: not applicable: ")), "{key}: {fate}");
            continue;
        };
        let shown = if ours == "carbon.intensity.zone" { "carbon.intensity" } else { ours };
        let value = setting["value"].as_str().expect("text");
        let value = if shown == "carbon.intensity" { format!("zone {value}") } else { value.to_owned() };
        assert_eq!(check.settings[shown], (value, place), "{key}");
    }
    assert_eq!(check.settings["carbon.pue"].0, "1.2");

    // Ours wins over all of theirs.
    let all = [variables[0], variables[1], ("CODECARBON_PUE", "1.3"), ("CARBON_PUE", "1.4")];
    let over = self::check(&home, &here, &all);
    assert_eq!(over.settings["carbon.pue"], ("1.4".to_owned(), "env CARBON_PUE".to_owned()));
    assert_eq!(over.theirs["pue"], "env CODECARBON_PUE: hidden by carbon.pue (env CARBON_PUE)");

    // A bad value names its line, and nothing runs on it.
    fs::write(&of_here, "[codecarbon]\n\npue = lots\n").expect("a file");
    let bad = self::check(&home, &here, &[]);
    assert_eq!(bad.code, Some(2));
    let wanted = format!("carbon-agent: {}:3: pue: `lots`: expected a number from 1 to 10\n", of_here.display());
    assert_eq!(bad.complaint, wanted);
}

/// INI texts, good and bad, with every turn that Python's grammar has.
const TEXTS: &[&str] = &[
    "",
    "[codecarbon]\nproject_name = a\npue = 1.5\n",
    "[codecarbon]\r\nProject_Name: a b \r\nPUE:1.5",
    "# c\n; d\n[codecarbon]\n  project_name=a\n  # e\n  pue=2\n",
    "[codecarbon]\n project_name=a\npue=2\n",
    "[codecarbon]\nproject_name = a\npue=2\n  [other]\n",
    "[codecarbon]\n  [other]\nproject_name = a\n",
    "[codecarbon]\nproject_name = a = b : c\n",
    "[codecarbon]\nproject_name : a = b\n",
    "[codecarbon]\nproject_name = a ; no comment # neither\n",
    "[codecarbon]\nproject_name = a\n\n\npue = 1.2\n",
    "[codecarbon]\nproject_name = 100%%\n",
    "[codecarbon]\nproject_name = 100%\n",
    "[codecarbon] trailing\nproject_name = a\n",
    "[codecarbon]]\nproject_name = a\n",
    "[ codecarbon ]\nproject_name = a\n",
    "[other]\nproject_name = x\nx = 1\n[codecarbon]\nproject_name = a\n",
    "[other]\nx = 1\nX = 2\n[codecarbon]\nproject_name = a\n",
    "[DEFAULT]\nproject_name = d\npue = 3\n[codecarbon]\npue = 4\n",
    "[DEFAULT]\npue = 3\n",
    "[DEFAULT]\npue = 3\n[DEFAULT]\nproject_name = a\n[codecarbon]\n",
    "[codecarbon]\npue = 1\npue = 2\n",
    "[codecarbon]\npue = 1\n[codecarbon]\n",
    "[codecarbon]\nnonsense\n",
    "[codecarbon]\n= 3\n",
    "[codecarbon\npue = 1\n",
    "pue = 1\n[codecarbon]\n",
    "\u{a0}[codecarbon]\nproject_name = \u{a0}é\u{a0}\n",
];

#[test]
fn its_files_are_read_as_python_reads_them() {
    let Some(codecarbon) = CodeCarbon::find() else { return };
    let input = serde_json::to_string(TEXTS).expect("JSON");
    let read = codecarbon.run("read_configuration.py", &input, |_| {});
    let sections = read["texts"].as_array().expect("sections");
    assert_eq!(sections.len(), TEXTS.len());
    let mut refused = 0;
    for (text, section) in TEXTS.iter().zip(sections) {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join(".codecarbon.config"), text).expect("a file");
        let check = check(root.path(), root.path(), &[]);
        let Some(section) = section.as_object() else {
            refused += 1;
            assert_eq!(check.code, Some(2), "Python refuses {text:?}");
            assert!(check.complaint.contains("/.codecarbon.config:"), "{text:?}: {}", check.complaint);
            continue;
        };
        let value =
            |key: &str, default: &str| section.get(key).map_or(default, |it| it.as_str().expect("text")).to_owned();
        let (name, pue) = (value("project_name", "codecarbon"), value("pue", "1"));
        if pue.contains('\n') {
            // One value for Python, and none for us: the error shows that we read the same.
            assert!(check.complaint.contains("`2\\n[other]`"), "{text:?}: {}", check.complaint);
            continue;
        }
        assert_eq!(check.code, Some(0), "{text:?}: {}", check.complaint);
        assert_eq!(check.settings["carbon.project_name"].0, name, "{text:?}");
        assert_eq!(check.settings["carbon.pue"].0.parse::<f64>(), pue.parse::<f64>(), "{text:?}");
    }
    assert!(refused >= 8, "{refused}");
}
