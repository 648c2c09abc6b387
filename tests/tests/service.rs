//! The unit under a real systemd: the runbook, the watchdog, and what each capability is for.

use carbon_tests::agent::repository;
use carbon_tests::deploy::machine::Machine;
use carbon_tests::deploy::packages;
use std::time::Duration;

const UNIT: &str = "tta-staging-carbon";
const HEALTHY: &str = "carbon-agent health | grep -q 'last interval ended' && carbon-agent health";

/// A machine with the package installed and short intervals; `drop_in` is added to the unit.
fn installed(drop_in: &str) -> Option<Machine> {
    let deb = packages::deb()?;
    let machine = Machine::boot()?;
    machine.put_environment("");
    if !drop_in.is_empty() {
        machine.put(&format!("/etc/systemd/system/{UNIT}.service.d/test.conf"), drop_in.as_bytes());
    }
    let deb = machine.put_file(&deb, "/root");
    machine.run(&format!("dpkg --install {deb}"));
    Some(machine)
}

fn main_pid(machine: &Machine) -> String {
    machine.run(&format!("systemctl show --property=MainPID --value {UNIT}")).trim().to_owned()
}

fn wait_for_another_pid(machine: &Machine, pid: &str, limit: Duration) {
    let script = format!(
        "systemctl is-active {UNIT} && pid=$(systemctl show -P MainPID {UNIT}) && [ $pid != 0 ] && [ $pid != {pid} ]"
    );
    machine.wait_for(limit, &script);
}

#[test]
fn the_runbook_from_start_to_stop() {
    let Some(machine) = installed("") else { return };
    // Enabled and started by the package, configured by lines that begin with `export `.
    assert_eq!(machine.run(&format!("systemctl is-enabled {UNIT}")).trim(), "enabled");
    let health = machine.wait_for(Duration::from_secs(20), HEALTHY);
    println!("{health}");
    assert!(health.contains("✅ Probe: eBPF"), "the probe is attached under the unit's limits: {health}");
    assert!(health.contains("✅ Output directory writable: /var/log/tta/staging/codecarbon"), "{health}");
    let row = machine.run("head -1 /var/log/tta/staging/codecarbon/emissions_*.json | jq -r '.project_name, .environment, .method.cpu_time, (.interval_seconds | round)'");
    assert_eq!(row.lines().collect::<Vec<_>>(), ["TTA-Staging", "staging", "ebpf", "2"]);
    let owner = machine.run(&format!("stat -c '%U %G' /proc/{}", main_pid(&machine)));
    assert_eq!(owner.trim(), "tta-user tta-group", "the agent is not root");

    let status = machine.run(&format!("systemctl status --no-pager {UNIT}"));
    assert!(status.contains("active (running)"), "{status}");

    // Log rotation's own words.
    machine.run("systemctl reload tta-staging");
    machine.wait_for(Duration::from_secs(5), "grep -q SIGHUP /var/log/tta/staging/carbon.log");
    assert_eq!(machine.run(&format!("systemctl is-active {UNIT}")).trim(), "active");

    let pid = main_pid(&machine);
    machine.run(&format!("systemctl restart {UNIT}"));
    assert_ne!(main_pid(&machine), pid);
    machine.wait_for(Duration::from_secs(20), HEALTHY);

    let pid = main_pid(&machine);
    machine.run(&format!("kill -9 {pid}"));
    wait_for_another_pid(&machine, &pid, Duration::from_secs(15));
    machine.wait_for(Duration::from_secs(20), HEALTHY);

    machine.run(&format!("systemctl stop {UNIT}"));
    assert_eq!(machine.run(&format!("systemctl show -P Result {UNIT}")).trim(), "success");
    let health = machine.try_run("carbon-agent health");
    assert_eq!(health.status.code(), Some(1), "stopped is not healthy");
    assert!(String::from_utf8_lossy(&health.stdout).contains("❌ Carbon component: no answer"));
    // Whole lines, also after SIGKILL.
    machine.run("cat /var/log/tta/staging/codecarbon/emissions_*.json | jq --exit-status .schema >/dev/null");
    machine.run(&format!("systemctl start {UNIT}"));
    machine.wait_for(Duration::from_secs(20), HEALTHY);
}

#[test]
fn a_stopped_agent_is_noticed_by_the_watchdog() {
    let Some(machine) = installed("[Service]\nWatchdogSec=2s\n") else { return };
    machine.wait_for(Duration::from_secs(20), HEALTHY);
    // A sampler that works is left alone, whatever it is longer than the limit that it waits for.
    let pid = main_pid(&machine);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(main_pid(&machine), pid);
    machine.run(&format!("kill -STOP {pid}"));
    wait_for_another_pid(&machine, &pid, Duration::from_secs(20));
    machine.wait_for(Duration::from_secs(20), HEALTHY);
    let journal = machine.run(&format!("journalctl --no-pager -u {UNIT}"));
    assert!(journal.to_lowercase().contains("watchdog timeout"), "{journal}");
}

#[test]
fn an_unusable_configuration_is_said_once_and_not_retried() {
    let Some(machine) = installed("") else { return };
    machine.run("sed -i 's/^carbon:/carbon:\\n  prject_name: x/' /etc/tta/staging/config.yaml");
    let restart = machine.try_run(&format!("systemctl restart {UNIT}"));
    assert!(!restart.status.success());
    let journal = machine.run(&format!("journalctl --no-pager -u {UNIT}"));
    assert!(journal.contains("did you mean `project_name`"), "{journal}");
    std::thread::sleep(Duration::from_secs(4));
    let state = machine.run(&format!("systemctl show -P ActiveState {UNIT}; systemctl show -P NRestarts {UNIT}"));
    assert_eq!(state.split_whitespace().collect::<Vec<_>>(), ["failed", "0"], "no restart mends it");
}

#[test]
fn the_unit_is_clean_and_its_exposure_small() {
    let Some(machine) = installed("") else { return };
    let verify = machine.try_run(&format!("systemd-analyze verify --man=no /lib/systemd/system/{UNIT}.service"));
    let said = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && said.trim().is_empty(), "{said}");
    let security = machine.run(&format!("systemd-analyze security --no-pager {UNIT}"));
    let score = security.lines().find(|line| line.contains("Overall exposure level")).expect("a score");
    println!("{score}");
    let figure: f64 = score.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a figure");
    assert!(figure <= 2.5, "{score}");
}

/// What the agent still sees with a set of capabilities: the probe, others' executables, a counter of mode 0400.
fn seen_with(capabilities: &str) -> Option<[bool; 3]> {
    // The value is reset first: assignments add up.
    let drop_in = format!(
        "[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet={capabilities}\n\
         AmbientCapabilities=\nAmbientCapabilities={capabilities}\n"
    );
    let machine = installed(&drop_in)?;
    // A meter as root's files; what it counts does not matter here.
    machine.run(
        "zone=/var/lib/powercap/intel-rapl:0; mkdir -p $zone; cd $zone; echo package-0 >name; echo 1000000 >energy_uj; \
         echo 262143328850 >max_energy_range_uj; chmod 0400 energy_uj",
    );
    machine.put_environment("export CARBON_ENERGY__POWERCAP=/var/lib/powercap\nexport CARBON_PROCESS_TOP=1000\n");
    machine.run(&format!("systemctl restart {UNIT}"));
    let health = machine.wait_for(Duration::from_secs(20), HEALTHY);
    // systemd runs as root: another user's process for the agent.
    let rows = machine.run("cat /var/log/tta/staging/codecarbon/*.json");
    let other = rows
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .any(|row| row["record"] == "process" && row["exe"].as_str().is_some_and(|exe| !exe.ends_with("carbon-agent")));
    let line = |name: &str| health.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    println!("{capabilities}:\n{}\n{}\nothers' executables: {other}", line("Probe:"), line("Energy:"));
    Some([
        line("Probe:").contains("eBPF at"),
        other,
        line("Energy:").contains("powercap") && line("Energy:").starts_with('✅'),
    ])
}

#[test]
fn every_capability_is_needed_and_these_suffice() {
    let unit = std::fs::read_to_string(repository().join("deploy/systemd/tta-staging-carbon.service")).unwrap();
    let all = unit.lines().find_map(|line| line.strip_prefix("AmbientCapabilities=")).expect("the unit names them");
    let without = |name: &str| all.split(' ').filter(|other| *other != name).collect::<Vec<_>>().join(" ");
    let Some(seen) = seen_with(all) else { return };
    assert_eq!(seen, [true, true, true], "{all}");
    for (name, expected) in [
        ("CAP_BPF", [false, true, true]),
        ("CAP_PERFMON", [false, true, true]),
        ("CAP_SYS_PTRACE", [true, false, true]),
        ("CAP_DAC_READ_SEARCH", [true, true, false]),
    ] {
        assert_eq!(seen_with(&without(name)), Some(expected), "without {name}");
    }
}
