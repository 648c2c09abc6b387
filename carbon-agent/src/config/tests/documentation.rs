//! The table of settings, the reference made from it, and `check`.

use super::*;

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
