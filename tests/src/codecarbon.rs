//! The real CodeCarbon from PyPI, in a Python environment made once and kept under `target/`.

use crate::agent::repository;
use crate::debian::{kept, lock, run};
use crate::need;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The release whose fields, files and settings ours follow; with what its `carbonboard` needs.
pub const RELEASE: &str = "codecarbon[carbonboard]==3.3.2";

/// Of the kept environment; another one where the release changes.
const NAME: &str = "codecarbon-3.3.2";

/// A Python that has CodeCarbon; `None`, said or failed, where it cannot be had.
#[derive(Debug)]
pub struct CodeCarbon {
    python: PathBuf,
}

impl CodeCarbon {
    /// Made from PyPI at the first call.
    pub fn find() -> Option<Self> {
        if !need::program("python3") {
            return None;
        }
        match environment() {
            Ok(python) => Some(Self { python }),
            Err(why) => {
                need::need(false, &format!("{RELEASE} from PyPI: {why:#}"));
                None
            }
        }
    }

    /// Runs a script of `tests/codecarbon` and returns the JSON it prints; `prepare` adds to the command.
    #[track_caller]
    pub fn run(&self, script: &str, input: &str, prepare: impl FnOnce(&mut Command)) -> Value {
        let script = repository().join("tests/codecarbon").join(script);
        let mut command = Command::new(&self.python);
        command.arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("python starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("python reads its input");
        let output = child.wait_with_output().expect("python ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{said}", script.display(), output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{}: {why}\n{said}", script.display()))
    }
}

fn environment() -> Result<PathBuf> {
    let _lock = lock("codecarbon")?;
    let root = kept(NAME);
    let python = root.join("bin/python");
    // Written last: an environment without it was never finished.
    let complete = root.join("complete");
    if complete.exists() {
        return Ok(python);
    }
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&root))?;
    install(&python)?;
    fs::write(&complete, RELEASE)?;
    Ok(python)
}

fn install(python: &Path) -> Result<()> {
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", RELEASE];
    run(Command::new(python).args(arguments)).map(|_| ()).context("pip install")
}
