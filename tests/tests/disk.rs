//! Disks in trouble, with the real daemon: sampling goes on, rows wait and are written in order when it heals, what had
//! to be dropped is counted.

use carbon_tests::books::assert_closed;
use carbon_tests::daemon::{Daemon, Setup};
use carbon_tests::mount::{Disk, Tmpfs};
use carbon_tests::need;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

fn setup(root: &Path) -> Setup {
    Setup::new(root, 0.2, 0.1).with(&["--probe", "procfs", "--energy", "model"])
}

fn errors(metrics: &BTreeMap<String, f64>, stage: &str, kind: &str) -> f64 {
    let series = format!("carbon_errors_total{{stage=\"{stage}\",kind=\"{kind}\"}}");
    metrics.get(&series).copied().unwrap_or(0.0)
}

fn up(metrics: &BTreeMap<String, f64>, stage: &str) -> Option<f64> {
    metrics.get(&format!("carbon_stage_up{{stage=\"{stage}\"}}")).copied()
}

/// Host rows of every file of ours in `dir`, rotated ones too; in each file they must be in order.
fn hosts(dir: &Path) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for entry in fs::read_dir(dir).expect("the directory").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.starts_with("emissions_") || name.contains(".torn") {
            continue;
        }
        let text = fs::read_to_string(&entry).expect("a readable file");
        assert!(text.is_empty() || text.ends_with('\n'), "{name}: whole lines only");
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_closed(&rows);
        let hosts: Vec<Value> = rows.into_iter().filter(|row| row["record"] == "host").collect();
        assert!(hosts.is_sorted_by_key(|row| row["timestamp"].to_string()), "{name}: in order");
        all.extend(hosts);
    }
    all.sort_by_key(|row| row["timestamp"].to_string());
    all
}

/// No interval is missing: each begins where the one before ended, by the run's own clock.
#[track_caller]
fn assert_complete(hosts: &[Value]) {
    let number = |row: &Value, field: &str| row[field].as_f64().expect("a number");
    let mut end = 0.0;
    for row in hosts {
        let begin = number(row, "duration") - number(row, "interval_seconds");
        assert!((begin - end).abs() < 1e-6, "rows are missing between {end} s and {begin} s of the run");
        end = number(row, "duration");
    }
}

/// Samples for a while longer, as `/metrics` shows.
fn assert_sampling(daemon: &Daemon) {
    let at = |metrics: &BTreeMap<String, f64>| metrics["carbon_last_sample_timestamp_seconds"];
    let now = at(&daemon.metrics());
    daemon.wait_for("sampling goes on", LIMIT, |metrics| at(metrics) > now + 0.5);
}

fn first_rows(daemon: &Daemon) {
    daemon.wait_for("rows are written", LIMIT, |metrics| metrics.contains_key("carbon_last_write_timestamp_seconds"));
}

fn assert_healed(daemon: &Daemon) {
    daemon.wait_for("everything is written", LIMIT, |metrics| {
        up(metrics, "files") == Some(1.0)
            && up(metrics, "state") == Some(1.0)
            && metrics["carbon_output_waiting_intervals"] == 0.0
    });
}

/// Fills a file system to the last byte.
fn fill(dir: &Path) -> std::path::PathBuf {
    use std::io::Write;
    let ballast = dir.join("ballast");
    let mut file = fs::File::create(&ballast).expect("a file");
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    ballast
}

#[test]
fn full_and_read_only() {
    let root = tempfile::tempdir().expect("a directory");
    // Rows and state lie on the same disk, as they do where there is but one.
    let Some(disk) = Tmpfs::mount(&root.path().join("disk"), 4 << 20) else { return };
    let dir = root.path().join("disk");
    let mut setup = setup(root.path());
    (setup.output, setup.state) = (dir.join("out"), dir.join("state"));
    let mut daemon = setup.start();
    first_rows(&daemon);

    let ballast = fill(&dir);
    daemon.wait_for("the full disk shows", LIMIT, |metrics| {
        errors(metrics, "files", "no_space") > 0.0
            && up(metrics, "files") == Some(0.0)
            && up(metrics, "state") == Some(0.0)
    });
    assert_sampling(&daemon);
    let health = daemon.get("/health/carbon").body;
    assert!(health.contains("free disk space"), "{health}");
    fs::remove_file(&ballast).expect("room again");
    assert_healed(&daemon);

    // A file system turns read-only when an error shuts its files.
    let ballast = fill(&dir);
    let before = errors(&daemon.metrics(), "files", "no_space");
    daemon.wait_for("full again", LIMIT, |metrics| errors(metrics, "files", "no_space") > before);
    // Between two attempts to write no file is open.
    let end = Instant::now() + LIMIT;
    while let Err(error) = disk.read_only() {
        assert!(Instant::now() < end, "{error}: open are {:?}", daemon.open_files());
        std::thread::sleep(Duration::from_millis(3));
    }
    daemon.wait_for("the read-only disk shows", LIMIT, |metrics| errors(metrics, "files", "read_only") > 0.0);
    assert_sampling(&daemon);
    disk.writable().expect("a remount");
    fs::remove_file(&ballast).expect("room again");
    assert_healed(&daemon);

    daemon.terminate();
    assert_complete(&hosts(&setup.output));
    drop(daemon);
}

#[test]
fn what_does_not_fit_into_memory_is_dropped_and_counted() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(_disk) = Tmpfs::mount(&root.path().join("disk"), 1 << 20) else { return };
    let dir = root.path().join("disk");
    let mut setup = Setup::new(root.path(), 0.01, 0.01).with(&["--probe", "procfs", "--energy", "model"]);
    setup.output = dir.join("out");
    let mut daemon = setup.start();
    // The disk fills by itself, and then the buffer does.
    daemon.wait_for("drops are counted", Duration::from_secs(90), |metrics| errors(metrics, "files", "dropped") > 0.0);
    assert!(daemon.metrics()["carbon_output_waiting_intervals"] > 0.0);
    assert!(daemon.is_running());
    daemon.kill();
    assert_complete(&hosts(&setup.output));
}

/// Rows and state on a disk that can hang.
fn on_disk(root: &Path, interval: f64, sample: f64) -> Option<(Disk, Setup)> {
    let dir = root.join("disk");
    let disk = Disk::mount(&dir, 64 << 20)?;
    let mut setup = Setup::new(root, interval, sample).with(&["--probe", "procfs", "--energy", "model"]);
    (setup.output, setup.state) = (dir.join("out"), dir.join("state"));
    Some((disk, setup))
}

#[test]
fn a_disk_that_hangs_holds_up_its_rows_and_nothing_else() {
    let root = tempfile::tempdir().expect("a directory");
    let Some((disk, setup)) = on_disk(root.path(), 0.2, 0.1) else { return };
    let mut daemon = setup.start();
    first_rows(&daemon);

    let frozen = disk.freeze().expect("a frozen disk");
    // Nothing that is under way gets through after this.
    let from = Timestamp::now();
    let before = hosts(&setup.output).len();
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(6) {
        let asked = Instant::now();
        assert!(daemon.metrics().contains_key("carbon_last_write_timestamp_seconds"), "it answers meanwhile");
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    let health = daemon.get("/health/carbon").body;
    assert!(health.contains("has held up a write for"), "{health}");
    assert_eq!(hosts(&setup.output).len(), before, "the disk did hang");
    let until = Timestamp::now();
    drop(frozen);

    daemon.wait_for("it goes on", LIMIT, |metrics| {
        metrics["carbon_last_write_timestamp_seconds"] > until.as_millisecond() as f64 / 1e3
    });
    assert_healed(&daemon);
    let health = daemon.get("/health/carbon").body;
    assert!(!health.contains("has held up a write for"), "{health}");
    daemon.terminate();
    let all = hosts(&setup.output);
    assert_complete(&all);
    // Sampled and closed at their times, not made up for afterwards.
    let at = |row: &Value| row["timestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect("a time");
    let meanwhile = all.iter().filter(|row| (from..until).contains(&at(row))).count();
    assert!(meanwhile >= 15, "{meanwhile} intervals of 0.2 s ended in 6 s");
    let longest = all.iter().map(|row| row["interval_seconds"].as_f64().expect("a number")).fold(0.0, f64::max);
    assert!(longest < 2.0, "an interval took {longest} s");
    println!(
        "{meanwhile} intervals ended while the disk hung; slowest answer {slowest:?}; longest interval {longest} s"
    );
}

#[test]
fn a_disk_that_hangs_for_too_long_costs_rows_that_are_counted() {
    let root = tempfile::tempdir().expect("a directory");
    // 240 intervals may wait for the writer: six seconds here, an hour at the default interval.
    let Some((disk, setup)) = on_disk(root.path(), 0.025, 0.025) else { return };
    let mut daemon = setup.start();
    first_rows(&daemon);
    let frozen = disk.freeze().expect("a frozen disk");
    std::thread::sleep(Duration::from_secs(12));
    drop(frozen);
    daemon.wait_for("drops are counted", LIMIT, |metrics| errors(metrics, "files", "dropped") > 0.0);
    assert_healed(&daemon);
    let dropped = errors(&daemon.metrics(), "files", "dropped");
    daemon.terminate();

    let all = hosts(&setup.output);
    let number = |row: &Value, field: &str| row[field].as_f64().expect("a number");
    // In order, with gaps: what was cumulative goes on across them.
    let gaps: Vec<f64> = all
        .windows(2)
        .map(|pair| number(&pair[1], "duration") - number(&pair[1], "interval_seconds") - number(&pair[0], "duration"))
        .filter(|gap| gap.abs() > 1e-6)
        .collect();
    assert!(gaps.iter().all(|gap| *gap > 0.0), "{gaps:?}");
    let lost: f64 = gaps.iter().sum();
    assert!(lost > 0.5, "{lost} s have no rows");
    assert!(dropped >= 10.0, "{dropped} intervals are counted for {lost} s");
    println!("{dropped} intervals dropped, {lost:.2} s without rows in {} gaps", gaps.len());
}

#[test]
fn old_files_go_when_all_together_are_too_large() {
    let root = tempfile::tempdir().expect("a directory");
    let setup = setup(root.path());
    fs::create_dir(&setup.output).expect("a directory");
    // 10 MiB each; of a name that is not ours, and of ours as log rotation leaves them.
    let file = |name: &str| setup.output.join(name);
    let names = ["emissions_20260101.json.2.gz", "emissions_20260102.json.1", "emissions_20260103.json", "notes.json"];
    for name in names {
        fs::File::create(file(name)).and_then(|file| file.set_len(10 << 20)).expect("a file");
    }
    let config = root.path().join("config.yaml");
    fs::write(&config, "carbon: { output: { retain_days: 0, max_bytes: 25M } }\n").expect("a configuration");
    let mut daemon = setup.clone().with(&["--config", config.to_str().expect("text")]).start();
    first_rows(&daemon);
    daemon.wait_for("it has been cleaned", LIMIT, |metrics| {
        let bytes = metrics.get("carbon_output_bytes{kind=\"emissions\"}").copied().unwrap_or(0.0);
        (f64::from(20 << 20)..f64::from(25 << 20)).contains(&bytes)
    });
    daemon.terminate();
    let left = names.map(|name| fs::remove_file(file(name)).is_ok());
    assert_eq!(left, [false, true, true, true], "the oldest of ours is gone, and nothing else");
    assert!(!hosts(&setup.output).is_empty());
}

#[test]
fn a_removed_directory_comes_back() {
    let root = tempfile::tempdir().expect("a directory");
    let setup = setup(root.path());
    let mut daemon = setup.start();
    first_rows(&daemon);
    for path in [&setup.output, &setup.state] {
        // The agent may write while we remove.
        while fs::remove_dir_all(path).is_err() {}
    }
    daemon.wait_for("the directory is there", LIMIT, |_| setup.output.is_dir() && setup.state.is_dir());
    assert_sampling(&daemon);
    assert_healed(&daemon);
    daemon.terminate();
    assert!(!hosts(&setup.output).is_empty());
}

/// Rotates the files of a running daemon several times; no interval may be lost, none doubled.
fn check_rotation(rotate: impl Fn(&Path, &Path, u32, &Daemon)) {
    let root = tempfile::tempdir().expect("a directory");
    let setup = setup(root.path());
    let mut daemon = setup.start();
    first_rows(&daemon);
    for round in 0..4 {
        std::thread::sleep(Duration::from_millis(450));
        rotate(root.path(), &setup.output, round, &daemon);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_healed(&daemon);
    daemon.terminate();
    let files = fs::read_dir(&setup.output).expect("the directory").count();
    assert!(files > 4, "there are rotated files: {files}");
    assert_complete(&hosts(&setup.output));
}

fn emissions_file(dir: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(dir).expect("the directory").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "json")).max().expect("a file of today")
}

#[test]
fn renamed_by_mv() {
    check_rotation(|_, output, round, _| {
        let file = emissions_file(output);
        let renamed = format!("{}.{}", file.display(), round + 1);
        let status = Command::new("mv").arg(&file).arg(&renamed).status().expect("mv");
        assert!(status.success());
    });
}

#[test]
fn renamed_by_logrotate() {
    if !need::program("logrotate") {
        return;
    }
    // With and without a new file from logrotate, with and without SIGHUP.
    for (options, hangup) in [("create 0640", false), ("nocreate", true)] {
        check_rotation(|root, output, _, daemon| {
            let config = root.join("logrotate.conf");
            let pattern = output.join("emissions_*.json");
            let text = format!("{} {{\n  rotate 12\n  missingok\n  {options}\n}}\n", pattern.display());
            fs::write(&config, text).expect("a configuration");
            let status = Command::new("logrotate")
                .args(["--force", "--state"])
                .arg(root.join("logrotate.state"))
                .arg(&config)
                .status()
                .expect("logrotate");
            assert!(status.success());
            if hangup {
                daemon.signal(libc::SIGHUP);
            }
        });
    }
}
