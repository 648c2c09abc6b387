//! Sources of carbon intensity.

use super::*;

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
