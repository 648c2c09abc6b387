//! `cargo xtask bench report`: months of emissions files, written by the agent's own code, read back by `carbon-agent
//! report`; seconds, megabytes a second, memory.
//!
//! Files lie as log rotation leaves them: those of the last two weeks plain, older ones in gzip. Each day holds some
//! damaged lines. Before a figure is printed the report's sums are compared, to the microjoule, with what was written.

mod files;
mod rows;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use files::Written;
use serde_json::Value;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Arguments {
    /// The carbon-agent to measure
    #[arg(long)]
    agent: PathBuf,
    #[arg(long, default_value_t = 90)]
    days: u32,
    /// Of each interval, those that are always there among them
    #[arg(long, default_value_t = 30)]
    components: usize,
    /// Process rows of each interval
    #[arg(long, default_value_t = 0)]
    processes: usize,
    /// Length of an interval
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// Where the files go, and stay; otherwise a temporary folder
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Each view is measured so many times, and the median counts.
const RUNS: usize = 3;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let temporary = tempfile::tempdir()?;
    let folder = arguments.folder.as_deref().unwrap_or(temporary.path());
    let begun = Instant::now();
    let written = files::write(folder, &arguments)?;
    println!(
        "{} days at {} s, {} components, {} processes: {} lines in {:.0} MB, of which {} files in gzip leave {:.0} MB on \
         disk; {} lines damaged (written in {:.0} s)\n",
        arguments.days,
        arguments.seconds,
        arguments.components,
        arguments.processes,
        written.lines,
        megabytes(written.bytes),
        written.compressed,
        megabytes(written.on_disk),
        written.damaged,
        begun.elapsed().as_secs_f64(),
    );
    println!("{:24} {:>8} {:>10} {:>10} {:>12}", "report", "s", "CPU s", "MB/s", "peak RSS MB");
    let mut views = vec!["component", "day"];
    if arguments.processes > 0 {
        views.push("process");
    }
    for view in views {
        let mut runs: Vec<Run> =
            (0..RUNS).map(|_| measure(&arguments, folder, view, &written)).collect::<Result<_>>()?;
        runs.sort_by_key(|run| run.wall);
        let Run { wall, cpu, peak } = runs[RUNS / 2];
        let rate = megabytes(written.bytes) / wall.as_secs_f64();
        println!(
            "{:24} {:8.2} {:10.2} {rate:10.0} {:12.1}",
            format!("--by {view}"),
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            peak as f64 / 1e6,
        );
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

struct Run {
    wall: Duration,
    cpu: Duration,
    /// Bytes, the most ever resident.
    peak: u64,
}

fn measure(arguments: &Arguments, folder: &Path, view: &str, written: &Written) -> Result<Run> {
    let begun = Instant::now();
    let child = Command::new(&arguments.agent)
        .args(["report", "--format", "json", "--by", view, "--since"])
        .arg(format!("{}d", arguments.days + 1))
        .arg("--output-dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("carbon-agent report")?;
    let pid = i32::try_from(child.id())?;
    let report: Value = serde_json::from_reader(child.stdout.context("a pipe")?)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: a child of ours that nobody else waits for; pointers to locals.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    let wall = begun.elapsed();
    ensure!(waited == pid && status == 0, "carbon-agent report: status {status:#x}");
    // SAFETY: zeroed is a valid value of this plain structure, and wait4 filled it.
    let usage = unsafe { usage.assume_init() };
    written.compare(&report, view)?;
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Ok(Run { wall, cpu: time(usage.ru_utime) + time(usage.ru_stime), peak: usage.ru_maxrss as u64 * 1024 })
}
