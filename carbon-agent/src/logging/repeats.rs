//! Lines that repeat: said once, then counted. Pure: the clock is the caller's.

use super::line::{Line, Repeated};
use crate::config::model::LogFormat;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Lines remembered at a time. A log of more different lines than this in one period has other troubles; the oldest is
/// then forgotten with its count said.
const REMEMBERED: usize = 256;

/// What is to be written now: a line, or how often it came again.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    pub line: Line,
    pub repeated: Option<Repeated>,
}

impl Due {
    pub fn render(&self, format: LogFormat, at: Timestamp) -> String {
        match format {
            LogFormat::Json => self.line.json(at, self.repeated),
            LogFormat::Text => self.line.text(at, self.repeated),
        }
    }
}

/// The lines of the last period.
#[derive(Debug)]
pub struct Repeats {
    period: Duration,
    /// The one said first comes first.
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    line: Line,
    /// When it was said last, itself or its count.
    at: Instant,
    /// How often it came since.
    more: u64,
}

impl Said {
    fn count(&self, now: Instant) -> Option<Due> {
        let repeated = Repeated { times: self.more, within: now.saturating_duration_since(self.at) };
        (self.more > 0).then(|| Due { line: self.line.clone(), repeated: Some(repeated) })
    }
}

impl Repeats {
    /// Counts repeats for `period` before their number is said.
    pub fn new(period: Duration) -> Self {
        Self { period, said: Vec::new() }
    }

    /// Takes in a line; returns what is to be written: counts whose time has come, and the line if it is new.
    pub fn take(&mut self, line: Line, now: Instant) -> Vec<Due> {
        let mut due = self.due(now);
        if let Some(said) = self.said.iter_mut().find(|said| said.line == line) {
            said.more += 1;
            return due;
        }
        if self.said.len() == REMEMBERED {
            due.extend(self.said.remove(0).count(now));
        }
        self.said.push(Said { line: line.clone(), at: now, more: 0 });
        due.push(Due { line, repeated: None });
        due
    }

    /// Counts whose period has ended. A line that did not come again in it is forgotten, and said when it comes next;
    /// one that did is counted for another period.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        let period = self.period;
        self.said.retain_mut(|said| {
            if now.saturating_duration_since(said.at) < period {
                return true;
            }
            let count = said.count(now);
            (said.at, said.more) = (now, 0);
            let again = count.is_some();
            due.extend(count);
            again
        });
        due
    }

    /// All counts that were not said yet.
    pub fn rest(&mut self, now: Instant) -> Vec<Due> {
        self.said.drain(..).filter_map(|said| said.count(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::LogLevel;

    const PERIOD: Duration = Duration::from_secs(60);

    fn line(message: &str) -> Line {
        Line { level: LogLevel::Warning, message: message.to_owned(), fields: vec![("stage", "files".into())] }
    }

    fn said(due: &[Due]) -> Vec<(&str, Option<(u64, u64)>)> {
        due.iter()
            .map(|due| (due.line.message.as_str(), due.repeated.map(|again| (again.times, again.within.as_secs()))))
            .collect()
    }

    #[test]
    fn said_once_then_counted_each_period() {
        let (mut repeats, begin) = (Repeats::new(PERIOD), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(said(&repeats.take(line("a"), at(0))), [("a", None)]);
        for second in 1..60 {
            assert_eq!(said(&repeats.take(line("a"), at(second))), []);
        }
        assert_eq!(
            said(&repeats.take(line("a"), at(60))),
            [("a", Some((59, 60)))],
            "what came now counts for the next"
        );
        assert_eq!(said(&repeats.due(at(119))), []);
        assert_eq!(said(&repeats.due(at(125))), [("a", Some((1, 65)))]);
        assert_eq!(said(&repeats.due(at(185))), [], "a period of silence: forgotten");
        assert_eq!(said(&repeats.take(line("a"), at(186))), [("a", None)], "and news again");
    }

    #[test]
    fn only_what_is_the_same_in_all_is_a_repeat() {
        let (mut repeats, now) = (Repeats::new(PERIOD), Instant::now());
        let field = Line { fields: vec![("stage", "energy".into())], ..line("a") };
        let level = Line { level: LogLevel::Error, ..line("a") };
        for different in [line("a"), line("b"), field, level] {
            assert_eq!(repeats.take(different, now).len(), 1);
        }
        assert_eq!(repeats.take(line("b"), now), []);
        assert_eq!(said(&repeats.rest(now)), [("b", Some((1, 0)))]);
        assert_eq!(repeats.rest(now), [], "each count is said once");
    }

    #[test]
    fn memory_is_bounded_and_no_count_is_lost() {
        let (mut repeats, now) = (Repeats::new(PERIOD), Instant::now());
        let (mut lines, mut counted) = (0, 0);
        let mut add = |due: Vec<Due>| {
            for due in due {
                match due.repeated {
                    None => lines += 1,
                    Some(again) => counted += again.times,
                }
            }
        };
        for number in 0..10_000 {
            add(repeats.take(line(&number.to_string()), now));
            add(repeats.take(line(&number.to_string()), now));
        }
        assert!(repeats.said.len() <= REMEMBERED);
        add(repeats.rest(now));
        assert_eq!((lines, counted), (10_000, 10_000));
    }
}
