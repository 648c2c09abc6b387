use super::*;
use crate::config::{IntensitySource, Loaded, file, resolve, show};
use std::time::Duration;

const HOME: &str = "/root/.codecarbon.config";
const HERE: &str = "/srv/app/.codecarbon.config";

/// CodeCarbon's two files, the environment and ours, laid over each other.
fn resolved(home: &str, here: &str, env: &[(&str, &str)], ours: &str) -> Result<Loaded, Vec<String>> {
    let text = |path: &str, contents: &str| Text { path: path.into(), contents: Ok(contents.to_owned()) };
    let environment: Environment = env.iter().copied().collect();
    let layer = Layer::parse(vec![text(HOME, home), text(HERE, here)], &environment);
    let path = Path::new("/etc/app/c.yaml");
    resolve::resolve(Some(path.to_owned()), file::parse(path, ours), layer, &environment, &[])
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn loaded(home: &str, here: &str, env: &[(&str, &str)], ours: &str) -> Loaded {
    resolved(home, here, env, ours).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn notes(loaded: &Loaded) -> Vec<String> {
    loaded.codecarbon.iter().map(|note| format!("{} | {} | {}", note.key, note.place, note.fate)).collect()
}

#[test]
fn every_equal_is_read() {
    let file = "[codecarbon]\nproject_name = theirs\noutput_dir = /out\nmeasure_power_secs = 0.5\npue = 1.25\n\
                country_iso_code = DEU\nlog_level = ERROR\n";
    let loaded = loaded(file, "", &[], "");
    let config = &loaded.config;
    assert_eq!(config.project_name, "theirs");
    assert_eq!(config.output_dir, Path::new("/out"));
    assert_eq!(config.measurement_interval, Duration::from_millis(500));
    assert_eq!(config.sample_interval, Duration::from_millis(500));
    assert_eq!(config.pue, 1.25);
    assert_eq!(config.intensity, [IntensitySource::Zone("DEU".to_owned())]);
    assert_eq!(config.log.level, crate::config::LogLevel::Error);
    assert_eq!(loaded.origin("carbon.pue").to_string(), format!("{HOME}, line 5"));
    let shown = show::render(&loaded);
    for (key, origin) in [("carbon.pue ", "line 5"), ("carbon.intensity ", "line 6"), ("carbon.log_level ", "line 7")] {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}\n{shown}"));
        assert!(line.ends_with(&format!("{HOME}, {origin}")), "{line}");
    }
    assert!(shown.lines().all(|line| !line.ends_with(' ')), "{shown}");
    assert!(shown.contains(&format!("  pue                 {HOME}, line 5  read as carbon.pue\n")), "{shown}");
}

#[test]
fn ours_over_their_environment_over_here_over_home() {
    let (home, here) = ("[codecarbon]\npue = 1.1\n", "[codecarbon]\npue = 1.2\n");
    let env = [("codecarbon_pue", "1.3")];
    let pue = |home, here, env, ours| loaded(home, here, env, ours).config.pue;
    assert_eq!(pue(home, "", &[], ""), 1.1);
    assert_eq!(pue(home, here, &[], ""), 1.2);
    assert_eq!(pue(home, here, &env, ""), 1.3);
    assert_eq!(pue(home, here, &env, "carbon: {pue: 1.4}"), 1.4);
    let all = loaded(home, here, &[env[0], ("CARBON_PUE", "1.5")], "carbon: {pue: 1.4}");
    assert_eq!(all.config.pue, 1.5);
    assert_eq!(
        notes(&all),
        [
            format!("pue | {HOME}, line 2 | hidden by env codecarbon_pue"),
            format!("pue | {HERE}, line 2 | hidden by env codecarbon_pue"),
            "pue | env codecarbon_pue | hidden by carbon.pue (env CARBON_PUE)".to_owned(),
        ]
    );
    // Unset, as everywhere else.
    assert_eq!(pue("[codecarbon]\npue =\n", "", &[("CODECARBON_PUE", "")], ""), 1.0);
}

#[test]
fn country_and_region_make_a_zone_that_any_source_of_ours_hides() {
    let zone = |zone: &str| IntensitySource::Zone(zone.to_owned());
    let country = ("CODECARBON_COUNTRY_ISO_CODE", "USA");
    let region = ("CODECARBON_REGION", "california");
    let forced = ("CODECARBON_FORCE_CARBON_INTENSITY_G_CO2E_KWH", "50");
    let grams = IntensitySource::GramsPerKwh;
    for (env, ours, expected) in [
        (&[country][..], "", vec![zone("USA")]),
        (&[country, region], "", vec![zone("USA-CA")]),
        (&[("CODECARBON_COUNTRY_ISO_CODE", "CAN"), ("CODECARBON_REGION", "quebec")], "", vec![zone("CAN")]),
        (&[region], "", vec![]),
        (&[forced], "", vec![grams(50.0)]),
        (&[country, forced], "", vec![grams(50.0)]),
        (&[country], "carbon: {intensity: {grams_per_kwh: 5}}", vec![grams(5.0)]),
        (&[forced], "carbon: {intensity: {zone: DEU}}", vec![zone("DEU")]),
        (&[country, forced], "carbon: {intensity: [{zone: DEU}]}", vec![zone("DEU")]),
        (&[forced, ("CARBON_INTENSITY__ZONE", "FRA")], "", vec![zone("FRA")]),
    ] {
        assert_eq!(loaded("", "", env, ours).config.intensity, expected, "{env:?} {ours}");
    }
    // A provider of ours gets no zone from there.
    let maps = "carbon: {intensity: {provider: electricity_maps, token_file: t}}";
    assert!(resolved("", "", &[country], maps).unwrap_err()[0].contains("needs a `zone` of its own"));
    assert_eq!(
        notes(&loaded("", "", &[country, forced], "")),
        [
            "country_iso_code | env CODECARBON_COUNTRY_ISO_CODE | hidden by force_carbon_intensity_g_co2e_kwh, as in \
             CodeCarbon",
            "force_carbon_intensity_g_co2e_kwh | env CODECARBON_FORCE_CARBON_INTENSITY_G_CO2E_KWH | read as \
             carbon.intensity.grams_per_kwh",
        ]
    );
    assert_eq!(
        notes(&loaded("", "", &[country], "carbon:\n  intensity: {grams_per_kwh: 5}")),
        ["country_iso_code | env CODECARBON_COUNTRY_ISO_CODE | hidden by carbon.intensity (file, line 2)"]
    );
}

#[test]
fn the_rest_is_named_without_its_value() {
    let file = "[codecarbon]\napi_key = s3cret%\nexperiment_id = s3cret\ntraking_mode = s3cret\nqqqqqq = s3cret\n";
    let env = [("CODECARBON_ELECTRICITYMAPS_API_TOKEN", "s3cret"), ("CODECARBON_REGION", "s3cret")];
    let loaded = loaded("", file, &env, "");
    assert_eq!(
        notes(&loaded),
        [
            format!("api_key | {HERE}, line 2 | not applicable: nothing is sent to CodeCarbon's service"),
            format!("experiment_id | {HERE}, line 3 | not applicable: nothing is sent to CodeCarbon's service"),
            format!("traking_mode | {HERE}, line 4 | not a setting of CodeCarbon's; did you mean tracking_mode?"),
            format!("qqqqqq | {HERE}, line 5 | not a setting of CodeCarbon's"),
            "electricitymaps_api_token | env CODECARBON_ELECTRICITYMAPS_API_TOKEN | not applicable: set \
             carbon.intensity.provider: electricity_maps, its zone and a token_file"
                .to_owned(),
            "region | env CODECARBON_REGION | not applicable: there is no country_iso_code beside it".to_owned(),
        ]
    );
    assert_eq!(loaded.warnings, [""; 0]);
    let shown = show::render(&loaded);
    assert!(!shown.contains("s3cret") && !format!("{:?}", loaded.codecarbon).contains("s3cret"), "{shown}");
}

#[test]
fn bad_values_are_one_error_each_that_names_the_place() {
    let errors = |home, env: &[(&str, &str)], ours| resolved(home, "", env, ours).unwrap_err();
    assert_eq!(
        errors("[codecarbon]\npue = 0.5\n\nmeasure_power_secs = soon\noutput_dir = /x/%(y)s\n", &[], ""),
        [
            "/root/.codecarbon.config:5: output_dir: `/x/%(y)s`: references to other keys are not filled in here; \
             write the value",
            "/root/.codecarbon.config:4: measure_power_secs: `soon`: expected seconds, a number from 0.01 to 86400",
            "/root/.codecarbon.config:2: pue: `0.5`: expected a number from 1 to 10",
        ]
    );
    assert_eq!(
        errors("", &[("CODECARBON_COUNTRY_ISO_CODE", "Germany")], ""),
        ["CODECARBON_COUNTRY_ISO_CODE: `Germany` is not a zone of the embedded table; did you mean `DEU`?"]
    );
    assert_eq!(
        errors("", &[("CODECARBON_COUNTRY_ISO_CODE", "USA"), ("CODECARBON_REGION", "calfornia")], ""),
        ["CODECARBON_REGION: `calfornia` is not a state of the USA in the embedded table; did you mean `california`?"]
    );
    // Also where ours hides it.
    assert_eq!(
        errors("", &[("CODECARBON_FORCE_CARBON_INTENSITY_G_CO2E_KWH", "-1")], "carbon: {intensity: {zone: DEU}}"),
        ["CODECARBON_FORCE_CARBON_INTENSITY_G_CO2E_KWH: `-1`: expected a number from 0 to 5000"]
    );
    assert_eq!(
        errors("pue = 1\n", &[], ""),
        ["/root/.codecarbon.config:1: expected a section such as [codecarbon] before the first key"]
    );
}

#[test]
fn the_tables_hold_each_key_once_and_settings_that_are() {
    let mut keys: Vec<&str> = EQUALS.iter().chain(OTHERS).map(|(key, _)| *key).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
    for (key, ours) in EQUALS {
        assert!(crate::config::settings::find(ours).is_some(), "{key}: {ours}");
    }
}
