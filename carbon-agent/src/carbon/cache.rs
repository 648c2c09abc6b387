//! The last known values of a provider on disk, so that a restart begins with them and their age.

use super::fault::{Fault, FaultKind};
use super::plausible;
use super::series::Point;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

const SCHEMA: &str = "carbon-agent-intensity/1";

/// Two days of five-minute values are a fraction of this.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: String,
    points: Vec<Point>,
}

/// A file in the state directory.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
}

impl Cache {
    pub fn new(state_dir: &Path, name: &str) -> Self {
        Self { path: state_dir.join(name) }
    }

    /// The values of an earlier run; none where there was none. They are held to the same as a provider's.
    pub fn load(&self, now: Timestamp) -> Result<Vec<Point>, Fault> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.fault(&error.kind().to_string())),
        };
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text).map_err(|error| self.fault(&error.kind().to_string()))?;
        let damaged = || self.fault("damaged, passed over; the next value replaces it");
        let kept: Kept = serde_json::from_slice(&text).map_err(|_| damaged())?;
        if kept.schema != SCHEMA {
            return Err(damaged());
        }
        let plausible = |point: &Point| {
            plausible::grams(point.grams_per_kwh).is_ok() && plausible::moment(point.valid_from, now).is_ok()
        };
        Ok(kept.points.into_iter().filter(plausible).collect())
    }

    /// Replaces the file as a whole: a reader, or a loss of power, finds the old values or the new ones.
    pub fn store(&self, points: &[Point]) -> Result<(), Fault> {
        let kept = Kept { schema: SCHEMA.to_owned(), points: points.to_vec() };
        let text = serde_json::to_vec(&kept).expect("points are plain data with text keys");
        self.replace(&text).map_err(|error| self.fault(&error.kind().to_string()))
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let new = self.path.with_extension("json.new");
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = File::create(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }

    fn fault(&self, what: &str) -> Fault {
        Fault::new(FaultKind::Cache, format!("{}: {what}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-03-01T12:30:00Z".parse().unwrap();
        let cache = Cache::new(&dir.path().join("state"), "x.json");
        assert_eq!(cache.load(now), Ok(vec![]));
        let good = Point {
            valid_from: "2026-03-01T12:00:00Z".parse().unwrap(),
            valid_until: None,
            grams_per_kwh: 301.7,
            fetched_at: now,
            estimated: true,
        };
        let lie = Point { grams_per_kwh: -1.0, ..good.clone() };
        cache.store(&[good.clone(), lie]).unwrap();
        assert_eq!(cache.load(now), Ok(vec![good]));
        for text in ["", "{", "[]", r#"{"schema":"other/9","points":[]}"#] {
            std::fs::write(&cache.path, text).unwrap();
            assert_eq!(cache.load(now).unwrap_err().kind, FaultKind::Cache, "{text}");
        }
        std::fs::remove_dir_all(dir.path()).unwrap();
        std::fs::write(dir.path(), "").unwrap();
        assert_eq!(cache.store(&[]).unwrap_err().kind, FaultKind::Cache);
        std::fs::remove_file(dir.path()).unwrap();
        std::fs::create_dir(dir.path()).unwrap();
    }
}
