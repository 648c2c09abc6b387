//! One table a behaviour: what goes in, what comes out.

use super::*;
use crate::identity::rules::{Field, Match};
use std::time::Duration;

fn flags(line: &str) -> Globals {
    use clap::Parser;
    let words = ["carbon-agent", "run"].into_iter().chain(line.split_whitespace());
    crate::cli::Cli::try_parse_from(words).expect(line).globals
}

fn resolve_all(yaml: &str, env: &[(&str, &str)], line: &str) -> Result<Loaded, Vec<String>> {
    let path = PathBuf::from("/etc/app/c.yaml");
    let layer = file::parse(&path, yaml);
    let environment: Environment = env.iter().copied().collect();
    let codecarbon = codecarbon::Layer::parse(Vec::new(), &environment);
    resolve::resolve(Some(path), layer, codecarbon, &environment, &flags(line).given())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn loaded(yaml: &str) -> Loaded {
    resolve_all(yaml, &[], "").unwrap_or_else(|errors| panic!("{yaml}\n{errors:#?}"))
}

#[track_caller]
fn config(yaml: &str) -> Config {
    loaded(yaml).config
}

/// The errors of a file, without the name of the file.
#[track_caller]
fn check_errors(yaml: &str, expected: &[&str]) {
    let errors = resolve_all(yaml, &[], "").expect_err(yaml);
    let errors: Vec<&str> =
        errors.iter().map(|error| error.strip_prefix("/etc/app/c.yaml:").unwrap_or(error)).collect();
    assert_eq!(errors, expected, "\n{yaml}");
}

#[track_caller]
fn check_warnings(yaml: &str, expected: &[&str]) {
    let warnings = loaded(yaml).warnings;
    let warnings: Vec<&str> =
        warnings.iter().map(|text| text.strip_prefix("/etc/app/c.yaml:").unwrap_or(text)).collect();
    assert_eq!(warnings, expected, "\n{yaml}");
}

const CONTRACT: &str = r#"
carbon:
  enabled: true
  project_name: "TTA-Staging"
  output_dir: "/var/log/tta/staging/codecarbon"
  state_dir: "/var/lib/carbon-agent"     # counters that survive a restart
  log_level: "info"                      # debug info warning error critical
  measurement_interval: 15               # seconds; what is exported
  sample_interval: 1                     # seconds; how often energy and CPU time are read
  track_components: true
  accounting_period: day                 # day | week | month | run
  idle: separate                         # separate | proportional | even
  components:                            # first match wins
    - name: model_management
      match: { unit: "ollama.service" }
    - name: player_experience
      match: { any: [ { container: "tta-staging-player-api*" }, { exe: "*/uvicorn" }, { cmdline: "*player_experience*" } ] }
  intensity:
    provider: electricity_maps
    zone: DE
    token_file: /etc/tta/staging/electricity_maps.token
  pue: 1.0
  embodied: { total_kg: 1200, lifetime_years: 4 }
  process_top: 50
monitoring:
  metrics_port: 9090
  carbon: { alert_on_high_emissions: true, emissions_threshold_kg: 1.0 }
logging:
  format: json
  components: { carbon: { level: info, file: "/var/log/tta/staging/carbon.log" } }
"#;

fn key(field: Field, glob: &str) -> Match {
    Match::Key { field, glob: glob.to_owned() }
}

#[test]
fn the_documented_example_means_what_it_says() {
    let loaded = loaded(CONTRACT);
    assert_eq!(loaded.warnings, [""; 0]);
    let config = &loaded.config;
    assert_eq!(config.project_name, "TTA-Staging");
    assert_eq!(config.output_dir, Path::new("/var/log/tta/staging/codecarbon"));
    assert_eq!(config.measurement_interval, Duration::from_secs(15));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.log.file.as_deref(), Some(Path::new("/var/log/tta/staging/carbon.log")));
    assert_eq!(config.embodied, Some(Embodied { total_kg: 1200.0, lifetime_years: 4.0 }));
    assert_eq!(config.alert, AlertConfig { on_high_emissions: true, threshold_kg: 1.0 });
    assert_eq!(
        config.intensity,
        [IntensitySource::Provider(ProviderSource {
            provider: Provider::ElectricityMaps,
            zone: Some("DE".to_owned()),
            username: None,
            token: Some(Token::File("/etc/tta/staging/electricity_maps.token".into())),
            url: None,
        })]
    );
    assert_eq!(config.components[0].name, "model_management");
    assert_eq!(config.components[0].matching, key(Field::Unit, "ollama.service"));
    assert_eq!(
        config.components[1].matching,
        Match::Any(vec![
            key(Field::Container, "tta-staging-player-api*"),
            key(Field::Exe, "*/uvicorn"),
            key(Field::Cmdline, "*player_experience*"),
        ])
    );
    assert_eq!(loaded.origin("carbon.process_top"), &Origin::File(24));
    assert_eq!(loaded.origin("carbon.log_format"), &Origin::File(29));
    assert_eq!(loaded.origin("carbon.output.retain_days"), &Origin::Default);
}

#[test]
fn with_nothing_set_the_defaults_hold() {
    let config = Config::default();
    assert_eq!(config.measurement_interval, Duration::from_secs(15));
    assert_eq!(config.sample_interval, Duration::from_secs(1));
    assert_eq!(config.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.output_dir, Path::new("."));
    assert_eq!(config.project_name, "codecarbon");
    assert_eq!(config.state_dir, Path::new("/var/lib/carbon-agent"));
    assert_eq!(config.host.sysfs, Path::new("/sys"));
    assert_eq!(config.output.retain_days, 84);
    assert_eq!((config.intensity, config.components, config.embodied), (vec![], vec![], None));
    for nothing in ["", "\n# only a comment\n", "---\n", "~", "carbon:\n", "carbon: ~", "other: 1", "carbon: {}", "{}"]
    {
        assert_eq!(super::tests::config(nothing), Config::default(), "{nothing:?}");
    }
    // A key without a value is as if it were not there.
    assert_eq!(super::tests::config("carbon: {pue: ~, components: ~, intensity: ~, embodied: }"), Config::default());
}

#[test]
fn bad_values_name_line_key_value_and_what_is_allowed() {
    for (line, message) in [
        ("pue: 0.9", "pue: `0.9`: expected a number from 1 to 10"),
        ("pue: .nan", "pue: `.nan`: expected a number from 1 to 10"),
        ("pue: NaN", "pue: `NaN`: expected a number from 1 to 10"),
        ("pue: 1,5", "pue: `1,5`: expected a number from 1 to 10"),
        ("pue: [1]", "pue: expected a single value, found a list"),
        ("enabled: maybe", "enabled: `maybe`: expected true or false"),
        ("log_level: loud", "log_level: `loud`: expected one of trace, debug, info, warning, error, critical"),
        ("idle: shared", "idle: `shared`: expected one of separate, proportional, even"),
        ("accounting_period: year", "accounting_period: `year`: expected one of day, week, month, run"),
        ("measurement_interval: 0", "measurement_interval: `0`: expected seconds, a number from 0.01 to 86400"),
        ("measurement_interval: -5", "measurement_interval: `-5`: expected seconds, a number from 0.01 to 86400"),
        ("measurement_interval: 15s", "measurement_interval: `15s`: expected seconds, a number from 0.01 to 86400"),
        ("sample_interval: inf", "sample_interval: `inf`: expected seconds, a number from 0.01 to 86400"),
        (
            "sample_interval: 20",
            "sample_interval: `20` is longer than measurement_interval (15, default); expected at most that",
        ),
        ("process_top: 1.5", "process_top: `1.5`: expected a whole number from 0 to 100000"),
        ("project_name: \"\"", "project_name: ``: expected a text, not an empty one"),
        ("project_name: \"a\\nb\"", "project_name: `a\\nb`: control characters are not allowed"),
        (
            "output_dir: ${HOME}/x",
            "output_dir: `${HOME}/x`: placeholders are not filled in here; write the value, or set the environment \
             variable",
        ),
        ("output_dir: !env HOME", "output_dir: the tag `!env` is not understood here"),
        ("embodied: 1200", "embodied: expected a mapping of total_kg, lifetime_years, found a single value"),
        ("embodied: {total_kg: -1}", "embodied.total_kg: `-1`: expected a number from 0 to 1000000"),
        ("energy: {source: sun}", "energy.source: `sun`: expected one of auto, rapl, perf, hwmon, model"),
        (
            "energy: {model_min_watts: 9, model_max_watts: 3}",
            "energy.model_min_watts: `9` is more than model_max_watts (`3`); expected at most that",
        ),
        ("listen: \"9090\"", "listen: `9090`: expected ADDR:PORT, such as 127.0.0.1:9090 or [::1]:9090"),
        (
            "output: {max_bytes: lots}",
            "output.max_bytes: `lots`: expected a whole number of bytes, with K, M, G or T for powers of 1024",
        ),
    ] {
        check_errors(
            &format!("app: 1\ncarbon:\n  enabled: yes\n  {line}\n").replace("  enabled: yes\n  enabled", "\n  enabled"),
            &[&format!("4: carbon.{message}")],
        );
    }
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    for (line, message) in [
        ("prject_name: x", "prject_name: unknown key; did you mean `project_name`?"),
        ("measurementInterval: 3", "measurementInterval: unknown key; did you mean `measurement_interval`?"),
        ("component: []", "component: unknown key; did you mean `components`?"),
        ("zone: DEU", "zone: unknown key; did you mean `carbon.intensity.zone`?"),
        ("metrics_port: 1", "metrics_port: unknown key; did you mean `monitoring.metrics_port`?"),
        ("intensity: {zones: DEU}", "intensity.zones: unknown key; did you mean `zone`?"),
        ("intensity: [{zones: DEU}]", "intensity[0].zones: unknown key; did you mean `zone`?"),
        ("embodied: {total: 1}", "embodied.total: unknown key; did you mean `total_kg`?"),
        ("embodied: {x: 1}", "embodied.x: unknown key; known here: total_kg, lifetime_years"),
        ("components: [{nam: x, match: {exe: y}}]", "components[0].nam: unknown key; did you mean `name`?"),
        ("components: [{name: x, match: {exec: y}}]", "components[0].match.exec: unknown key; did you mean `exe`?"),
        (
            "components: [{name: x, match: {not: {continer: y}}}]",
            "components[0].match.not.continer: unknown key; did you mean `container`?",
        ),
        ("\"a\\nb\": 1", "a\\nb: unknown key; known here: "),
    ] {
        let errors = resolve_all(&format!("carbon:\n  {line}\n"), &[], "").expect_err(line);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        let expected = format!("/etc/app/c.yaml:2: carbon.{message}");
        assert!(errors[0] == expected || expected.ends_with(": ") && errors[0].starts_with(&expected), "{}", errors[0]);
        assert!(!errors[0].contains('\n'));
    }
}

#[test]
fn all_errors_are_told_at_once() {
    check_errors(
        "carbon:\n  pue: 0\n  colour: red\n  idle: x\n  components:\n    - name: kernel\n      match: {exe: '['}\n    - {}\n",
        &[
            "2: carbon.pue: `0`: expected a number from 1 to 10",
            "3: carbon.colour: unknown key; known here: enabled, project_name, environment, output_dir, state_dir, \
             log_level, log_format, log_file, measurement_interval, sample_interval, track_components, \
             accounting_period, idle, weights, process_top, intensity, pue, embodied, listen, probe, energy, output, host, \
             kubernetes, components",
            "4: carbon.idle: `x`: expected one of separate, proportional, even",
            "6: carbon.components[0].name: `kernel` is a reserved name; reserved are unassigned, kernel, idle, \
             unattributed, other",
            "7: carbon.components[0].match.exe: `[` is not a glob: unclosed character class; missing ']'",
            "8: carbon.components[1]: has no `name`",
        ],
    );
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    for (text, start) in [
        ("carbon: [1", "1: not valid YAML: "),
        ("a: 1\ncarbon:\n  pue: 1\n bad\n", "4: not valid YAML: "),
        ("a: b: c", "1: not valid YAML: "),
        ("just a sentence", "1: expected sections such as `carbon:`, found a single value: is this YAML?"),
        ("- 1\n- 2", "1: expected sections such as `carbon:`, found a list: is this YAML?"),
        ("carbon: true", "1: carbon: expected a mapping of enabled, "),
        ("\n\ncarbon: [1]", "3: carbon: expected a mapping of enabled, "),
        ("carbon: {}\nx: 1\ncarbon: {}", "3: carbon: a second `carbon:` section; the first is on line 1"),
        ("carbon:\n  pue: 1\n  pue: 2", "3: carbon.pue: given twice; the first is on line 2"),
        ("a: 1\nb: \0\n", "2: not valid YAML: control characters are not allowed"),
        ("carbon: {}\na: *b\n", "2: not valid YAML: the alias *b has no anchor before it"),
        ("carbon:\n  [a]: 2", "2: carbon: expected a key, found a list"),
    ] {
        let errors = resolve_all(text, &[], "").expect_err(text);
        let error = errors[0].strip_prefix("/etc/app/c.yaml:").unwrap();
        assert!(errors.len() == 1 && error.starts_with(start), "{text:?}: {errors:#?}");
    }
}

#[test]
fn the_applications_own_sections_are_passed_over_whatever_they_hold() {
    for other in [
        "model_management:\n  api_key: \"${OPENROUTER_API_KEY}\"\n  url: ${URL}/x",
        "docker: &d {image: x}\nother: {<<: *d, y: *d}",
        "vault: !secret 'abc'\nlist: !!python/tuple [1, 2]\nset: !!set {a, b}",
        "twice: 1\ntwice: 2\nnested: {a: 1, a: 2}",
        "? [complex, key]\n: value\n? {a: b}\n: value",
        "~: null key\n1: number\ntrue: bool\n'': empty",
        "text: |\n  carbon:\n    pue: 0\nfolded: >-\n  more",
        "deep: {carbon: {pue: 0, nonsense: 1}}",
        "date: 2025-10-08\noctal: 0o17\nhex: 0xff\nnan: .nan\nbig: 99999999999999999999999",
        "selfish: &s [*s, *s]",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
         d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
         g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]",
        "monitoring: true\nlogging: off",
        "monitoring: [1]\nlogging: {format: , components: [carbon]}",
        "monitoring: {enabled: x, carbon: {unknown: 1}, prometheus: {port: 1}}",
        "origins: [\n  a,\n]\nports: {\n  a: 1\n}\ntab:\tx\ntext: \"several\nlines\"",
        "umlaut: größe\nemoji: 🌍",
    ] {
        for text in [format!("{other}\ncarbon: {{pue: 2}}\n"), format!("carbon: {{pue: 2}}\n{other}\n")] {
            let loaded = loaded(&text);
            assert_eq!(loaded.config, Config { pue: 2.0, ..Config::default() }, "{text}");
            assert_eq!(loaded.warnings, [""; 0], "{text}");
        }
    }
}

#[test]
fn several_documents_and_windows_line_ends_are_read() {
    assert_eq!(config("a: 1\n---\ncarbon: {pue: 2}\n---\nb: 2\n").pue, 2.0);
    assert_eq!(config("%YAML 1.2\n---\r\ncarbon:\r\n  pue: 2\r\n...\r\n").pue, 2.0);
    assert_eq!(config("\u{feff}carbon:\n  pue: 2\n").pue, 2.0);
    assert_eq!(config("just text\n---\ncarbon: {pue: 2}").pue, 2.0);
    check_errors(
        "carbon: {pue: 2}\n---\ncarbon: {pue: 3}\n",
        &["3: carbon: a second `carbon:` section; the first is on line 1"],
    );
}

#[test]
fn anchors_and_merge_keys_work_inside_our_section() {
    let config = config(
        "shared: &shared {pue: 1.5, process_top: 7, project_name: theirs}\nname: &name ours\n\
         carbon:\n  <<: *shared\n  project_name: *name\n",
    );
    assert_eq!((config.pue, config.process_top, config.project_name.as_str()), (1.5, 7, "ours"));
    let list = super::tests::config("a: &a {pue: 2}\nb: &b {pue: 3, process_top: 3}\ncarbon: {<<: [*a, *b]}");
    assert_eq!((list.pue, list.process_top), (2.0, 3));
    check_errors(
        "carbon: &c\n  <<: *c\n  components: &r\n    - name: x\n      match: &m {any: [*m, *m]}\n",
        &["5: carbon.components: nested deeper than 16"],
    );
}

#[test]
fn values_are_read_as_the_application_reads_them() {
    for text in ["true", "True", "yes", "on", "'true'"] {
        assert!(config(&format!("carbon: {{enabled: {text}}}")).enabled, "{text}");
    }
    for text in ["false", "False", "no", "off"] {
        assert!(!config(&format!("carbon: {{enabled: {text}}}")).enabled, "{text}");
    }
    assert_eq!(config("carbon: {log_level: WARNING}").log.level, LogLevel::Warning);
    assert_eq!(config("carbon: {log_level: critical}").log.level.tracing(), tracing::Level::ERROR);
    assert_eq!(config("carbon: {project_name: 2025-10-08}").project_name, "2025-10-08");
    // Norway's problem: not a boolean here.
    assert_eq!(config("carbon: {project_name: NO}").project_name, "NO");
    assert_eq!(config("carbon: {measurement_interval: '15'}").measurement_interval, Duration::from_secs(15));
    assert_eq!(config("carbon: {sample_interval: 0.1}").sample_interval, Duration::from_millis(100));
    assert_eq!(config("carbon: {output: {max_bytes: 512M}}").output.max_bytes, 512 << 20);
    assert_eq!(config("carbon: {output: {max_bytes: '2 G'}}").output.max_bytes, 2 << 30);
    assert_eq!(config("carbon: {probe: {interrupts: on, cells_per_cpu: 64}}").probe.interrupts, Interrupts::On);
}

#[test]
fn the_applications_logging_and_monitoring_are_read_with_care() {
    assert_eq!(config("logging: {components: {carbon: {level: debug}}}").log.level, LogLevel::Debug);
    let both = "carbon: {log_level: error}\nlogging: {components: {carbon: {level: debug}}}";
    assert_eq!(config(both).log.level, LogLevel::Error);
    assert_eq!(config("monitoring: {metrics_port: 9464}").listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config("monitoring: {metrics_port: 1, metrics_port: 2}").listen.port, 2);
    check_warnings(
        "monitoring:\n  metrics_port: ${PORT}\n",
        &["2: monitoring.metrics_port: `${PORT}` is not filled in by this agent and ignored; set \
           CARBON_MONITORING__METRICS_PORT instead"],
    );
    check_warnings(
        "logging:\n  format: '%(asctime)s %(message)s'\n",
        &["2: logging.format: `%(asctime)s %(message)s` is not text or json, ignored"],
    );
    check_warnings(
        "monitoring: {metrics_port: {http: 1}}",
        &["1: monitoring.metrics_port: expected a single value, found a mapping; ignored"],
    );
    check_warnings("Carbon: {pue: 3}", &["1: Carbon: there is no `carbon:` section; was this meant?"]);
    check_errors(
        "monitoring:\n  metrics_port: 99999\nlogging:\n  components: {carbon: {level: loud}}\n",
        &[
            "2: monitoring.metrics_port: `99999`: expected a whole number from 1 to 65535",
            "4: logging.components.carbon.level: `loud`: expected one of trace, debug, info, warning, error, critical",
        ],
    );
}

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

#[test]
fn sampling_is_never_slower_than_a_short_interval_unless_asked_so() {
    let config = resolve_all("", &[], "--interval 0.5").unwrap().config;
    assert_eq!(config.sample_interval, Duration::from_millis(500));
}

#[test]
fn where_to_listen() {
    for (file, line, expected) in [
        ("", "", "127.0.0.1:9090"),
        ("monitoring: {metrics_port: 9464}", "", "127.0.0.1:9464"),
        ("monitoring: {metrics_port: 9464}", "--listen 0.0.0.0:80", "0.0.0.0:80"),
        ("monitoring: {metrics_port: 9464}", "--listen 0.0.0.0", "0.0.0.0:9464"),
        ("carbon: {listen: '[::]'}\nmonitoring: {metrics_port: 9464}", "", "[::]:9464"),
        ("carbon: {listen: '::1'}", "", "[::1]:9090"),
        ("carbon: {listen: 'localhost:1'}\nmonitoring: {metrics_port: 9464}", "", "localhost:1"),
        ("", "--listen 127.0.0.1:0", "127.0.0.1:0"),
    ] {
        assert_eq!(resolve_all(file, &[], line).unwrap().config.listen.to_string(), expected, "{file} {line}");
    }
    for (host, loopback) in
        [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("localhost", true), ("0.0.0.0", false), ("a", false)]
    {
        assert_eq!(Listen { host: host.to_owned(), port: 1 }.is_loopback(), loopback, "{host}");
    }
    for text in ["", ":80", "1.2.3:80", "1.2.3.4.5:80", "a b:80", "[::1:80", "[x]:80", "a:b", "a:80:80", "a:-1"] {
        assert!(value::listen(text).is_err(), "{text}");
    }
}

#[test]
fn a_root_holds_the_trees_that_are_not_named() {
    for (file, env, expected) in [
        ("", "", "/proc /sys -"),
        ("carbon: {host: {root: /host}}", "", "/host/proc /host/sys /host"),
        ("carbon: {host: {root: /host, procfs: /p}}", "", "/p /host/sys /host"),
        ("carbon: {host: {procfs: /p, sysfs: /s}}", "/host", "/p /s /host"),
        ("", "/host", "/host/proc /host/sys /host"),
    ] {
        let loaded = resolve_all(file, &[("CARBON_HOST__ROOT", env)], "").unwrap();
        let host = &loaded.config.host;
        let root = host.root.as_deref().unwrap_or(Path::new("-"));
        let shown = format!("{} {} {}", host.procfs.display(), host.sysfs.display(), root.display());
        assert_eq!(shown, expected, "{file} {env}");
    }
    let loaded = resolve_all("", &[("CARBON_HOST__ROOT", "/host")], "").unwrap();
    assert_eq!(loaded.origin("carbon.host.sysfs"), &Origin::Env("CARBON_HOST__ROOT".to_owned()));
    let flagged = resolve_all("", &[], "--host-root /host --host-sysfs /sys").unwrap();
    assert_eq!(flagged.config.host.sysfs, Path::new("/sys"));
}

#[test]
fn kubernetes_is_off_unless_asked_for() {
    assert_eq!(Config::default().kubernetes.source, KubernetesSource::Off);
    assert_eq!(config("carbon: {kubernetes: {source: off}}").kubernetes, Config::default().kubernetes);
    let asked = config("carbon: {kubernetes: {source: kubelet, token_file: t, ca_file: /c}}").kubernetes;
    assert_eq!(asked.source, KubernetesSource::Kubelet);
    assert_eq!(asked.token_file.as_deref(), Some(Path::new("/etc/app/t")));
    check_errors(
        "carbon:\n  kubernetes:\n    source: api_server\n    nodes: x\n    url: ftp://x\n",
        &[
            "3: carbon.kubernetes.source: `api_server` needs `carbon.kubernetes.node` (CARBON_KUBERNETES__NODE), the name \
             of this node: the pods of the whole cluster are never asked for",
            "4: carbon.kubernetes.nodes: unknown key; did you mean `node`?",
            "5: carbon.kubernetes.url: `ftp://x`: expected an address that begins with http:// or https://",
        ],
    );
    let env = [("CARBON_KUBERNETES__NODE", "worker-3")];
    let loaded = resolve_all("carbon: {kubernetes: {source: api_server}}", &env, "").unwrap();
    assert_eq!(loaded.config.kubernetes.node.as_deref(), Some("worker-3"));
}

#[test]
fn exactly_one_source_of_intensity_or_a_list() {
    use IntensitySource::*;
    let zone = |zone: &str| Zone(zone.to_owned());
    for (file, env, expected) in [
        ("intensity: {zone: DEU}", None, vec![zone("DEU")]),
        ("intensity: {zone: deu}", None, vec![zone("DEU")]),
        ("intensity: {zone: USA-CA}", None, vec![zone("USA-CA")]),
        ("intensity: {grams_per_kwh: 380}", None, vec![GramsPerKwh(380.0)]),
        ("intensity: {grams_per_kwh: 0}", None, vec![GramsPerKwh(0.0)]),
        ("intensity: {file: i.csv}", None, vec![File("/etc/app/i.csv".into())]),
        ("intensity: {file: /x/i.csv}", None, vec![File("/x/i.csv".into())]),
        ("intensity: [{file: i.csv}, {zone: DEU}]", None, vec![File("/etc/app/i.csv".into()), zone("DEU")]),
        // The environment names another source: the file's is hidden, not in conflict.
        ("intensity: {zone: DEU}", Some(("CARBON_INTENSITY__GRAMS_PER_KWH", "5")), vec![GramsPerKwh(5.0)]),
        ("intensity: {grams_per_kwh: 5}", Some(("CARBON_INTENSITY__ZONE", "FRA")), vec![zone("FRA")]),
        ("intensity: {zone: DEU}", Some(("CARBON_INTENSITY__ZONE", "FRA")), vec![zone("FRA")]),
        ("intensity: [{zone: DEU}, {zone: FRA}]", Some(("CARBON_INTENSITY__ZONE", "ITA")), vec![zone("ITA")]),
        (
            "intensity: {provider: electricity_maps, zone: DE, token_file: t}",
            Some(("CARBON_INTENSITY__FILE", "i.csv")),
            vec![File("i.csv".into())],
        ),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let loaded = resolve_all(&format!("carbon: {{{file}}}"), &env, "");
        assert_eq!(loaded.map(|loaded| loaded.config.intensity), Ok(expected), "{file} {env:?}");
    }
    for (line, error) in [
        (
            "intensity: {zone: DEU, grams_per_kwh: 3}",
            "1: carbon.intensity: zone and grams_per_kwh exclude each other: exactly one of zone, grams_per_kwh, \
             file, provider; for an order of several, write a list",
        ),
        (
            "intensity: {zone: DE}",
            "1: carbon.intensity.zone: `DE` is not a zone of the embedded table; did you mean `DEU`?",
        ),
        (
            "intensity: {zone: Germany}",
            "1: carbon.intensity.zone: `Germany` is not a zone of the embedded table; did you mean `DEU`?",
        ),
        (
            "intensity: [{zone: DEU}, {zone: 12345}]",
            "1: carbon.intensity[1]: `12345` is not a zone of the embedded table (three letters, as in `DEU`; US \
             states as in `USA-CA`)",
        ),
        (
            "intensity: {provider: electricity_maps, token_file: t}",
            "1: carbon.intensity.provider: `electricity_maps` needs a `zone` of its own: a zone is never guessed",
        ),
        (
            "intensity: {provider: electricity_maps, zone: DE}",
            "1: carbon.intensity.provider: `electricity_maps` needs a `token_file`, or CARBON_INTENSITY__TOKEN",
        ),
        (
            "intensity: {provider: watttime, zone: CAISO_NORTH, token_file: t}",
            "1: carbon.intensity.provider: `watttime` needs a `username`; its password is the token",
        ),
        (
            "intensity: {token_file: t}",
            "1: carbon.intensity.token_file: there is no `provider` that it could belong to",
        ),
        ("intensity: []", "1: carbon.intensity: expected at least one source, found an empty list"),
        ("intensity: [{}]", "1: carbon.intensity[0]: expected one of zone, grams_per_kwh, file, provider"),
        ("intensity: [DEU]", "1: carbon.intensity[0]: expected a mapping, found a single value"),
        (
            "intensity: [{grams_per_kwh: -3}]",
            "1: carbon.intensity[0].grams_per_kwh: `-3`: expected a number from 0 to 5000",
        ),
        (
            "intensity: {token: hunter2}",
            "1: carbon.intensity.token: is refused in the file, which many can read; name a `token_file`, or set \
             CARBON_INTENSITY__TOKEN",
        ),
    ] {
        check_errors(&format!("carbon: {{{line}}}"), &[error]);
    }
}

#[test]
fn a_source_that_can_never_be_used_is_a_warning() {
    let (maps, watttime) = (
        "{provider: electricity_maps, zone: DE, token_file: t}",
        "{provider: watttime, zone: X, username: u, token_file: t}",
    );
    let first = "can never be used: carbon.intensity[0] is tried first and always has a value";
    for (sources, expected) in [
        ("{zone: DEU}".to_owned(), vec![]),
        (format!("{maps}, {{file: i.csv}}, {{zone: DEU}}"), vec![]),
        (format!("{watttime}, {{zone: DEU}}"), vec![]),
        ("{grams_per_kwh: 5}, {grams_per_kwh: 6}".to_owned(), vec![format!("1: carbon.intensity[1]: {first}")]),
        (
            format!("{{zone: DEU}}, {maps}, {watttime}"),
            vec![format!("1: carbon.intensity[1]: {first}"), format!("1: carbon.intensity[2]: {first}")],
        ),
        (
            format!("{maps}, {watttime}"),
            vec![
                "1: carbon.intensity[1]: can never be used: it is marginal and the first is an average: the two are \
                 never mixed"
                    .to_owned(),
            ],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_warnings(&format!("carbon: {{intensity: [{sources}]}}"), &expected);
    }
}

#[test]
fn tokens_are_never_shown() {
    let env = [
        ("CARBON_INTENSITY__TOKEN", "hunter2"),
        ("CARBON_INTENSITY__PROVIDER", "electricity_maps"),
        ("CARBON_INTENSITY__ZONE", "DE"),
    ];
    let loaded = resolve_all("", &env, "").unwrap();
    let IntensitySource::Provider(source) = &loaded.config.intensity[0] else { panic!() };
    assert_eq!(source.token, Some(Token::Value(Secret::new("hunter2"))));
    let environment: Environment = env.into_iter().collect();
    for shown in [format!("{loaded:?}"), format!("{environment:?}"), show::render(&loaded)] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let errors = resolve_all("", &[("CARBON_INTENSITY__TOKEN", "hunter2\n")], "").unwrap_err();
    assert_eq!(errors, ["CARBON_INTENSITY__TOKEN: control characters are not allowed"]);
}

#[test]
fn components_that_cannot_be() {
    for (list, errors) in [
        ("{name: x}", vec!["2: carbon.components: expected a list of `- name: …` with `match: …`, found a mapping"]),
        ("[x]", vec!["2: carbon.components[0]: expected a mapping, found a single value"]),
        ("[~]", vec!["2: carbon.components[0]: expected `name` and `match`, found nothing"]),
        ("[{name: x}]", vec!["2: carbon.components[0]: component `x` has no `match`"]),
        ("[{match: {exe: x}}]", vec!["2: carbon.components[0]: has no `name`"]),
        (
            "[{name: x, match: {}}]",
            vec!["2: carbon.components[0].match: matches everything: empty; expected at least one of the keys"],
        ),
        (
            "[{name: x, match: '*'}]",
            vec![
                "2: carbon.components[0].match: expected a mapping of globs such as { exe: \"*/uvicorn\" }, found a single value",
            ],
        ),
        (
            "[{name: x, match: {any: {exe: x}}}]",
            vec!["2: carbon.components[0].match.any: expected a list of mappings of globs, found a mapping"],
        ),
        (
            "[{name: x, match: {all: []}}]",
            vec!["2: carbon.components[0].match.all: expected a list of mappings of globs, found an empty one"],
        ),
        (
            "[{name: x, match: {exe: }}]",
            vec!["2: carbon.components[0].match.exe: expected a glob of 1 to 1024 bytes, found ``"],
        ),
        (
            "[{name: x, match: {exe: 'a{b'}}]",
            vec![
                "2: carbon.components[0].match.exe: `a{b` is not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)",
            ],
        ),
        (
            "[{name: 'a\"b', match: {exe: x}}]",
            vec![
                "2: carbon.components[0].name: `a\"b` is not a name: expected 1 to 64 ASCII letters, digits, spaces and _-./:@, a letter or digit first",
            ],
        ),
        (
            "[{name: Idle, match: {exe: x}}]",
            vec![
                "2: carbon.components[0].name: `Idle` is a reserved name; reserved are unassigned, kernel, idle, unattributed, other",
            ],
        ),
    ] {
        check_errors(&format!("carbon:\n  components: {list}"), &errors);
    }
}

#[test]
fn components_are_read_in_every_shape() {
    let read = |list: &str| config(&format!("carbon:\n  components: {list}")).components;
    assert_eq!(
        read("[{name: x, match: {exe: a, user: b}}]")[0].matching,
        Match::All(vec![key(Field::Exe, "a"), key(Field::User, "b")])
    );
    assert_eq!(
        read("[{name: x, match: {comm: [a, b]}}]")[0].matching,
        Match::Any(vec![key(Field::Comm, "a"), key(Field::Comm, "b")])
    );
    assert_eq!(
        read("[{name: x, match: {all: [{not: {exe: a}}, {thread: b}]}}]")[0].matching,
        Match::All(vec![Match::Not(Box::new(key(Field::Exe, "a"))), key(Field::Thread, "b")])
    );
    // One name, two rules: allowed, they are one component.
    assert_eq!(read("[{name: x, match: {exe: a}}, {name: x, match: {exe: b}}]").len(), 2);
    check_warnings(
        "carbon:\n  components:\n  - {name: x, match: {exe: a}}\n  - {name: y, match: {exe: a}}\n",
        &["4: component `y`: can never match: `x` on line 3 asks for the same and comes first"],
    );
}

#[test]
fn functional_units_are_read_from_a_page_or_a_file() {
    let loaded = loaded(
        "carbon:\n  embodied: {total_kg: 1}\n  components:\n  - name: web\n    match: {exe: a}\n    functional_unit: &u\n      \
         name: request\n      url: https://[::1]:8443/metrics/?x=1\n      metric: http_requests_total\n      \
         labels: {method: POST, code: 200}\n  - {name: web, match: {exe: b}, functional_unit: *u}\n  \
         - {name: story, match: {exe: c}, functional_unit: {name: story, file: stories}}\n  \
         - {name: plain, match: {exe: d}, functional_unit: ~}\n",
    );
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let page = UnitSource::Prometheus {
        url: "https://[::1]:8443/metrics/?x=1".to_owned(),
        metric: "http_requests_total".to_owned(),
        labels: vec![label("method", "POST"), label("code", "200")],
    };
    let unit = |component: &str, name: &str, source: UnitSource| FunctionalUnit {
        component: component.to_owned(),
        name: name.to_owned(),
        source,
    };
    let file = UnitSource::File("/etc/app/stories".into());
    assert_eq!(loaded.config.functional_units, [unit("web", "request", page), unit("story", "story", file)]);
    assert_eq!(loaded.warnings, [""; 0]);
    let shown = show::render(&loaded);
    assert!(shown.contains("story  story: file /etc/app/stories"), "{shown}");
    assert!(shown.contains("request: http_requests_total{method=\"POST\",code=\"200\"} at https://[::1]"), "{shown}");
}

#[test]
fn functional_units_that_cannot_be() {
    for (unit, message) in [
        (
            "7",
            ": expected a mapping such as { name: request, url: \"http://127.0.0.1:8000/metrics\", metric: \
             http_requests_total }, found a single value",
        ),
        ("{}", ": has no `name`: what is one unit (`request`)?"),
        ("{name: x, name: y, file: z}", ".name: given twice; the first is on line 2"),
        ("{name: x}", ": says not where the count is: expected `url` and `metric`, or `file`"),
        ("{name: x, metric: y}", ": says not where the count is: expected `url` and `metric`, or `file`"),
        ("{name: x, url: 'http://a'}", ": `url` needs a `metric`, such as http_requests_total"),
        (
            "{name: x, url: 'ftp://a', metric: y}",
            ".url: `ftp://a`: expected an address that begins with http:// or https://",
        ),
        ("{name: x, url: 'http://a/b c', metric: y}", ".url: `http://a/b c`: expected an address without blanks"),
        (
            "{name: x, url: 'http://u:p@a/', metric: y}",
            ".url: a user name or password in an address would be seen by many; expected one without",
        ),
        (
            "{name: x, url: 'http://a', metric: 5xx}",
            ".metric: `5xx`: expected a metric's name alone, such as http_requests_total; labels go under `labels`",
        ),
        ("{name: x, url: 'http://a', metric: y, labels: {5xx: a}}", ".labels: `5xx` is not the name of a label"),
        ("{name: x, url: 'http://a', metric: y, labels: {a.b: a}}", ".labels: `a.b` is not the name of a label"),
        (
            "{name: x, url: 'http://a', metric: y, labels: {a: }}",
            ".labels.a: expected the label's value, found nothing",
        ),
        ("{name: x, url: 'http://a', metric: y, labels: {a: [1]}}", ".labels.a: expected a single value, found a list"),
        ("{name: x, url: 'http://a', metric: y, label: {}}", ".label: unknown key; did you mean `labels`?"),
        ("{name: x, file: z, labels: {}}", ": `metric` and `labels` belong to a `url`; a `file` holds one number"),
        ("{name: '', file: z}", ".name: ``: expected a text, not an empty one"),
    ] {
        check_errors(
            &format!("carbon: {{components: [\n  {{name: c, match: {{exe: x}}, functional_unit: {unit}}}]}}"),
            &[&format!("2: carbon.components[0].functional_unit{message}")],
        );
    }
    check_errors(
        "carbon:\n  components:\n  - {name: c, match: {exe: x}, functional_unit: {name: a, file: f}}\n  \
         - {name: c, match: {exe: y}, functional_unit: {name: b, file: f}}\n",
        &[
            "4: carbon.components[1].functional_unit: component `c` has another functional unit already, `a` on line 3; \
           expected one a component",
        ],
    );
    check_warnings(
        "carbon:\n  track_components: false\n  components: [{name: c, match: {exe: x}, functional_unit: {name: a, file: f}}]\n",
        &[
            "3: functional_unit: `carbon.embodied` is not set, so SCI will lack its M and be of operational emissions only",
            "3: functional_unit: there is no SCI without `carbon.track_components`",
        ],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let load = |line: &str, env: &[(&str, &str)]| {
        let environment: Environment = env.iter().copied().collect();
        Config::load(&flags(line), &environment)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let good = write("good.yaml", b"carbon: {pue: 2}");
    assert_eq!(load(&format!("--config {good}"), &[]).unwrap().config.pue, 2.0);
    assert_eq!(load("", &[("TTA_CONFIG", &good)]).unwrap().config.pue, 2.0);
    // The flag wins: the other file is not even opened.
    let loaded = load(&format!("--config {good}"), &[("TTA_CONFIG", "/nonexistent")]).unwrap();
    assert_eq!(loaded.file.as_deref(), Some(Path::new(&good)));
    assert_eq!(load("", &[]).unwrap().file, None);

    for (line, env, expected) in [
        (
            "--config /nonexistent/c.yaml".to_owned(),
            None,
            "--config: `/nonexistent/c.yaml` cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            String::new(),
            Some("/nonexistent/c.yaml"),
            "TTA_CONFIG: `/nonexistent/c.yaml` cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            format!("--config {}", folder.path().display()),
            None,
            format!("--config: `{}` cannot be read: Is a directory (os error 21)", folder.path().display()),
        ),
        ("--config /dev/zero".to_owned(), None, "--config: `/dev/zero` is longer than 16 MiB".to_owned()),
        {
            let path = write("latin1.yaml", b"a: 1\nb: gr\xf6\xdfe\n");
            let expected = format!("--config: `{path}` is not text in UTF-8: line 2 holds other bytes");
            (format!("--config {path}"), None, expected)
        },
    ] {
        let env: Vec<_> = env.map(|path| ("TTA_CONFIG", path)).into_iter().collect();
        assert_eq!(load(&line, &env).unwrap_err(), [expected], "{line}");
    }
    // What else is wrong is told with it.
    assert_eq!(load("--config /nonexistent --interval x", &[]).unwrap_err().len(), 2);
}

#[test]
fn the_table_is_consistent() {
    let mut keys = std::collections::BTreeSet::new();
    let mut names = std::collections::BTreeSet::new();
    for setting in settings::SETTINGS {
        for key in setting.keys {
            assert!(keys.insert(*key), "{key} twice");
        }
        for name in setting.env() {
            assert!(names.insert(name.clone()), "{name} twice");
        }
        assert!(!setting.allowed.is_empty() && !setting.about.is_empty(), "{}", setting.key());
    }
    // Each flag of the command line sets a setting that says so.
    use clap::CommandFactory;
    let command = crate::cli::Cli::command();
    for argument in command.get_arguments().filter_map(clap::Arg::get_long) {
        let flag = format!("--{argument}");
        let known = settings::SETTINGS.iter().any(|setting| setting.flag == Some(&flag));
        assert!(known || matches!(argument, "config" | "help" | "version"), "{flag}");
    }
    let every = "--output-dir a --listen a:1 --interval 2 --sample-interval 1 --project-name a --probe auto \
                 --energy auto --powercap a --model-min-watts 1 --model-max-watts 2 --host-sysfs a --host-procfs a \
                 --host-root a --log-level info --log-format json --idle even --weights time";
    for (flag, key, _) in flags(every).given() {
        assert_eq!(settings::find(key).and_then(|setting| setting.flag), Some(flag), "{key}");
    }
    let by_flag = settings::SETTINGS.iter().filter(|setting| setting.flag.is_some()).count();
    assert_eq!(flags(every).given().len(), by_flag);
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut wanted = text.clone();
    for (name, table) in [("settings", reference::markdown()), ("CodeCarbon's settings", reference::codecarbon())] {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- end of {name} -->"));
        let (head, rest) = wanted.split_once(&begin).expect(name);
        let (_, tail) = rest.split_once(&end).expect(name);
        wanted = format!("{head}{begin}{table}{end}{tail}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    } else {
        assert_eq!(text, wanted, "run the test once with UPDATE_DOCS=1");
    }
}

#[test]
fn what_the_documentation_shows_is_so() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let blocks = |language: &str| -> Vec<String> {
        let begin = format!("```{language}\n");
        text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    for block in blocks("yaml") {
        let whole = if block.starts_with("carbon:") { block } else { format!("carbon:\n{block}") };
        assert_eq!(loaded(&whole).warnings, [""; 0], "{whole}");
    }
    let file = "\n\n\n\n\ncarbon:\n  prject_name: x\n\n  pue: 0.9\n";
    let mut errors = resolve_all(file, &[("CARBON_LOG_FORMAT", "xml")], "--interval soon").unwrap_err();
    let mut shown: Vec<String> =
        blocks("text")[0].lines().map(|line| line.replace("/etc/tta/staging/config.yaml", "/etc/app/c.yaml")).collect();
    errors.sort();
    shown.sort();
    assert_eq!(shown, errors);
}

#[test]
fn check_prints_every_setting_with_its_origin() {
    let env = [("CARBON_PUE", "1.2"), ("CARBON_NOPE", "x")];
    let loaded = resolve_all(CONTRACT, &env, "--interval 5").unwrap();
    let shown = show::render(&loaded);
    for line in [
        "file: /etc/app/c.yaml",
        "carbon.project_name                        TTA-Staging                                       file, line 4",
        "carbon.measurement_interval                5                                                 flag --interval",
        "carbon.pue                                 1.2                                               env CARBON_PUE",
        "carbon.output.retain_days                  84                                                default",
        "carbon.log_format                          json                                              file, line 29",
        "  1. model_management   line 14   unit: \"ollama.service\"",
        "warning: CARBON_NOPE: no such setting, ignored; ",
    ] {
        let found = shown.lines().any(|shown| shown == line);
        assert!(found || line.starts_with("warning") && shown.contains("warning: CARBON_NOPE"), "{line}\n{shown}");
    }
    assert!(shown.lines().all(|line| !line.ends_with(' ')), "{shown}");
}

/// Inputs like ours, broken at random places: that is where parsers fail.
fn broken_yaml() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let pieces = proptest::sample::select(vec![
        "carbon",
        ":",
        " ",
        "\n",
        "  ",
        "-",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a",
        "*a",
        "!",
        "!!str",
        "|",
        ">",
        "\"",
        "'",
        "#",
        "%",
        "?",
        "<<",
        "~",
        "components",
        "name",
        "match",
        "any",
        "not",
        "exe",
        "intensity",
        "zone",
        "1",
        "\t",
        "---\n",
        "...\n",
        "\u{feff}",
        "é",
        "\0",
        "monitoring",
        "logging",
    ]);
    prop_oneof![
        ".{0,200}",
        proptest::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat()),
        (0..CONTRACT.len(), "\\PC{0,3}").prop_map(|(at, noise)| {
            let at = (0..=at).rev().find(|at| CONTRACT.is_char_boundary(*at)).unwrap_or(0);
            format!("{}{noise}{}", &CONTRACT[..at], &CONTRACT[at..])
        }),
    ]
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in broken_yaml()) {
        for error in file::parse(Path::new("c.yaml"), &text).errors {
            let error = error.to_string();
            proptest::prop_assert!(error.starts_with("c.yaml:") && !error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn no_value_makes_the_resolver_panic(value in ".{0,40}", which in 0..settings::SETTINGS.len()) {
        let name = settings::SETTINGS[which].env()[0].clone();
        let environment: Environment = [(name, value)].into_iter().collect();
        let (file, codecarbon) = (file::FileLayer::default(), codecarbon::Layer::default());
        let _ = resolve::resolve(None, file, codecarbon, &environment, &[]);
    }
}

#[test]
fn depth_does_not_exhaust_the_stack() {
    for text in ["[".repeat(3_000), "a: ".repeat(2_000), "- ".repeat(5_000), "{a: ".repeat(2_000)] {
        let _ = file::parse(Path::new("c.yaml"), &text);
    }
    let deep = format!("x: {}1{}\ncarbon: {{pue: 2}}", "[".repeat(150), "]".repeat(150));
    assert_eq!(config(&deep).pue, 2.0);
}
