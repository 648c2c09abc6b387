//! The least that the probe needs, and what it says when it has less.

use carbon_agent::probe::Probe;
use carbon_tests::kernel::{Running, open, options, sample, time_of};
use carbon_tests::need::need;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, thread::sleep, time::Duration};

/// Opens the probe as nobody, without new privileges and with just these capabilities; what it printed.
fn as_nobody(capabilities: &str) -> Option<String> {
    // SAFETY: no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        need(false, "root, to hand out capabilities");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("probe-shapes");
    fs::copy(env!("CARGO_BIN_EXE_probe-shapes"), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .arg(format!("--inh-caps=-all{capabilities}"))
        .arg(format!("--ambient-caps=-all{capabilities}"))
        .arg(format!("--bounding-set=-all{capabilities}"))
        .arg(&program)
        .arg("open")
        .output()
        .unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn two_capabilities_are_enough() {
    let Some(said) = as_nobody(",+bpf,+perfmon") else {
        return;
    };
    assert!(said.contains("eBPF at BTF tracepoint"), "{said}");
    assert!(said.contains("books closed"), "{said}");
}

#[test]
fn a_missing_capability_is_named_with_its_remedy() {
    for (capabilities, missing) in
        [("", "CAP_BPF and CAP_PERFMON missing"), (",+bpf", "CAP_PERFMON missing"), (",+perfmon", "CAP_BPF missing")]
    {
        let Some(said) = as_nobody(capabilities) else {
            return;
        };
        assert!(said.contains(missing), "{capabilities}: {said}");
        assert!(said.contains("setcap cap_bpf,cap_perfmon+ep") && said.contains("AmbientCapabilities"), "{said}");
    }
}

#[test]
fn run_time_is_known_only_while_the_kernel_counts_it() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    let enabled = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").unwrap();
    sleep(Duration::from_millis(20));
    assert!(probe.cost().events > 0);
    assert_eq!(probe.cost().run_time.is_some(), enabled.trim() == "1");
}

/// Puts the CPU back, however the test ends.
struct Offline(&'static Path);

impl Drop for Offline {
    fn drop(&mut self) {
        let _ = fs::write(self.0, "1");
    }
}

#[test]
#[ignore = "takes a CPU from the whole machine for a moment: run alone, with --ignored"]
fn a_cpu_that_leaves_and_returns_loses_nothing() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    let cpu = Path::new("/sys/devices/system/cpu/cpu1/online");
    let busy = Running::start(Command::new("sh").args(["-c", "while :; do :; done"]));
    sleep(Duration::from_millis(100));
    let mut end = sample(&mut probe).cpus;
    let offline = Offline(cpu);
    if fs::write(cpu, "0").is_err() {
        need(false, "a CPU 1 that can be taken offline");
        return;
    }
    let mut total = 0;
    let mut follow = |end: &mut Vec<carbon_agent::probe::CpuWindow>| {
        sleep(Duration::from_millis(150));
        let sample = sample(&mut probe);
        // The windows of each CPU follow upon each other without a gap, and `sample` checks that each closes.
        for (before, now) in end.iter().zip(&sample.cpus) {
            assert_eq!((before.cpu, before.end), (now.cpu, now.begin));
        }
        total += time_of(&sample, busy.pid());
        *end = sample.cpus;
    };
    follow(&mut end);
    follow(&mut end);
    let gone = end[1];
    assert_eq!(gone.idle.0, gone.end.0 - gone.begin.0, "a CPU that is off is idle");
    drop(offline);
    follow(&mut end);
    assert!(total > 0);
}
