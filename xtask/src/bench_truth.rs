//! `cargo xtask bench truth`: the scenarios are in `tests/src/truth`, so that the tests hold us to the same figures.

use crate::root;
use anyhow::{Context, Result, ensure};
use std::process::Command;

pub fn run() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root())
        // The figures are the same in any profile, and this one is mostly built already.
        .args(["run", "--quiet", "-p", "carbon-tests", "--bin", "bench-truth"])
        .status()
        .context("cargo run")?;
    ensure!(status.success(), "bench-truth: {status}");
    Ok(())
}
