//! The real daemon, running: started with a state of its own, asked over HTTP, ended as tests please.

use crate::agent::agent;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How a daemon is started: directories of its own, and flags.
#[derive(Clone, Debug)]
pub struct Setup {
    pub output: PathBuf,
    pub state: PathBuf,
    pub log: PathBuf,
    pub port: u16,
    pub arguments: Vec<String>,
}

impl Setup {
    /// Output and state below `root`, a free port, and so many seconds an interval and a sample.
    pub fn new(root: &Path, interval: f64, sample: f64) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        Self {
            output: root.join("out"),
            state: root.join("state"),
            log: root.join("log"),
            port: free.port(),
            arguments: vec![format!("--interval={interval}"), format!("--sample-interval={sample}")],
        }
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        let mut command = agent(&["run", "--listen", &format!("127.0.0.1:{}", self.port)]);
        command.arg("--output-dir").arg(&self.output).args(&self.arguments).env("CARBON_STATE_DIR", &self.state);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the agent starts");
        Daemon { child, port: self.port, log: self.log.clone() }
    }
}

/// A running daemon. It is killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    pub child: Child,
    port: u16,
    log: PathBuf,
}

impl Daemon {
    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    pub fn signal(&self, signal: libc::c_int) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes plain integers; the daemon is our child and has not been waited for.
        unsafe { libc::kill(pid, signal) };
    }

    /// SIGTERM, and expects a clean end.
    pub fn terminate(&mut self) {
        crate::agent::terminate(&mut self.child);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// The files it has open, for a message.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten().flatten();
        entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
    }

    /// Everything that daemons of this setup have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The body of an answer; `None` where nobody answers.
    pub fn get(&self, path: &str) -> Option<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 ").then(|| body.to_owned())
    }

    /// Every series of `/metrics` with its value; empty where nobody answers.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.get("/metrics").unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' ').and_then(|(s, v)| Some((s.to_owned(), v.parse().ok()?))))
            .collect()
    }

    /// Waits until `/metrics` says so; panics with the log when it does not.
    pub fn wait_for(&self, what: &str, limit: Duration, holds: impl Fn(&BTreeMap<String, f64>) -> bool) {
        let end = Instant::now() + limit;
        while !holds(&self.metrics()) {
            assert!(Instant::now() < end, "not seen in {limit:?}: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
