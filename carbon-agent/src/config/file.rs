//! The file layer: text of the application's YAML in, located values and located errors out. Pure.
//!
//! Inside `carbon:` everything is judged. From the application's own sections only the table's keys are looked at,
//! and a placeholder there is the application's business: it is passed over with a warning.

use crate::config::components;
use crate::config::model::FunctionalUnit;
use crate::config::settings::{Draft, Given, IntensityDraft, SETTINGS, Setting, find};
use crate::config::yaml::{Entry, Kind, NodeId, Yaml};
use crate::config::{ConfigError, quoted, suggest};
use crate::identity::rules::Rule;
use std::path::Path;

/// A single value as written.
#[derive(Debug)]
pub struct FileValue {
    pub setting: &'static Setting,
    /// The key that was used, of those the setting has.
    pub key: &'static str,
    pub text: String,
    pub line: usize,
}

#[derive(Debug, Default)]
pub struct FileLayer {
    pub values: Vec<FileValue>,
    pub components: Vec<Rule>,
    /// Each with its line.
    pub functional_units: Vec<(FunctionalUnit, usize)>,
    /// `intensity:` as a list: each entry and its line.
    pub intensity: Option<Vec<(IntensityDraft, usize)>>,
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<String>,
}

pub fn parse(path: &Path, text: &str) -> FileLayer {
    let yaml = match Yaml::parse(text) {
        Ok(yaml) => yaml,
        Err(error) => {
            let message = format!("not valid YAML: {}", error.message);
            return FileLayer {
                errors: vec![ConfigError::in_file(path, error.line, "", message)],
                ..FileLayer::default()
            };
        }
    };
    let mut reader = Reader { yaml: &yaml, path, layer: FileLayer::default() };
    reader.documents();
    reader.layer
}

pub(super) struct Reader<'a> {
    pub yaml: &'a Yaml,
    path: &'a Path,
    layer: FileLayer,
}

/// Keys under `carbon:` that the table does not hold because they are not single values.
const COMPOSITE: [&str; 2] = ["carbon.components", "carbon.intensity"];

impl<'a> Reader<'a> {
    pub fn error(&mut self, line: usize, key: &str, message: impl Into<String>) {
        self.layer.errors.push(ConfigError::in_file(self.path, line, key, message));
    }

    fn warn(&mut self, line: usize, key: &str, message: &str) {
        self.layer.warnings.push(format!("{}:{line}: {key}: {message}", self.path.display()));
    }

    fn documents(&mut self) {
        let documents = &self.yaml.documents;
        let is_mapping = |id: &NodeId| matches!(self.yaml.node(*id).kind, Kind::Mapping(_));
        if !documents.iter().any(is_mapping) {
            if let Some(other) = documents.iter().map(|id| self.yaml.node(*id)).find(|node| !node.is_null()) {
                let message = format!("expected sections such as `carbon:`, found {}: is this YAML?", other.describe());
                self.error(other.line, "", message);
            }
            return;
        }
        let mut ours: Option<Entry<'_>> = None;
        let mut like_ours = None;
        for document in documents {
            for entry in self.yaml.entries(*document) {
                match (entry.key, ours) {
                    ("carbon", None) => ours = Some(entry),
                    ("carbon", Some(first)) => {
                        let message = format!("a second `carbon:` section; the first is on line {}", first.line);
                        self.error(entry.line, "carbon", message);
                    }
                    (key, _) if strsim::damerau_levenshtein(&key.to_lowercase(), "carbon") <= 1 => {
                        like_ours = Some(entry);
                    }
                    _ => {}
                }
            }
            self.foreign(*document);
        }
        match (ours, like_ours) {
            (Some(entry), _) => self.carbon(entry),
            (None, Some(entry)) => {
                self.warn(entry.line, entry.key, "there is no `carbon:` section; was this meant?");
            }
            (None, None) => {}
        }
    }

    fn carbon(&mut self, entry: Entry<'a>) {
        self.mapping("carbon", entry.value, &mut |reader, key, line, value| match key {
            "carbon.components" => components::read(reader, value),
            "carbon.intensity" if matches!(reader.yaml.node(value).kind, Kind::Sequence(_)) => {
                reader.intensity_list(value);
            }
            _ => reader.nested(key, line, value),
        });
    }

    fn nested(&mut self, key: &str, line: usize, value: NodeId) {
        if let Some(setting) = find(key) {
            if let Some(text) = self.scalar(key, value) {
                self.take(setting, setting.key(), text, line);
            }
        } else if !children(key).is_empty() {
            self.mapping(key, value, &mut Self::nested);
        } else {
            self.unknown(key, line);
        }
    }

    /// Keeps a value, unless it may not stand in a file.
    fn take(&mut self, setting: &'static Setting, key: &'static str, text: String, line: usize) {
        if setting.secret {
            let message = format!(
                "is refused in the file, which many can read; name a `token_file`, or set {}",
                setting.env()[0]
            );
            self.error(line, key, message);
            return;
        }
        self.layer.values.push(FileValue { setting, key, text, line });
    }

    /// Hands each entry of a mapping with its full key to `each`; complains of what is not one, and of duplicates.
    pub fn mapping(&mut self, path: &str, id: NodeId, each: &mut dyn FnMut(&mut Self, &str, usize, NodeId)) {
        let yaml = self.yaml;
        let node = yaml.node(id);
        if node.is_null() {
            return;
        }
        let Kind::Mapping(raw) = &node.kind else {
            let known = children(path).join(", ");
            let allowed = if known.is_empty() { String::new() } else { format!(" of {known}") };
            self.error(node.line, path, format!("expected a mapping{allowed}, found {}", node.describe()));
            return;
        };
        for (key, _) in raw {
            let key = yaml.node(*key);
            if !matches!(key.kind, Kind::Scalar { .. }) {
                self.error(key.line, path, format!("expected a key, found {}", key.describe()));
            }
        }
        let entries = yaml.entries(id);
        for (i, entry) in entries.iter().enumerate() {
            let full = format!("{path}.{}", entry.key);
            match entries[..i].iter().find(|earlier| earlier.key == entry.key) {
                Some(first) => {
                    self.error(entry.line, &full, format!("given twice; the first is on line {}", first.line));
                }
                None => each(self, &full, entry.line, entry.value),
            }
        }
    }

    /// The text of a single value; `None` where it is null (which leaves the default) or not a single value.
    pub fn scalar(&mut self, key: &str, id: NodeId) -> Option<String> {
        let node = self.yaml.node(id);
        if let Some(tag) = &node.tag {
            self.error(node.line, key, format!("the tag {} is not understood here", quoted(tag)));
            return None;
        }
        match &node.kind {
            Kind::Scalar { .. } if node.is_null() => None,
            Kind::Scalar { text, .. } => Some(text.clone()),
            Kind::Sequence(_) | Kind::Mapping(_) => {
                self.error(node.line, key, format!("expected a single value, found {}", node.describe()));
                None
            }
        }
    }

    fn unknown(&mut self, key: &str, line: usize) {
        let (parent, name) = key.rsplit_once('.').unwrap_or(("", key));
        let siblings = children(parent);
        self.unknown_among(key, line, name, &siblings);
    }

    /// An unknown key: its nearest sibling, else a key of that name elsewhere, else all that could stand here.
    pub fn unknown_among(&mut self, key: &str, line: usize, name: &str, siblings: &[&str]) {
        let elsewhere = || {
            let all = SETTINGS.iter().flat_map(|setting| setting.keys);
            all.copied().find(|known| known.rsplit('.').next() == Some(name))
        };
        let message = match suggest::nearest(name, siblings.iter().copied()).or_else(elsewhere) {
            Some(near) => format!("unknown key; did you mean `{near}`?"),
            None => format!("unknown key; known here: {}", siblings.join(", ")),
        };
        self.error(line, &printable(key), message);
    }

    fn intensity_list(&mut self, id: NodeId) {
        let yaml = self.yaml;
        let Kind::Sequence(items) = &yaml.node(id).kind else {
            return;
        };
        let mut sources = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = format!("carbon.intensity[{i}]");
            let node = yaml.node(*item);
            if !matches!(node.kind, Kind::Mapping(_)) {
                self.error(node.line, &path, format!("expected a mapping, found {}", node.describe()));
                continue;
            }
            let mut draft = Draft::blank();
            let before = self.layer.errors.len();
            self.mapping(&path, *item, &mut |reader, key, line, value| {
                let name = key.rsplit('.').next().unwrap_or_default();
                let Some(setting) = find(&format!("carbon.intensity.{name}")) else {
                    reader.unknown_among(key, line, name, &children("carbon.intensity"));
                    return;
                };
                let Some(text) = reader.scalar(key, value) else {
                    return;
                };
                let kept = reader.layer.values.len();
                reader.take(setting, setting.key(), text, line);
                let Some(taken) = reader.layer.values.drain(kept..).next() else {
                    return;
                };
                let given = Given { text: &taken.text, beside: reader.path.parent() };
                if let Err(problem) = (setting.set)(&mut draft, given) {
                    reader.error(line, key, format!("{}: {problem}", quoted(&taken.text)));
                }
            });
            // One that is already known to be wrong would only be complained of twice.
            if self.layer.errors.len() == before {
                sources.push((draft.intensity, node.line));
            }
        }
        if items.is_empty() {
            self.error(yaml.node(id).line, "carbon.intensity", "expected at least one source, found an empty list");
        }
        self.layer.intensity = Some(sources);
    }

    /// The keys of the application's own sections that concern us. Whatever else they hold is passed over.
    fn foreign(&mut self, document: NodeId) {
        for setting in SETTINGS {
            for key in setting.keys.iter().filter(|key| !key.starts_with("carbon.")) {
                let mut at = Some(document);
                for part in key.split('.') {
                    at = at.and_then(|id| self.yaml.get(id, part));
                }
                let Some(id) = at else { continue };
                let node = self.yaml.node(id);
                let line = node.line;
                match &node.kind {
                    Kind::Scalar { .. } if node.is_null() => {}
                    Kind::Scalar { text, .. } if text.contains("${") || node.tag.is_some() => {
                        let message = format!(
                            "{} is not filled in by this agent and ignored; set {} instead",
                            quoted(text),
                            setting.env()[0]
                        );
                        self.warn(line, key, &message);
                    }
                    // Python's logging has format strings under this very name.
                    Kind::Scalar { text, .. }
                        if *key == "logging.format" && super::LogFormat::from_name(text).is_none() =>
                    {
                        self.warn(line, key, &format!("{} is not text or json, ignored", quoted(text)));
                    }
                    Kind::Scalar { text, .. } => self.take(setting, key, text.clone(), line),
                    Kind::Sequence(_) | Kind::Mapping(_) => {
                        self.warn(line, key, &format!("expected a single value, found {}; ignored", node.describe()));
                    }
                }
            }
        }
    }

    /// The folder of the file, beside which lies what it names.
    pub fn folder(&self) -> Option<&'a Path> {
        self.path.parent()
    }

    /// Two rules may share a component; its functional unit is one.
    pub fn push_functional_unit(&mut self, unit: FunctionalUnit, line: usize, key: &str) {
        let known = self.layer.functional_units.iter().find(|(known, _)| known.component == unit.component);
        match known {
            Some((known, _)) if *known == unit => {}
            Some((known, first)) => {
                let message = format!(
                    "component {} has another functional unit already, {} on line {first}; expected one a component",
                    quoted(&unit.component),
                    quoted(&known.name)
                );
                self.error(line, key, message);
            }
            None => self.layer.functional_units.push((unit, line)),
        }
    }

    pub fn push_rule(&mut self, rule: Rule) {
        let same = |earlier: &&Rule| earlier.matching == rule.matching && earlier.name != rule.name;
        if let Some(earlier) = self.layer.components.iter().find(same) {
            let message = format!(
                "can never match: {} on line {} asks for the same and comes first",
                quoted(&earlier.name),
                earlier.line
            );
            self.warn(rule.line, &format!("component {}", quoted(&rule.name)), &message);
        }
        self.layer.components.push(rule);
    }
}

/// A key from the file as messages show it.
fn printable(key: &str) -> String {
    let quoted = quoted(key);
    quoted[1..quoted.len() - 1].to_owned()
}

/// The keys that may stand directly under `path`.
fn children(path: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let all = SETTINGS.iter().flat_map(|setting| setting.keys.iter().copied());
    for key in all.chain(COMPOSITE) {
        if let Some(rest) = key.strip_prefix(path).and_then(|rest| rest.strip_prefix('.')) {
            let name = rest.split('.').next().unwrap_or(rest);
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}
