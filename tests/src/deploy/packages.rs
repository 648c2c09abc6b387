//! The packages, built by `cargo xtask dist` once a test run.

use crate::agent::repository;
use crate::debian;
use crate::need;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where `cargo xtask dist` leaves its work.
pub fn dist() -> PathBuf {
    repository().join("target/dist")
}

/// The `.deb`, or `None` with the reason printed.
pub fn deb() -> Option<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let installed = cargo_home.is_some_and(|home| home.join("bin/cargo-deb").exists());
    if !installed && !need::program("cargo-deb") {
        return None;
    }
    if !need::program("dpkg-deb") || !need::program("readelf") {
        return None;
    }
    let built = BUILT.get_or_init(|| {
        let _lock = debian::lock("dist").expect("a lock");
        let output = Command::new("cargo").args(["xtask", "dist"]).current_dir(repository()).output().expect("cargo");
        assert!(output.status.success(), "cargo xtask dist: {}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{stdout}");
        PathBuf::from(stdout.lines().find(|line| line.ends_with(".deb")).expect("dist names the package"))
    });
    Some(built.clone())
}

/// The same package under another version, changed by `change` in its unpacked tree; it lies in `folder`.
pub fn variant(deb: &Path, version: &str, folder: &Path, change: impl FnOnce(&Path)) -> PathBuf {
    let tree = tempfile::tempdir_in(folder).expect("a folder");
    done(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(tree.path()));
    let control = tree.path().join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("a control file");
    let text: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with("Version:") { format!("Version: {version}") } else { line.to_owned() })
        .collect();
    fs::write(&control, text.join("\n") + "\n").expect("the control file is ours");
    change(tree.path());
    let architecture = deb.file_stem().and_then(|stem| stem.to_str()?.rsplit('_').next()).expect("an architecture");
    let path = folder.join(format!("carbon-agent_{version}_{architecture}.deb"));
    done(Command::new("dpkg-deb").args(["--build", "--root-owner-group", "-Zgzip", "-z1"]).arg(tree.path()).arg(&path));
    path
}

/// A program in the place of the agent, for versions that are not to work.
pub fn replace_agent(tree: &Path, script: &str) {
    let path = tree.join("usr/bin/carbon-agent");
    fs::write(&path, script).expect("the tree is ours");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("the tree is ours");
}

fn done(command: &mut Command) {
    let output = command.output().expect("dpkg-deb runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
