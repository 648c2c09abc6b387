use super::*;
use crate::export::fixture;
use serde_json::Value;

/// CodeCarbon 3.3.2's `EmissionsData`, in its order.
const CODECARBON: &str = "timestamp project_name run_id experiment_id duration emissions emissions_rate cpu_power \
    gpu_power ram_power cpu_energy gpu_energy ram_energy energy_consumed water_consumed country_name \
    country_iso_code region cloud_provider cloud_region os python_version codecarbon_version cpu_count cpu_model \
    gpu_count gpu_model longitude latitude ram_total_size tracking_mode cpu_utilization_percent \
    gpu_utilization_percent ram_utilization_percent ram_used_gb on_cloud pue wue";

fn parsed() -> Vec<Value> {
    let bytes = lines(&fixture::snapshot(), &fixture::run_info());
    assert_eq!(bytes.last(), Some(&b'\n'));
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind(record: &str) -> Vec<Value> {
    parsed().into_iter().filter(|line| line["record"] == record).collect()
}

#[test]
fn every_line_has_the_common_fields() {
    let all = parsed();
    assert_eq!(all.len(), 10);
    for line in &all {
        assert_eq!(line["schema"], "carbon-agent/1");
        assert_eq!(line["timestamp"], "2026-03-01T12:00:15.001Z");
        assert_eq!(line["project_name"], "TTA-Staging");
        assert_eq!(line["run_id"], "01234567-89ab-4def-8123-456789abcdef");
        assert_eq!(line["environment"], "staging");
        assert_eq!(line["interval_seconds"], 15.0);
        assert_eq!(line["quality"], "measured");
        assert_eq!(line["method"]["cpu_time"], "ebpf");
        assert_eq!(line["method"]["energy"], "rapl-powercap");
        assert_eq!(line["method"]["intensity"], "static:DEU:2024");
        for number in ["interval_cpu_seconds", "interval_emissions", "power_watts"] {
            assert!(line[number].is_f64(), "{number} in {line}");
        }
        let energy = line["interval_energy_joules"].as_object().unwrap();
        assert_eq!(energy.len(), 3, "only covered domains and the total: {energy:?}");
    }
}

#[test]
fn no_key_appears_twice() {
    let text = String::from_utf8(lines(&fixture::snapshot(), &fixture::run_info())).unwrap();
    for key in ["\"timestamp\":", "\"project_name\":", "\"run_id\":", "\"emissions\":"] {
        assert!(text.lines().all(|line| line.matches(key).count() <= 1), "{key}");
    }
}

#[test]
fn joules_round_back_to_whole_microjoules_and_components_sum_to_the_host() {
    let host = &of_kind("host")[0];
    for domain in ["package", "dram", "total"] {
        let microjoules =
            |line: &Value| (line["interval_energy_joules"][domain].as_f64().unwrap() * 1e6).round() as u64;
        let sum: u64 = of_kind("component").iter().map(microjoules).sum();
        assert_eq!(sum, microjoules(host), "{domain}");
        assert!(sum > 0);
    }
}

#[test]
fn host_lines_hold_codecarbons_fields() {
    let host = &of_kind("host")[0];
    let names: Vec<&str> = CODECARBON.split_whitespace().collect();
    assert_eq!(names.len(), 38);
    for name in names {
        assert!(host.get(name).is_some(), "{name} is missing");
    }
    let run = fixture::snapshot().host_run;
    assert_eq!(host["energy_consumed"], run.energy.total().kwh());
    assert_eq!(host["cpu_energy"], run.energy[Domain::Package].kwh());
    assert_eq!(host["ram_energy"], run.energy[Domain::Dram].kwh());
    assert_eq!(host["emissions"], run.emissions.kilograms());
    assert_eq!(host["duration"], 60.0);
    assert_eq!(host["emissions_rate"], run.emissions.kilograms() / 60.0);
    assert_eq!(host["ram_utilization_percent"], 25.0);
    assert_eq!(host["ram_total_size"], 8.0);
    // 18,510 ms busy of 60,000 ms available in the interval; the run is four such intervals on four CPUs.
    assert_eq!(host["cpu_utilization_percent"], 100.0 * 18_510.0 / 60_000.0);
    assert_eq!(host["interval_lines"], 10);
}

#[test]
fn codecarbons_energy_includes_pue_and_the_meters_does_not() {
    let (snapshot, mut run) = (fixture::snapshot(), fixture::run_info());
    run.pue = 1.5;
    let host = serde_json::to_value(host(&snapshot, &run)).unwrap();
    assert_eq!(host["energy_consumed"], snapshot.host_run.energy.total().kwh() * 1.5);
    assert_eq!(host["interval_energy_joules"]["total"], snapshot.host.energy.total().joules());
}

#[test]
fn component_lines_are_cumulative_where_codecarbon_is() {
    let lines = of_kind("component");
    let run = fixture::snapshot().components[0].run;
    assert_eq!(lines[0]["component"], "model_management");
    assert_eq!(lines[0]["emissions"], run.emissions.kilograms());
    assert_eq!(lines[0]["energy_consumed"], run.energy.total().kwh());
    assert_eq!(lines[1]["component"], fixture::HOSTILE);
}

#[test]
fn embodied_emissions_are_beside_the_operational_ones_and_sum_to_the_hosts() {
    let (host, components) = (of_kind("host").remove(0), of_kind("component"));
    assert_eq!((&host["interval_embodied_emissions"], &host["embodied_emissions"]), (&1e-3.into(), &4e-3.into()));
    let sum: f64 = components.iter().map(|line| line["interval_embodied_emissions"].as_f64().unwrap()).sum();
    assert!((sum - 1e-3).abs() < 1e-15, "{sum}");
    assert!(of_kind("process").iter().all(|line| line.get("interval_embodied_emissions").is_none()));

    let mut unknown = fixture::snapshot();
    unknown.embodied = false;
    let text = String::from_utf8(lines(&unknown, &fixture::run_info())).unwrap();
    assert!(!text.contains("embodied"), "not known is not zero");
}

#[test]
fn a_functional_unit_has_figures_of_its_own_time() {
    let lines = of_kind("component");
    let sci = &lines[0]["sci"];
    let interval = fixture::snapshot().components[0].interval;
    assert_eq!(
        (&sci["functional_unit"], &sci["units"], &sci["seconds"]),
        (&"request".into(), &40.0.into(), &15.0.into())
    );
    assert_eq!(sci["operational_emissions"], interval.emissions.kilograms());
    assert_eq!(sci["embodied_emissions"], 4e-4);
    let grams = interval.emissions.grams() + 0.4;
    assert!((sci["grams_per_unit"].as_f64().unwrap() - grams / 40.0).abs() < 1e-15);
    assert!(lines[1].get("sci").is_none(), "a component without a unit has none");

    let mut snapshot = fixture::snapshot();
    let sci = snapshot.components[0].sci.as_mut().unwrap();
    sci.counted.as_mut().unwrap().units = 0.0;
    let line = serde_json::to_value(component(&snapshot, &fixture::run_info(), &snapshot.components[0])).unwrap();
    assert_eq!((&line["sci"]["units"], line["sci"].get("grams_per_unit")), (&0.0.into(), None));
    snapshot.components[0].sci.as_mut().unwrap().counted = None;
    let line = serde_json::to_value(component(&snapshot, &fixture::run_info(), &snapshot.components[0])).unwrap();
    assert!(line.get("sci").is_none(), "a count that could not be read is absent");
}

#[test]
fn process_lines_name_the_process_and_nothing_secret() {
    let lines = of_kind("process");
    assert_eq!(lines[0]["pid"], 4242);
    assert_eq!(lines[0]["start_time"], "2026-03-01T11:00:00.250Z");
    assert_eq!(lines[0]["comm"], "ollama");
    assert_eq!(lines[0]["component"], "model_management");
    assert_eq!(lines[0]["unit"], "ollama.service");
    assert_eq!(lines[0]["exe"], "/usr/bin/ollama");
    assert!(lines[0].get("container").is_none());
    assert_eq!(lines[1]["comm"], fixture::HOSTILE);
    assert_eq!(lines[2]["comm"], "other");
    for absent in ["pid", "start_time", "cmdline", "env"] {
        assert!(lines[2].get(absent).is_none(), "{absent}");
    }
}

#[test]
fn an_interval_of_no_length_yields_numbers() {
    let mut snapshot = fixture::snapshot();
    snapshot.duration = crate::units::Nanos(0);
    snapshot.run_duration = crate::units::Nanos(0);
    let host = serde_json::to_value(host(&snapshot, &fixture::run_info())).unwrap();
    assert_eq!(host["power_watts"], 0.0);
    assert_eq!(host["emissions_rate"], 0.0);
}
