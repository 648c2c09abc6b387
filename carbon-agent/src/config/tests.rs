//! One table a behaviour: what goes in, what comes out.

mod components;
mod documentation;
mod hostile;
mod intensity;
mod precedence;

mod yaml;

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
