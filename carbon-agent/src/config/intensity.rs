//! Which sources of carbon intensity are declared, once file and environment are laid over each other.

use crate::carbon;
use crate::config::environment::Environment;
use crate::config::file::FileLayer;
use crate::config::model::{IntensitySource, Provider, ProviderSource, Token};
use crate::config::settings::{IntensityDraft, find};
use crate::config::{ConfigError, Origin, zones};
use std::collections::BTreeMap;
use std::path::Path;

pub type Sources = Vec<(IntensitySource, Origin)>;

/// The keys that choose a source; a zone beside a provider belongs to it.
pub const KINDS: [&str; 4] =
    ["carbon.intensity.provider", "carbon.intensity.grams_per_kwh", "carbon.intensity.file", "carbon.intensity.zone"];

/// Where file or environment name a source, the environment first; CodeCarbon's is then of no account.
pub fn named(layer: &FileLayer, environment: &Environment) -> Option<Origin> {
    let settings = || KINDS.iter().filter_map(|key| find(key));
    let variable = settings().flat_map(|setting| setting.env()).find(|name| environment.get(name).is_some());
    let key = layer.values.iter().find(|value| KINDS.contains(&value.key)).map(|value| value.line);
    let list = layer.intensity.as_ref().map(|list| list.first().map_or(0, |(_, line)| *line));
    variable.map(Origin::Env).or_else(|| key.or(list).map(Origin::File))
}

/// A warning for each source that can never be in force.
pub fn never_used(sources: &[IntensitySource], origins: &[Origin], file: Option<&Path>) -> Vec<String> {
    let now = jiff::Timestamp::now();
    let series = sources.iter().map(|source| carbon::declared_series(source, now)).collect::<Result<_, _>>();
    // What cannot be opened is complained of when it is.
    let Ok(series) = series else { return Vec::new() };
    let never = carbon::Sources::new(series, now).never_used();
    let warning = |(index, before): (usize, Option<usize>)| {
        let why = match before {
            Some(before) => format!("carbon.intensity[{before}] is tried first and always has a value"),
            None => "it is marginal and the first is an average: the two are never mixed".to_owned(),
        };
        let key = format!("carbon.intensity[{index}]");
        ConfigError::at(&origins[index], file, &key, format!("can never be used: {why}")).to_string()
    };
    never.into_iter().map(warning).collect()
}

pub fn resolve(
    mut single: IntensityDraft,
    list: Option<Vec<(IntensityDraft, usize)>>,
    origins: &BTreeMap<&'static str, Origin>,
    file: Option<&Path>,
    errors: &mut Vec<ConfigError>,
) -> Sources {
    let origin = |key: &str| origins.get(key).filter(|origin| **origin != Origin::Default);
    let strongest = KINDS.iter().filter_map(|key| origin(key)).max_by_key(|origin| origin.rank());

    // A list in the file stands unless the environment names a source.
    if let (Some(list), None) = (list, strongest) {
        let mut sources = Vec::new();
        for (i, (mut draft, line)) in list.into_iter().enumerate() {
            let origin = Origin::File(line);
            if let Some(key) = of_provider_alone(&draft) {
                let path = format!("carbon.intensity[{i}].{key}");
                errors.push(ConfigError::at(&origin, file, &path, NO_PROVIDER));
                continue;
            }
            draft.token = draft.token.or_else(|| single.token.clone());
            if draft.token_file.is_none() {
                draft.token_file = single.token_file.clone();
            }
            match source(draft) {
                Ok(source) => sources.push((source, origin)),
                Err((_, message)) => {
                    errors.push(ConfigError::at(&origin, file, &format!("carbon.intensity[{i}]"), message));
                }
            }
        }
        return sources;
    }
    // A variable without use is left over from elsewhere; a key of the file was meant for something.
    let of_file_or_less = matches!(strongest, None | Some(Origin::File(_) | Origin::CodeCarbon { .. }));
    if let Some(key) = of_provider_alone(&single)
        && of_file_or_less
    {
        let key = format!("carbon.intensity.{key}");
        if let Some(origin @ Origin::File(_)) = origin(&key) {
            errors.push(ConfigError::at(origin, file, &key, NO_PROVIDER));
            return Vec::new();
        }
    }
    let Some(strongest) = strongest else {
        return Vec::new();
    };

    // What a stronger layer names hides what a weaker one named, except a provider whose zone is set elsewhere.
    let weaker = |key: &str| origin(key).is_some_and(|origin| origin.rank() < strongest.rank());
    let same = |key: &str| origin(key).is_some_and(|origin| origin.rank() == strongest.rank());
    if weaker("carbon.intensity.grams_per_kwh") {
        single.grams_per_kwh = None;
    }
    if weaker("carbon.intensity.file") {
        single.file = None;
    }
    let other = same("carbon.intensity.grams_per_kwh") || same("carbon.intensity.file");
    if weaker("carbon.intensity.provider") && other {
        single.provider = None;
    }
    if weaker("carbon.intensity.zone") && (other || single.provider.is_none()) {
        single.zone = None;
    }
    let strongest = strongest.clone();
    match source(single) {
        Ok(source) => vec![(source, strongest)],
        Err((key, message)) => {
            let origin = origin(key).cloned().unwrap_or(strongest);
            errors.push(ConfigError::at(&origin, file, key, message));
            Vec::new()
        }
    }
}

const NO_PROVIDER: &str = "there is no `provider` that it could belong to";

/// A key that only makes sense beside a provider, where there is none.
fn of_provider_alone(draft: &IntensityDraft) -> Option<&'static str> {
    if draft.provider.is_some() {
        None
    } else if draft.token_file.is_some() {
        Some("token_file")
    } else if draft.username.is_some() {
        Some("username")
    } else if draft.url.is_some() {
        Some("url")
    } else {
        None
    }
}

/// The one source that a set of keys describes, or the key to complain of and why.
fn source(draft: IntensityDraft) -> Result<IntensitySource, (&'static str, String)> {
    let mut named = Vec::new();
    if draft.provider.is_some() {
        named.push("provider");
    } else if draft.zone.is_some() {
        named.push("zone");
    }
    if draft.grams_per_kwh.is_some() {
        named.push("grams_per_kwh");
    }
    if draft.file.is_some() {
        named.push("file");
    }
    if named.len() > 1 {
        let message = format!(
            "{} exclude each other: exactly one of zone, grams_per_kwh, file, provider; for an order of several, \
             write a list",
            named.join(" and ")
        );
        return Err(("carbon.intensity", message));
    }
    if let Some(provider) = draft.provider {
        return provider_source(provider, draft);
    }
    match (draft.zone, draft.grams_per_kwh, draft.file) {
        (Some(zone), ..) => match zones::check(&zone) {
            Ok(zone) => Ok(IntensitySource::Zone(zone)),
            Err(problem) => Err(("carbon.intensity.zone", problem)),
        },
        (_, Some(grams), _) => Ok(IntensitySource::GramsPerKwh(grams)),
        (.., Some(file)) => Ok(IntensitySource::File(file)),
        (None, None, None) => {
            Err(("carbon.intensity", "expected one of zone, grams_per_kwh, file, provider".to_owned()))
        }
    }
}

fn provider_source(provider: Provider, draft: IntensityDraft) -> Result<IntensitySource, (&'static str, String)> {
    let missing = |what: String| Err(("carbon.intensity.provider", format!("`{provider}` needs {what}")));
    if provider.needs_zone() && draft.zone.is_none() {
        return missing("a `zone` of its own: a zone is never guessed".to_owned());
    }
    // A token that was set for now (the environment) wins over a file.
    let token = draft.token.map(Token::Value).or(draft.token_file.map(Token::File));
    if provider.needs_token() && token.is_none() {
        return missing("a `token_file`, or CARBON_INTENSITY__TOKEN".to_owned());
    }
    if provider == Provider::WattTime && draft.username.is_none() {
        return missing("a `username`; its password is the token".to_owned());
    }
    Ok(IntensitySource::Provider(ProviderSource {
        provider,
        zone: draft.zone,
        username: draft.username,
        token,
        url: draft.url,
    }))
}
