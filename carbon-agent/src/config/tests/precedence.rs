//! Flag over environment over file over default.

use super::*;

#[test]
fn flag_over_environment_over_file_over_default() {
    let file = "carbon: {project_name: file, measurement_interval: 20, log_level: debug}";
    let env = [("CARBON_PROJECT_NAME", "env"), ("CARBON_MEASUREMENT_INTERVAL", "30"), ("TTA_ENV", "staging")];
    let loaded = resolve_all(file, &env, "--project-name flag").unwrap();
    let config = &loaded.config;
    assert_eq!(config.project_name, "flag");
    assert_eq!(config.measurement_interval, Duration::from_secs(30));
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.environment.as_deref(), Some("staging"));
    for (key, origin) in [
        ("carbon.project_name", Origin::Flag("--project-name")),
        ("carbon.measurement_interval", Origin::Env("CARBON_MEASUREMENT_INTERVAL".to_owned())),
        ("carbon.log_level", Origin::File(1)),
        ("carbon.pue", Origin::Default),
        ("carbon.environment", Origin::Env("TTA_ENV".to_owned())),
    ] {
        assert_eq!(loaded.origin(key), &origin, "{key}");
    }
    // An empty variable is an unset one.
    assert_eq!(resolve_all(file, &[("CARBON_PROJECT_NAME", "")], "").unwrap().config.project_name, "file");
}

#[test]
fn every_setting_has_its_variable() {
    let env = [
        ("CARBON_INTENSITY__ZONE", "FRA"),
        ("CARBON_PROBE__CELLS_PER_CPU", "64"),
        ("CARBON_OUTPUT__RETAIN_DAYS", "7"),
        ("CARBON_EMBODIED__TOTAL_KG", "100"),
        ("CARBON_MONITORING__METRICS_PORT", "1234"),
        ("CARBON_MONITORING__CARBON__EMISSIONS_THRESHOLD_KG", "2.5"),
        ("CARBON_LOGGING__FORMAT", "json"),
        ("CARBON_OUTPUT_DIR", "/out"),
        ("CARBON_LOG_LEVEL", "ERROR"),
    ];
    let config = resolve_all("", &env, "").unwrap().config;
    assert_eq!(config.intensity, [IntensitySource::Zone("FRA".to_owned())]);
    assert_eq!(config.probe.cells_per_cpu, 64);
    assert_eq!(config.output.retain_days, 7);
    assert_eq!(config.embodied, Some(Embodied { total_kg: 100.0, lifetime_years: 4.0 }));
    assert_eq!(config.listen.port, 1234);
    assert_eq!(config.alert.threshold_kg, 2.5);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.output_dir, Path::new("/out"));
    assert_eq!(config.log.level, LogLevel::Error);
}

#[test]
fn variables_and_flags_are_judged_like_the_file() {
    let env = [("CARBON_PUE", "0"), ("CARBON_INTENSITY__GRAMS_PER_KWH", "-1"), ("CARBON_LOG_FORMAT", "xml")];
    assert_eq!(
        resolve_all("", &env, "--interval soon --listen nowhere:99999 --sample-interval 0").unwrap_err(),
        [
            "CARBON_LOG_FORMAT: `xml`: expected one of text, json",
            "--interval: `soon`: expected seconds, a number from 0.01 to 86400",
            "--sample-interval: `0`: expected seconds, a number from 0.01 to 86400",
            "CARBON_INTENSITY__GRAMS_PER_KWH: `-1`: expected a number from 0 to 5000",
            "CARBON_PUE: `0`: expected a number from 1 to 10",
            "--listen: `nowhere:99999`: expected ADDR:PORT, such as 127.0.0.1:9090 or [::1]:9090",
        ]
    );
    assert_eq!(
        resolve_all("carbon: {measurement_interval: 5}", &[], "--sample-interval 7").unwrap_err(),
        ["--sample-interval: `7` is longer than measurement_interval (5, file, line 1); expected at most that"]
    );
}

#[test]
fn unknown_variables_are_warned_of_but_no_error() {
    let env = [("CARBON_PROJECT", "x"), ("CARBON_INTENSITY_ZONE", "x"), ("CARBON_QQQ", "secret"), ("TTA_OTHER", "x")];
    assert_eq!(
        resolve_all("", &env, "").unwrap().warnings,
        [
            "CARBON_INTENSITY_ZONE: no such setting, ignored; did you mean CARBON_INTENSITY__ZONE?",
            "CARBON_PROJECT: no such setting, ignored; did you mean CARBON_PROJECT_NAME?",
            "CARBON_QQQ: no such setting, ignored",
        ]
    );
}
