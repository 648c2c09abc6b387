//! The zones of the embedded yearly averages, to refuse one that is not there while the line is still known.

use crate::carbon;
use crate::config::{quoted, suggest};

/// The zone as the table writes it, whatever the case it was given in.
pub fn check(zone: &str) -> Result<String, String> {
    if let Some(known) = carbon::zone(zone) {
        return Ok(known.zone.clone());
    }
    let codes = || carbon::averages().iter().map(|average| average.zone.as_str());
    let upper = zone.to_ascii_uppercase();
    // `DE` for DEU is no slip but another way of writing; a short code is near too many others by letters alone.
    let near = carbon::averages()
        .iter()
        .find(|average| average.name.eq_ignore_ascii_case(zone))
        .map(|average| average.zone.as_str())
        .or_else(|| suggest::nearest(zone, codes()))
        .or_else(|| codes().find(|known| upper.len() == 2 && known.starts_with(&upper)));
    let problem = format!("{} is not a zone of the embedded table", quoted(zone));
    Err(match near {
        Some(near) => format!("{problem}; did you mean `{near}`?"),
        None => format!("{problem} (three letters, as in `DEU`; US states as in `USA-CA`)"),
    })
}
