use super::*;
use crate::export::fixture;

fn run() -> RunInfo {
    RunInfo { output_dir: Some("/var/log/tta/staging/codecarbon".into()), ..fixture::run_info() }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn the_lines_are_in_the_guides_manner() {
    let publication = fixture::publication();
    let health = judge(Some((&publication, seconds(4))), None, seconds(100), &run());
    assert_eq!(
        health.lines(),
        "⚠️  Carbon component: DEGRADED\n\
         ✅ Output directory writable: /var/log/tta/staging/codecarbon\n\
         ✅ Configuration: Valid\n\
         ✅ Probe: sched_switch by BTF tracepoint\n\
         ✅ Energy: powercap: package-0, dram-0\n\
         ⚠️  Intensity: no zone configured: <world> average\n\
         ✅ Freshness: last interval ended 4 s ago\n"
    );
    assert!(health.is_up());
}

#[test]
fn all_in_order_is_ok() {
    let mut publication = fixture::publication();
    publication.snapshot.stages.pop();
    let health = judge(Some((&publication, seconds(0))), None, seconds(100), &run());
    assert_eq!(health.status, StageStatus::Ok);
    assert!(health.lines().starts_with("✅ Carbon component: OK\n"));
}

#[test]
fn a_failed_stage_is_down_and_said_in_one_line() {
    let mut publication = fixture::publication();
    let files = publication.files.as_mut().unwrap();
    files.state = fixture::state(Stage::Files, StageStatus::Failed, "disk\nfull");
    let health = judge(Some((&publication, seconds(4))), None, seconds(100), &run());
    assert!(!health.is_up());
    assert!(health.lines().contains("❌ Output directory does not take lines: disk full\n"), "{}", health.lines());
    assert!(!health.output_directory.unwrap().writable);
}

/// The overall status by age of the last interval and uptime; the limit is 50 s.
fn check(age: Option<u64>, uptime: u64, expected: StageStatus) {
    let mut publication = fixture::publication();
    publication.snapshot.stages.clear();
    let health = judge(age.map(|age| (&publication, seconds(age))), None, seconds(uptime), &run());
    assert_eq!(health.status, expected, "{age:?} {uptime}\n{}", health.lines());
}

#[test]
fn silence_is_failure_but_not_at_the_start() {
    check(None, 10, StageStatus::Degraded);
    check(None, 51, StageStatus::Failed);
    check(Some(50), 100, StageStatus::Ok);
    check(Some(51), 100, StageStatus::Failed);
}

#[test]
fn a_disk_that_hangs_is_told_from_sampling_that_stopped() {
    let publication = fixture::publication();
    let judged = |age, writing| judge(Some((&publication, seconds(age))), Some(writing), seconds(100), &run());
    assert_eq!(judged(4, seconds(1)), judge(Some((&publication, seconds(4))), None, seconds(100), &run()));
    let health = judged(20, seconds(16));
    assert!(health.is_up() && health.status == StageStatus::Degraded);
    assert!(health.lines().contains("has held up a write for 16 s; sampling goes on"), "{}", health.lines());
    assert!(!health.output_directory.unwrap().writable);
    let health = judged(60, seconds(56));
    assert!(!health.is_up());
    assert!(health.lines().contains("more than 50 s: what came after it is not written yet"), "{}", health.lines());
}

#[test]
fn the_json_reads_back() {
    let publication = fixture::publication();
    let health = judge(Some((&publication, seconds(4))), None, seconds(100), &run());
    let json = serde_json::to_value(&health).unwrap();
    assert_eq!(json["status"], "degraded");
    assert_eq!(
        json["stages"][0],
        serde_json::json!({"stage": "probe", "status": "ok", "reason": "sched_switch by BTF tracepoint"})
    );
    assert_eq!(json["output_directory"]["writable"], true);
    assert_eq!(serde_json::from_value::<Health>(json).unwrap(), health);
}

#[test]
fn a_reload_that_failed_is_degraded_and_told_in_the_configurations_line() {
    let mut publication = fixture::publication();
    publication.snapshot.stages = vec![fixture::state(Stage::Config, StageStatus::Degraded, "c.yaml:3: carbon.pue")];
    let health = judge(Some((&publication, seconds(4))), None, seconds(100), &run());
    assert!(health.is_up() && !health.configuration.valid);
    assert_eq!(health.lines().matches("Configuration: ").count(), 1);
    assert!(health.lines().contains("Configuration: c.yaml:3: carbon.pue\n"), "{}", health.lines());
}
