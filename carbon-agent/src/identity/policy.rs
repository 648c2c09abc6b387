//! How processes come to components: by the operator's rules, by discovery, or not at all.

use super::Facts;
use super::discovery::discover;
use super::rules::{Field, RuleSet};
use std::collections::HashSet;
use std::sync::Arc;

/// Components that discovery makes at most at one time; what comes later is unassigned until some are forgotten.
const DISCOVERED: usize = 1000;

#[derive(Debug)]
pub enum Policy {
    /// `track_components: false`: no process has a component.
    Nothing,
    /// No rules.
    Discovery(Discovered),
    Rules(Box<Rules>),
}

#[derive(Debug)]
pub struct Rules {
    set: RuleSet,
    /// The set's components, by index.
    components: Vec<Arc<str>>,
}

/// The components that discovery has made.
#[derive(Debug, Default)]
pub struct Discovered {
    names: HashSet<Arc<str>>,
}

/// What a policy says of one process.
pub(super) enum Verdict {
    Matched(Arc<str>),
    Discovered(Arc<str>),
    /// No rule matches: what it inherits holds.
    Silent,
}

impl Policy {
    pub fn new(rules: RuleSet, track_components: bool) -> Self {
        if !track_components {
            return Self::Nothing;
        }
        if rules.is_empty() {
            return Self::Discovery(Discovered::default());
        }
        let components = rules.components().iter().map(|name| Arc::from(name.as_str())).collect();
        Self::Rules(Box::new(Rules { set: rules, components }))
    }

    /// The components that exist before any process has run.
    pub fn components(&self) -> &[Arc<str>] {
        match self {
            Self::Rules(rules) => &rules.components,
            Self::Nothing | Self::Discovery(_) => &[],
        }
    }

    /// Whether threads are judged one by one, so that the probe must keep them apart.
    pub fn needs_threads(&self) -> bool {
        matches!(self, Self::Rules(rules) if rules.set.needs(Field::Thread))
    }

    /// Makes room: these discovered components have no books any more.
    pub fn forget(&mut self, names: &[Arc<str>]) {
        if let Self::Discovery(made) = self {
            for name in names {
                made.names.remove(name);
            }
        }
    }

    pub(super) fn inherits(&self) -> bool {
        matches!(self, Self::Rules(_))
    }

    pub(super) fn rules(&self) -> Option<&RuleSet> {
        match self {
            Self::Rules(rules) => Some(&rules.set),
            Self::Nothing | Self::Discovery(_) => None,
        }
    }

    pub(super) fn judge(&mut self, facts: &Facts) -> Verdict {
        match self {
            Self::Nothing => Verdict::Silent,
            Self::Rules(rules) => match rules.set.decide(facts) {
                Some(decision) => Verdict::Matched(rules.components[decision.component].clone()),
                None => Verdict::Silent,
            },
            Self::Discovery(made) => {
                discover(facts).and_then(|name| made.component(&name)).map_or(Verdict::Silent, Verdict::Discovered)
            }
        }
    }
}

impl Discovered {
    fn component(&mut self, name: &str) -> Option<Arc<str>> {
        if let Some(known) = self.names.get(name) {
            return Some(known.clone());
        }
        (self.names.len() < DISCOVERED).then(|| {
            let name: Arc<str> = Arc::from(name);
            self.names.insert(name.clone());
            name
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_bounded() {
        let mut made = Discovered::default();
        for i in 0..DISCOVERED {
            assert!(made.component(&i.to_string()).is_some());
        }
        assert_eq!(made.component("one more"), None);
        assert_eq!(made.component("7").as_deref(), Some("7"));
        let mut policy = Policy::Discovery(made);
        policy.forget(&["7".into(), "unheard of".into()]);
        let Policy::Discovery(mut made) = policy else { unreachable!() };
        assert_eq!(made.component("one more").as_deref(), Some("one more"));
    }
}
