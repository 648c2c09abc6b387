//! Which intervals the emissions files already hold: asked at a start, so that none is written twice and none is lost.

use super::{name, retention, tail};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;
use uuid::Uuid;

/// What tells one interval from another: as written, so that text compares with text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Heading {
    pub timestamp: String,
    pub run_id: Uuid,
}

/// The intervals at the ends of the files of a day and those after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    pub headings: Vec<Heading>,
    /// A rotated file of these days was compressed since `since`: it may hold what is not found elsewhere.
    pub hidden: bool,
}

/// Looks at the end of every file of ours of `day` and after, rotated ones too.
pub fn recall(dir: &Path, day: Date, since: Timestamp) -> io::Result<Recall> {
    let mut recall = Recall::default();
    for kept in retention::list(dir)?.into_iter().filter(|kept| kept.day >= day) {
        let Some(file) = kept.path.file_name() else { continue };
        if !name::is_readable(file) {
            continue;
        }
        if matches!(kept.path.extension().and_then(|e| e.to_str()), Some("gz" | "xz" | "bz2" | "zst")) {
            let changed = std::fs::metadata(&kept.path).and_then(|metadata| metadata.modified());
            recall.hidden |= changed.is_ok_and(|changed| changed >= SystemTime::from(since));
        } else {
            recall.headings.extend(headings(&kept.path)?);
        }
    }
    Ok(recall)
}

/// The headings of the whole host lines at the end of a file.
fn headings(path: &Path) -> io::Result<Vec<Heading>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(tail::WINDOW);
    let mut window = vec![0; (length - start) as usize];
    file.read_exact_at(&mut window, start)?;
    let lines = window.split(|byte| *byte == b'\n').filter(|line| tail::is_host(line));
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
