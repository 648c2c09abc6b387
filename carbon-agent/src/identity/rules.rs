//! Component rules: globs on what is known of a process; the first rule that matches names its component.
//!
//! A field is asked for at most once a decision and only when a rule that is reached needs it, so that command
//! lines and environments are read only where the operator's rules look at them. The values live no longer than
//! the comparison.

use crate::identity::label::label;
use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use std::cell::RefCell;
use std::fmt;

/// What a rule can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Comm,
    Exe,
    Cmdline,
    Unit,
    Cgroup,
    Container,
    Pod,
    Namespace,
    User,
    Env,
    Thread,
}

impl Field {
    pub const ALL: [Field; 11] = [
        Field::Comm,
        Field::Exe,
        Field::Cmdline,
        Field::Unit,
        Field::Cgroup,
        Field::Container,
        Field::Pod,
        Field::Namespace,
        Field::User,
        Field::Env,
        Field::Thread,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Field::Comm => "comm",
            Field::Exe => "exe",
            Field::Cmdline => "cmdline",
            Field::Unit => "unit",
            Field::Cgroup => "cgroup",
            Field::Container => "container",
            Field::Pod => "pod",
            Field::Namespace => "namespace",
            Field::User => "user",
            Field::Env => "env",
            Field::Thread => "thread",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Field::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Whether its values may hold secrets and are therefore never shown.
    pub fn is_private(self) -> bool {
        matches!(self, Field::Cmdline | Field::Env)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a rule asks of a process, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Key {
        field: Field,
        glob: String,
    },
    Any(Vec<Match>),
    All(Vec<Match>),
    /// Also true where the field is unknown (a process without a container is not in that container).
    Not(Box<Match>),
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, name: &str, parts: &[Match]| {
            write!(f, "{name}(")?;
            for (i, part) in parts.iter().enumerate() {
                write!(f, "{}{part}", if i == 0 { "" } else { ", " })?;
            }
            f.write_str(")")
        };
        match self {
            Match::Key { field, glob } => write!(f, "{field}: {glob:?}"),
            Match::Any(parts) => list(f, "any", parts),
            Match::All(parts) => list(f, "all", parts),
            Match::Not(part) => write!(f, "not({part})"),
        }
    }
}

/// A component and what puts a process into it. Two rules may share a name: their processes are one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub matching: Match,
    /// Line in the configuration file; 0 where there is none.
    pub line: usize,
}

/// A process (or thread) as the rules ask about it.
///
/// `visit` is to be called with each value of the field: none where it is unknown, several where there are several
/// (each `KEY=VALUE` of the environment; a container's id and its name). A command line is given as its arguments
/// joined with spaces. Values are bytes: a process chooses its own name.
pub trait Subject {
    fn values(&self, field: Field, visit: &mut dyn FnMut(&[u8]));
}

/// The rule that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Index among the rules.
    pub rule: usize,
    /// Index among [`RuleSet::components`].
    pub component: usize,
}

/// A rule compiled: leaves are positions in the glob set of their field.
#[derive(Debug)]
enum Node {
    Leaf { field: Field, index: usize },
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
}

#[derive(Debug)]
struct FieldGlobs {
    set: GlobSet,
    patterns: Vec<String>,
}

/// All rules, compiled once.
#[derive(Debug)]
pub struct RuleSet {
    rules: Vec<(Node, usize)>,
    components: Vec<String>,
    /// By `Field as usize`; `None` where no rule looks at the field.
    fields: [Option<FieldGlobs>; Field::ALL.len()],
}

/// Compiles one glob: `*` and `?` cross `/` as they do in a shell's `case`, `{a,b}` and `[a-z]` work, case counts.
///
/// Crossing is what is meant by `exe: "*/uvicorn"`: any path that ends so, however deep.
pub fn compile_glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build()
}

impl RuleSet {
    /// Fails only on a glob that [`compile_glob`] refuses; the configuration has checked each already.
    pub fn compile(rules: &[Rule]) -> Result<Self, globset::Error> {
        let mut patterns = Patterns::default();
        let mut components: Vec<String> = Vec::new();
        let mut compiled = Vec::with_capacity(rules.len());
        for rule in rules {
            let node = compile(&rule.matching, &mut patterns);
            let component = components.iter().position(|name| *name == rule.name).unwrap_or_else(|| {
                components.push(rule.name.clone());
                components.len() - 1
            });
            compiled.push((node, component));
        }
        let mut fields: [Option<FieldGlobs>; Field::ALL.len()] = Default::default();
        for (slot, patterns) in fields.iter_mut().zip(patterns) {
            if patterns.is_empty() {
                continue;
            }
            let mut builder = GlobSetBuilder::new();
            for pattern in &patterns {
                builder.add(compile_glob(pattern)?);
            }
            *slot = Some(FieldGlobs { set: builder.build()?, patterns });
        }
        Ok(Self { rules: compiled, components, fields })
    }

    /// Component names in the order they first appear, each once. They exist before any process matches.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any rule looks at the field.
    pub fn needs(&self, field: Field) -> bool {
        self.fields[field as usize].is_some()
    }

    /// The first rule that matches.
    pub fn decide(&self, subject: &dyn Subject) -> Option<Decision> {
        let asked = Asked::new(self, subject, false);
        self.rules.iter().enumerate().find_map(|(rule, (node, component))| {
            asked.holds(node, None).then_some(Decision { rule, component: *component })
        })
    }

    /// Each rule as it was tried, up to the one that matched: the same decision as [`RuleSet::decide`], told.
    pub fn explain(&self, subject: &dyn Subject) -> Vec<Step> {
        let asked = Asked::new(self, subject, true);
        let mut steps = Vec::new();
        for (rule, (node, component)) in self.rules.iter().enumerate() {
            let compared = RefCell::new(Vec::new());
            let matched = asked.holds(node, Some(&compared));
            steps.push(Step {
                rule,
                component: self.components[*component].clone(),
                compared: compared.into_inner(),
                matched,
            });
            if matched {
                break;
            }
        }
        steps
    }
}

/// The globs of each field, by `Field as usize`.
type Patterns = [Vec<String>; Field::ALL.len()];

fn compile(matching: &Match, patterns: &mut Patterns) -> Node {
    match matching {
        Match::Key { field, glob } => {
            let known = &mut patterns[*field as usize];
            let index = known.iter().position(|pattern| pattern == glob).unwrap_or_else(|| {
                known.push(glob.clone());
                known.len() - 1
            });
            Node::Leaf { field: *field, index }
        }
        Match::Any(parts) => Node::Any(parts.iter().map(|part| compile(part, patterns)).collect()),
        Match::All(parts) => Node::All(parts.iter().map(|part| compile(part, patterns)).collect()),
        Match::Not(part) => Node::Not(Box::new(compile(part, patterns))),
    }
}

/// What one decision has asked so far. Holds, by field, which globs matched, never the values themselves,
/// except for a field that may be shown and only when an explanation is wanted.
struct Asked<'a> {
    rules: &'a RuleSet,
    subject: &'a dyn Subject,
    explain: bool,
    answers: RefCell<[Option<Answer>; Field::ALL.len()]>,
}

struct Answer {
    /// Positions of the globs that matched some value, sorted.
    matched: Vec<usize>,
    shown: String,
}

impl<'a> Asked<'a> {
    fn new(rules: &'a RuleSet, subject: &'a dyn Subject, explain: bool) -> Self {
        Self { rules, subject, explain, answers: RefCell::default() }
    }

    fn holds(&self, node: &Node, compared: Option<&RefCell<Vec<Comparison>>>) -> bool {
        match node {
            Node::Leaf { field, index } => {
                let mut answers = self.answers.borrow_mut();
                let answer = answers[*field as usize].get_or_insert_with(|| self.ask(*field));
                let matched = answer.matched.binary_search(index).is_ok();
                if let Some(compared) = compared {
                    compared.borrow_mut().push(Comparison {
                        field: *field,
                        glob: self.globs(*field).patterns[*index].clone(),
                        value: answer.shown.clone(),
                        matched,
                    });
                }
                matched
            }
            Node::Any(parts) => parts.iter().any(|part| self.holds(part, compared)),
            Node::All(parts) => parts.iter().all(|part| self.holds(part, compared)),
            Node::Not(part) => !self.holds(part, compared),
        }
    }

    fn globs(&self, field: Field) -> &FieldGlobs {
        self.rules.fields[field as usize].as_ref().expect("a leaf's field has globs")
    }

    fn ask(&self, field: Field) -> Answer {
        let set = &self.globs(field).set;
        let mut matched = Vec::new();
        let mut one = Vec::new();
        let mut shown = String::new();
        let mut any = false;
        self.subject.values(field, &mut |value| {
            any = true;
            set.matches_candidate_into(&Candidate::from_bytes(value), &mut one);
            matched.append(&mut one);
            if self.explain && !field.is_private() {
                if !shown.is_empty() {
                    shown.push_str(" | ");
                }
                shown.push_str(&label(value));
            }
        });
        matched.sort_unstable();
        matched.dedup();
        if self.explain && !any {
            shown = "(unknown)".to_owned();
        } else if self.explain && field.is_private() {
            shown = "(not shown)".to_owned();
        }
        Answer { matched, shown }
    }
}

/// One glob compared with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub field: Field,
    pub glob: String,
    /// The value, made safe; `(not shown)` for command lines and environments, `(unknown)` where there is none.
    pub value: String,
    pub matched: bool,
}

/// One rule as it was tried. What a part that was already decided would have said is not in `compared`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub rule: usize,
    pub component: String,
    pub compared: Vec<Comparison>,
    pub matched: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rule {} {}: {}",
            self.rule + 1,
            self.component,
            if self.matched { "matches" } else { "does not match" }
        )?;
        for Comparison { field, glob, value, matched } in &self.compared {
            write!(f, "\n  {} {field} {value} against {glob:?}", if *matched { "+" } else { "-" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
