//! Log files as operations handle them: rotated by the real logrotate, shipped under Filebeat's rules, without secrets.

use carbon_tests::agent::repository;
use carbon_tests::deploy::machine::Machine;
use carbon_tests::deploy::packages;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const EMISSIONS: &str = "/var/log/tta/staging/codecarbon";

fn installed() -> Option<Machine> {
    let deb = packages::deb()?;
    let machine = Machine::boot()?;
    // A row each half second: every rotation falls between two writes, or on one.
    machine.put_environment(
        "export CARBON_MEASUREMENT_INTERVAL=0.5\nexport CARBON_SAMPLE_INTERVAL=0.25\n\
         export CARBON_INTENSITY__TOKEN=top-secret-token\n",
    );
    let deb = machine.put_file(&deb, "/root");
    machine.run(&format!("dpkg --install {deb}"));
    machine.wait_for(Duration::from_secs(20), &format!("test -s {EMISSIONS}/emissions_*.json"));
    Some(machine)
}

/// The timestamps of the host rows, in the order of the files given.
fn host_rows(text: &str) -> Vec<(String, f64)> {
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("every line is JSON"));
    rows.filter(|row| row["record"] == "host")
        .map(|row| (row["timestamp"].as_str().unwrap().to_owned(), row["interval_seconds"].as_f64().unwrap()))
        .collect()
}

#[test]
fn rotation_loses_nothing_and_touches_no_rotated_file() {
    let Some(machine) = installed() else { return };
    let guide = std::fs::read_to_string(repository().join("deploy/logrotate/tta-staging")).unwrap();
    assert_eq!(machine.run("cat /etc/logrotate.d/tta-staging"), guide, "the package installs it as it is");
    // Three rotations: the first renames, the second compresses what the first renamed.
    let mut digest = None;
    for round in 0..3 {
        std::thread::sleep(Duration::from_secs(2));
        machine.run("logrotate --force --state=/run/logrotate.state /etc/logrotate.d/tta-staging");
        if round == 0 {
            digest = Some(machine.run(&format!("sha256sum {EMISSIONS}/*.json.1 /var/log/tta/staging/carbon.log.1")));
        } else if round == 1 {
            // What the first rotation renamed is now compressed, and still as it was.
            let now = machine.run(&format!(
                "for f in {EMISSIONS}/*.json.2.gz /var/log/tta/staging/carbon.log.2.gz; do zcat $f | sha256sum; done"
            ));
            let sums = |text: &str| -> Vec<String> {
                text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
            };
            assert_eq!(sums(&now), sums(&digest.take().unwrap()), "nothing was written into a rotated file");
        }
    }
    // Each reload reached the agent by the name that the rotation uses.
    machine.wait_for(Duration::from_secs(5), "cat /var/log/tta/staging/carbon.log | grep -q SIGHUP");
    let reloads =
        machine.run("cd /var/log/tta/staging; { zcat carbon.log.*.gz; cat carbon.log.1 carbon.log; } | grep -c SIGHUP");
    assert_eq!(reloads.trim(), "3");
    let modes = machine.run(&format!("stat -c '%U:%G %a' {EMISSIONS}/*.json /var/log/tta/staging/carbon.log"));
    assert!(modes.lines().all(|line| line == "tta-user:tta-group 644"), "{modes}");

    machine.run("systemctl stop tta-staging-carbon");
    let text =
        machine.run(&format!("cd {EMISSIONS}; for f in $(ls -r *.json.*.gz); do zcat $f; done; cat *.json.1 *.json"));
    let rows = host_rows(&text);
    assert!(rows.len() > 10, "{}", rows.len());
    let times: Vec<&String> = rows.iter().map(|(time, _)| time).collect();
    assert!(times.is_sorted(), "in order: {times:?}");
    assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), times.len(), "no row twice");
    // No interval is missing: the rows' own lengths add up to the time between the first and the last.
    let at = |time: &str| time.parse::<Stamp>().expect("a time").0;
    let span = at(times[times.len() - 1]) - at(times[0]);
    let sum: f64 = rows[1..].iter().map(|(_, seconds)| seconds).sum();
    assert!((span - sum).abs() < 0.4, "{span} s passed, {sum} s are written");
}

/// Seconds since midnight; enough within one test, but for the test's own midnight.
struct Stamp(f64);

impl std::str::FromStr for Stamp {
    type Err = std::num::ParseFloatError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let clock = text.split('T').nth(1).unwrap_or_default().trim_end_matches('Z').trim_end_matches("+00:00");
        let parts: Result<Vec<f64>, _> = clock.split(':').map(str::parse).collect();
        Ok(Self(parts?.iter().fold(0.0, |sum, part| sum * 60.0 + part)))
    }
}

/// What Filebeat's `log` input does with `json.keys_under_root: true` and `json.add_error_key: true`: a line that is no
/// JSON object becomes an event with an `error`; the keys of an object go to the root of the event, beside Filebeat's
/// own, which are not overwritten.
fn filebeat(line: &str) -> Result<serde_json::Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(keys)) => Ok(keys),
        Ok(_) => Err("not an object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn every_line_is_one_event_for_filebeat_and_holds_no_secret() {
    let Some(machine) = installed() else { return };
    let guide = std::fs::read_to_string(repository().join("deploy/filebeat/filebeat.yml")).unwrap();
    for path in ["/var/log/tta/staging/carbon.log", "/var/log/tta/staging/codecarbon/*.json"] {
        assert!(guide.contains(&format!("      - {path}\n")), "{path}");
    }
    std::thread::sleep(Duration::from_secs(2));
    machine.run("systemctl reload tta-staging && systemctl stop tta-staging-carbon");
    let text = machine.run(&format!("cat /var/log/tta/staging/carbon.log {EMISSIONS}/*.json"));
    assert!(!text.contains("top-secret-token"));
    let mut kinds = BTreeSet::new();
    for line in text.lines() {
        let keys = filebeat(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        // Filebeat's and the index template's own; `error` means that a line could not be read.
        for own in ["error", "fields", "input", "log", "agent", "ecs", "@timestamp", "@metadata"] {
            assert!(!keys.contains_key(own), "{own} in {line}");
        }
        assert!(keys.contains_key("timestamp"), "{line}");
        let cmdline = keys.contains_key("cmdline") || keys.contains_key("environ");
        assert!(!cmdline, "{line}");
        kinds.insert(keys.get("record").or(keys.get("level")).and_then(Value::as_str).expect("a kind").to_owned());
    }
    for kind in ["host", "component", "process", "info", "warning"] {
        assert!(kinds.contains(kind), "{kind} is missing: {kinds:?}");
    }
}
