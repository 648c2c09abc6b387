//! Graphics cards in the real agent: the energy of a played card reaches the processes that used it, and the books close.

use carbon_tests::agent::{agent, example_library, rows, terminate};
use carbon_tests::books;
use carbon_tests::kernel::Running;
use carbon_tests::powercap_tree::{Machine, RunningTree};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A process under its own name that wakes twenty times a second: what uses a card runs on a CPU now and then.
fn user(dir: &Path, name: &str) -> Running {
    let shell = dir.join(name);
    std::fs::copy("/bin/bash", &shell).expect("the shell can be copied");
    let script = "exec 9<> <(:); while :; do read -rt 0.05 -u 9; done";
    Running::start(Command::new(shell).args(["-c", script]).stdin(Stdio::null()))
}

fn gpu_joules<'a>(rows: &'a [Value], component: &'a str) -> impl Iterator<Item = f64> + 'a {
    let of = move |row: &&Value| match row["record"].as_str() {
        Some("component") => row["component"] == component,
        record => record == Some("host") && component == "host",
    };
    rows.iter().filter(of).map(|row| row["interval_energy_joules"]["gpu"].as_f64().expect("the card is a domain"))
}

#[test]
fn a_cards_energy_goes_to_who_used_it() {
    let dir = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(example_library("nvml_played"), dir.path().join("libnvidia-ml.so.1")).expect("a link");
    let played = dir.path().join("users");
    std::fs::write(&played, "").expect("nobody uses it");
    let tree = RunningTree::start(dir.path(), Machine::single(20.0, 15.0)).expect("a running tree");
    let (a, b) = (user(dir.path(), "gpu-a"), user(dir.path(), "gpu-b"));

    let config = dir.path().join("config.yaml");
    let rule = |name| format!("    - {{ name: {name}, match: {{ comm: \"{name}\" }} }}\n");
    std::fs::write(&config, format!("carbon:\n  components:\n{}{}", rule("gpu-a"), rule("gpu-b"))).expect("rules");
    let output = dir.path().join("out");
    let mut daemon = agent(&["run", "--energy", "rapl", "--listen", "127.0.0.1:0"])
        .args(["--interval", "1", "--sample-interval", "0.5"])
        .args(["--config".as_ref(), config.as_os_str(), "--output-dir".as_ref(), output.as_os_str()])
        .args(["--host-sysfs".as_ref(), tree.tree().sysfs().as_os_str()])
        .env("LD_LIBRARY_PATH", dir.path())
        .env("NVML_PLAYED", &played)
        .spawn()
        .expect("the agent starts");
    // At rest, so that its idle power is seen; then two users, one with twice the other's share, and one whom nobody knows.
    sleep(Duration::from_secs(8));
    std::fs::write(&played, format!("{} 60\n{} 30\n4194303 10\n", a.pid(), b.pid())).expect("three users");
    sleep(Duration::from_secs(8));
    drop((a, b));
    terminate(&mut daemon);

    let rows = rows(&output);
    assert!(books::assert_closed(&rows) > 10);
    let host = rows.iter().find(|row| row["record"] == "host").expect("a host line");
    assert_eq!(host["method"]["energy"], "rapl-powercap+nvml");
    let sum = |component: &str| gpu_joules(&rows, component).sum::<f64>();
    let (a, b, nobody, idle) = (sum("gpu-a"), sum("gpu-b"), sum("unattributed"), sum("idle"));
    println!("a {a:.1} J, b {b:.1} J, unattributed {nobody:.1} J, idle {idle:.1} J of {:.1} J", sum("host"));
    // 200 W above idle for 8 s, less what lies between the last user's end and the agent's.
    assert!(a + b > 1000.0, "they used it");
    assert!((a / b - 2.0).abs() < 0.01, "60 % against 30 %: {}", a / b);
    assert!((nobody / b - 1.0 / 3.0).abs() < 0.2, "what a process nobody knows used is nobody's: {nobody} J");
    let rest: Vec<f64> = gpu_joules(&rows, "gpu-a").take(4).collect();
    assert!(rest.iter().all(|joules| *joules == 0.0), "nobody used it yet: {rest:?}");
    // 50 W over some 16 s, learned.
    assert!((idle / 16.0 - 50.0).abs() < 8.0, "idle power is told from active: {} W", idle / 16.0);
}
