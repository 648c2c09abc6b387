//! The file as YAML: what is not ours, what is broken, what cannot be read.

use super::*;

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
