//! Root directories with systemd in them, made once and kept under `target/`: the base of real containers.

use crate::agent::repository;
use crate::need;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = "systemd,systemd-sysv,dbus,procps,ca-certificates,curl,logrotate,jq,libcap2-bin";

/// What a root directory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12.
    Bookworm,
    /// Ubuntu 22.04: the host of the staging guide.
    Jammy,
}

impl Release {
    /// Of the kept directory; another one where the packages change.
    fn name(self) -> &'static str {
        match self {
            Release::Bookworm => "debian-2",
            Release::Jammy => "ubuntu-1",
        }
    }

    /// debootstrap's arguments before the directory and after it.
    fn arguments(self) -> Result<(Vec<String>, Option<String>)> {
        Ok(match self {
            Release::Bookworm => (vec!["bookworm".to_owned()], None),
            Release::Jammy => {
                let mirror = std::env::var(UBUNTU).with_context(|| format!("{UBUNTU} names a mirror of Ubuntu"))?;
                let keyring = format!("--keyring={}", ubuntu_keyring(&mirror)?.display());
                (vec![keyring, "jammy".to_owned()], Some(mirror))
            }
        })
    }
}

/// Where Ubuntu's packages come from; not every machine that reaches Debian's reaches them.
const UBUNTU: &str = "CARBON_TEST_UBUNTU_MIRROR";

/// The keys that sign Ubuntu's archive: Debian has no package of them, so Ubuntu's own is taken, if it is the one known
/// here.
fn ubuntu_keyring(mirror: &str) -> Result<PathBuf> {
    const PACKAGE: &str = "pool/main/u/ubuntu-keyring/ubuntu-keyring_2021.03.26_all.deb";
    const SHA256: &str = "0d0e7ed6b112f5d03eabf3c7eb01ebdacf9c57714b279e90495cfc58c8c4520f";
    let folder = kept("ubuntu-keyring");
    fs::create_dir_all(&folder)?;
    let package = folder.join("package.deb");
    // debootstrap depends on wget.
    run(Command::new("wget").args(["--quiet", "--output-document"]).arg(&package).arg(format!("{mirror}/{PACKAGE}")))?;
    let sum = run(Command::new("sha256sum").arg(&package))?;
    ensure!(sum.starts_with(SHA256), "{PACKAGE} is another than the one known: {sum}");
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&folder))?;
    Ok(folder.join("usr/share/keyrings/ubuntu-archive-keyring.gpg"))
}

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

/// Debian's root directory, made at the first call. Do not write into it.
pub fn root() -> Result<PathBuf> {
    root_of(Release::Bookworm)
}

/// The same of another release.
pub fn root_of(release: Release) -> Result<PathBuf> {
    let _lock = lock(release.name())?;
    let root = kept(release.name());
    if root.is_dir() {
        return Ok(root);
    }
    let making = root.with_extension("making");
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    let (before, after) = release.arguments()?;
    run(Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}")])
        .args(before)
        .arg(&making)
        .args(after))?;
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
