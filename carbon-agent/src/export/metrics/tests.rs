use super::family::{self, Kind, Since};
use super::*;
use crate::export::fixture;
use crate::export::published::Publication;
use crate::units::Emissions;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn series() -> Vec<Series> {
    let own = SelfStats { cpu_seconds: 1.5, max_fds: Some(1024), ..SelfStats::default() };
    collect(Some(&fixture::publication()), &fixture::run_info(), Some(&own))
}

fn line(text: &str, start: &str) -> String {
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{start}: {found:?}\n{text}");
    found[0][start.len()..].trim().to_owned()
}

#[test]
fn every_family_of_the_table_is_emitted_with_its_labels() {
    let emitted: BTreeSet<&str> = series().iter().map(|s| s.family.name).collect();
    let table: BTreeSet<&str> = family::ALL.iter().map(|f| f.name).collect();
    assert_eq!(emitted, table);
    for Series { family, samples } in series() {
        assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
        assert!(family.base().ends_with(family.unit), "{}", family.name);
        for sample in samples {
            assert!(sample.value.is_finite());
            assert_eq!(sample.labels.iter().map(|(name, _)| *name).collect::<Vec<_>>(), family.labels);
        }
    }
}

#[test]
fn values_are_the_snapshots() {
    let text = classic(series());
    let snapshot = fixture::snapshot();
    let number = |start: &str| line(&text, start).parse::<f64>().unwrap();
    assert_eq!(number("carbon_emissions_kg{project=\"TTA-Staging\"}"), snapshot.period_emissions.kilograms());
    assert_eq!(number("carbon_co2e_grams_total{scope=\"embodied\"}"), 10.0);
    assert_eq!(number("carbon_component_embodied_co2e_grams_total{component=\"model_management\"}"), 4.0);
    assert_eq!(number("carbon_component_embodied_co2e_grams_total{component=\"kernel\"}"), 0.0);
    let unit = "{component=\"model_management\",functional_unit=\"request\"}";
    assert_eq!(number(&format!("carbon_component_functional_units_total{unit}")), 400.0);
    let grams = snapshot.components[0].lifetime.emissions.grams() + 4.0;
    assert!((number(&format!("carbon_component_sci_co2e_grams_total{unit}")) - grams).abs() < 1e-12);
    assert!((number(&format!("carbon_component_sci_grams_per_unit{unit}")) - grams / 400.0).abs() < 1e-12);
    assert_eq!(number("carbon_host_idle_power_watts{domain=\"package\",socket=\"0\"}"), 10.0);
    assert_eq!(
        number("carbon_host_power_watts{domain=\"dram\",socket=\"0\"}"),
        snapshot.meters[1].interval.watts_over(snapshot.duration)
    );
    assert_eq!(
        number("carbon_component_energy_joules_total{component=\"model_management\",domain=\"package\"}"),
        snapshot.components[0].lifetime.energy[crate::energy::Domain::Package].joules()
    );
    assert_eq!(number("carbon_component_cpu_seconds_total{component=\"model_management\"}"), 120.0);
    assert_eq!(
        number("carbon_process_cpu_seconds_total{pid=\"4242\",comm=\"ollama\",component=\"model_management\"}"),
        30.0
    );
    assert_eq!(number("carbon_energy_unattributed_joules_total{domain=\"dram\"}"), 9.99997);
    assert_eq!(number("carbon_attribution_residual_joules{domain=\"package\"}"), 0.0);
    assert_eq!(number("carbon_stage_up{stage=\"probe\"}"), 1.0);
    assert_eq!(number("carbon_stage_up{stage=\"intensity\"}"), 0.0);
    assert_eq!(number("carbon_stage_up{stage=\"files\"}"), 1.0);
    assert_eq!(number("carbon_errors_total{stage=\"energy\",kind=\"implausible\"}"), 2.0);
    assert_eq!(number("carbon_last_sample_timestamp_seconds"), 1_772_366_415.001);
    assert!(!text.contains("comm=\"other\""), "a sum over changing processes is no counter");
}

#[test]
fn what_is_not_known_is_absent() {
    let mut publication = fixture::publication();
    publication.snapshot.components[0].sci.as_mut().unwrap().counted = None;
    let text = classic(collect(Some(&publication), &fixture::run_info(), None));
    assert!(!text.contains("carbon_component_sci_grams_per_unit{"), "a count that could not be read is no zero");
    assert!(text.contains("carbon_component_functional_units_total{"), "what was counted before stands");
    publication.snapshot.components[0].sci.as_mut().unwrap().lifetime = None;
    publication.snapshot.embodied = false;
    publication.snapshot.host_lifetime.embodied = Emissions(0);
    let text = classic(collect(Some(&publication), &fixture::run_info(), None));
    for absent in ["functional_units", "sci_co2e", "embodied_co2e", "scope=\"embodied\""] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[test]
fn classic_text_names_counters_in_full_and_openmetrics_by_family() {
    let (classic, openmetrics) = (classic(series()), openmetrics(series()));
    assert!(classic.contains("# TYPE carbon_host_energy_joules_total counter\n"));
    assert!(openmetrics.contains("# TYPE carbon_host_energy_joules counter\n"));
    assert!(openmetrics.contains("# UNIT carbon_host_energy_joules joules\n"));
    assert!(openmetrics.ends_with("# EOF\n"));
    assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
    let samples = |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(samples(&classic), samples(&openmetrics));
}

#[test]
fn hostile_names_stay_in_their_label() {
    let text = classic(series());
    let expected = "component=\"\\\"}\\n<b>\\\\x\u{1b}[31m,é\"";
    assert!(text.contains(&format!("carbon_component_power_watts{{{expected}}}")), "{text}");
}

#[test]
fn a_series_appears_once_even_when_a_pid_was_reused() {
    let mut publication: Publication = fixture::publication();
    let mut again = publication.snapshot.processes[0].clone();
    again.identity.as_mut().unwrap().start_time += std::time::Duration::from_secs(5);
    again.run = fixture::usage(1, 0, 7);
    publication.snapshot.processes.push(again);
    let text = classic(collect(Some(&publication), &fixture::run_info(), None));
    assert_eq!(
        line(&text, "carbon_process_cpu_seconds_total{pid=\"4242\",comm=\"ollama\","),
        "component=\"model_management\"} 0.007"
    );
    let names: Vec<&str> =
        text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' ').map(|(name, _)| name)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn before_the_first_interval_there_is_the_agent_itself() {
    let text = classic(collect(None, &fixture::run_info(), None));
    assert_eq!(
        line(&text, "carbon_build_info{version="),
        format!("\"{}\",probe_object=\"sha256:abc\"}} 1.0", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(line(&text, "carbon_emissions_threshold_kg "), "1.0");
}

#[test]
fn promtool_accepts_the_exposition() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(why) => {
            eprintln!("not run, promtool (package prometheus) does not start: {why}");
            assert!(std::env::var_os("CI").is_none(), "CI must have promtool");
            return;
        }
    };
    child.stdin.take().unwrap().write_all(classic(series()).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_family_is_explained() {
    for family in family::ALL {
        assert!(family.help.len() > 20, "{}", family.name);
        assert!(family.example.contains(family.name), "{}: the example is about it", family.name);
        let counts = matches!(family.since, Since::Ever | Since::Run | Since::Process);
        assert_eq!(counts, family.kind == Kind::Counter, "{}: counters count since a beginning", family.name);
    }
}

#[test]
fn metrics_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, family::markdown()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, family::markdown(), "docs/metrics.md is stale: run UPDATE_DOCS=1 cargo test metrics_page");
}
