//! The known name that was probably meant.

/// The nearest of `known`, where one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' ', '.'], "_");
    let name = plain(name);
    known
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&name, &plain(candidate)), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, candidate)| *likeness >= 0.6 || strsim::jaro_winkler(&name, &plain(candidate)) >= 0.88)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let known = ["project_name", "output_dir", "measurement_interval", "pue", "log_level", "zone"];
        assert_eq!(super::nearest(name, known.into_iter()), expected, "{name}");
    }

    #[test]
    fn slips_of_the_finger_are_recognised() {
        check("prject_name", Some("project_name"));
        check("output-dir", Some("output_dir"));
        check("measurment_intervall", Some("measurement_interval"));
        check("PUE", Some("pue"));
        check("loglevel", Some("log_level"));
        check("zones", Some("zone"));
    }

    #[test]
    fn what_is_like_nothing_gets_no_suggestion() {
        check("database", None);
        check("", None);
        check("qqqqqq", None);
    }
}
