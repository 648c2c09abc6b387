//! `carbon-agent run` as a child of a test: on loopback, with a state of its own, asked over HTTP, ended as tests please.

use crate::agent::{agent, terminate};
use crate::exposition::Exposition;
use crate::http::{self, Answer, free_address};
use crate::powercap_tree::RunningTree;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How a daemon is started: an address and directories of its own, and flags.
#[derive(Clone, Debug)]
pub struct Setup {
    pub output: PathBuf,
    pub state: PathBuf,
    pub log: PathBuf,
    pub address: SocketAddr,
    pub arguments: Vec<String>,
}

impl Setup {
    /// Everything below `root`, a free port, and so many seconds an interval and a sample.
    pub fn new(root: &Path, interval: f64, sample: f64) -> Self {
        Self::below(root).with(&[&format!("--interval={interval}"), &format!("--sample-interval={sample}")])
    }

    fn below(root: &Path) -> Self {
        Self {
            output: root.join("out"),
            state: root.join("state"),
            log: root.join("log"),
            address: free_address(),
            arguments: Vec::new(),
        }
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts the daemon; it may not answer yet.
    pub fn start(&self) -> Daemon {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        let mut command = agent(&["run", "--listen", &self.address.to_string()]);
        command.arg("--output-dir").arg(&self.output).args(&self.arguments).env("CARBON_STATE_DIR", &self.state);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the agent starts");
        Daemon { child, address: self.address, log: self.log.clone(), output: self.output.clone() }
    }
}

/// A running daemon. It is killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    pub child: Child,
    address: SocketAddr,
    log: PathBuf,
    output: PathBuf,
}

impl Daemon {
    /// Starts the agent on the meters of a tree with the text of a configuration, keeping everything it writes under
    /// `directory`, and waits until it answers. `arguments` are added to the command line.
    pub fn start(directory: &Path, tree: &RunningTree, configuration: &str, arguments: &[&str]) -> Self {
        Self::start_at(free_address(), directory, tree, configuration, arguments)
    }

    /// The same, at a given address.
    pub fn start_at(
        address: SocketAddr,
        directory: &Path,
        tree: &RunningTree,
        configuration: &str,
        arguments: &[&str],
    ) -> Self {
        let config = directory.join("config.yaml");
        std::fs::write(&config, configuration).expect("the configuration can be written");
        let text = |path: &Path| path.to_str().expect("a path of the test").to_owned();
        let setup = Setup { address, ..Setup::below(directory) };
        let mut daemon = setup
            .with(&["--energy", "rapl", "--config", &text(&config), "--host-sysfs", &text(tree.tree().sysfs())])
            .with(arguments)
            .start();
        daemon.wait(Duration::from_secs(30), "it answers", |daemon| daemon.answer("/").is_some());
        daemon
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it writes its rows.
    pub fn output(&self) -> PathBuf {
        self.output.clone()
    }

    /// Everything that daemons with this log have said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        http::get(self.address, path, "").unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// `None` where nobody answers.
    pub fn answer(&self, path: &str) -> Option<Answer> {
        http::get(self.address, path, "").ok()
    }

    #[track_caller]
    pub fn scrape(&self) -> Exposition {
        Exposition::parse(&self.get("/metrics").body)
    }

    /// Every series of `/metrics` with its value; empty where nobody answers.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.answer("/metrics").map(|answer| answer.body).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' ').and_then(|(s, v)| Some((s.to_owned(), v.parse().ok()?))))
            .collect()
    }

    /// Waits until the first interval is published.
    pub fn wait_ready(&mut self) {
        self.wait(Duration::from_secs(30), "it is ready", |daemon| daemon.get("/ready").status == 200);
    }

    /// Waits until `done`, and panics with the log when the agent ends or takes too long.
    pub fn wait(&mut self, limit: Duration, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + limit;
        while !done(self) {
            let status = self.child.try_wait().expect("a child can be asked for");
            assert!(status.is_none(), "the agent ended before {what}: {status:?}\n{}", self.log());
            assert!(Instant::now() < end, "{limit:?} passed before {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until `/metrics` says so; panics with the log when it does not.
    pub fn wait_for(&self, what: &str, limit: Duration, holds: impl Fn(&BTreeMap<String, f64>) -> bool) {
        let end = Instant::now() + limit;
        while !holds(&self.metrics()) {
            assert!(Instant::now() < end, "not seen in {limit:?}: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn signal(&self, signal: libc::c_int) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes plain integers; the daemon is our child and has not been waited for.
        unsafe { libc::kill(pid, signal) };
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// SIGTERM, and expects a clean end.
    pub fn terminate(&mut self) {
        terminate(&mut self.child);
    }

    /// The same, for good.
    pub fn stop(mut self) {
        self.terminate();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// The files it has open, for a message.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten().flatten();
        entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After the end there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
