//! YAML text to nodes that know their line, and nothing more: no types are guessed, no values expanded.
//!
//! The file belongs to a larger application, so this must take whatever that application's own reader takes: any
//! tag, duplicate keys, anchors defined in one section and used in another, several documents. That reader is
//! Python's, hence libyaml's grammar (a safe port of it): stricter readers of YAML 1.2 refuse what is usual there,
//! such as a closing bracket in the column of its key. Nodes lie in one vector and an alias is the index of its
//! anchor's node: nothing is copied (no "billion laughs") and nothing recurses over the depth of the file.

use libyaml_safer::{EventData, Parser, ScalarStyle};
use std::collections::HashMap;

/// Index into [`Yaml::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(usize);

#[derive(Debug)]
pub struct Node {
    /// Counted from 1.
    pub line: usize,
    /// A tag outside YAML's core schema, as written (`!vault`).
    pub tag: Option<String>,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    /// `plain` is unquoted: only such a text can be null.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<NodeId>),
    /// Entries as written, duplicates and merge keys too.
    Mapping(Vec<(NodeId, NodeId)>),
}

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for messages.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            _ if self.is_null() => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}

/// Where and why a text is not YAML.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: usize,
    pub message: String,
}

impl SyntaxError {
    fn new(error: &libyaml_safer::Error, text: &str) -> Self {
        let line = match error.problem_mark() {
            Some(mark) => mark.line as usize + 1,
            // Only a character that YAML does not allow has no mark.
            None => {
                let before = text.split(|c: char| c.is_control() && !c.is_whitespace()).next().unwrap_or_default();
                before.matches('\n').count() + 1
            }
        };
        let message = match error.context() {
            Some(context) => format!("{}, {context}", error.problem()),
            None => error.problem().to_owned(),
        };
        // What is missing at the end is told of the line after the last.
        Self { line: line.clamp(1, text.lines().count().max(1)), message }
    }
}

/// What `!!str` and its like begin with.
const CORE_SCHEMA: &str = "tag:yaml.org,2002:";

/// One entry of a mapping whose key is text.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub key: &'a str,
    pub line: usize,
    pub value: NodeId,
}

/// All documents of a file.
#[derive(Debug, Default)]
pub struct Yaml {
    nodes: Vec<Node>,
    /// The root of each document that holds anything.
    pub documents: Vec<NodeId>,
}

/// Collections that are still open while reading.
struct Open {
    id: NodeId,
    /// The key that waits for its value.
    key: Option<NodeId>,
}

impl Yaml {
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut yaml = Yaml::default();
        let mut anchors: HashMap<String, NodeId> = HashMap::new();
        let mut open: Vec<Open> = Vec::new();
        let mut input = text.as_bytes();
        let mut parser = Parser::new();
        parser.set_input_string(&mut input);
        for event in parser {
            let event = event.map_err(|error| SyntaxError::new(&error, text))?;
            let line = event.start_mark.line as usize + 1;
            let (id, anchor, opens) = match event.data {
                EventData::Scalar { anchor, tag, value, style, .. } => {
                    let kind = Kind::Scalar { text: value, plain: style == ScalarStyle::Plain };
                    (yaml.push(line, tag, kind), anchor, false)
                }
                EventData::SequenceStart { anchor, tag, .. } => {
                    (yaml.push(line, tag, Kind::Sequence(Vec::new())), anchor, true)
                }
                EventData::MappingStart { anchor, tag, .. } => {
                    (yaml.push(line, tag, Kind::Mapping(Vec::new())), anchor, true)
                }
                EventData::Alias { anchor } => match anchors.get(&anchor) {
                    Some(id) => (*id, None, false),
                    None => {
                        let message = format!("the alias *{anchor} has no anchor before it");
                        return Err(SyntaxError { line, message });
                    }
                },
                EventData::SequenceEnd | EventData::MappingEnd => {
                    open.pop();
                    continue;
                }
                EventData::DocumentStart { .. } => {
                    // An anchor holds within its document.
                    anchors.clear();
                    continue;
                }
                EventData::DocumentEnd { .. } | EventData::StreamStart { .. } | EventData::StreamEnd => continue,
            };
            if let Some(anchor) = anchor {
                anchors.insert(anchor, id);
            }
            match open.last_mut() {
                None => yaml.documents.push(id),
                Some(parent) => match &mut yaml.nodes[parent.id.0].kind {
                    Kind::Sequence(items) => items.push(id),
                    Kind::Mapping(entries) => match parent.key.take() {
                        None => parent.key = Some(id),
                        Some(key) => entries.push((key, id)),
                    },
                    Kind::Scalar { .. } => {}
                },
            }
            if opens {
                open.push(Open { id, key: None });
            }
        }
        Ok(yaml)
    }

    fn push(&mut self, line: usize, tag: Option<String>, kind: Kind) -> NodeId {
        let tag = tag.filter(|tag| !tag.starts_with(CORE_SCHEMA) && tag != "!");
        self.nodes.push(Node { line, tag, kind });
        NodeId(self.nodes.len() - 1)
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The entries of a mapping with text keys, merge keys (`<<`) resolved: what is written in the mapping itself
    /// comes before, and hides, what is merged into it. Duplicates in the mapping itself are all listed.
    /// Anything else than a mapping has none.
    pub fn entries(&self, id: NodeId) -> Vec<Entry<'_>> {
        let mut found = Vec::new();
        self.collect_entries(id, &mut Vec::new(), &mut found);
        found
    }

    fn collect_entries<'a>(&'a self, id: NodeId, seen: &mut Vec<NodeId>, found: &mut Vec<Entry<'a>>) {
        // An anchor can hold an alias to itself, and merging a mapping twice adds nothing.
        if seen.contains(&id) || seen.len() > 64 {
            return;
        }
        seen.push(id);
        let Kind::Mapping(entries) = &self.node(id).kind else {
            return;
        };
        let hidden = found.len();
        let mut merged = Vec::new();
        for (key, value) in entries {
            let key = self.node(*key);
            let Kind::Scalar { text, plain } = &key.kind else {
                continue;
            };
            if *plain && text == "<<" {
                match &self.node(*value).kind {
                    Kind::Sequence(items) => merged.extend(items),
                    _ => merged.push(*value),
                }
            } else if !found[..hidden].iter().any(|entry| entry.key == text) {
                found.push(Entry { key: text, line: key.line, value: *value });
            }
        }
        for other in merged {
            self.collect_entries(other, seen, found);
        }
    }

    /// The last entry of that name: what readers that tolerate duplicates (Python's among them) take.
    pub fn get(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.entries(id).iter().rev().find(|entry| entry.key == key).map(|entry| entry.value)
    }
}
