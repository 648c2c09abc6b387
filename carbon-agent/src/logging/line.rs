//! One log line: what an event says, and how it is written.

use crate::config::model::LogLevel;
use crate::export::terminal::table::plain;
use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::fmt::{self, Write};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Names at the root of an event that are Filebeat's own (a line's keys go there) or ours. A field of such a name, which
/// only a dependency can bring, gets an underscore.
const RESERVED: [&str; 14] = [
    "@metadata",
    "@timestamp",
    "agent",
    "ecs",
    "error",
    "fields",
    "host",
    "input",
    "level",
    "log",
    "message",
    "repeated",
    "tags",
    "timestamp",
];

/// What an event says. Equal lines are repeats of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub level: LogLevel,
    pub message: String,
    pub fields: Vec<(&'static str, Value)>,
}

/// How often a line came again, and in what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    pub times: u64,
    pub within: Duration,
}

impl Line {
    pub fn of(event: &Event<'_>) -> Self {
        let level = match *event.metadata().level() {
            Level::TRACE => LogLevel::Trace,
            Level::DEBUG => LogLevel::Debug,
            Level::INFO => LogLevel::Info,
            Level::WARN => LogLevel::Warning,
            Level::ERROR => LogLevel::Error,
        };
        let mut line = Self { level, message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        line
    }

    /// One JSON object, with its newline.
    pub fn json(&self, at: Timestamp, repeated: Option<Repeated>) -> String {
        let object = Object { line: self, at, repeated };
        serde_json::to_string(&object).expect("names and plain values") + "\n"
    }

    /// One line for people, with its newline: nothing in it can end the line or steer a terminal.
    pub fn text(&self, at: Timestamp, repeated: Option<Repeated>) -> String {
        let mut text = format!("{at:.6} {:<7} {}", self.level.name(), self.message);
        for (name, value) in &self.fields {
            let _ = match value {
                Value::String(value) => write!(text, " {name}={value}"),
                value => write!(text, " {name}={value}"),
            };
        }
        if let Some(Repeated { times, within }) = repeated {
            let _ = write!(text, " (repeated {times} times in {} s)", within.as_secs());
        }
        plain(&text) + "\n"
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            // Where the `log` crate's records come from: not ours to say.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

struct Object<'a> {
    line: &'a Line,
    at: Timestamp,
    repeated: Option<Repeated>,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &format_args!("{:.6}", self.at))?;
        map.serialize_entry("level", self.line.level.name())?;
        map.serialize_entry("message", &self.line.message)?;
        for (name, value) in &self.line.fields {
            if RESERVED.contains(name) {
                map.serialize_entry(&format_args!("{name}_"), value)?;
            } else {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(Repeated { times, within }) = self.repeated {
            map.serialize_entry("repeated", &times)?;
            map.serialize_entry("repeated_within_seconds", &within.as_secs())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let fields = vec![("stage", Value::from("files")), ("bytes", 7.into()), ("error", "full".into())];
        Line { level: LogLevel::Warning, message: "not\nwritten".to_owned(), fields }
    }

    fn at() -> Timestamp {
        "2026-03-01T12:00:15.001Z".parse().unwrap()
    }

    #[test]
    fn json_is_one_object_with_names_of_its_own() {
        assert_eq!(
            line().json(at(), None),
            "{\"timestamp\":\"2026-03-01T12:00:15.001000Z\",\"level\":\"warning\",\"message\":\"not\\nwritten\",\
             \"stage\":\"files\",\"bytes\":7,\"error_\":\"full\"}\n"
        );
        let again = Repeated { times: 3, within: Duration::from_secs(60) };
        assert!(line().json(at(), Some(again)).ends_with(",\"repeated\":3,\"repeated_within_seconds\":60}\n"));
    }

    #[test]
    fn text_is_one_line() {
        let again = Repeated { times: 3, within: Duration::from_secs(60) };
        assert_eq!(
            line().text(at(), Some(again)),
            "2026-03-01T12:00:15.001000Z warning not\u{fffd}written stage=files bytes=7 error=full \
             (repeated 3 times in 60 s)\n"
        );
    }
}
