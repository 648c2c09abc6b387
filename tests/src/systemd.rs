//! A real systemd: booted in a container of its own over the Debian root, which stays as it is.

use crate::debian::{self, run, wait_for};
use crate::need;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Systemd {
    nspawn: Child,
    /// systemd itself, in the host's numbers.
    pub leader: u32,
    /// The container's cgroup in each hierarchy that systemd uses, the unified one last.
    cgroups: Vec<PathBuf>,
}

/// Whether this machine can run one.
pub fn possible() -> bool {
    debian::possible() && need::program("systemd-nspawn") && need::program("nsenter") && need::program("setsid")
}

impl Systemd {
    /// Boots; `options` are further ones for systemd-nspawn.
    pub fn boot(name: &str, options: &[&str]) -> Result<Self> {
        let root = debian::root()?;
        let cgroups: Vec<PathBuf> = hierarchies().into_iter().map(|hierarchy| hierarchy.join(name)).collect();
        for cgroup in &cgroups {
            fs::create_dir_all(cgroup).with_context(|| cgroup.display().to_string())?;
        }
        // The shell enters the cgroups, then becomes the container.
        let enter: String = cgroups.iter().map(|c| format!("echo $$ > '{}/cgroup.procs' && ", c.display())).collect();
        let log = File::create(debian::kept(name).with_extension("log"))?;
        let nspawn = Command::new("setsid")
            .args(["--wait", "sh", "-c", &format!("{enter}exec \"$@\""), "sh", "systemd-nspawn", "--directory"])
            .arg(&root)
            .arg(format!("--machine={name}"))
            .args(["--register=no", "--keep-unit", "--volatile=overlay", "--boot", "--console=pipe"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut booted = Self { nspawn, leader: 0, cgroups };
        let supervisor = booted.cgroup().join("supervisor/cgroup.procs");
        let init = booted.cgroup().join("payload/init.scope/cgroup.procs");
        booted.leader =
            wait_for("systemd to start", 30, || first_pid(&init).filter(|_| first_pid(&supervisor).is_some()))?;
        wait_for("systemd to be up", 60, || {
            let state = run(&mut booted.command(&["systemctl", "is-system-running"]));
            // It prints "degraded" and fails where a unit has failed: that is up all the same.
            state.map_or_else(|e| e.to_string().contains("degraded").then_some(()), |_| Some(()))
        })?;
        Ok(booted)
    }

    /// Its cgroup in the unified hierarchy; the units are under `payload/`.
    pub fn cgroup(&self) -> &Path {
        self.cgroups.last().expect("there is a unified hierarchy")
    }

    /// A command in the container's namespaces.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader.to_string(), "--all", "--"]).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(arguments))
    }

    /// Starts a transient service; returns its first process, in the host's numbers.
    pub fn service(&self, unit: &str, command: &[&str]) -> Result<u32> {
        self.run(&[&["systemd-run", "--quiet", "--unit", unit], command].concat())?;
        let procs = self.cgroup().join("payload/system.slice").join(format!("{unit}.service/cgroup.procs"));
        wait_for("the service to run", 10, || first_pid(&procs))
    }
}

/// Where systemd keeps its cgroups: the unified hierarchy, and systemd's own beside it where both are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    let all = ["", "systemd", "unified"].map(|name| mount.join(name));
    let is_hierarchy = |path: &PathBuf| path.join("cgroup.procs").exists();
    all.into_iter().filter(is_hierarchy).collect()
}

fn first_pid(procs: &Path) -> Option<u32> {
    fs::read_to_string(procs).ok()?.lines().next()?.parse().ok()
}

fn remove_tree(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if self.leader != 0 {
            // SAFETY: a signal to the container's init, which holds its pid until nspawn has reaped it.
            unsafe { libc::kill(self.leader as i32, libc::SIGRTMIN() + 4) };
            let _ = wait_for("the container to end", 20, || (!debian::lives(self.leader)).then_some(()));
        }
        if wait_for("nspawn to end", 5, || self.nspawn.try_wait().ok().flatten()).is_err() {
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
        for cgroup in &self.cgroups {
            remove_tree(cgroup);
        }
    }
}
