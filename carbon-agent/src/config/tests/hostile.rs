//! Whatever is thrown at it.

use super::*;

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
