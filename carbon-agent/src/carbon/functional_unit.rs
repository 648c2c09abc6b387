//! Reads how many functional units there were: from a Prometheus text endpoint, or a file with a number.

use super::fault::{Fault, FaultKind};
use super::http::Http;
use crate::config::model::UnitSource;
use std::io::Read as _;
use std::time::Duration;

/// Asks for the text that is parsed here: some servers answer with JSON where that is welcome too.
const ACCEPT: (&str, &str) = ("accept", "text/plain;version=0.0.4,text/plain;q=0.9,*/*;q=0.1");

/// Reads counts; it waits for the endpoint, so it belongs in a thread that may wait.
#[derive(Debug)]
pub struct UnitReader {
    source: UnitSource,
    http: Http,
}

impl UnitReader {
    pub fn new(source: UnitSource, timeout: Duration) -> Self {
        Self { source, http: Http::new(timeout) }
    }

    /// The count as it stands.
    pub fn read(&self) -> Result<f64, Fault> {
        let count = match &self.source {
            UnitSource::Prometheus { url, metric, labels } => {
                let text = self.http.get(url, &[ACCEPT])?;
                sum(&text, metric, labels).ok_or_else(|| {
                    Fault::new(FaultKind::NoValue, format!("no series of {metric} with the configured labels"))
                })?
            }
            UnitSource::File(path) => {
                let fault = |what: &str| Fault::new(FaultKind::File, format!("{}: {what}", path.display()));
                let mut text = String::new();
                let file = std::fs::File::open(path).map_err(|error| fault(&error.kind().to_string()))?;
                file.take(64).read_to_string(&mut text).map_err(|error| fault(&error.kind().to_string()))?;
                text.trim().parse().map_err(|_| fault("expected one number"))?
            }
        };
        if f64::is_finite(count) && count >= 0.0 {
            Ok(count)
        } else {
            Err(Fault::new(FaultKind::Implausible, "a count is a number from 0 on"))
        }
    }
}

/// The sum over a metric's series that have `labels`; `None` where there is none. (Text format 0.0.4 and OpenMetrics:
/// both put `name{label="value",…} number …` on a line; in OpenMetrics a counter's series end in `_total`.)
fn sum(text: &str, metric: &str, labels: &[(String, String)]) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix(metric)?;
        let (found, rest) = match rest.strip_prefix('{') {
            Some(rest) => label_set(rest)?,
            // Another metric whose name begins like this one.
            None if !rest.starts_with([' ', '\t']) => return None,
            None => (Vec::new(), rest),
        };
        let wanted = labels.iter().all(|(name, value)| found.iter().any(|(n, v)| n == name && v == value));
        wanted.then(|| rest.split_whitespace().next()?.parse::<f64>().ok()).flatten()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// The labels up to the closing brace, and what follows it.
fn label_set(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([' ', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let mut value = String::new();
        let mut characters = rest.trim_start().strip_prefix('"')?.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => match characters.next()? {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        labels.push((name.trim().to_owned(), value));
        text = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carbon::loopback::{Loopback, Reply};

    const PAGE: &str = r#"# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="GET",path="/a}b,\"c\"\\d"} 10 1700000000000
http_requests_total{method="POST",path="/",} 5
http_requests_total_created{method="GET"} 1.7e9
up 1
queue_seconds_sum 1.5e1
broken{x="1
nan_total NaN
"#;

    #[test]
    fn series_are_chosen_by_labels_and_summed() {
        type Labels = &'static [(&'static str, &'static str)];
        let cases: [(&str, Labels, Option<f64>); 9] = [
            ("http_requests_total", &[], Some(15.0)),
            ("http_requests_total", &[("method", "GET")], Some(10.0)),
            ("http_requests_total", &[("path", "/a}b,\"c\"\\d")], Some(10.0)),
            ("http_requests_total", &[("method", "GET"), ("path", "/")], None),
            ("http_requests", &[], None),
            ("up", &[], Some(1.0)),
            ("queue_seconds_sum", &[], Some(15.0)),
            ("broken", &[], None),
            ("absent", &[], None),
        ];
        for (metric, labels, expected) in cases {
            let labels: Vec<_> = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(sum(PAGE, metric, &labels), expected, "{metric} {labels:?}");
        }
    }

    #[test]
    fn an_endpoint_and_a_file_are_read() {
        let server = Loopback::start(|_| Reply::ok(PAGE));
        let timeout = Duration::from_millis(300);
        let reader = |metric: &str| {
            let source = UnitSource::Prometheus { url: server.url.clone(), metric: metric.to_owned(), labels: vec![] };
            UnitReader::new(source, timeout).read()
        };
        assert_eq!(reader("http_requests_total"), Ok(15.0));
        assert_eq!(reader("absent").unwrap_err().kind, FaultKind::NoValue);
        assert_eq!(reader("nan_total").unwrap_err().kind, FaultKind::Implausible);
        server.now_does(|_| Reply::Hang);
        assert_eq!(reader("up").unwrap_err().kind, FaultKind::Timeout);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("count");
        let reader = UnitReader::new(UnitSource::File(path.clone()), timeout);
        assert_eq!(reader.read().unwrap_err().kind, FaultKind::File);
        for (text, expected) in [("42\n", Some(42.0)), ("1e3", Some(1000.0)), ("", None), ("many", None), ("-1", None)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(reader.read().ok(), expected, "{text:?}");
        }
    }
}
