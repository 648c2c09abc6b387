//! `cargo xtask bench agent`: what the agent costs, with crowds of idle and of active processes, beside Scaphandre on the
//! same powercap tree.
//!
//! Each crowd is there first; then the agent runs among it for a while, and after it, among the same processes,
//! Scaphandre: measured at the same time they would evict each other's caches.

mod crowd;
mod meter;
mod readback;
mod scaphandre;
mod subject;

use anyhow::{Context, Result, bail};
use clap::Parser;
use crowd::{Crowd, Kind};
use meter::Cost;
use scaphandre::Scaphandre;
use std::{path::PathBuf, time::Duration};
use subject::Tree;

#[derive(Parser)]
struct Arguments {
    /// The carbon-agent to measure
    #[arg(long, required_unless_present = "crowd")]
    agent: Option<PathBuf>,
    /// The program that plays RAPL
    #[arg(long, required_unless_present = "crowd")]
    fake_rapl: Option<PathBuf>,
    /// Seconds that each is watched among each crowd
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Measure Scaphandre, too
    #[arg(long)]
    with_scaphandre: bool,
    /// Not a benchmark: be this crowd (`idle` or wake-ups a second) until standard input ends
    #[arg(long, hide = true, num_args = 2, value_names = ["KIND", "PROCESSES"])]
    crowd: Option<Vec<String>>,
}

const ACTIVE: Kind = Kind::Active { hertz: 10 };
const CROWDS: [(Kind, u32); 4] = [(Kind::Idle, 0), (Kind::Idle, 2_000), (Kind::Idle, 8_000), (ACTIVE, 1_000)];

/// Seconds from sample to sample: as installed; and as fast as can be configured, which tells apart loads that take turns.
const USUAL: &str = "1";
const FAST: &str = "0.1";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(crowd) = &arguments.crowd {
        return crowd::be(crowd);
    }
    let (Some(agent), Some(fake_rapl)) = (&arguments.agent, &arguments.fake_rapl) else {
        bail!("--agent and --fake-rapl are needed");
    };
    // The agent is started in a folder of its own.
    let agent = &agent.canonicalize().with_context(|| agent.display().to_string())?;
    let folder = tempfile::tempdir()?;
    let tree = Tree::start(fake_rapl, &folder.path().join("rapl"))?;
    let scaphandre = if arguments.with_scaphandre { Scaphandre::find(folder.path())? } else { None };
    let seconds = Duration::from_secs(arguments.seconds);

    println!(
        "agent: carbon-agent run, one sample a second (or as said), one export in 15 seconds, {seconds:?} for each figure"
    );
    println!("CPU in % of one core; memory: resident at the end, most ever resident (MB)\n");
    println!(
        "{:29} {:>7} {:>6} {:>6}   {:>10} {:>6}   {:>6}",
        "crowd", "agent", "RSS", "peak", "Scaphandre", "RSS", "ratio"
    );
    for (index, (kind, size)) in CROWDS.into_iter().enumerate() {
        let crowd = Crowd::gather(kind, size)?;
        let output = |rate: &str| folder.path().join(format!("out{index}-{rate}"));
        let ours = subject::agent(agent, &tree, &output(USUAL), USUAL, seconds)?;
        let theirs = scaphandre.as_ref().map(|it| it.measure(&tree, seconds)).transpose()?;
        print(&format!("{size} {kind}"), ours, theirs);
        if kind == ACTIVE || size == 0 {
            let fast = subject::agent(agent, &tree, &output(FAST), FAST, seconds)?;
            print(&format!("the same, sampled at {FAST} s"), fast, None);
        }
        crowd.dismiss()?;
    }
    readback::measure()
}

fn print(crowd: &str, ours: Cost, theirs: Option<Cost>) {
    print!("{crowd:29} {:6.2}% {:6.1} {:6.1}", ours.percent, ours.resident, ours.peak);
    match theirs {
        Some(theirs) => {
            println!("   {:9.2}% {:6.1}   {:5.0}×", theirs.percent, theirs.resident, theirs.percent / ours.percent)
        }
        None => println!("   {:>10} {:>6}   {:>6}", "-", "-", "-"),
    }
}
