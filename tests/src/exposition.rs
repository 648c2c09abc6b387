//! Reads what `/metrics` says, strictly: written for the tests, so that the exporter is not judged by its own code.

use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// An exposition, in either format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    /// The type by family, as the text names it.
    pub types: BTreeMap<String, String>,
    pub helps: BTreeMap<String, String>,
    pub units: BTreeMap<String, String>,
    /// Whether the last line was `# EOF`.
    pub ended: bool,
    pub samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Panics, with the line, on anything the formats do not allow.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends too");
        let mut read = Self::default();
        for line in text.lines() {
            assert!(!read.ended, "after the end: {line}");
            if let Some(comment) = line.strip_prefix("# ") {
                read.comment(comment, line);
            } else {
                let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                let before = read.samples.insert((name, labels), value);
                assert!(before.is_none(), "twice: {line}");
            }
        }
        read
    }

    fn comment(&mut self, comment: &str, line: &str) {
        let mut words = comment.splitn(3, ' ');
        let (keyword, family, rest) = (words.next(), words.next(), words.next());
        let into = match keyword {
            Some("TYPE") => &mut self.types,
            Some("HELP") => &mut self.helps,
            Some("UNIT") => &mut self.units,
            Some("EOF") => return self.ended = true,
            _ => panic!("no such comment: {line}"),
        };
        let family = family.unwrap_or_else(|| panic!("no family: {line}"));
        assert!(into.insert(family.to_owned(), rest.unwrap_or_default().to_owned()).is_none(), "twice: {line}");
    }

    /// Every sample of a metric.
    pub fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a Labels, f64)> {
        self.samples.iter().filter(move |((name, _), _)| name == metric).map(|((_, labels), value)| (labels, *value))
    }

    /// The one sample that has these labels (and perhaps others).
    #[track_caller]
    pub fn value(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |has: &Labels| labels.iter().all(|(name, value)| has.get(*name).is_some_and(|it| it == value));
        let found: Vec<f64> = self.of(metric).filter(|(has, _)| fits(has)).map(|(_, value)| value).collect();
        assert_eq!(found.len(), 1, "{metric}{labels:?}: {found:?}");
        found[0]
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    if !is_name(name) {
        return None;
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some((name.to_owned(), labels, value))
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !text.is_empty() && text.chars().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unescaped_and_nonsense_is_no_sample() {
        let read = Exposition::parse("# TYPE a gauge\na{b=\"\\\"}\\n\\\\,\",c=\"\"} 1.5\nd -2\n# EOF\n");
        assert_eq!(read.value("a", &[("b", "\"}\n\\,"), ("c", "")]), 1.5);
        assert_eq!((read.value("d", &[]), read.ended), (-2.0, true));
        for line in ["a", "a{} 1", "a{b=\"x} 1", "a{b=\"x\"}1", "1a 2", "a{b=\"x\",b=\"y\"} 1", "a x", "a{b=\"\\x\"} 1"]
        {
            assert_eq!(sample(line), None, "{line}");
        }
    }
}
