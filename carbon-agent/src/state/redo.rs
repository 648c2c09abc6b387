//! Writes what a kill kept from being written: the rows of the last interval, once and only once.

use super::{Checkpoint, PendingRows};
use crate::export::files::{EmissionsFile, Recall, name, recall};
use crate::export::rfc3339;
use std::path::Path;

/// What became of the rows that the checkpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redone {
    /// They are in the file, as nearly always.
    There,
    /// They were not, and are now.
    Written,
    /// They may be where this agent cannot see them: better lost than doubled.
    Left,
    /// The files hold intervals from after the checkpoint: it is an older one. What the meters counted since is in those
    /// rows already.
    Passed,
}

/// Compares the checkpoint with the ends of the emissions files. Call it before anything else is written.
pub fn redo(checkpoint: &Checkpoint, files: &mut EmissionsFile, output_dir: &Path) -> Redone {
    let Some(rows) = checkpoint.rows.as_ref().filter(|rows| rows.output_dir == output_dir) else {
        return Redone::Left;
    };
    let day = name::day_of(rows.timestamp);
    let found = files.mend(day).and_then(|()| recall(output_dir, day, rows.timestamp));
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!("the emissions files cannot be compared with the state: {error}");
            return Redone::Left;
        }
    };
    let verdict = judge(&found, rows, checkpoint);
    if verdict == Redone::Written {
        tracing::info!(timestamp = rfc3339(rows.timestamp), "wrote the rows of an interval that a kill had cut off");
        files.append(rows.timestamp, rows.lines.clone().into_bytes());
    }
    verdict
}

fn judge(found: &Recall, rows: &PendingRows, checkpoint: &Checkpoint) -> Redone {
    let timestamp = rfc3339(rows.timestamp);
    let mut verdict = if found.hidden { Redone::Left } else { Redone::Written };
    for heading in &found.headings {
        // Fixed width: text sorts as time does.
        if heading.timestamp > timestamp {
            return Redone::Passed;
        }
        if heading.timestamp == timestamp && heading.run_id == checkpoint.run.id {
            verdict = Redone::There;
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::files::Heading;
    use crate::state::tests::checkpoint;

    #[track_caller]
    fn check(timestamps: &[&str], hidden: bool, expected: Redone) {
        let checkpoint = checkpoint(7);
        let rows = checkpoint.rows.clone().expect("the fixture has rows");
        let heading = |t: &&str| Heading { timestamp: (*t).to_owned(), run_id: checkpoint.run.id };
        let found = Recall { headings: timestamps.iter().map(heading).collect(), hidden };
        assert_eq!(judge(&found, &rows, &checkpoint), expected);
    }

    #[test]
    fn rows_are_written_once() {
        // The fixture's rows end at 12:00:07.
        check(&[], false, Redone::Written);
        check(&["2026-03-01T12:00:06.000Z"], false, Redone::Written);
        check(&["2026-03-01T12:00:06.000Z", "2026-03-01T12:00:07.000Z"], false, Redone::There);
        check(&["2026-03-01T12:00:06.000Z"], true, Redone::Left);
        check(&["2026-03-01T12:00:07.000Z"], true, Redone::There);
        check(&["2026-03-01T12:00:07.000Z", "2026-03-01T12:00:08.000Z"], false, Redone::Passed);
    }
}
