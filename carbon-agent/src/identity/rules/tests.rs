//! Rules as written in the configuration against processes as tables.

use super::*;
use std::cell::RefCell;

/// A process whose fields are given, and that remembers what it was asked.
#[derive(Default)]
struct Fake {
    values: Vec<(Field, Vec<u8>)>,
    asked: RefCell<Vec<Field>>,
}

impl Fake {
    fn new(values: &[(Field, &str)]) -> Self {
        let values = values.iter().map(|(field, value)| (*field, value.as_bytes().to_vec())).collect();
        Self { values, asked: RefCell::default() }
    }
}

impl Subject for Fake {
    fn values(&self, field: Field, visit: &mut dyn FnMut(&[u8])) {
        self.asked.borrow_mut().push(field);
        for (_, value) in self.values.iter().filter(|(known, _)| *known == field) {
            visit(value);
        }
    }
}

fn key(field: Field, glob: &str) -> Match {
    Match::Key { field, glob: glob.to_owned() }
}

fn not(part: Match) -> Match {
    Match::Not(Box::new(part))
}

fn rules(rules: &[(&str, Match)]) -> RuleSet {
    let rules: Vec<Rule> = rules
        .iter()
        .map(|(name, matching)| Rule { name: (*name).to_owned(), matching: matching.clone(), line: 0 })
        .collect();
    RuleSet::compile(&rules).unwrap()
}

/// Whether one condition holds of one process; what is decided and what is explained must agree.
#[track_caller]
fn check(matching: &Match, process: &[(Field, &str)], expected: bool) {
    let set = rules(&[("x", matching.clone())]);
    let subject = Fake::new(process);
    assert_eq!(set.decide(&subject).is_some(), expected, "{matching} of {process:?}");
    assert_eq!(set.explain(&subject)[0].matched, expected, "{matching} of {process:?}, explained");
}

#[test]
fn globs_are_read_as_a_user_of_a_shell_expects() {
    use Field::*;
    for (field, glob, value, expected) in [
        (Exe, "*/uvicorn", "/opt/a/b/uvicorn", true),
        (Exe, "*/uvicorn", "/uvicorn", true),
        (Exe, "*/uvicorn", "uvicorn", false),
        (Exe, "*/uvicorn", "/opt/uvicorn-worker", false),
        (Exe, "/usr/bin/*", "/usr/bin/sub/redis", true),
        (Exe, "/usr/bin/python3*", "/usr/bin/python3.12", true),
        (Exe, "**/redis-server", "/usr/bin/redis-server", true),
        (Comm, "redis", "redis-server", false),
        (Comm, "redis*", "redis-server", true),
        (Comm, "Redis*", "redis-server", false),
        (Comm, "redis-?erver", "redis-server", true),
        (Comm, "{redis,neo4j}*", "neo4j", true),
        (Comm, "worker-[0-9]", "worker-7", true),
        (Comm, "worker-[!0-9]", "worker-7", false),
        (Comm, "*", "", true),
        (Comm, "a.b", "axb", false),
        (Comm, r"\*", "*", true),
        (Comm, r"\*", "x", false),
        (Unit, "ollama.service", "ollama.service", true),
        (Unit, "*.service", "a.b.service", true),
        (Unit, "*.service", "a.service.d", false),
        (Unit, "user@*.service", "user@1000.service", true),
        (Cgroup, "/system.slice/*", "/system.slice/a.service/b", true),
        (Container, "tta-staging-player-api*", "tta-staging-player-api-1", true),
        (Cmdline, "*player_experience*", "python3 -m uvicorn player_experience.api:app --port 8080", true),
        (Cmdline, "*player_experience*", "python3\n-c\nimport player_experience\n", true),
        (Cmdline, "python3 -m *", "python3 -m http.server .", true),
        (Cmdline, "*.conf", "nginx -c /etc/nginx.conf", true),
        (Cmdline, "*/server *", "/opt/server --x=/y/..", true),
        (Env, "TTA_COMPONENT=narrative*", "TTA_COMPONENT=narrative_arc", true),
        (Env, "TTA_COMPONENT=*", "XTTA_COMPONENT=narrative_arc", false),
        (User, "postgres", "postgres", true),
        (Pod, "tta-*", "tta-api-5d8f", true),
        (Namespace, "staging", "staging", true),
        (Thread, "llm-worker*", "llm-worker-3", true),
    ] {
        check(&key(field, glob), &[(field, value)], expected);
    }
}

#[test]
fn any_of_a_fields_values_will_do() {
    let process =
        [(Field::Container, "4f1d0c"), (Field::Container, "tta-api"), (Field::Env, "A=1"), (Field::Env, "B=2")];
    check(&key(Field::Container, "tta-*"), &process, true);
    check(&key(Field::Container, "4f1d*"), &process, true);
    check(&key(Field::Env, "B=2"), &process, true);
    check(&key(Field::Env, "C=*"), &process, false);
}

#[test]
fn conditions_combine() {
    let exe = || key(Field::Exe, "*/python3*");
    let app = || key(Field::Cmdline, "*app*");
    let process = [(Field::Exe, "/usr/bin/python3.12"), (Field::Cmdline, "python3 app.py")];
    check(&Match::All(vec![exe(), app()]), &process, true);
    check(&Match::All(vec![exe(), not(app())]), &process, false);
    check(&Match::Any(vec![key(Field::Comm, "x"), app()]), &process, true);
    check(&Match::Any(vec![key(Field::Comm, "x"), not(exe())]), &process, false);
    check(&not(Match::Any(vec![key(Field::Comm, "x"), key(Field::User, "root")])), &process, true);
    check(&not(not(exe())), &process, true);
}

#[test]
fn an_unknown_field_matches_nothing_not_even_everything() {
    check(&key(Field::Container, "*"), &[], false);
    check(&not(key(Field::Container, "*")), &[], true);
    check(&not(key(Field::Container, "*")), &[(Field::Container, "a")], false);
}

#[test]
fn names_of_any_bytes_are_compared() {
    let subject = |bytes: &[u8]| Fake { values: vec![(Field::Comm, bytes.to_vec())], ..Fake::default() };
    let set = rules(&[("x", key(Field::Comm, "evil*")), ("y", key(Field::Comm, "naïve"))]);
    assert_eq!(set.decide(&subject(b"evil\xff\n\"\x1b[2J")).map(|it| it.rule), Some(0));
    assert_eq!(set.decide(&subject("naïve".as_bytes())).map(|it| it.rule), Some(1));
    assert_eq!(set.decide(&subject(b"\xff\xfe")), None);
    let told = set.explain(&subject(b"evil\xff\n\"\x1b[2J"))[0].to_string();
    assert!(told.lines().count() == 2 && !told.contains('\x1b'), "{told:?}");
}

#[test]
fn the_first_match_wins_and_a_shared_name_is_one_component() {
    let set = rules(&[
        ("api", key(Field::Comm, "uvicorn")),
        ("db", key(Field::Comm, "neo4j*")),
        ("api", key(Field::Comm, "n*")),
        ("late", key(Field::Comm, "uvicorn")),
    ]);
    assert_eq!(set.components(), ["api", "db", "late"]);
    for (comm, expected) in [
        ("uvicorn", Some(Decision { rule: 0, component: 0 })),
        ("neo4j-java", Some(Decision { rule: 1, component: 1 })),
        ("node", Some(Decision { rule: 2, component: 0 })),
        ("bash", None),
    ] {
        assert_eq!(set.decide(&Fake::new(&[(Field::Comm, comm)])), expected, "{comm}");
    }
}

#[test]
fn fields_are_read_only_when_a_rule_gets_to_them_and_once() {
    let set = rules(&[
        ("a", key(Field::Comm, "redis*")),
        ("b", Match::All(vec![key(Field::Exe, "*/python3"), key(Field::Cmdline, "*app*")])),
        ("c", key(Field::Cmdline, "*other*")),
    ]);
    for (process, asked) in [
        (&[(Field::Comm, "redis-server")][..], &[Field::Comm][..]),
        (&[(Field::Exe, "/usr/bin/python3"), (Field::Cmdline, "app")], &[Field::Comm, Field::Exe, Field::Cmdline]),
        (&[(Field::Exe, "/bin/sh"), (Field::Cmdline, "x")], &[Field::Comm, Field::Exe, Field::Cmdline]),
    ] {
        let subject = Fake::new(process);
        set.decide(&subject);
        assert_eq!(*subject.asked.borrow(), asked, "{process:?}");
    }
    for field in Field::ALL {
        assert_eq!(set.needs(field), [Field::Comm, Field::Exe, Field::Cmdline].contains(&field), "{field}");
    }
    let none = rules(&[]);
    assert!(none.is_empty() && none.decide(&Fake::new(&[])).is_none() && none.explain(&Fake::new(&[])).is_empty());
}

#[test]
fn an_explanation_tells_each_rule_but_no_secret() {
    let set = rules(&[
        ("db", key(Field::Exe, "*/neo4j")),
        (
            "api",
            Match::All(vec![key(Field::Cmdline, "*app*"), not(key(Field::Env, "MODE=off")), key(Field::Unit, "*")]),
        ),
        ("rest", key(Field::Comm, "*")),
        ("never", key(Field::Comm, "*")),
    ]);
    let process = [
        (Field::Comm, "python3"),
        (Field::Exe, "/usr/bin/python3"),
        (Field::Cmdline, "app --token hunter2"),
        (Field::Env, "KEY=hunter2"),
    ];
    let steps: Vec<String> = set.explain(&Fake::new(&process)).iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "rule 1 db: does not match\n  - exe /usr/bin/python3 against \"*/neo4j\"",
            "rule 2 api: does not match\n  + cmdline (not shown) against \"*app*\"\n  - env (not shown) against \
             \"MODE=off\"\n  - unit (unknown) against \"*\"",
            "rule 3 rest: matches\n  + comm python3 against \"*\"",
        ]
    );
}

proptest::proptest! {
    /// Any glob that compiles and any bytes: deciding and explaining agree, and neither panics.
    #[test]
    fn deciding_and_explaining_agree(globs in proptest::collection::vec("[a-c*?/.\\[\\]{},!\\\\-]{1,8}", 1..6), comm in proptest::collection::vec(proptest::num::u8::ANY, 0..16)) {
        let list: Vec<Rule> = globs
            .iter()
            .filter(|glob| compile_glob(glob).is_ok())
            .map(|glob| Rule { name: glob.clone(), matching: key(Field::Comm, glob), line: 0 })
            .collect();
        let set = RuleSet::compile(&list).unwrap();
        let subject = Fake { values: vec![(Field::Comm, comm)], ..Fake::default() };
        let decided = set.decide(&subject).map(|it| it.rule);
        let steps = set.explain(&subject);
        proptest::prop_assert_eq!(decided, steps.iter().find(|step| step.matched).map(|step| step.rule));
    }
}
