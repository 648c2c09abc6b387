//! `cargo xtask bench probe`: nanoseconds a context switch, each candidate beside an empty program on the same
//! tracepoint at the same time, from the kernel's own run_time_ns / run_cnt.

use anyhow::{Context, Result, bail};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, Iter, loaded_programs},
    sys::{Stats, enable_stats},
};
use carbon_agent::probe::{Options, Probe, TypeInformation, ebpf};
use std::{
    collections::HashMap,
    env, fs,
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const LOADS: [&[&str]; 2] =
    [&["bench", "sched", "pipe", "-l", "100000000"], &["bench", "sched", "messaging", "-l", "100000000"]];

const ONE_LINER: &str =
    "tracepoint:sched:sched_switch { @time[pid, comm] = sum(nsecs - @last[cpu]); @last[cpu] = nsecs; }";

enum Candidate {
    Ours(&'static str, Options),
    Alternative(&'static str),
    Bpftrace,
}

impl Candidate {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours(name, _) | Self::Alternative(name) => name,
            Self::Bpftrace => "bpftrace one-liner",
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let object = fs::read(arguments.next().context("usage: bench-probe OBJECT SECONDS [CANDIDATE]")?)?;
    let seconds = Duration::from_secs(arguments.next().context("SECONDS")?.parse()?);
    let only = arguments.next();
    let btf = Btf::from_sys_fs()?;
    let _stats = enable_stats(Stats::RunTime).context("BPF statistics (needs root)")?;
    let ours = |name, set: fn(&mut Options)| {
        let mut options = Options::default();
        set(&mut options);
        Candidate::Ours(name, options)
    };
    let candidates = [
        ours("carbon-agent", |_| ()),
        ours("carbon-agent, per thread", |options| options.threads = true),
        ours("carbon-agent, interrupts apart", |options| options.interrupts = true),
        ours("carbon-agent, no BTF", |options| options.type_information = TypeInformation::Ignored),
        Candidate::Alternative("clock"),
        Candidate::Alternative("hash"),
        Candidate::Alternative("hash_skip"),
        Candidate::Alternative("storage"),
        Candidate::Bpftrace,
    ];
    for load in LOADS {
        println!("\nperf {}", load[..3].join(" "));
        println!("{:32} {:>9} {:>9} {:>9} {:>12}", "program", "ns/run", "empty", "above", "runs");
        for candidate in &candidates {
            if only.as_deref().is_some_and(|only| only != candidate.name()) {
                continue;
            }
            match measure(candidate, &object, &btf, load, seconds) {
                Ok(result) => result.print(candidate.name()),
                Err(error) => println!("{:32} not measured: {error:#}", candidate.name()),
            }
        }
    }
    iterator(&object, &btf)
}

struct Measured {
    own: (f64, u64),
    empty: f64,
    others: Vec<(String, f64, u64)>,
}

impl Measured {
    fn print(&self, name: &str) {
        let (own, runs) = self.own;
        println!("{name:32} {own:9.1} {:9.1} {:9.1} {runs:12}", self.empty, own - self.empty);
        for (hook, nanos, runs) in &self.others {
            println!("    {hook:28} {nanos:9.1} {:>9} {:>9} {runs:12}", "", "");
        }
    }
}

fn measure(candidate: &Candidate, object: &[u8], btf: &Btf, load: &[&str], seconds: Duration) -> Result<Measured> {
    let before = programs();
    let mut alternatives = EbpfLoader::new().allow_unsupported_maps().btf(Some(btf)).load(object)?;
    attach(&mut alternatives, "empty", btf)?;
    let mut probe = None;
    let mut bpftrace = None;
    match candidate {
        Candidate::Ours(_, options) => probe = Some(ebpf::EbpfProbe::open(options)?),
        Candidate::Alternative(name) => attach(&mut alternatives, name, btf)?,
        Candidate::Bpftrace => bpftrace = Some(start_bpftrace()?),
    }
    let _load = Group::start(Command::new("perf").args(load))?;
    sleep(Duration::from_millis(300));
    let begin = programs();
    let until = Instant::now() + seconds;
    while Instant::now() < until {
        sleep(Duration::from_millis(500));
        if let Some(probe) = &mut probe {
            probe.cut()?;
            probe.collect()?;
        }
    }
    let end = programs();
    drop(bpftrace);
    let mut rows: Vec<(String, f64, u64)> = end
        .iter()
        .filter(|(id, _)| !before.contains_key(id))
        .filter_map(|(id, (name, time, runs))| {
            let (_, time0, runs0) = begin.get(id)?;
            let runs = runs - runs0;
            (runs > 0).then(|| (name.clone(), (time - time0) as f64 / runs as f64, runs))
        })
        .collect();
    let at = rows.iter().position(|row| row.0 == "empty").context("the empty program did not run")?;
    let empty = rows.swap_remove(at).1;
    rows.sort_by_key(|row| std::cmp::Reverse(row.2));
    if rows.is_empty() {
        bail!("it did not run");
    }
    let own = rows.remove(0);
    Ok(Measured { own: (own.1, own.2), empty, others: rows })
}

fn attach(bpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<()> {
    let program: &mut BtfTracePoint = bpf.program_mut(name).with_context(|| name.to_string())?.try_into()?;
    program.load("sched_switch", btf)?;
    program.attach()?;
    Ok(())
}

/// Name, run time and runs of every program in the kernel.
fn programs() -> HashMap<u32, (String, u64, u64)> {
    loaded_programs()
        .flatten()
        .map(|info| {
            let name = info.name_as_str().unwrap_or_default().to_string();
            (info.id(), (name, info.run_time().as_nanos() as u64, info.run_count()))
        })
        .collect()
}

fn start_bpftrace() -> Result<Group> {
    let before = programs();
    let group = Group::start(Command::new("bpftrace").args(["-e", ONE_LINER]))?;
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        sleep(Duration::from_millis(200));
        if programs().keys().any(|id| !before.contains_key(id)) {
            sleep(Duration::from_millis(500));
            return Ok(group);
        }
    }
    bail!("bpftrace did not load its program within 20 s")
}

/// A command with all its descendants, ended with the value.
struct Group(Child);

impl Group {
    fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Self(command.spawn().with_context(|| format!("{:?}", command.get_program()))?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: signals the group that `start` made.
        unsafe { libc::kill(-(self.0.id() as i32), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}

/// What reading every task costs instead.
fn iterator(object: &[u8], btf: &Btf) -> Result<()> {
    let offset = ebpf::task_layout().map_err(anyhow::Error::msg)?.start_boottime;
    let mut bpf = EbpfLoader::new()
        .allow_unsupported_maps()
        .btf(Some(btf))
        .override_global("RUNTIME_OFFSET", &offset, true)
        .load(object)?;
    let program: &mut Iter = bpf.program_mut("iterate").context("iterate")?.try_into()?;
    program.load("task", btf)?;
    let link = program.attach()?;
    let mut file = program.take_link(link)?.into_file()?;
    let begin = Instant::now();
    let mut data = Vec::new();
    file.read_to_end(&mut data)?;
    let tasks = data.len() / 16;
    println!(
        "\niterator over sum_exec_runtime: 0 ns a switch; {tasks} tasks read in {:?}, {} ns each",
        begin.elapsed(),
        begin.elapsed().as_nanos() / tasks.max(1) as u128
    );
    Ok(())
}
