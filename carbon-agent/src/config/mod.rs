//! Configuration: flags, environment and one section of a larger application's YAML file become one [`Config`].
//!
//! Two steps, as in any program that wants all its errors at once: each source is parsed into a layer (`file`,
//! `environment`, the flags of [`crate::cli`], CodeCarbon's own settings in [`codecarbon`]), then [`resolve`] lays them
//! over each other and checks the whole. Only [`load`] touches the system, and only to read files.

pub mod codecarbon;
mod components;
pub mod environment;
mod file;
mod functional_unit;
mod intensity;
pub mod model;
pub mod reference;
mod resolve;
mod settings;
pub mod show;
mod suggest;
mod value;
mod yaml;
mod zones;

#[cfg(test)]
mod deployed;
#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use model::*;

use crate::cli::Globals;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The exit status for an unusable configuration.
pub const EXIT_UNUSABLE: u8 = 2;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// CodeCarbon's own variable or file, and its key there.
    CodeCarbon {
        place: codecarbon::Place,
        key: String,
    },
    /// A line of the file.
    File(usize),
    /// A variable of the environment.
    Env(String),
    Flag(&'static str),
}

impl Origin {
    /// Greater wins.
    fn rank(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::CodeCarbon { .. } => 1,
            Origin::File(_) => 2,
            Origin::Env(_) => 3,
            Origin::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::CodeCarbon { place, .. } => place.fmt(f),
            Origin::File(line) => write!(f, "file, line {line}"),
            Origin::Env(name) => write!(f, "env {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One thing that is wrong, as one line that names the place, the key, the value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// `FILE:LINE: KEY`, a flag or a variable.
    pub place: String,
    pub message: String,
    /// Orders errors as the file reads; what is not in the file comes after it.
    line: usize,
}

impl ConfigError {
    fn in_file(file: &Path, line: usize, key: &str, message: impl Into<String>) -> Self {
        let separator = if key.is_empty() { "" } else { ": " };
        Self { place: format!("{}:{line}{separator}{key}", file.display()), message: message.into(), line }
    }

    fn outside(place: &str, message: impl Into<String>) -> Self {
        Self { place: place.to_owned(), message: message.into(), line: usize::MAX }
    }

    fn at(origin: &Origin, file: Option<&Path>, key: &str, message: impl Into<String>) -> Self {
        match (origin, file) {
            (Origin::File(line), Some(file)) => Self::in_file(file, *line, key, message),
            (Origin::CodeCarbon { place, key }, _) => Self::outside(&place.of_error(key), message),
            (Origin::Env(name), _) => Self::outside(name, message),
            (Origin::Flag(flag), _) => Self::outside(flag, message),
            (Origin::Default | Origin::File(_), _) => Self::outside(key, message),
        }
    }
}

/// A value as messages quote it: on one line and not too long.
fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// The configuration as resolved, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Where each setting came from, by its key; [`Loaded::origin`] asks.
    origins: BTreeMap<&'static str, Origin>,
    /// Where each source of `config.intensity` came from.
    intensity_origins: Vec<Origin>,
    /// What became of CodeCarbon's own settings.
    pub codecarbon: Vec<codecarbon::Note>,
    /// What is not wrong but surprising, to be logged once.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Where the value of a key (`carbon.pue`) came from.
    pub fn origin(&self, key: &str) -> &Origin {
        settings::find(key).and_then(|setting| self.origins.get(setting.key())).unwrap_or(&Origin::Default)
    }
}

/// Where the configuration file is named, if it is.
pub fn file_named(globals: &Globals, environment: &Environment) -> Option<(PathBuf, Origin)> {
    if let Some(path) = &globals.config {
        return Some((path.clone(), Origin::Flag("--config")));
    }
    environment.get("TTA_CONFIG").map(|path| (PathBuf::from(path), Origin::Env("TTA_CONFIG".to_owned())))
}

/// Reads the file that flags or environment name (none is looked for otherwise) and CodeCarbon's where it would look
/// for them, lays the layers over each other and checks the result. All errors come back, one for each line that an operator has to mend.
pub fn load(globals: &Globals, environment: &Environment) -> Result<Loaded, Vec<ConfigError>> {
    let mut unreadable = Vec::new();
    let mut layer = file::FileLayer::default();
    let named = file_named(globals, environment);
    if let Some((path, origin)) = &named {
        match read(path) {
            Ok(text) => layer = file::parse(path, &text),
            Err(message) => {
                let message = format!("{} {message}", quoted(&path.to_string_lossy()));
                unreadable.push(ConfigError::at(origin, None, "", message));
            }
        }
    }
    let codecarbon = codecarbon::Layer::parse(environment.codecarbon_places.read(), environment);
    let resolved = resolve::resolve(named.map(|(path, _)| path), layer, codecarbon, environment, &globals.given());
    match resolved {
        Ok(loaded) if unreadable.is_empty() => Ok(loaded),
        Ok(_) => Err(unreadable),
        Err(errors) => Err(unreadable.into_iter().chain(errors).collect()),
    }
}

/// No application's configuration is longer; `/dev/zero` is.
const FILE_LIMIT: u64 = 16 << 20;

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(format!("is longer than {} MiB", FILE_LIMIT >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("is not text in UTF-8: line {line} holds other bytes")
    })
}

impl Config {
    /// See [`load`].
    pub fn load(globals: &Globals, environment: &Environment) -> Result<Loaded, Vec<ConfigError>> {
        load(globals, environment)
    }
}

impl Default for Config {
    /// What holds where nothing is set.
    fn default() -> Self {
        let (file, codecarbon) = (file::FileLayer::default(), codecarbon::Layer::default());
        resolve::resolve(None, file, codecarbon, &Environment::default(), &[])
            .expect("the defaults of the table are valid (tested)")
            .config
    }
}
