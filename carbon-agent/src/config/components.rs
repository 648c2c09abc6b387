//! `components:`, a list of names and what they match.

use crate::config::file::Reader;
use crate::config::model::FunctionalUnit;
use crate::config::yaml::{Kind, NodeId};
use crate::config::{functional_unit, quoted};
use crate::identity::rules::{Field, Match, Rule, compile_glob};

/// Names of rows that the agent writes itself.
pub const RESERVED: [&str; 5] = ["unassigned", "kernel", "idle", "unattributed", "other"];

const NAME_LENGTH: usize = 64;
/// Aliases let a short file describe a huge rule; nobody means one.
const DEPTH: usize = 16;
const PARTS: usize = 5_000;
const GLOB_LENGTH: usize = 1024;

pub fn read(reader: &mut Reader<'_>, id: NodeId) {
    let yaml = reader.yaml;
    let node = yaml.node(id);
    let items = match &node.kind {
        Kind::Sequence(items) => items,
        _ if node.is_null() => return,
        _ => {
            let message = format!("expected a list of `- name: …` with `match: …`, found {}", node.describe());
            reader.error(node.line, "carbon.components", message);
            return;
        }
    };
    let mut parts = PARTS;
    for (i, item) in items.iter().enumerate() {
        let path = format!("carbon.components[{i}]");
        let line = yaml.node(*item).line;
        let mut name = None;
        let mut matching = None;
        let mut unit = None;
        let mut wrong = false;
        reader.mapping(&path, *item, &mut |reader, key, line, value| match key.rsplit('.').next() {
            Some("name") => match reader.scalar(key, value).map(|text| check_name(&text).map(|()| text)) {
                Some(Ok(text)) => name = Some(text),
                Some(Err(message)) => {
                    wrong = true;
                    reader.error(line, key, message);
                }
                None => {}
            },
            Some("match") => {
                let read = MatchReader { reader, parts: &mut parts }.mapping(key, value, DEPTH);
                wrong |= read.is_none();
                matching = read;
            }
            Some("functional_unit") => unit = functional_unit::read(reader, key, value).map(|unit| (unit, line)),
            other => {
                wrong = true;
                reader.unknown_among(key, line, other.unwrap_or_default(), &["name", "match", "functional_unit"]);
            }
        });
        if !matches!(yaml.node(*item).kind, Kind::Mapping(_)) {
            if yaml.node(*item).is_null() {
                reader.error(line, &path, "expected `name` and `match`, found nothing");
            }
            continue;
        }
        match (name, matching) {
            (Some(name), Some(matching)) => {
                if let Some(((of, source), line)) = unit {
                    let unit = FunctionalUnit { component: name.clone(), name: of, source };
                    reader.push_functional_unit(unit, line, &format!("{path}.functional_unit"));
                }
                reader.push_rule(Rule { name, matching, line });
            }
            _ if wrong => {}
            (None, _) => reader.error(line, &path, "has no `name`"),
            (Some(name), None) => {
                reader.error(line, &path, format!("component {} has no `match`", quoted(&name)));
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(format!("{} is a reserved name; reserved are {}", quoted(name), RESERVED.join(", ")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./:@ ".contains(c);
    let edges = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && !name.ends_with(' ');
    if name.len() > NAME_LENGTH || !edges || !name.chars().all(allowed) {
        return Err(format!(
            "{} is not a name: expected 1 to {NAME_LENGTH} ASCII letters, digits, spaces and _-./:@, a letter or \
             digit first",
            quoted(name)
        ));
    }
    Ok(())
}

struct MatchReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    parts: &'r mut usize,
}

impl MatchReader<'_, '_> {
    /// Several keys side by side must all hold. `None` once something was complained of.
    fn mapping(&mut self, path: &str, id: NodeId, depth: usize) -> Option<Match> {
        let node = self.reader.yaml.node(id);
        if !matches!(node.kind, Kind::Mapping(_)) {
            let message =
                format!("expected a mapping of globs such as {{ exe: \"*/uvicorn\" }}, found {}", node.describe());
            self.reader.error(node.line, path, message);
            return None;
        }
        if depth == 0 {
            // An anchor that holds an alias to itself ends here; one message says it all.
            if std::mem::take(self.parts) > 0 {
                let message = format!("nested deeper than {DEPTH}");
                self.reader.error(node.line, "carbon.components", message);
            }
            return None;
        }
        let mut all = Vec::new();
        let mut wrong = false;
        let parts = &mut *self.parts;
        self.reader.mapping(path, id, &mut |reader, key, line, value| {
            let mut inner = MatchReader { reader, parts };
            match inner.key(key, line, value, depth) {
                Some(part) => all.push(part),
                None => wrong = true,
            }
        });
        if wrong {
            return None;
        }
        if all.is_empty() {
            self.reader.error(node.line, path, "matches everything: empty; expected at least one of the keys");
            return None;
        }
        Some(if all.len() == 1 { all.remove(0) } else { Match::All(all) })
    }

    fn key(&mut self, key: &str, line: usize, value: NodeId, depth: usize) -> Option<Match> {
        if *self.parts == 0 {
            return None;
        }
        *self.parts -= 1;
        if *self.parts == 0 {
            self.reader.error(line, "carbon.components", format!("hold more than {PARTS} conditions"));
            return None;
        }
        let name = key.rsplit('.').next().unwrap_or_default();
        match name {
            "any" => self.list(key, value, depth).map(any),
            "all" => self.list(key, value, depth).map(Match::All),
            "not" => self.mapping(key, value, depth - 1).map(|part| Match::Not(Box::new(part))),
            _ => match Field::from_name(name) {
                Some(field) => self.globs(key, line, value, field),
                None => {
                    let known: Vec<&str> =
                        Field::ALL.iter().map(|field| field.name()).chain(["any", "all", "not"]).collect();
                    self.reader.unknown_among(key, line, name, &known);
                    None
                }
            },
        }
    }

    fn list(&mut self, path: &str, id: NodeId, depth: usize) -> Option<Vec<Match>> {
        let node = self.reader.yaml.node(id);
        let items = match &node.kind {
            Kind::Sequence(items) if !items.is_empty() => items,
            _ => {
                let found = if matches!(node.kind, Kind::Sequence(_)) { "an empty one" } else { node.describe() };
                self.reader.error(node.line, path, format!("expected a list of mappings of globs, found {found}"));
                return None;
            }
        };
        // All of them are read before giving up, so that all errors are told.
        let read: Vec<Option<Match>> =
            items.iter().enumerate().map(|(i, item)| self.mapping(&format!("{path}[{i}]"), *item, depth - 1)).collect();
        read.into_iter().collect()
    }

    /// One glob, or a list of globs of which any may match.
    fn globs(&mut self, key: &str, line: usize, id: NodeId, field: Field) -> Option<Match> {
        let node = self.reader.yaml.node(id);
        let Kind::Sequence(items) = &node.kind else {
            return self.glob(key, line, id, field);
        };
        if items.is_empty() {
            self.reader.error(node.line, key, "expected a glob or a list of globs, found an empty list");
            return None;
        }
        let read: Vec<Option<Match>> =
            items.iter().map(|item| self.glob(key, self.reader.yaml.node(*item).line, *item, field)).collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(any)
    }

    fn glob(&mut self, key: &str, line: usize, id: NodeId, field: Field) -> Option<Match> {
        let before = self.reader.yaml.node(id).is_null();
        let text = if before { String::new() } else { self.reader.scalar(key, id)? };
        if text.is_empty() || text.len() > GLOB_LENGTH {
            let message = format!("expected a glob of 1 to {GLOB_LENGTH} bytes, found {}", quoted(&text));
            self.reader.error(line, key, message);
            return None;
        }
        if let Err(error) = compile_glob(&text) {
            self.reader.error(line, key, format!("{} is not a glob: {}", quoted(&text), error.kind()));
            return None;
        }
        Some(Match::Key { field, glob: text })
    }
}

/// Alternatives within alternatives are alternatives: fewer steps to decide and to read.
fn any(parts: Vec<Match>) -> Match {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Match::Any(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    if flat.len() == 1 { flat.remove(0) } else { Match::Any(flat) }
}
