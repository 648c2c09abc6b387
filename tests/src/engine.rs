//! A real container engine: Docker's daemon started by hand, on a socket and in directories of its own.

use crate::debian::{self, kept, run, wait_for};
use crate::need;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The image that containers are made of: the Debian root of [`debian::root`].
pub const IMAGE: &str = "debian:bookworm-slim";

/// Where programs look for an engine.
pub const USUAL_SOCKET: &str = "/run/docker.sock";
const USUAL: &str = "unix:///run/docker.sock";

pub struct Engine {
    daemon: Child,
    /// Holds the socket and what the daemon keeps while it runs.
    run: TempDir,
    /// Where it keeps images and containers (its `/var/lib/docker`).
    pub data: PathBuf,
    _lock: File,
}

/// A container; removed when dropped.
pub struct Container<'a> {
    engine: &'a Engine,
    pub id: String,
    pub name: String,
    /// Its first process, in the host's numbers.
    pub pid: u32,
}

/// Whether this machine can run one.
pub fn possible() -> bool {
    debian::possible() && need::program("dockerd") && need::program("docker")
}

impl Engine {
    /// Starts the daemon; one at a time on a machine. The image is imported at the first start and kept.
    pub fn start() -> Result<Self> {
        Self::start_with(&["--bridge=none", "--iptables=false", "--ip6tables=false"])
    }

    /// With networks, as a host has them, and at the usual address too unless that is taken: what a compose file needs.
    pub fn start_as_on_a_host() -> Result<Self> {
        if Path::new(USUAL_SOCKET).exists() { Self::start_with(&[]) } else { Self::start_with(&["--host", USUAL]) }
    }

    fn start_with(options: &[&str]) -> Result<Self> {
        let root = debian::root()?;
        let lock = debian::lock("engine")?;
        let data = kept("engine");
        let run_directory = tempfile::Builder::new().prefix("carbon-engine-").tempdir()?;
        let at = |name: &str| run_directory.path().join(name);
        let log = File::create(at("log"))?;
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(&data)
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("docker.sock").display()))
            .args(options)
            .arg("--log-level=warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("dockerd")?;
        let mut engine = Self { daemon, run: run_directory, data, _lock: lock };
        wait_for("dockerd to answer", 60, || {
            let ended = engine.daemon.try_wait().ok().flatten().is_some();
            (ended || engine.docker(["version"]).is_ok()).then_some(())
        })
        .and_then(|()| engine.docker(["version"]))
        .with_context(|| fs::read_to_string(engine.run.path().join("log")).unwrap_or_default())?;
        if engine.docker(["image", "inspect", IMAGE]).is_err() {
            engine.import(&root)?;
        }
        Ok(engine)
    }

    fn import(&self, root: &Path) -> Result<()> {
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(root)
            .args(["--one-file-system", "-c", "."])
            .stdout(Stdio::piped())
            .spawn()?;
        let archive = tar.stdout.take().context("tar's output")?;
        run(self.command().args(["import", "-", IMAGE]).stdin(archive))?;
        tar.wait()?;
        Ok(())
    }

    /// The socket of its API.
    pub fn socket(&self) -> PathBuf {
        self.run.path().join("docker.sock")
    }

    /// The engine's client, with nothing said yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command
    }

    pub fn docker<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        run(self.command().args(arguments))
    }

    /// A container that runs `command`, without a network.
    pub fn run(&self, name: &str, command: &[&str]) -> Result<Container<'_>> {
        let start = ["run", "--detach", "--init=false", "--network=none", "--name", name, IMAGE];
        let id = self.docker(start.into_iter().chain(command.iter().copied()))?;
        let pid = self.docker(["inspect", "--format", "{{.State.Pid}}", &id])?.parse()?;
        Ok(Container { engine: self, id, name: name.to_owned(), pid })
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.engine.docker(["rm", "--force", "--volumes", &self.id]);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(self.daemon.id() as i32, libc::SIGTERM) };
        let ended = wait_for("dockerd to end", 20, || self.daemon.try_wait().ok().flatten());
        if ended.is_err() {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
    }
}
