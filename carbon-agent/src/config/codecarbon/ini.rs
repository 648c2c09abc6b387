//! One section of an INI file by the grammar of Python's `configparser`, which CodeCarbon reads its files with: keys
//! in any case, `=` or `:`, comments on lines of their own, indented lines continue a value, a `[DEFAULT]` section,
//! duplicates refused. Pure. No crate has both that grammar and the line of each value; that ours reads what Python
//! reads is tested against Python (`tests/tests/codecarbon.rs`).

use std::collections::BTreeMap;

/// A value of the section, and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub text: String,
    pub line: usize,
}

/// What is not INI, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub message: String,
}

const DEFAULTS: &str = "DEFAULT";

type Section = BTreeMap<String, Value>;

/// The values of a section by their keys in lower case, those of `[DEFAULT]` where it has none of its own; empty
/// where there is no such section.
pub fn section(text: &str, wanted: &str) -> Result<Section, Problem> {
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    // The section and the key of the value that an indented line would continue.
    let (mut current, mut key): (Option<String>, Option<String>) = (None, None);
    let mut indent = 0;
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (number, whole) in text.lines().enumerate() {
        let number = number + 1;
        let line = whole.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let open = current.as_ref().zip(key.as_ref()).and_then(|(name, key)| sections.get_mut(name)?.get_mut(key));
        if line.is_empty() {
            if let Some(value) = open {
                value.text.push('\n');
            }
            continue;
        }
        let depth = whole.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(value) = open
            && depth > indent
        {
            value.text.push('\n');
            value.text.push_str(line);
            continue;
        }
        indent = depth;
        let wrong = |message: String| Problem { line: number, message };
        if let Some(name) = header(line) {
            let repeated = sections.contains_key(name);
            if repeated && name != DEFAULTS {
                return Err(wrong(format!("the section [{name}] is there twice")));
            }
            sections.entry(name.to_owned()).or_default();
            (current, key) = (Some(name.to_owned()), None);
            continue;
        }
        let Some(name) = &current else {
            return Err(wrong("expected a section such as [codecarbon] before the first key".to_owned()));
        };
        let (before, after) = line.split_once(['=', ':']).unwrap_or_default();
        let found = before.trim().to_lowercase();
        if found.is_empty() {
            return Err(wrong("expected `key = value` or a [section]".to_owned()));
        }
        let value = Value { text: after.trim().to_owned(), line: number };
        if let Some(first) = sections.entry(name.clone()).or_default().insert(found.clone(), value) {
            return Err(wrong(format!("{found}: given twice; the first is on line {}", first.line)));
        }
        key = Some(found);
    }
    let defaults = sections.remove(DEFAULTS).unwrap_or_default();
    let Some(mut section) = sections.remove(wanted) else { return Ok(Section::new()) };
    for (key, value) in defaults {
        section.entry(key).or_insert(value);
    }
    for value in section.values_mut() {
        value.text.truncate(value.text.trim_end().len());
    }
    Ok(section)
}

/// The name between `[` and the last `]`; what follows that is passed over, as Python does.
fn header(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// The text that a value stands for: `%%` is a percent sign. References to other keys (`%(key)s`) are refused, as
/// placeholders are everywhere else.
pub fn plain(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = match rest.as_bytes().get(at + 1) {
            Some(b'%') => &rest[at + 2..],
            Some(b'(') => return Err("references to other keys are not filled in here; write the value".to_owned()),
            _ => return Err("a percent sign is written twice (%%) in such a file".to_owned()),
        };
        out.push('%');
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python 3.11's `configparser` makes of the same text; keys and values, with our line numbers.
    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, usize)]) {
        let section = section(text, "codecarbon").unwrap_or_else(|problem| panic!("{text:?}: {problem:?}"));
        let got: Vec<(&str, &str, usize)> =
            section.iter().map(|(key, value)| (key.as_str(), value.text.as_str(), value.line)).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn what_python_reads_is_read() {
        check("[codecarbon]\npue = 1.5\n", &[("pue", "1.5", 2)]);
        check("[codecarbon]\r\nPUE: 1.5", &[("pue", "1.5", 2)]);
        check("# c\n; d\n\n[codecarbon]\n  pue=1.5\n", &[("pue", "1.5", 5)]);
        check("[codecarbon]\n pue=1\nproject_name=2\n", &[("project_name", "2", 3), ("pue", "1", 2)]);
        check("[codecarbon]\nproject_name = a\n  b\n\n  c\n", &[("project_name", "a\nb\n\nc", 2)]);
        check("[codecarbon]\nproject_name = a\n# x\n  b\npue=2\n", &[("project_name", "a\nb", 2), ("pue", "2", 5)]);
        check("[codecarbon]\npue=1\n\n\nproject_name = x", &[("project_name", "x", 5), ("pue", "1", 2)]);
        check("[codecarbon]\npue=1\n  [other]\n", &[("pue", "1\n[other]", 2)]);
        check("[codecarbon]\npue = 1.5 ; inline\n", &[("pue", "1.5 ; inline", 2)]);
        check("[codecarbon]\nkey = a=b:c\n", &[("key", "a=b:c", 2)]);
        check("[codecarbon]\npue=\n", &[("pue", "", 2)]);
        check("[codecarbon] trailing\npue=1\n", &[("pue", "1", 2)]);
        check("[other]\npue=9\n[codecarbon]\npue=1\n", &[("pue", "1", 4)]);
        check("[DEFAULT]\npue=3\nregion=x\n[codecarbon]\npue=4\n", &[("pue", "4", 5), ("region", "x", 3)]);
        check("[codecarbon]\n  [other]\npue=1\n", &[]);
        for nothing in ["", "[DEFAULT]\npue=3\n", "[ codecarbon ]\npue=1\n", "[codecarbon]]\npue=1\n", "[Codecarbon]"] {
            check(nothing, &[]);
        }
    }

    #[test]
    fn what_python_refuses_is_refused_with_its_line() {
        let nonsense = "expected `key = value` or a [section]";
        for (text, line, message) in [
            ("pue=1\n", 1, "expected a section such as [codecarbon] before the first key"),
            ("[codecarbon\npue=1\n", 1, "expected a section such as [codecarbon] before the first key"),
            ("[codecarbon]\npue=1\nPue=2\n", 3, "pue: given twice; the first is on line 2"),
            ("[a]\nx=1\nx=2\n[codecarbon]\n", 3, "x: given twice; the first is on line 2"),
            ("[DEFAULT]\nx=1\n[DEFAULT]\nx=2\n", 4, "x: given twice; the first is on line 2"),
            ("[codecarbon]\n\n[codecarbon]\n", 3, "the section [codecarbon] is there twice"),
            ("[codecarbon]\nnonsense\n", 2, nonsense),
            ("[codecarbon]\n=3\n", 2, nonsense),
        ] {
            let problem = Problem { line, message: message.to_owned() };
            assert_eq!(section(text, "codecarbon"), Err(problem), "{text:?}");
        }
    }

    #[test]
    fn percent_signs_are_pythons() {
        assert_eq!(plain("/x/100%%/%%y").unwrap(), "/x/100%/%y");
        assert!(plain("/x/100%").unwrap_err().contains("twice"));
        assert!(plain("%(home)s/x").unwrap_err().contains("write the value"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([\\[\\]=:#; \t\r\n%a-c]|DEFAULT|codecarbon){0,40}") {
            if let Ok(section) = section(&text, "codecarbon") {
                for value in section.values() {
                    let _ = plain(&value.text);
                }
            }
        }
    }
}
