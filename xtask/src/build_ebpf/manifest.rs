//! What an object was built from, and with what.

use super::Toolchain;
use crate::root;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Serialize, Deserialize)]
pub struct Manifest {
    /// Digest of the kernel program's sources and of what Cargo.lock says of its dependencies.
    pub sources: String,
    /// Digest of the object.
    pub object: String,
    pub rustc: String,
    pub linker: String,
}

impl Manifest {
    pub fn of(object: &[u8], toolchain: &Toolchain) -> Result<Self> {
        Ok(Self {
            sources: sources(&root())?,
            object: digest(object),
            rustc: toolchain.rustc_version.clone(),
            linker: toolchain.linker_version.clone(),
        })
    }

    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

pub fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sources(root: &Path) -> Result<String> {
    let mut files = vec![PathBuf::from("carbon-ebpf/Cargo.toml"), PathBuf::from("carbon-common/Cargo.toml")];
    // The alternatives of the benchmark are not part of the object.
    collect(root, Path::new("carbon-ebpf/src"), &mut files)?;
    collect(root, Path::new("carbon-common/src"), &mut files)?;
    files.retain(|file| !file.starts_with("carbon-ebpf/src/bin"));
    files.sort();
    let mut all = Sha256::new();
    for file in files {
        let data = fs::read(root.join(&file)).with_context(|| file.display().to_string())?;
        all.update(format!("{} {}\n", digest(&data), file.display()));
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    for package in lock.split("[[package]]").filter(|package| package.contains("\nname = \"aya-ebpf")) {
        all.update(package.trim());
    }
    Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
