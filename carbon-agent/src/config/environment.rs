//! The variables of the environment that concern us, as a plain map: tests need no process environment.

use crate::config::settings::SETTINGS;
use crate::config::suggest;
use std::collections::BTreeMap;

/// A snapshot of `CARBON_*` and `TTA_*`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Of this process. Values that are not UTF-8 are read as far as they are.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// An empty variable counts as unset: `VAR=${OTHER:-}` in compose files and units means nothing by it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A warning for each `CARBON_*` that no setting answers to. The value is not shown.
    pub(super) fn unknown(&self) -> Vec<String> {
        let known: Vec<String> = SETTINGS.iter().flat_map(|setting| setting.env()).collect();
        // The prefix is left out of the comparison: it would make everything look alike.
        let plain = |name: &str| name.trim_start_matches("CARBON_").to_owned();
        let plain_known: Vec<String> = known.iter().map(|name| plain(name)).collect();
        self.0
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
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .filter(|(name, _): &(String, String)| name.starts_with("CARBON_") || name.starts_with("TTA_"))
                .collect(),
        )
    }
}
