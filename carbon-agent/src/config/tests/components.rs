//! Components and their functional units.

use super::*;

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
