//! `cargo xtask bench …`

use crate::{build_ebpf, root};
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use std::path::PathBuf;
use std::process::Command;

#[derive(Subcommand)]
pub enum What {
    /// Nanoseconds a context switch: our program, an empty one, the alternatives, bpftrace
    Probe {
        /// Seconds a candidate is measured under each load
        #[arg(long, default_value_t = 3)]
        seconds: u32,
        /// Measure this candidate only
        #[arg(long)]
        only: Option<String>,
    },
    /// What the agent costs among thousands of processes: CPU, memory, reading back; Scaphandre beside it
    Agent {
        /// Seconds that each figure is taken over
        #[arg(long, default_value_t = 30)]
        seconds: u32,
        /// Measure Scaphandre in the same run, on the same powercap tree
        #[arg(long)]
        with_scaphandre: bool,
    },
    /// Microseconds to decide whose a process is: 200 rules, real processes, thousands of cgroups
    Identity {
        /// Component rules
        #[arg(long, default_value_t = 200)]
        rules: usize,
        /// Cgroups that are made and looked up
        #[arg(long, default_value_t = 4000)]
        cgroups: usize,
    },
    /// What `report` takes for months of files: seconds, MB/s, memory
    Report {
        #[arg(long, default_value_t = 90)]
        days: u32,
        /// Of each interval, those that are always there among them
        #[arg(long, default_value_t = 30)]
        components: usize,
        /// Process rows of each interval
        #[arg(long, default_value_t = 0)]
        processes: usize,
    },
    /// Error of our attribution on machines whose truth is known, beside the formulas of Kepler and Scaphandre
    Truth,
}

pub fn run(what: &What) -> Result<()> {
    match what {
        What::Probe { seconds, only } => probe(*seconds, only.as_deref()),
        What::Agent { seconds, with_scaphandre } => agent(*seconds, *with_scaphandre),
        What::Identity { rules, cgroups } => identity(*rules, *cgroups),
        What::Report { days, components, processes } => report(*days, *components, *processes),
        What::Truth => crate::bench_truth::run(),
    }
}

/// The agent, as it is installed, and programs of the tests' package.
fn build(programs: &[&str]) -> Result<()> {
    let programs = programs.iter().map(|program| ("carbon-tests", *program));
    for (package, program) in [("carbon-agent", "carbon-agent")].into_iter().chain(programs) {
        let status = cargo().args(["build", "--quiet", "--release", "-p", package, "--bin", program]).status();
        let status = status.context("cargo build")?;
        ensure!(status.success(), "{program} does not build: {status}");
    }
    Ok(())
}

/// Where [`build`] leaves a program.
fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    target.join("release").join(name)
}

fn report(days: u32, components: usize, processes: usize) -> Result<()> {
    build(&["bench-report"])?;
    let status = Command::new(built("bench-report"))
        .arg("--agent")
        .arg(built("carbon-agent"))
        .args(["--days", &days.to_string()])
        .args(["--components", &components.to_string()])
        .args(["--processes", &processes.to_string()])
        .status()
        .context("bench-report")?;
    ensure!(status.success(), "bench-report: {status}");
    Ok(())
}

fn agent(seconds: u32, with_scaphandre: bool) -> Result<()> {
    build(&["bench-agent", "fake-rapl"])?;
    let status = Command::new(built("bench-agent"))
        .arg("--agent")
        .arg(built("carbon-agent"))
        .arg("--fake-rapl")
        .arg(built("fake-rapl"))
        .args(["--seconds", &seconds.to_string()])
        .args(with_scaphandre.then_some("--with-scaphandre"))
        .status()
        .context("bench-agent")?;
    ensure!(status.success(), "bench-agent: {status}");
    Ok(())
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn probe(seconds: u32, only: Option<&str>) -> Result<()> {
    let object = build_ebpf::build_bench()?;
    let status = cargo()
        .args(["run", "--quiet", "--release", "-p", "carbon-tests", "--bin", "bench-probe", "--"])
        .arg(object)
        .arg(seconds.to_string())
        .args(only)
        .status()
        .context("cargo run")?;
    ensure!(status.success(), "bench-probe: {status}");
    Ok(())
}

fn identity(rules: usize, cgroups: usize) -> Result<()> {
    let status = cargo()
        .args(["run", "--quiet", "--release", "-p", "carbon-tests", "--bin", "bench-identity", "--"])
        .args(["--rules", &rules.to_string(), "--cgroups", &cgroups.to_string()])
        .status()
        .context("cargo run")?;
    ensure!(status.success(), "bench-identity: {status}");
    Ok(())
}
