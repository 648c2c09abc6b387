use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOON: &str = "2026-03-01T12:00:00Z";
const USUAL: &str = "emissions_20260301.json";

/// An interval of `size` bytes in two lines, told apart by `n`.
fn interval(n: usize, size: usize) -> Vec<u8> {
    let head = format!("{{\"n\":{n}}}\n{{\"pad\":\"");
    let pad = "x".repeat(size.saturating_sub(head.len() + 3));
    format!("{head}{pad}\"}}\n").into_bytes()
}

fn writer(dir: &Path) -> EmissionsFile {
    EmissionsFile::new(Settings::new(dir)).unwrap()
}

/// The numbers of the intervals in a file; panics on a line that is no JSON.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter_map(|v| v["n"].as_u64())
        .collect()
}

#[test]
fn intervals_are_appended_privately_to_the_file_of_their_utc_day() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("new/sub");
    let mut file = writer(&dir);
    file.append(at("2026-03-01T23:59:59Z"), interval(1, 50));
    file.append(at("2026-03-02T00:00:00Z"), interval(2, 50));
    file.append(at("2026-03-01T23:59:59Z"), interval(3, 50));
    assert_eq!(numbers(&dir.join(USUAL)), [1, 3], "a clock that goes back goes back to its file");
    assert_eq!(numbers(&dir.join("emissions_20260302.json")), [2]);
    assert_eq!(fs::metadata(dir.join(USUAL)).unwrap().permissions().mode() & 0o137, 0);
    let report = file.report();
    assert_eq!(report.state.status, StageStatus::Ok);
    assert_eq!(report.bytes, 150);
    assert_eq!(report.last_write, Some(at("2026-03-01T23:59:59Z")));
}

/// Writes interval 1, lets `meddle` do its worst, writes interval 2, and says what the usual file holds.
fn after(meddle: impl FnOnce(&Path, &Path)) -> Vec<u64> {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let mut file = writer(&dir);
    file.append(at(NOON), interval(1, 50));
    meddle(&dir, &dir.join(USUAL));
    file.append(at(NOON), interval(2, 50));
    assert_eq!(file.report().state.status, StageStatus::Ok);
    assert_eq!(file.report().waiting_intervals, 0);
    numbers(&dir.join(USUAL))
}

#[test]
fn the_usual_name_is_followed() {
    let rotate = |dir: &Path, path: &Path| fs::rename(path, dir.join("emissions_20260301.json.1")).unwrap();
    assert_eq!(after(rotate), [2]);
    let create = |dir: &Path, path: &Path| {
        rotate(dir, path);
        fs::write(path, "").unwrap();
    };
    assert_eq!(after(create), [2], "logrotate's create");
    assert_eq!(after(|_, path| fs::remove_file(path).unwrap()), [2]);
    assert_eq!(after(|dir, _| fs::remove_dir_all(dir).unwrap()), [2]);
    assert_eq!(after(|_, path| fs::write(path, "").unwrap()), [2], "copytruncate");
    assert_eq!(after(|_, path| fs::File::options().write(true).open(path).unwrap().set_len(12).unwrap()), [1, 2]);
    assert_eq!(after(|_, _| ()), [1, 2]);
}

#[test]
fn nothing_is_written_to_a_rotated_file() {
    let root = tempfile::tempdir().unwrap();
    let mut file = writer(root.path());
    file.append(at(NOON), interval(1, 50));
    let rotated = root.path().join("emissions_20260301.json.1");
    fs::rename(root.path().join(USUAL), &rotated).unwrap();
    file.append(at(NOON), interval(2, 50));
    assert_eq!(numbers(&rotated), [1]);
}

#[test]
fn a_torn_end_found_at_opening_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(USUAL), "{\"n\":0}\n{\"n\":").unwrap();
    let mut file = writer(root.path());
    file.append(at(NOON), interval(1, 50));
    assert_eq!(numbers(&root.path().join(USUAL)), [0, 1]);
    assert_eq!(file.report().errors["torn"], 1);
}

#[test]
fn what_stands_in_the_way_is_named_and_lines_wait_for_it_to_go() {
    let root = tempfile::tempdir().unwrap();
    let usual = root.path().join(USUAL);
    let elsewhere = root.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &usual).unwrap();
    let mut file = writer(root.path());
    file.append(at(NOON), interval(1, 50));
    let report = file.report();
    assert_eq!(report.state.status, StageStatus::Degraded);
    assert!(report.state.reason.contains(USUAL) && report.state.reason.contains("regular file"), "{report:?}");
    assert_eq!(report.errors["not_a_file"], 1);
    fs::remove_file(&usual).unwrap();
    file.append(at(NOON), interval(2, 50));
    assert_eq!(numbers(&usual), [1, 2]);
    assert_eq!(fs::read(&elsewhere).unwrap(), b"");
}

#[test]
fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let usual = root.path().join(USUAL);
    fs::create_dir(&usual).unwrap();
    let mut file = EmissionsFile::new(Settings { buffer_bytes: 250, ..Settings::new(root.path()) }).unwrap();
    for n in 0..5 {
        file.append(at(NOON), interval(n, 100));
    }
    let report = file.report();
    assert_eq!(report.state.status, StageStatus::Failed);
    assert_eq!((report.waiting_intervals, report.dropped_lines), (2, 6));
    fs::remove_dir(&usual).unwrap();
    file.flush(at(NOON));
    assert_eq!(numbers(&usual), [3, 4]);
    let report = file.report();
    assert_eq!(report.state.status, StageStatus::Ok);
    assert!(report.state.reason.contains("6 lines were dropped"), "{}", report.state.reason);
}

#[test]
fn old_files_of_our_name_go_and_others_stay() {
    let root = tempfile::tempdir().unwrap();
    let names =
        ["emissions_20250101.json", "emissions_20250101.json.2.gz", "emissions_20250101.json.keep", "other.json"];
    for name in names {
        fs::write(root.path().join(name), "{}\n").unwrap();
    }
    writer(root.path()).append(at(NOON), interval(1, 50));
    let left = names.map(|name| root.path().join(name).exists());
    assert_eq!(left, [false, false, true, true]);
}

#[test]
fn the_csv_file_is_a_copy_whose_failure_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let mut file = writer(root.path());
    file.write_csv(b"a\n1\n");
    assert_eq!(fs::read(root.path().join("emissions.csv")).unwrap(), b"a\n1\n");
    fs::remove_file(root.path().join("emissions.csv")).unwrap();
    fs::create_dir(root.path().join("emissions.csv")).unwrap();
    file.write_csv(b"a\n2\n");
    file.write_csv(b"a\n3\n");
    assert_eq!(file.report().errors["csv"], 2);
    assert_eq!(file.report().state.status, StageStatus::Ok);
}

#[test]
fn a_directory_that_cannot_be_is_an_error_with_a_remedy() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let error = EmissionsFile::new(Settings::new(root.path().join("file/sub"))).unwrap_err().to_string();
    assert!(error.contains("file/sub") && error.contains("--output-dir"), "{error}");
}

/// A file system of 64 KiB of its own, unmounted at the end.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    /// `None` where mounting is not permitted; that is an error in CI, where it must not go unnoticed.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let tried = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(dir.path())
            .output()
            .map_err(|error| error.to_string())
            .and_then(|o| if o.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&o.stderr).into()) });
        if let Err(why) = tried {
            eprintln!("not run, a tmpfs cannot be mounted: {why}");
            assert!(std::env::var_os("CI").is_none(), "CI must run this test as root");
            return None;
        }
        Some(Self(dir))
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_tears_nothing_and_heals_in_order() {
    let Some(disk) = TinyDisk::mount() else { return };
    let mut file = writer(disk.0.path());
    for n in 0..10 {
        file.append(at(NOON), interval(n, 10_000));
    }
    let usual = disk.0.path().join(USUAL);
    assert_eq!(numbers(&usual), [0, 1, 2, 3, 4, 5], "six of ten kilobytes fit, the seventh left no trace");
    let report = file.report();
    assert_eq!(report.state.status, StageStatus::Degraded);
    assert!(report.state.reason.contains("No space left"), "{}", report.state.reason);
    assert_eq!((report.waiting_intervals, report.errors["no_space"]), (4, 4));
    disk.remount("size=1m");
    file.append(at(NOON), interval(10, 10_000));
    assert_eq!(numbers(&usual), (0..=10).collect::<Vec<_>>());
    assert_eq!(file.report().state.status, StageStatus::Ok);
    assert_eq!(file.report().dropped_lines, 0);
}

#[test]
fn a_read_only_disk_makes_lines_wait() {
    let Some(disk) = TinyDisk::mount() else { return };
    let dir = disk.0.path();
    let mut file = writer(dir);
    file.append(at(NOON), interval(0, 100));
    file.reopen();
    disk.remount("ro");
    file.append(at(NOON), interval(1, 100));
    assert_eq!(file.report().errors["read_only"], 1);
    assert!(prepare(dir).unwrap_err().to_string().contains("read-write"));
    disk.remount("rw");
    file.append(at(NOON), interval(2, 100));
    assert_eq!(numbers(&dir.join(USUAL)), [0, 1, 2]);
}
