//! `OUTPUT_DIR/emissions.csv`: CodeCarbon's columns in CodeCarbon's order, one row for the run. Its tools read it.

use super::RunInfo;
use super::codecarbon::Record;
use super::files::Fault;
use crate::snapshot::Snapshot;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The name CodeCarbon's tools look for.
pub const FILE_NAME: &str = "emissions.csv";

/// The header and the row of the run.
pub fn render(snapshot: &Snapshot, run: &RunInfo) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(Record::of(snapshot, run)).expect("a flat record in memory");
    writer.into_inner().expect("memory does not fail to be written")
}

/// Replaces the file whole, so that a reader sees either the row before or this one.
pub fn write(path: &Path, contents: &[u8]) -> Result<(), Fault> {
    replace(path, contents).map_err(|source| Fault::new(path, source))
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = Path::new(&name);
    let result = create(temporary)
        .and_then(|mut file| {
            file.write_all(contents)?;
            file.sync_data()
        })
        .and_then(|()| fs::rename(temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(temporary);
    }
    result
}

/// What a crash left under the temporary name is removed, never written through: it may be a link by now.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;

    #[test]
    fn one_row_under_codecarbons_header() {
        let text = String::from_utf8(render(&fixture::snapshot(), &fixture::run_info())).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,"));
        assert!(lines[0].ends_with(",ram_used_gb,on_cloud,pue,wue"));
        assert_eq!(lines[0].split(',').count(), 38);
        assert!(
            lines[1].starts_with("2026-03-01T12:00:15.001Z,TTA-Staging,01234567-89ab-4def-8123-456789abcdef,,60.0,")
        );
    }

    #[test]
    fn a_hostile_project_name_stays_one_field() {
        let mut run = fixture::run_info();
        run.project_name = fixture::HOSTILE.into();
        let bytes = render(&fixture::snapshot(), &run);
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(&rows[0][1], fixture::HOSTILE);
    }

    #[test]
    fn the_file_is_replaced_whole_and_nothing_is_left_beside() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(FILE_NAME);
        let victim = root.path().join("victim");
        fs::write(&victim, "keep").unwrap();
        std::os::unix::fs::symlink(&victim, root.path().join("emissions.csv.new")).unwrap();
        write(&path, b"one\n").unwrap();
        write(&path, b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
        assert_eq!(fs::read(&victim).unwrap(), b"keep");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
        assert!(write(&root.path().join("no/such/emissions.csv"), b"").unwrap_err().to_string().contains("no/such"));
    }
}
