//! The real binary, built once a test process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Path of the `carbon-agent` binary, built from this checkout.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built(&["--package", "carbon-agent"]))
}

/// Path of the shared library that an example of this package builds.
pub fn example_library(name: &str) -> PathBuf {
    built(&["--package", "carbon-tests", "--example", name])
}

/// Builds what `selection` names and returns the last file that cargo made of it, fresh or not.
fn built(selection: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--message-format=json"])
        .args(selection)
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{selection:?} does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let artefacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let file = |message: serde_json::Value| {
        let file = message["executable"].as_str().or(message["filenames"][0].as_str());
        file.map(PathBuf::from)
    };
    artefacts.filter_map(file).next_back().expect("cargo names what it built")
}

/// The root of the checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// The agent with arguments, and an environment in which nothing configures it by accident.
pub fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("CARBON_") || name.starts_with("TTA_");
        if ours || name.to_lowercase().starts_with("codecarbon_") {
            command.env_remove(name);
        }
    }
    // Nor does a `.codecarbon.config` of whoever runs the tests.
    command.env("HOME", states());
    // A state that no other test and no daemon of this machine shares.
    command.env("CARBON_STATE_DIR", fresh_state());
    command
}

/// A place for the state of one agent; made by the agent if it keeps any.
fn fresh_state() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    states().join(COUNT.fetch_add(1, Ordering::Relaxed).to_string())
}

/// Where the states of this test process lie, and nothing else.
fn states() -> &'static Path {
    static ROOT: OnceLock<tempfile::TempDir> = OnceLock::new();
    ROOT.get_or_init(|| tempfile::Builder::new().prefix("carbon-state").tempdir().expect("a directory")).path()
}

/// Waits until the agent has written into its output directory.
pub fn wait_for_file(output: &Path, limit: Duration) {
    let end = Instant::now() + limit;
    while rows(output).is_empty() {
        assert!(Instant::now() < end, "nothing was written to {} in {limit:?}", output.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every line of every emissions file, in the files' order.
pub fn rows(output: &Path) -> Vec<serde_json::Value> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(output)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let texts = files.iter().map(|path| std::fs::read_to_string(path).expect("the file can be read"));
    texts
        .flat_map(|text| {
            assert!(text.is_empty() || text.ends_with('\n'), "whole lines only");
            let rows: Vec<serde_json::Value> =
                text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
            rows
        })
        .collect()
}

/// Ends a daemon with SIGTERM and expects it to exit with 0 in good time.
pub fn terminate(daemon: &mut Child) {
    let pid = i32::try_from(daemon.id()).expect("a pid");
    // SAFETY: kill takes plain integers; the daemon is our child and has not been waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(status) = daemon.try_wait().expect("the daemon can be waited for") {
            assert!(status.success(), "SIGTERM is a clean end: {status}");
            return;
        }
        assert!(Instant::now() < end, "the daemon does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the agent as an unprivileged user, from a copy that such a user can reach. Needs root and `setpriv`.
pub fn as_nobody(arguments: &[&str]) -> std::process::Output {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("carbon").tempdir_in("/tmp").expect("a directory");
    let copy = directory.path().join("carbon-agent");
    std::fs::copy(binary(), &copy).expect("the binary can be copied");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("others may enter");
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("setpriv runs")
}
