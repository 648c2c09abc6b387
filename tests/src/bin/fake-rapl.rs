//! Plays RAPL: writes a powercap tree under DIR and moves its counters by the host's real busy time.
//!
//! `fake-rapl DIR --idle 20 --per-cpu 15 &` and then `carbon-agent run --host-sysfs DIR/sys`, or
//! `--powercap DIR/sys/class/powercap`. The truth is rewritten to `DIR/truth.json` ten times a second.

use anyhow::{Context, Result, bail};
use carbon_tests::powercap_tree::{Load, LoadSource, Machine, RunningTree, Socket, online_cpus};
use clap::Parser;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Writes a powercap tree whose counters follow a known power model")]
struct Arguments {
    /// Where to write: DIR/sys and DIR/truth.json
    dir: PathBuf,
    /// Sockets; the CPUs are dealt out evenly, in order
    #[arg(long, default_value_t = 1)]
    sockets: usize,
    /// Idle watts of each socket (one value for all, or one a socket, with commas)
    #[arg(long, default_value = "20", value_delimiter = ',')]
    idle: Vec<f64>,
    /// Watts per busy CPU of each socket
    #[arg(long, default_value = "15", value_delimiter = ',')]
    per_cpu: Vec<f64>,
    /// Constant watts of each socket's memory (a dram zone)
    #[arg(long)]
    dram: Option<f64>,
    /// Watts of the rest of the platform (a psys zone)
    #[arg(long)]
    psys: Option<f64>,
    /// A core zone in each package
    #[arg(long)]
    core: bool,
    /// Show each package a second time as intel-rapl-mmio
    #[arg(long)]
    mmio: bool,
    /// Zones side by side, as a hypervisor's share has them
    #[arg(long)]
    flat: bool,
    /// Microjoules after which the counters return to zero
    #[arg(long, default_value_t = 262_143_328_850)]
    range: u64,
    /// A load with its own watts per busy CPU on socket 0: PID:WATTS or /CGROUP/DIR:WATTS
    #[arg(long)]
    load: Vec<String>,
    /// After so many seconds change the idle watts of all sockets: SECONDS:WATTS
    #[arg(long)]
    step: Option<String>,
    /// End after so many seconds; without it, run until killed
    #[arg(long)]
    seconds: Option<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let step = arguments.step.as_deref().map(parse_step).transpose()?;
    fs::create_dir_all(&arguments.dir).with_context(|| format!("cannot make {}", arguments.dir.display()))?;
    let running = RunningTree::start(&arguments.dir, machine(&arguments)?)
        .with_context(|| format!("cannot write a tree under {}", arguments.dir.display()))?;
    let begin = Instant::now();
    let mut stepped = false;
    loop {
        let elapsed = begin.elapsed().as_secs_f64();
        if let Some((at, watts)) = step
            && !stepped
            && elapsed >= at
        {
            stepped = true;
            running.change(|machine| machine.sockets.iter_mut().for_each(|socket| socket.idle_watts = watts));
        }
        // Renamed into place, so that a reader never sees half of it.
        let fresh = arguments.dir.join("truth.json.new");
        fs::write(&fresh, serde_json::to_string(&running.truth())? + "\n")?;
        fs::rename(&fresh, arguments.dir.join("truth.json"))?;
        if arguments.seconds.is_some_and(|seconds| elapsed >= seconds) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn machine(arguments: &Arguments) -> Result<Machine> {
    let cpus = online_cpus();
    let of = |values: &[f64], socket: usize| values.get(socket).or(values.last()).copied().unwrap_or(0.0);
    if arguments.sockets == 0 || arguments.range == 0 {
        bail!("--sockets and --range must not be 0");
    }
    let share = cpus.len().div_ceil(arguments.sockets);
    let sockets = (0..arguments.sockets).map(|index| Socket {
        cpus: cpus.iter().copied().skip(index * share).take(share).collect(),
        idle_watts: of(&arguments.idle, index),
        watts_per_busy_cpu: of(&arguments.per_cpu, index),
        dram_watts: arguments.dram,
    });
    let mut machine = Machine::with_sockets(sockets.collect());
    machine.loads = arguments.load.iter().map(|load| parse_load(load)).collect::<Result<_>>()?;
    machine.range_uj = arguments.range;
    machine.core = arguments.core;
    machine.psys_watts = arguments.psys;
    machine.mmio_mirror = arguments.mmio;
    machine.flat = arguments.flat;
    Ok(machine)
}

fn parse_load(text: &str) -> Result<Load> {
    let (source, watts) =
        text.rsplit_once(':').with_context(|| format!("--load {text}: give PID:WATTS or /CGROUP/DIR:WATTS"))?;
    let watts_per_busy_cpu = watts.parse().with_context(|| format!("--load {text}: {watts} is no number of watts"))?;
    let source = match source.parse() {
        Ok(pid) => LoadSource::Process(pid),
        Err(_) => LoadSource::Cgroup(source.into()),
    };
    Ok(Load { name: text.to_owned(), source, watts_per_busy_cpu, socket: 0 })
}

fn parse_step(text: &str) -> Result<(f64, f64)> {
    let parsed = text.split_once(':').and_then(|(at, watts)| Some((at.parse().ok()?, watts.parse().ok()?)));
    parsed.with_context(|| format!("--step {text}: give SECONDS:WATTS"))
}
