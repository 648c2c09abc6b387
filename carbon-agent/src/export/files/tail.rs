//! The end of an emissions file that an earlier run, a crash or a power cut left behind.
//!
//! Intervals are written in one `write(2)`, yet a SIGKILL in the middle of a large one, or a power cut, can leave part
//! of it. Every line in the file must parse, and the components of an interval must sum to its host line, so what is
//! left of an interval that is not whole is moved to a file beside (`….json.torn`): kept as evidence, read by nobody.

use super::super::json::SCHEMA;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Appended to the name of an emissions file for what was cut from its end.
pub const ASIDE_SUFFIX: &str = ".torn";

/// How much of the end is looked at; an interval is some tens of kilobytes.
pub(super) const WINDOW: u64 = 4 << 20;

/// What is wrong with the end of a file, as a length within the bytes looked at.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Sound,
    /// The last line is whole, only its newline is missing.
    Unterminated,
    /// From here on it is part of an interval.
    Torn(usize),
}

/// Mends the end of `file`, which is open for reading and appending. Returns how many bytes were set aside.
pub fn mend(file: &File, path: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(WINDOW);
    let mut window = vec![0; (length - start) as usize];
    file.read_exact_at(&mut window, start)?;
    match judge(&window) {
        Verdict::Sound => Ok(0),
        Verdict::Unterminated => {
            let mut file = file;
            file.write_all(b"\n")?;
            Ok(0)
        }
        Verdict::Torn(keep) => {
            // Best effort: on a full disk the file must still become sound, and the bytes were no data anyway.
            let _ = set_aside(path, &window[keep..]);
            file.set_len(start + keep as u64)?;
            Ok((window.len() - keep) as u64)
        }
    }
}

fn set_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(ASIDE_SUFFIX);
    let mut aside = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(name)?;
    aside.write_all(bytes)?;
    aside.write_all(b"\n")
}

fn judge(window: &[u8]) -> Verdict {
    let whole = window.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let rest = &window[whole..];
    let unterminated = !rest.is_empty() && is_object(rest);
    let lines_end = if unterminated { window.len() } else { whole };
    match cut_interval(&window[..lines_end]) {
        Some(start) => Verdict::Torn(start),
        None if unterminated => Verdict::Unterminated,
        None if rest.is_empty() => Verdict::Sound,
        None => Verdict::Torn(whole),
    }
}

fn is_object(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok()
}

/// Whether a line begins an interval.
pub(super) fn is_host(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"{\"schema\":\"").and_then(|rest| rest.strip_prefix(SCHEMA.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b"\",\"record\":\"host\""))
}

/// Where the last interval begins, if it has fewer lines than its host line says.
fn cut_interval(lines: &[u8]) -> Option<usize> {
    let mut end = lines.len();
    let mut seen = 0;
    while end > 0 {
        let start = lines[..end - 1].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        seen += 1;
        let line = &lines[start..end];
        if is_host(line) {
            let promised = serde_json::from_slice::<serde_json::Value>(line).ok()?.get("interval_lines")?.as_u64()?;
            return (seen < promised).then_some(start);
        }
        end = start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{fixture, json};

    fn interval() -> Vec<u8> {
        json::lines(&fixture::snapshot(), &fixture::run_info())
    }

    /// `judge` on a whole interval followed by `rest`, with lengths relative to `rest`.
    fn check(rest: &[u8], expected: Verdict) {
        let before = interval();
        let got = match judge(&[before.as_slice(), rest].concat()) {
            Verdict::Torn(at) => Verdict::Torn(at - before.len()),
            other => other,
        };
        assert_eq!(got, expected, "{}", String::from_utf8_lossy(rest));
    }

    #[test]
    fn whole_intervals_are_sound() {
        assert_eq!(judge(b""), Verdict::Sound);
        check(b"", Verdict::Sound);
        check(&interval(), Verdict::Sound);
    }

    #[test]
    fn an_interval_cut_anywhere_is_set_aside_whole() {
        let interval = interval();
        for cut in 1..interval.len() - 1 {
            check(&interval[..cut], Verdict::Torn(0));
        }
    }

    #[test]
    fn only_the_last_newline_missing_is_added() {
        let interval = interval();
        check(&interval[..interval.len() - 1], Verdict::Unterminated);
        check(b"{\"written\":\"by someone else\"}", Verdict::Unterminated);
    }

    #[test]
    fn what_is_no_line_is_set_aside() {
        check(&[0; 4096], Verdict::Torn(0));
        check(b"12", Verdict::Torn(0));
        check(b"{\"other\":1}\n{\"ot", Verdict::Torn(12));
        assert_eq!(judge(b"torn in the first line"), Verdict::Torn(0));
    }

    #[test]
    fn mending_leaves_the_evidence_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emissions_20260301.json");
        std::fs::write(&path, [interval(), b"{\"schema\":".to_vec()].concat()).unwrap();
        let file = OpenOptions::new().read(true).append(true).open(&path).unwrap();
        assert_eq!(mend(&file, &path).unwrap(), 10);
        assert_eq!(std::fs::read(&path).unwrap(), interval());
        assert_eq!(std::fs::read(dir.path().join("emissions_20260301.json.torn")).unwrap(), b"{\"schema\":\n");
        assert_eq!(mend(&file, &path).unwrap(), 0);
    }
}
