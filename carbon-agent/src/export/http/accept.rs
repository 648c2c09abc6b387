//! Which exposition a scraper asks for.

/// Whether `Accept` prefers OpenMetrics to plain text. Where both are equally welcome, OpenMetrics is what the scraper
/// named; a bare `*/*` gets the text that everything understands.
pub fn prefers_openmetrics(accept: &str) -> bool {
    let mut openmetrics = 0.0_f32;
    let mut plain = 0.0_f32;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut quality = 1.0;
        let mut version_known = true;
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q", value)) => quality = value.trim().parse().unwrap_or(0.0),
                Some(("version", value)) => version_known = matches!(value.trim(), "1.0.0" | "0.0.1" | "0.0.4"),
                _ => {}
            }
        }
        match media_type.as_str() {
            "application/openmetrics-text" if version_known => openmetrics = openmetrics.max(quality),
            "text/plain" if version_known => plain = plain.max(quality),
            _ => {}
        }
    }
    openmetrics > 0.0 && openmetrics >= plain
}

#[cfg(test)]
mod tests {
    use super::prefers_openmetrics;

    #[test]
    fn accept_headers_as_scrapers_send_them() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_text = "text/plain;version=0.0.4;q=0.6,*/*;q=0.5";
        for (accept, expected) in [
            (prometheus_2, true),
            (prometheus_text, false),
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0; q=0.4, text/plain; q=0.5", false),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x,,;;", false),
        ] {
            assert_eq!(prefers_openmetrics(accept), expected, "{accept}");
        }
    }
}
