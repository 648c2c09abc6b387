//! The variables of the environment that concern us, as a plain map: tests need no process environment.

use crate::config::codecarbon::Places;
use crate::config::settings::SETTINGS;
use crate::config::suggest;
use std::collections::BTreeMap;

/// A snapshot of `CARBON_*`, `TTA_*` and `CODECARBON_*`.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Where CodeCarbon's own files may lie; none unless it is [`Environment::of_process`].
    pub codecarbon_places: Places,
}

/// In any case, as CodeCarbon takes them.
const CODECARBON: &str = "codecarbon_";

impl Environment {
    /// Of this process. Values that are not UTF-8 are read as far as they are.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Self { codecarbon_places: Places::of_process(), ..variables }
    }

    /// An empty variable counts as unset: `VAR=${OTHER:-}` in compose files and units means nothing by it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// CodeCarbon's variables that are not empty: its key, the variable's name, the value.
    pub fn codecarbon(&self) -> impl Iterator<Item = (String, &str, &str)> {
        self.variables.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(name, value)| {
            let key = name.to_lowercase().strip_prefix(CODECARBON)?.to_owned();
            Some((key, name.as_str(), value.as_str()))
        })
    }

    /// A warning for each `CARBON_*` that no setting answers to. The value is not shown.
    pub(super) fn unknown(&self) -> Vec<String> {
        let known: Vec<String> = SETTINGS.iter().flat_map(|setting| setting.env()).collect();
        // The prefix is left out of the comparison: it would make everything look alike.
        let plain = |name: &str| name.trim_start_matches("CARBON_").to_owned();
        let plain_known: Vec<String> = known.iter().map(|name| plain(name)).collect();
        self.variables
            .keys()
            .filter(|name| name.starts_with("CARBON_") && !known.contains(name))
            .map(|name| {
                let near = suggest::nearest(&plain(name), plain_known.iter().map(String::as_str));
                match near {
                    Some(near) => {
                        format!("{name}: no such setting, ignored; did you mean CARBON_{near}?")
                    }
                    None => format!("{name}: no such setting, ignored"),
                }
            })
            .collect()
    }
}

/// Values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let ours = |name: &str| {
            ["CARBON_", "TTA_"].iter().any(|prefix| name.starts_with(prefix))
                || name.to_lowercase().starts_with(CODECARBON)
        };
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            variables: variables.filter(|(name, _): &(String, String)| ours(name)).collect(),
            codecarbon_places: Places::default(),
        }
    }
}
