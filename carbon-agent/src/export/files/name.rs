//! Names of emissions files: `emissions_YYYYMMDD.json`, and what log rotation makes of them.

use jiff::civil::Date;
use std::ffi::OsStr;

const PREFIX: &str = "emissions_";
const EXTENSION: &str = ".json";

/// The file of a UTC day.
pub fn of_day(day: Date) -> String {
    format!("{PREFIX}{:04}{:02}{:02}{EXTENSION}", day.year(), day.month(), day.day())
}

/// The UTC day of a moment.
pub fn day_of(moment: jiff::Timestamp) -> Date {
    moment.to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The day of a file of ours, rotated or not; `None` for any other name. Retention deletes by this answer, so it errs
/// on the side of "not ours": `emissions_20260301.json.keep` stays.
pub fn day_in(name: &OsStr) -> Option<Date> {
    let rest = name.to_str()?.strip_prefix(PREFIX)?;
    let (digits, rest) = rest.split_at_checked(8)?;
    let rotated = rest.strip_prefix(EXTENSION)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !is_rotation(rotated) {
        return None;
    }
    Date::new(digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?).ok()
}

/// Whether a file holds lines of ours, so that `report` should read it: everything but what was set aside as torn.
pub fn is_readable(name: &OsStr) -> bool {
    day_in(name).is_some() && !name.to_str().is_some_and(|n| n.contains(super::tail::ASIDE_SUFFIX))
}

/// Whether the rest of a name is what logrotate (`.1`, `-20260302`, `.gz`) or a repair (`.torn`) appends.
fn is_rotation(rest: &str) -> bool {
    let known = |part: &str| {
        matches!(part, "gz" | "xz" | "bz2" | "zst" | "torn")
            || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    rest.is_empty() || (rest.starts_with(['.', '-']) && rest[1..].split(['.', '-']).all(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn names_round_trip() {
        let day = date(2026, 3, 1);
        assert_eq!(of_day(day), "emissions_20260301.json");
        assert_eq!(day_in(OsStr::new(&of_day(day))), Some(day));
    }

    #[test]
    fn the_day_is_the_utc_day() {
        assert_eq!(day_of("2026-03-01T23:59:59.999Z".parse().unwrap()), date(2026, 3, 1));
        assert_eq!(day_of("2026-03-02T00:30:00+02:00".parse().unwrap()), date(2026, 3, 1));
    }

    #[test]
    fn only_our_own_names_count() {
        let ours = ["", ".1", ".1.gz", ".12.xz", "-20260308", "-20260308.gz", ".torn", ".torn.1.gz"];
        for rest in ours {
            let name = format!("emissions_20260301.json{rest}");
            assert_eq!(day_in(OsStr::new(&name)), Some(date(2026, 3, 1)), "{name}");
        }
        let others = [
            "emissions.csv",
            "emissions_20260301.json.keep",
            "emissions_20260301.jsonl",
            "emissions_20260301.json~",
            "emissions_20261301.json",
            "emissions_2026030.json",
            "emissions_+2026030.json",
            "emissions_20260301.json.",
            "emissions_2026030é.json",
            "my_emissions_20260301.json",
        ];
        for name in others {
            assert_eq!(day_in(OsStr::new(name)), None, "{name}");
        }
    }
}
