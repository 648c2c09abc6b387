//! `components[].functional_unit`: what one unit is, and the page or the file where its count stands.

use crate::config::file::Reader;
use crate::config::model::UnitSource;
use crate::config::quoted;
use crate::config::settings::Given;
use crate::config::value;
use crate::config::yaml::{Kind, NodeId};
use std::path::PathBuf;

const KEYS: [&str; 5] = ["name", "url", "metric", "labels", "file"];
const EXAMPLE: &str = "{ name: request, url: \"http://127.0.0.1:8000/metrics\", metric: http_requests_total }";

/// The keys as they were given.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    url: Option<String>,
    metric: Option<String>,
    labels: Vec<(String, String)>,
    file: Option<PathBuf>,
    has_labels: bool,
}

/// The unit's name and source; `None` where there is none (`~`) or something was complained of.
pub fn read(reader: &mut Reader<'_>, path: &str, id: NodeId) -> Option<(String, UnitSource)> {
    let node = reader.yaml.node(id);
    if node.is_null() {
        return None;
    }
    if !matches!(node.kind, Kind::Mapping(_)) {
        let message = format!("expected a mapping such as {EXAMPLE}, found {}", node.describe());
        reader.error(node.line, path, message);
        return None;
    }
    let mut draft = Draft::default();
    let mut wrong = false;
    reader.mapping(path, id, &mut |reader, key, line, value| {
        let name = key.rsplit('.').next().unwrap_or_default();
        if name == "labels" {
            draft.has_labels = true;
            match labels(reader, key, value) {
                Some(labels) => draft.labels = labels,
                None => wrong = true,
            }
            return;
        }
        if !KEYS.contains(&name) {
            wrong = true;
            reader.unknown_among(key, line, name, &KEYS);
            return;
        }
        let null = reader.yaml.node(value).is_null();
        let Some(text) = reader.scalar(key, value) else {
            wrong |= !null;
            return;
        };
        let given = Given { text: &text, beside: reader.folder() };
        let taken = match name {
            "name" => value::name(&text).map(|it| draft.name = Some(it)),
            "url" => address(&text).map(|it| draft.url = Some(it)),
            "metric" => metric(&text).map(|it| draft.metric = Some(it)),
            _ => value::beside(given).map(|it| draft.file = Some(it)),
        };
        if let Err(problem) = taken {
            wrong = true;
            // An address may hold a password.
            let shown =
                if name == "url" && text.contains('@') { String::new() } else { format!("{}: ", quoted(&text)) };
            reader.error(line, key, format!("{shown}{problem}"));
        }
    });
    // What is known to be wrong would only be complained of twice.
    if wrong {
        return None;
    }
    match draft.resolve() {
        Ok(unit) => Some(unit),
        Err(problem) => {
            reader.error(node.line, path, problem);
            None
        }
    }
}

impl Draft {
    fn resolve(self) -> Result<(String, UnitSource), String> {
        let Some(name) = self.name else {
            return Err("has no `name`: what is one unit (`request`)?".to_owned());
        };
        let source = match (self.url, self.file, self.metric) {
            (Some(_), Some(_), _) => {
                return Err("`url` and `file` exclude each other: the count is read from one place".to_owned());
            }
            (Some(url), None, Some(metric)) => UnitSource::Prometheus { url, metric, labels: self.labels },
            (Some(_), None, None) => return Err("`url` needs a `metric`, such as http_requests_total".to_owned()),
            (None, Some(file), None) if !self.has_labels => UnitSource::File(file),
            (None, Some(_), _) => {
                return Err("`metric` and `labels` belong to a `url`; a `file` holds one number".to_owned());
            }
            (None, None, _) => {
                return Err("says not where the count is: expected `url` and `metric`, or `file`".to_owned());
            }
        };
        Ok((name, source))
    }
}

/// The address of the page, whole: nothing is added to it.
fn address(text: &str) -> Result<String, String> {
    value::url(text)?;
    if text.contains(char::is_whitespace) {
        return Err("expected an address without blanks".to_owned());
    }
    let authority = text.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.contains('@') {
        return Err("a user name or password in an address would be seen by many; expected one without".to_owned());
    }
    Ok(text.to_owned())
}

/// A metric's name alone, in the characters that Prometheus' text format has for it.
fn metric(text: &str) -> Result<String, String> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    if text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit()) && text.len() <= 256 {
        Ok(text.to_owned())
    } else {
        Err("expected a metric's name alone, such as http_requests_total; labels go under `labels`".to_owned())
    }
}

fn labels(reader: &mut Reader<'_>, path: &str, id: NodeId) -> Option<Vec<(String, String)>> {
    let node = reader.yaml.node(id);
    if node.is_null() {
        return Some(Vec::new());
    }
    if !matches!(node.kind, Kind::Mapping(_)) {
        let message = format!("expected a mapping such as {{ method: POST }}, found {}", node.describe());
        reader.error(node.line, path, message);
        return None;
    }
    let mut labels = Vec::new();
    let mut wrong = false;
    reader.mapping(path, id, &mut |reader, key, line, value| {
        let name = key.strip_prefix(path).map_or(key, |rest| rest.trim_start_matches('.'));
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
            wrong = true;
            reader.error(line, path, format!("{} is not the name of a label", quoted(name)));
        } else if let Some(text) = reader.scalar(key, value) {
            labels.push((name.to_owned(), text));
        } else {
            wrong = true;
            if reader.yaml.node(value).is_null() {
                reader.error(line, key, "expected the label's value, found nothing");
            }
        }
    });
    (!wrong).then_some(labels)
}
