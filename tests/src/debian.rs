//! A Debian root directory with systemd in it, made once and kept under `target/`: the base of real containers.

use crate::agent::repository;
use crate::need;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = "systemd,systemd-sysv,dbus,procps,ca-certificates,curl,logrotate,jq,libcap2-bin";

/// Of the kept directory; another one where the packages change.
const NAME: &str = "debian-2";

/// Where builders keep what takes long to make.
pub fn kept(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    target.join("environments").join(name)
}

/// Holds off other test processes until it is dropped.
pub fn lock(name: &str) -> Result<File> {
    let path = kept(name).with_extension("lock");
    fs::create_dir_all(path.parent().expect("is in a directory"))?;
    let file = File::create(&path)?;
    // SAFETY: a descriptor of our own.
    let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } == 0;
    ensure!(locked, "cannot lock {}", path.display());
    Ok(file)
}

/// Whether this machine can make one.
pub fn possible() -> bool {
    need::root() && need::program("debootstrap")
}

/// The root directory, made at the first call. Do not write into it.
pub fn root() -> Result<PathBuf> {
    let _lock = lock("debian")?;
    let root = kept(NAME);
    if root.is_dir() {
        return Ok(root);
    }
    let making = root.with_extension("making");
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    run(Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"])
        .arg(&making))?;
    fs::remove_dir_all(making.join("var/cache/apt/archives"))?;
    fs::rename(&making, &root)?;
    Ok(root)
}

/// Runs a command to its good end; returns what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}{complaint}", output.status);
    Ok(said.trim().to_owned())
}

/// Asks every 50 ms until there is an answer, for at most `seconds`.
pub fn wait_for<T>(what: &str, seconds: u64, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let begun = std::time::Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        ensure!(begun.elapsed().as_secs() < seconds, "waited {seconds} s for {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Whether a process is there (a zombie is not).
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}
