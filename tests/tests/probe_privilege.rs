//! The least that the probe needs, and what it says when it has less.

use carbon_agent::probe::Probe;
use carbon_tests::kernel::{open, options};
use carbon_tests::need::need;
use std::{fs, os::unix::fs::PermissionsExt, process::Command, thread::sleep, time::Duration};

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
