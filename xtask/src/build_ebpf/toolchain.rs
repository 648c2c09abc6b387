//! Finding what builds eBPF: a compiler that has `core` for the target, the linker, objcopy.

use super::TARGET;
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

pub struct Toolchain {
    source: Source,
    pub sysroot: PathBuf,
    pub rustc_version: String,
    pub linker: PathBuf,
    pub linker_version: String,
    pub objcopy: PathBuf,
}

/// Where `core` for the target comes from.
enum Source {
    /// A rustup nightly that has the standard library's source: `-Z build-std=core`.
    Rustup(String),
    /// A distribution's compiler that ships it ready.
    Distribution { rustc: PathBuf, cargo: PathBuf },
}

const INSTALL: &str = "\
Either, with rustup:
    rustup toolchain install nightly --component rust-src
or, on Debian and its like, the distribution's compiler with core for eBPF:
    apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf
and the linker, with the LLVM that it uses (it also brings llvm-objcopy):
    apt-get install llvm-22 llvm-22-dev libpolly-22-dev zlib1g-dev libzstd-dev
    LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22";

impl Toolchain {
    /// The compiler that built the kept object if it is here (the bytes can be compared then), else the first that works.
    pub fn find(preferred: Option<&str>) -> Result<Self> {
        let Some(linker) = on_path(&["bpf-linker"]) else { bail!("bpf-linker is not installed.\n{INSTALL}") };
        let Some(objcopy) = objcopy() else { bail!("llvm-objcopy is not installed.\n{INSTALL}") };
        let mut found = rustup();
        found.extend(distribution());
        let at = found.iter().position(|(_, _, version)| Some(version.as_str()) == preferred).unwrap_or(0);
        if found.is_empty() {
            bail!("no Rust compiler here has core for {TARGET}.\n{INSTALL}");
        }
        let (source, sysroot, rustc_version) = found.swap_remove(at);
        let linker_version = answer(Command::new(&linker).arg("--version")).context("bpf-linker --version")?;
        Ok(Self { source, sysroot, rustc_version, linker, linker_version, objcopy })
    }

    pub fn kind(&self) -> String {
        match &self.source {
            Source::Rustup(name) => format!("rustup {name}, build-std"),
            Source::Distribution { rustc, .. } => {
                format!("{}, with core for {TARGET}", rustc.display())
            }
        }
    }

    /// cargo, set up for this compiler and for nothing that the calling cargo has set.
    pub fn cargo(&self) -> Command {
        let mut command = match &self.source {
            Source::Rustup(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo", "-Zbuild-std=core"]);
                command
            }
            Source::Distribution { rustc, cargo } => {
                let mut command = Command::new(cargo);
                // Compiling for this target needs features that a stable compiler hides.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        for name in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
        {
            command.env_remove(name);
        }
        if matches!(self.source, Source::Rustup(_)) {
            command.env_remove("RUSTC");
        }
        command
    }
}

type Found = (Source, PathBuf, String);

fn rustup() -> Vec<Found> {
    let list = answer(Command::new("rustup").args(["toolchain", "list", "--quiet"])).unwrap_or_default();
    let nightly =
        list.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with("nightly"));
    nightly
        .filter_map(|name| {
            let rustc = |argument: &[&str]| answer(Command::new("rustup").args(["run", name, "rustc"]).args(argument));
            let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?);
            sysroot.join("lib/rustlib/src/rust/library/core").is_dir().then_some(())?;
            Some((Source::Rustup(name.into()), sysroot, rustc(&["--version"])?))
        })
        .collect()
}

fn distribution() -> Option<Found> {
    let folder = Path::new("/usr/bin");
    let (rustc, cargo) = (folder.join("rustc"), folder.join("cargo"));
    let ask = |arguments: &[&str]| answer(Command::new(&rustc).env_remove("RUSTUP_TOOLCHAIN").args(arguments));
    let library = ask(&["--print", "target-libdir", "--target", TARGET])?;
    let core =
        fs::read_dir(library).ok()?.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"));
    if !core || !cargo.exists() {
        return None;
    }
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
    let version = ask(&["--version"])?;
    Some((Source::Distribution { rustc, cargo }, sysroot, version))
}

fn objcopy() -> Option<PathBuf> {
    let numbered: Vec<String> = (18..=40).rev().map(|version| format!("llvm-objcopy-{version}")).collect();
    let names: Vec<&str> = std::iter::once("llvm-objcopy").chain(numbered.iter().map(String::as_str)).collect();
    on_path(&names)
}

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let home = cargo_home().ok().map(|home| home.join("bin"));
    let folders: Vec<PathBuf> = env::split_paths(&path).chain(home).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

pub fn cargo_home() -> Result<PathBuf> {
    match env::var_os("CARGO_HOME") {
        Some(home) => Ok(home.into()),
        None => Ok(PathBuf::from(env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo")),
    }
}

/// What a command prints, if it succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
