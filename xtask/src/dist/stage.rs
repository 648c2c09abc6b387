//! The tree that the packages hold, file by file.

use crate::root;
use anyhow::{Context, Result};
use carbon_agent::cli::Cli;
use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Repository's file, place in the tree, mode. The maintainer scripts are cargo-deb's (carbon-agent/Cargo.toml).
const FILES: &[(&str, &str, u32)] = &[
    ("deploy/systemd/tta-staging-carbon.service", "lib/systemd/system/tta-staging-carbon.service", 0o644),
    ("deploy/logrotate/tta-staging", "etc/logrotate.d/tta-staging", 0o644),
    ("deploy/tta/config.yaml", "usr/share/carbon-agent/tta/config.yaml", 0o644),
    ("deploy/tta/environment", "usr/share/carbon-agent/tta/environment", 0o644),
    ("deploy/scripts/deploy-staging.sh", "usr/share/carbon-agent/scripts/deploy-staging.sh", 0o755),
    ("deploy/scripts/rollback-staging.sh", "usr/share/carbon-agent/scripts/rollback-staging.sh", 0o755),
    ("deploy/scripts/staging-lib.sh", "usr/share/carbon-agent/scripts/staging-lib.sh", 0o644),
    ("docs/runbook.md", "usr/share/doc/carbon-agent/runbook.md", 0o644),
    ("docs/configuration.md", "usr/share/doc/carbon-agent/configuration.md", 0o644),
    ("docs/metrics.md", "usr/share/doc/carbon-agent/metrics.md", 0o644),
    ("LICENSE-MIT", "usr/share/doc/carbon-agent/LICENSE-MIT", 0o644),
    ("LICENSE-APACHE", "usr/share/doc/carbon-agent/LICENSE-APACHE", 0o644),
    ("carbon-ebpf/LICENSE-GPL-2.0", "usr/share/doc/carbon-agent/LICENSE-GPL-2.0", 0o644),
    ("NOTICE", "usr/share/doc/carbon-agent/NOTICE", 0o644),
];

/// Folders that go along whole.
const FOLDERS: &[(&str, &str)] = &[
    ("deploy/prometheus", "usr/share/carbon-agent/prometheus"),
    ("deploy/grafana", "usr/share/carbon-agent/grafana"),
    ("deploy/filebeat", "usr/share/carbon-agent/filebeat"),
    ("deploy/docker", "usr/share/carbon-agent/docker"),
];

/// Writes the tree anew.
pub fn stage(binary: &Path, tree: &Path) -> Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    place(binary, &tree.join("usr/bin/carbon-agent"), 0o755)?;
    for (from, to, mode) in FILES {
        place(&root().join(from), &tree.join(to), *mode)?;
    }
    for (from, to) in FOLDERS {
        folder(&root().join(from), &tree.join(to))?;
    }
    generated(tree)
}

fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn folder(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            folder(&entry.path(), &target)?;
        } else {
            place(&entry.path(), &target, 0o644)?;
        }
    }
    Ok(())
}

/// Completions and manual pages, from the definition that parses the arguments.
fn generated(tree: &Path) -> Result<()> {
    let mut command = Cli::command();
    let completions = [
        (Shell::Bash, "usr/share/bash-completion/completions", "carbon-agent"),
        (Shell::Zsh, "usr/share/zsh/vendor-completions", "_carbon-agent"),
        (Shell::Fish, "usr/share/fish/vendor_completions.d", "carbon-agent.fish"),
    ];
    for (shell, folder, name) in completions {
        let folder = tree.join(folder);
        fs::create_dir_all(&folder)?;
        let written = generate_to(shell, &mut command, "carbon-agent", &folder)?;
        fs::rename(written, folder.join(name))?;
    }
    let folder = tree.join("usr/share/man/man1");
    fs::create_dir_all(&folder)?;
    // A page for the command and one for each subcommand: carbon-agent-run(1).
    clap_mangen::generate_to(Cli::command(), &folder)?;
    Ok(())
}
