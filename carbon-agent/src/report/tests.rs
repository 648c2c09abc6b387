use super::*;
use crate::cli::ReportFormat;
use crate::export::{fixture, json};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;

/// The fixture's interval at another time.
fn interval(at: &str) -> Vec<u8> {
    let mut snapshot = fixture::snapshot();
    snapshot.timestamp = at.parse().unwrap();
    json::lines(&snapshot, &fixture::run_info())
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Three days of one interval each, as rotation leaves them, and rubbish.
fn directory() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
    let old = interval("2026-02-27T10:00:00Z");
    write("emissions_20260227.json.2.gz", &gz(&old));
    write("emissions_20260228.json.1", &interval("2026-02-28T10:00:00Z"));
    write("emissions_20260228.json.1.gz", b"half written by gzip");
    let mut today = interval("2026-03-01T10:00:00Z");
    today.extend(b"{\"schema\":\"carbon-agent/1\",\"record\":\"comp\n\0\0\0\nnot json\n{\"schema\":\"other/1\"}\n\n");
    today.extend(interval("2026-03-01T11:00:00Z"));
    write("emissions_20260301.json", &today);
    write("emissions_20260301.json.torn", b"{\"torn\n");
    write("unrelated.json", &old);
    root
}

fn report(by: ReportBy, hours: u64) -> Report {
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    read(directory().path(), by, Duration::from_secs(hours * 3600), now).unwrap()
}

#[test]
fn components_sum_to_the_host_over_all_files() {
    let report = report(ReportBy::Component, 24 * 7);
    let one = fixture::snapshot().host.energy.total().0;
    assert_eq!(report.sums.host.microjoules, 4 * one);
    assert_eq!(report.sums.rows.values().map(|sum| sum.microjoules).sum::<u64>(), 4 * one);
    assert_eq!(report.sums.rows["model_management"].microjoules, 4 * 105_000_001);
    assert!((report.sums.rows["model_management"].cpu_seconds - 48.0).abs() < 1e-9);
    assert_eq!(report.sums.seconds, 60.0);
    assert_eq!(report.sums.first.as_deref(), Some("2026-02-27T10:00:00.000Z"));
    assert_eq!(report.sums.last.as_deref(), Some("2026-03-01T11:00:00.000Z"));
    assert_eq!((report.files, report.sums.damaged), (3, 4));
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
}

#[test]
fn only_the_time_asked_for_counts() {
    let one = fixture::snapshot().host.energy.total().0;
    for (hours, intervals) in [(24 * 7, 4), (48, 3), (24, 2), (2, 1), (1, 0)] {
        assert_eq!(report(ReportBy::Component, hours).sums.host.microjoules, intervals * one, "{hours} h");
    }
}

#[test]
fn other_views() {
    let names = |by| {
        let mut names: Vec<String> = report(by, 24 * 7).sums.rows.into_keys().collect();
        names.sort();
        names
    };
    assert_eq!(names(ReportBy::Day), ["2026-02-27", "2026-02-28", "2026-03-01"]);
    assert_eq!(names(ReportBy::Process), [fixture::HOSTILE, "ollama", "other"]);
    assert_eq!(names(ReportBy::Unit), ["(none)", "ollama.service"]);
    assert_eq!(names(ReportBy::Container), ["(none)"]);
}

#[test]
fn every_format_holds_the_rows() {
    let report = report(ReportBy::Component, 24 * 7);
    let table = render(&report, ReportFormat::Table);
    assert!(
        table.starts_with("1.30 kJ (360 mWh), 137 mg CO2e, 21.6 W on average, over 1m 00s measured between"),
        "{table}"
    );
    assert!(table.contains("4 of 44 lines were damaged"), "{table}");
    assert!(!table.contains('\u{1b}'));
    let json: serde_json::Value = serde_json::from_str(&render(&report, ReportFormat::Json)).unwrap();
    assert_eq!(json["rows"][0]["name"], "idle");
    assert_eq!(json["rows"].as_array().unwrap().len(), 6);
    let csv = render(&report, ReportFormat::Csv);
    assert!(csv.starts_with(
        "name,cpu_seconds,energy_joules,energy_kwh,emissions_kg,mean_power_watts,share_percent,\
         embodied_kg,functional_unit,functional_units,sci_grams_per_unit\n"
    ));
    assert_eq!(csv::Reader::from_reader(csv.as_bytes()).records().count(), 6);
    let html = render(&report, ReportFormat::Html);
    assert!(html.contains("model_management") && !html.contains("<b>\\x"), "{html}");
}

#[test]
fn sci_is_of_the_sums_and_not_a_mean_of_intervals() {
    let root = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    // The first has no unit, the second could not be counted, the others have very different figures.
    for (second, units) in [(0, Some(0.0)), (15, None), (30, Some(10.0)), (45, Some(1000.0))] {
        let mut snapshot = fixture::snapshot();
        snapshot.timestamp = "2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(second);
        let sci = snapshot.components[0].sci.as_mut().unwrap();
        sci.counted = sci.counted.zip(units).map(|(counted, units)| crate::carbon::Sci { units, ..counted });
        lines.extend(json::lines(&snapshot, &fixture::run_info()));
    }
    let file = root.path().join("emissions_20260301.json");
    fs::write(&file, &lines).unwrap();
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let read = || read(root.path(), ReportBy::Component, Duration::from_secs(86_400), now).unwrap();
    let report = read();
    let interval = fixture::snapshot().components[0].interval;
    let expected = 3.0 * (interval.emissions.grams() + 0.4) / 1010.0;

    let json: serde_json::Value = serde_json::from_str(&render(&report, ReportFormat::Json)).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "model_management").unwrap();
    assert_eq!((&row["functional_unit"], &row["functional_units"]), (&"request".into(), &1010.0.into()));
    let sci = row["sci_grams_per_unit"].as_f64().unwrap();
    assert!((sci - expected).abs() < 1e-15, "{sci}, {expected}");
    let embodied = |row: &serde_json::Value| row["embodied_kg"].as_f64().unwrap();
    assert!((embodied(row) - 4.0 * 4e-4).abs() < 1e-15 && (embodied(&json["host"]) - 4e-3).abs() < 1e-15);
    assert!((rows.iter().map(embodied).sum::<f64>() - 4e-3).abs() < 1e-15, "the rows sum to the host");
    assert!(rows.iter().find(|row| row["name"] == "idle").unwrap()["sci_grams_per_unit"].is_null());

    let cell = format!("{}/request", crate::export::figures::scaled(expected, "g"));
    for format in [ReportFormat::Table, ReportFormat::Html] {
        let text = render(&report, format);
        for word in [&cell, "embodied", "SCI", "1010 request"] {
            assert!(text.contains(word), "{word}\n{text}");
        }
    }

    let other =
        String::from_utf8(lines).unwrap().replacen("\"functional_unit\":\"request\"", "\"functional_unit\":\"<b>\"", 1);
    fs::write(&file, other).unwrap();
    let mixed = render(&read(), ReportFormat::Html);
    assert!(mixed.contains("model_management changed its functional unit") && !mixed.contains("<b>"), "{mixed}");
}

#[test]
fn rows_of_an_agent_that_knew_no_embodied_emissions_are_read() {
    let text = String::from_utf8(interval("2026-03-01T10:00:00Z")).unwrap();
    let old: String = text
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            let fields = line.as_object_mut().unwrap();
            fields.retain(|name, _| name != "sci" && !name.contains("embodied"));
            format!("{line}\n")
        })
        .collect();
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("emissions_20260301.json"), old).unwrap();
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let report = read(root.path(), ReportBy::Component, Duration::from_secs(86_400), now).unwrap();
    assert_eq!((report.sums.damaged, report.sums.host.embodied_kg), (0, 0.0));
    let table = render(&report, ReportFormat::Table);
    assert!(!table.contains("embodied") && !table.contains("SCI"), "{table}");
}

#[test]
fn nothing_recorded_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let report = read(empty.path(), ReportBy::Day, Duration::from_secs(1), Timestamp::now()).unwrap();
    assert!(render(&report, ReportFormat::Table).starts_with("Nothing was recorded since"));
    let missing = empty.path().join("missing");
    let error = read(&missing, ReportBy::Day, Duration::from_secs(1), Timestamp::now()).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_damaged_archive_is_named_and_the_rest_is_read() {
    let root = directory();
    fs::write(root.path().join("emissions_20260301.json.3.gz"), &gz(&interval("2026-03-01T09:00:00Z"))[..200]).unwrap();
    fs::write(root.path().join("emissions_20260301.json.4.xz"), b"").unwrap();
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let report = read(root.path(), ReportBy::Day, Duration::from_secs(86_400), now).unwrap();
    assert_eq!(report.skipped.len(), 2, "{:?}", report.skipped);
    assert!(report.skipped[1].contains("only gzip"));
    assert_eq!(report.sums.host.microjoules, 2 * fixture::snapshot().host.energy.total().0);
}

#[test]
fn names_without_number_are_bounded() {
    let mut sums = Sums::new(ReportBy::Process, String::new());
    for n in 0..50_000u64 {
        let line = format!(
            "{{\"schema\":\"carbon-agent/1\",\"record\":\"process\",\"timestamp\":\"2026\",\"comm\":\"{n}\",\"interval_seconds\":1,\
             \"interval_cpu_seconds\":1,\"interval_energy_joules\":{{\"total\":{n}}},\"interval_emissions\":0,\"quality\":\"measured\"}}"
        );
        sums.line(line.as_bytes());
    }
    assert!(sums.rows.len() <= 20_001);
    let total: u64 = sums.rows.values().map(|sum| sum.microjoules).sum();
    assert_eq!(total, (0..50_000u64).sum::<u64>() * 1_000_000);
    assert_eq!(sums.damaged, 0);
}
