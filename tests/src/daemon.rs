//! `carbon-agent run` as a child of a test: on loopback, with a configuration and a meter of its own.

use crate::agent::{agent, terminate};
use crate::exposition::Exposition;
use crate::http::{self, Answer, free_address};
use crate::powercap_tree::RunningTree;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Daemon {
    /// Starts the agent with the text of a configuration, keeping everything it writes under `directory`, and waits
    /// until it answers. `arguments` are added to the command line.
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
        let stderr = File::create(directory.join("stderr")).expect("a file for standard error");
        let child = agent(&["run", "--energy", "rapl", "--listen", &address.to_string()])
            .args(["--config".as_ref(), config.as_os_str()])
            .args(["--output-dir".as_ref(), directory.join("out").as_os_str()])
            .args(["--host-sysfs".as_ref(), tree.tree().sysfs().as_os_str()])
            .args(arguments)
            .stderr(stderr)
            .spawn()
            .expect("the agent starts");
        let mut daemon = Self { child, address, directory: directory.to_owned() };
        daemon.wait(Duration::from_secs(30), "it answers", |daemon| http::get(daemon.address, "/", "").is_ok());
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
        self.directory.join("out")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        http::get(self.address, path, "").unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    #[track_caller]
    pub fn scrape(&self) -> Exposition {
        Exposition::parse(&self.get("/metrics").body)
    }

    /// Waits until the first interval is published.
    pub fn wait_ready(&mut self) {
        self.wait(Duration::from_secs(30), "it is ready", |daemon| daemon.get("/ready").status == 200);
    }

    /// Waits until `done`, and panics with what the agent wrote to standard error when it ends or takes too long.
    pub fn wait(&mut self, limit: Duration, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + limit;
        while !done(self) {
            let said = || std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default();
            let status = self.child.try_wait().expect("a child can be asked for");
            assert!(status.is_none(), "the agent ended before {what}: {status:?}\n{}", said());
            assert!(Instant::now() < end, "{limit:?} passed before {what}\n{}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it with SIGTERM; it must exit with 0.
    pub fn stop(mut self) {
        terminate(&mut self.child);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
