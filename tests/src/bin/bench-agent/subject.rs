//! Who is measured, and the tree that both read.

use crate::meter::{self, Cost};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long each may settle before it is watched: starting is not its daily cost.
const SETTLE: Duration = Duration::from_secs(4);

/// A process that goes when this goes.
pub struct Started(pub Child);

impl Started {
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: only a system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        Ok(Self(command.spawn().with_context(|| format!("{:?}", command.get_program()))?))
    }

    /// What it costs once it has settled.
    pub fn measure(mut self, seconds: Duration) -> Result<Cost> {
        sleep(SETTLE);
        let ended = self.0.try_wait()?;
        ensure!(ended.is_none(), "it ended by itself: {ended:?}");
        meter::watch(self.0.id(), seconds)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A powercap tree whose counters run.
pub struct Tree {
    pub sysfs: PathBuf,
    _driver: Started,
}

impl Tree {
    pub fn start(fake_rapl: &Path, folder: &Path) -> Result<Self> {
        let driver = Started::start(Command::new(fake_rapl).arg(folder))?;
        let counter = folder.join("sys/class/powercap/intel-rapl:0/energy_uj");
        wait_for("a powercap tree", || counter.exists())?;
        Ok(Self { sysfs: folder.join("sys"), _driver: driver })
    }

    /// The directory that holds `intel-rapl:0`.
    pub fn powercap(&self) -> PathBuf {
        self.sysfs.join("class/powercap")
    }
}

/// The agent as it is installed, but for the seconds from sample to sample: kernel probe, meters of the tree.
pub fn agent(binary: &Path, tree: &Tree, output: &Path, sample_interval: &str, seconds: Duration) -> Result<Cost> {
    fs::create_dir_all(output)?;
    let mut command = Command::new(binary);
    command.args(["run", "--probe", "ebpf", "--energy", "rapl", "--listen", "127.0.0.1:0", "--interval", "15"]);
    command.args(["--sample-interval", sample_interval]);
    command.arg("--powercap").arg(tree.powercap()).arg("--output-dir").arg(output);
    command.current_dir(output).env("CARBON_STATE_DIR", output.join("state"));
    let running = Started::start(&mut command)?;
    // It makes its file at its first export. Until then it may still be loading, on a machine that is busy.
    wait_for("the agent's first export", || fs::read_dir(output).is_ok_and(|files| files.count() > 0))?;
    running.measure(seconds)
}

fn wait_for(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        ensure!(Instant::now() < end, "in vain: {what}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
