//! What `check` prints: every setting as resolved and where it came from.

use crate::config::model::{FunctionalUnit, IntensitySource, Token};
use crate::config::settings::SETTINGS;
use crate::config::{Loaded, Origin};
use crate::identity::rules::Rule;
use std::fmt::Write;

/// Text for the terminal; holds no secret.
pub fn render(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let mut rows: Vec<[String; 3]> = Vec::new();
    for setting in SETTINGS {
        if let Some(show) = setting.show {
            rows.push([setting.key().to_owned(), show(config), loaded.origin(setting.key()).to_string()]);
        }
        // The sources stand where their keys stand in the table.
        if setting.key() == "carbon.intensity.zone" {
            rows.extend(intensity(loaded));
        }
    }
    let mut out = String::new();
    match &loaded.file {
        Some(file) => line(&mut out, format_args!("file: {}", file.display())),
        None => line(&mut out, format_args!("file: none (neither --config nor TTA_CONFIG names one)")),
    }
    out.push('\n');
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(0), width(1).min(48));
    for [key, value, origin] in &rows {
        line(&mut out, format_args!("{key:keys$}  {value:values$}  {origin}"));
    }
    out.push('\n');
    if config.components.is_empty() {
        line(&mut out, format_args!("components: none configured"));
    } else {
        line(&mut out, format_args!("components (first match wins; children inherit unless a rule matches them):"));
        let width = config.components.iter().map(|rule| rule.name.chars().count()).max().unwrap_or(0);
        for (i, rule) in config.components.iter().enumerate() {
            let Rule { name, matching, line: at } = rule;
            line(&mut out, format_args!("{:>3}. {name:width$}  line {at:<4} {matching}", i + 1));
        }
    }
    if !config.functional_units.is_empty() {
        line(&mut out, format_args!("functional units (SCI):"));
        let width = config.functional_units.iter().map(|unit| unit.component.chars().count()).max().unwrap_or(0);
        for FunctionalUnit { component, name, source } in &config.functional_units {
            line(&mut out, format_args!("     {component:width$}  {name}: {source}"));
        }
    }
    codecarbon(&mut out, loaded);
    for warning in &loaded.warnings {
        line(&mut out, format_args!("warning: {warning}"));
    }
    out
}

/// What became of CodeCarbon's own settings. Those that are not applicable are named without their values.
fn codecarbon(out: &mut String, loaded: &Loaded) {
    if loaded.codecarbon.is_empty() {
        return;
    }
    out.push('\n');
    line(out, format_args!("CodeCarbon's own settings (read below ours):"));
    let rows = loaded.codecarbon.iter().map(|note| (&note.key, note.place.to_string(), &note.fate));
    let rows: Vec<_> = rows.collect();
    let keys = rows.iter().map(|(key, ..)| key.chars().count()).max().unwrap_or(0);
    let places = rows.iter().map(|(_, place, _)| place.chars().count()).max().unwrap_or(0);
    for (key, place, fate) in rows {
        line(out, format_args!("  {key:keys$}  {place:places$}  {fate}"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a String does not fail");
}

fn intensity(loaded: &Loaded) -> Vec<[String; 3]> {
    let sources = &loaded.config.intensity;
    if sources.is_empty() {
        let text = "- (world average)".to_owned();
        return vec![["carbon.intensity".to_owned(), text, Origin::Default.to_string()]];
    }
    let several = sources.len() > 1;
    let rows = sources.iter().zip(&loaded.intensity_origins).enumerate();
    rows.map(|(i, (source, origin))| {
        let key = if several { format!("carbon.intensity[{i}]") } else { "carbon.intensity".to_owned() };
        [key, describe(source), origin.to_string()]
    })
    .collect()
}

fn describe(source: &IntensitySource) -> String {
    match source {
        IntensitySource::Zone(zone) => format!("zone {zone}"),
        IntensitySource::GramsPerKwh(grams) => format!("{grams} g/kWh"),
        IntensitySource::File(file) => format!("file {}", file.display()),
        IntensitySource::Provider(source) => {
            let mut text = source.provider.to_string();
            for (name, value) in [("zone", &source.zone), ("username", &source.username), ("url", &source.url)] {
                if let Some(value) = value {
                    text.push_str(&format!(", {name} {value}"));
                }
            }
            match &source.token {
                Some(Token::File(file)) => text.push_str(&format!(", token in {}", file.display())),
                Some(Token::Value(_)) => text.push_str(", token *** (environment)"),
                None => {}
            }
            text
        }
    }
}
