//! CodeCarbon's own settings, for hosts that have some: `CODECARBON_*` and `.codecarbon.config`, the weakest layer but
//! the defaults. What has an equal here is read, the rest is listed by `check` as not applicable.
//!
//! As in CodeCarbon, `~/.codecarbon.config` is the weakest, then `./.codecarbon.config`, then the environment, where
//! names may be written in any case. Values are shown only where they are used: API keys live there too.

mod files;
mod ini;
pub mod table;

pub use files::{Places, Text};

use crate::carbon;
use crate::config::environment::Environment;
use crate::config::{ConfigError, Origin, quoted, suggest, zones};
use std::fmt;
use std::path::{Path, PathBuf};
use table::{COUNTRY, EQUALS, FORCED, OTHERS, REGION};

/// The name of CodeCarbon's files, in the home directory and in the one the agent was started in.
pub const FILE_NAME: &str = ".codecarbon.config";
const SECTION: &str = "codecarbon";
pub(super) const ZONE: &str = "carbon.intensity.zone";
pub(super) const GRAMS: &str = "carbon.intensity.grams_per_kwh";

/// Where CodeCarbon would have found a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the first (0) or second (1) of its files; the second wins.
    File { path: PathBuf, line: usize, rank: u8 },
    /// A variable, as it was written.
    Env(String),
}

impl Place {
    /// Among CodeCarbon's own places; greater wins.
    pub fn rank(&self) -> u8 {
        match self {
            Place::File { rank, .. } => *rank,
            Place::Env(_) => 2,
        }
    }

    /// As the beginning of an error: the place and, in a file, the key.
    pub fn of_error(&self, key: &str) -> String {
        match self {
            Place::File { path, line, .. } => format!("{}:{line}: {key}", path.display()),
            Place::Env(name) => name.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, .. } => write!(f, "{}, line {line}", path.display()),
            Place::Env(name) => write!(f, "env {name}"),
        }
    }
}

/// A setting of CodeCarbon's that is set.
#[derive(Clone, Debug)]
struct Found {
    key: String,
    text: String,
    place: Place,
}

impl Found {
    fn origin(&self) -> Origin {
        Origin::CodeCarbon { place: self.place.clone(), key: self.key.clone() }
    }
}

/// A value that one of our settings takes over.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Key of our setting.
    pub ours: &'static str,
    pub text: String,
    pub origin: Origin,
}

/// What `check` says of a setting of CodeCarbon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub key: String,
    pub place: Place,
    /// What became of it.
    pub fate: String,
}

/// CodeCarbon's layers, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    found: Vec<Found>,
    taken: Vec<Taken>,
    /// Notes that are known before the layers are laid over each other.
    region: Option<String>,
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<String>,
}

impl Layer {
    /// Files in CodeCarbon's order, each with its text, and the variables. Pure.
    pub fn parse(texts: Vec<Text>, environment: &Environment) -> Self {
        let mut layer = Self::default();
        for (rank, Text { path, contents }) in (0..).zip(texts) {
            match contents {
                Ok(text) => layer.file(&path, &text, rank),
                Err(why) => layer.warnings.push(format!("{}: {why}; ignored", path.display())),
            }
        }
        for (key, name, text) in environment.codecarbon() {
            let place = Place::Env(name.to_owned());
            layer.found.push(Found { key, text: text.to_owned(), place });
        }
        layer.take();
        layer
    }

    fn file(&mut self, path: &Path, text: &str, rank: u8) {
        let mut values: Vec<(String, ini::Value)> = match ini::section(text, SECTION) {
            Ok(section) => section.into_iter().filter(|(_, value)| !value.text.is_empty()).collect(),
            Err(problem) => {
                let place = format!("{}:{}", path.display(), problem.line);
                self.errors.push(ConfigError::outside(&place, problem.message));
                return;
            }
        };
        values.sort_by_key(|(_, value)| value.line);
        for (key, ini::Value { text, line }) in values {
            let place = Place::File { path: path.to_owned(), line, rank };
            match ini::plain(&text) {
                Ok(text) => self.found.push(Found { key, text, place }),
                // Of what is not for us it does not matter how it is written.
                Err(_) if ours(&key).is_none() => self.found.push(Found { key, text, place }),
                Err(why) => {
                    let message = format!("{}: {why}", quoted(&text));
                    self.errors.push(ConfigError::outside(&place.of_error(&key), message));
                }
            }
        }
    }

    /// Translates what has an equal.
    fn take(&mut self) {
        let direct = self.found.iter().filter_map(|found| {
            let ours = ours(&found.key).filter(|ours| *ours != ZONE)?;
            Some(Taken { ours, text: found.text.clone(), origin: found.origin() })
        });
        self.taken = direct.collect();
        match self.zone() {
            // A forced intensity wins, as in CodeCarbon.
            Ok(Some(zone)) if self.strongest(FORCED).is_none() => self.taken.push(zone),
            Ok(_) => {}
            Err(error) => self.errors.push(error),
        }
    }

    /// The zone of country and region: states of the USA have one of their own.
    fn zone(&mut self) -> Result<Option<Taken>, ConfigError> {
        let of_country = |found: &Found, problem| ConfigError::outside(&found.place.of_error(&found.key), problem);
        let Some(country) = self.strongest(COUNTRY).cloned() else {
            if self.strongest(REGION).is_some() {
                self.region = Some(format!("there is no {COUNTRY} beside it"));
            }
            return Ok(None);
        };
        let code = zones::check(&country.text).map_err(|problem| of_country(&country, problem))?;
        let region = self.strongest(REGION).cloned();
        let (zone, source) = match region {
            Some(region) if code == "USA" => {
                (state(&region.text).map_err(|problem| of_country(&region, problem))?, region)
            }
            Some(_) => {
                self.region = Some(format!("there are no averages of regions of {code} here: the country's is used"));
                (code, country)
            }
            None => (code, country),
        };
        Ok(Some(Taken { ours: ZONE, text: zone, origin: source.origin() }))
    }

    fn strongest(&self, key: &str) -> Option<&Found> {
        self.found.iter().filter(|found| found.key == key).max_by_key(|found| found.place.rank())
    }

    /// What a setting of ours takes over, the weakest first.
    pub fn of<'a>(&'a self, ours: &'a str) -> impl Iterator<Item = &'a Taken> {
        self.taken.iter().filter(move |taken| taken.ours == ours)
    }

    /// What became of each setting of CodeCarbon's; `origin` tells where a setting of ours has its value from.
    pub fn notes(&self, origin: impl Fn(&str) -> Origin) -> Vec<Note> {
        let fate = |found: &Found| -> String {
            let Some(ours) = ours(&found.key) else { return not_applicable(&found.key) };
            let strongest = self.strongest(&found.key).map(|strongest| &strongest.place);
            if let Some(place) = strongest.filter(|place| **place != found.place) {
                return format!("hidden by {place}");
            }
            if found.key == REGION
                && let Some(why) = &self.region
            {
                return format!("not applicable: {why}");
            }
            let stronger = match origin(ours) {
                // Country and region make one zone between them.
                Origin::CodeCarbon { .. } => return format!("read as {ours}"),
                // Only a forced intensity keeps a zone from being taken.
                Origin::Default => format!("{FORCED}, as in CodeCarbon"),
                other if [ZONE, GRAMS].contains(&ours) => format!("carbon.intensity ({other})"),
                other => format!("{ours} ({other})"),
            };
            format!("hidden by {stronger}")
        };
        let note = |found: &Found| Note { key: found.key.clone(), place: found.place.clone(), fate: fate(found) };
        self.found.iter().map(note).collect()
    }
}

fn ours(key: &str) -> Option<&'static str> {
    EQUALS.iter().find(|(theirs, _)| *theirs == key).map(|(_, ours)| *ours)
}

fn not_applicable(key: &str) -> String {
    if let Some((_, why)) = OTHERS.iter().find(|(theirs, _)| *theirs == key) {
        return format!("not applicable: {why}");
    }
    let known = EQUALS.iter().chain(OTHERS).map(|(theirs, _)| *theirs);
    match suggest::nearest(key, known) {
        Some(near) => format!("not a setting of CodeCarbon's; did you mean {near}?"),
        None => "not a setting of CodeCarbon's".to_owned(),
    }
}

/// The zone of a state of the USA by its name, as CodeCarbon writes regions (`california`).
fn state(name: &str) -> Result<String, String> {
    let states = || carbon::averages().iter().filter(|average| average.zone.starts_with("USA-"));
    if let Some(state) = states().find(|state| state.name.eq_ignore_ascii_case(name)) {
        return Ok(state.zone.clone());
    }
    let near = suggest::nearest(name, states().map(|state| state.name.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{}`?", near.to_lowercase()));
    Err(format!("{} is not a state of the USA in the embedded table{hint}", quoted(name)))
}

#[cfg(test)]
mod tests;
