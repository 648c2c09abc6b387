//! `cargo xtask dist`: the packages. One tree is staged, from which come the `.deb` (cargo-deb), the `.tar.gz` and
//! their SHA256SUMS, in `target/dist`.

mod binary;
mod stage;

use crate::root;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Arguments {
    /// Version of the packages, where it is not the workspace's (a rebuild: 0.1.0-2)
    #[arg(long)]
    package_version: Option<String>,
    /// Only check that a binary runs on the promised glibc, and print what it needs
    #[arg(long, value_name = "BINARY")]
    check_glibc: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.check_glibc {
        return binary::check_glibc(path);
    }
    let executable = binary::build()?;
    binary::check_glibc(&executable)?;

    let dist = root().join("target/dist");
    let tree = dist.join("stage");
    fs::create_dir_all(&dist)?;
    stage::stage(&executable, &tree)?;

    let version = arguments.package_version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    let deb = deb(&dist, &version)?;
    let archive = archive(&dist, &tree, &version)?;
    sums(&dist)?;
    println!("{}\n{}\n{}", deb.display(), archive.display(), dist.join("SHA256SUMS").display());
    Ok(())
}

/// The architecture as Debian calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn deb(dist: &Path, version: &str) -> Result<PathBuf> {
    let path = dist.join(format!("carbon-agent_{version}_{}.deb", architecture()));
    // What goes where is in carbon-agent/Cargo.toml, [package.metadata.deb].
    let mut command = Command::new("cargo");
    command.current_dir(root()).args(["deb", "--quiet", "--no-build", "--no-strip", "--package", "carbon-agent"]);
    command.args(["--deb-version", version]).arg("--output").arg(&path);
    command.stdout(std::process::Stdio::null());
    done(&mut command).context("`cargo install cargo-deb` gives the packager")?;
    Ok(path)
}

/// The same tree for hosts without dpkg. The same input gives the same bytes.
fn archive(dist: &Path, tree: &Path, version: &str) -> Result<PathBuf> {
    let name = format!("carbon-agent-{version}-{}-linux-gnu", std::env::consts::ARCH);
    let path = dist.join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
    command.arg(format!("--transform=s,^\\.,{name},")).arg("-C").arg(tree);
    command.args(["--use-compress-program=gzip -9n", "-cf"]).arg(&path).arg(".");
    done(&mut command)?;
    Ok(path)
}

/// One sum for each package that lies in the folder, in the format `sha256sum --check` reads.
fn sums(dist: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dist)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.ends_with(".deb") || name.ends_with(".tar.gz") {
            let digest = Sha256::digest(fs::read(&path)?);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("{hex}  {name}\n"));
        }
    }
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    fs::write(dist.join("SHA256SUMS"), lines.concat())?;
    Ok(())
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
