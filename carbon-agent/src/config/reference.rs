//! The reference of all settings, printed from the table that judges them.

use crate::config::codecarbon::table::{EQUALS, OTHERS};
use crate::config::settings::SETTINGS;
use std::fmt::Write;

/// A Markdown table: key, default, allowed values, environment, flag, meaning.
pub fn markdown() -> String {
    let mut out =
        String::from("| key | default | allowed | environment | flag | meaning |\n|---|---|---|---|---|---|\n");
    for setting in SETTINGS {
        let keys = if setting.secret { "(none)".to_owned() } else { code(setting.keys.iter().copied()) };
        let default = setting.default.map_or_else(|| "unset".to_owned(), |text| format!("`{text}`"));
        let env = setting.env();
        let env = code(env.iter().map(String::as_str));
        let flag = setting.flag.map_or_else(String::new, |flag| format!("`{flag}`"));
        writeln!(out, "| {keys} | {default} | {} | {env} | {flag} | {} |", setting.allowed, setting.about)
            .expect("writing to a String does not fail");
    }
    out
}

/// A Markdown table of CodeCarbon's settings: those with an equal here, then the rest with the reason.
pub fn codecarbon() -> String {
    let mut out = String::from("| CodeCarbon's | here |\n|---|---|\n");
    for (theirs, ours) in EQUALS {
        writeln!(out, "| `{theirs}` | `{ours}` |").expect("writing to a String does not fail");
    }
    for (theirs, why) in OTHERS {
        writeln!(out, "| `{theirs}` | not applicable: {why} |").expect("writing to a String does not fail");
    }
    out
}

fn code<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
