//! Turns real busy time into counters, and keeps the account that tests compare with.

use super::layout::{CounterFile, Counts, Tree};
use super::{LoadSource, Machine};
use carbon_agent::clock;
use carbon_agent::energy::counter::MicroWatts;
use carbon_agent::units::Nanos;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// Energy is kept in µW·ns, exactly; this many are a microjoule.
const MICROJOULE: u128 = 1_000_000_000;

/// So many points of the series are kept: over an hour at 5 ms, 24 MB.
const SERIES: usize = 1_000_000;

/// What was really spent since the start. Energies in whole microjoules, times in nanoseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Truth {
    pub sockets: Vec<SocketTruth>,
    pub loads: Vec<LoadTruth>,
    /// All packages.
    pub package_uj: u64,
    /// The idle part of it.
    pub idle_uj: u64,
    /// The rest of it.
    pub active_uj: u64,
    pub dram_uj: u64,
    /// One point a step, for sums over any window; only where asked for, and only the last hour or so.
    #[serde(skip)]
    pub series: Vec<Point>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct SocketTruth {
    pub package_uj: u64,
    pub idle_uj: u64,
    pub active_uj: u64,
    pub dram_uj: u64,
    pub busy_ns: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadTruth {
    pub name: String,
    pub energy_uj: u64,
    pub cpu_ns: u64,
}

/// The account at one moment: µJ since the start, all sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    pub at: Nanos,
    pub idle_uj: u64,
    pub active_uj: u64,
}

impl Truth {
    /// Idle and active µJ of all packages between two moments (CLOCK_MONOTONIC), by linear interpolation.
    pub fn between(&self, begin: Nanos, end: Nanos) -> (f64, f64) {
        let (idle_begin, active_begin) = self.at(begin);
        let (idle_end, active_end) = self.at(end);
        (idle_end - idle_begin, active_end - active_begin)
    }

    fn at(&self, moment: Nanos) -> (f64, f64) {
        let after = self.series.partition_point(|point| point.at < moment);
        let Some(last) = self.series.last() else {
            return (0.0, 0.0);
        };
        let right = self.series.get(after).unwrap_or(last);
        let left = after.checked_sub(1).map_or(right, |before| &self.series[before]);
        let span = right.at.0.saturating_sub(left.at.0);
        let part = if span == 0 { 0.0 } else { moment.0.saturating_sub(left.at.0) as f64 / span as f64 };
        let line = |a: u64, b: u64| a as f64 + part.min(1.0) * (b - a) as f64;
        (line(left.idle_uj, right.idle_uj), line(left.active_uj, right.active_uj))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    idle: u128,
    active: u128,
    dram: u128,
    busy: u128,
}

/// The machine being played. [`super::RunningTree`] steps it from a thread.
#[derive(Debug)]
pub struct Driver {
    machine: Machine,
    counters: Vec<(Counts, CounterFile)>,
    stat: File,
    /// Cumulative busy nanoseconds by CPU, as far as booked.
    busy: BTreeMap<u32, u64>,
    /// The idle nanoseconds each CPU had at the start.
    idle_at_start: BTreeMap<u32, u64>,
    /// CPU nanoseconds of each load at the start and as far as booked.
    load_times: Vec<(u64, u64)>,
    start: Nanos,
    last: Nanos,
    sockets: Vec<Account>,
    loads: Vec<u128>,
    rest: u128,
    series: Vec<Point>,
}

/// Where the counters begin: not at zero, and each elsewhere, so that no two zones look like one.
fn begin_at(counts: Counts) -> u64 {
    match counts {
        Counts::Package(socket) => 1_000_000 * (socket as u64 + 1),
        Counts::Core(socket) => 300_000 * (socket as u64 + 1),
        Counts::Dram(socket) => 70_000 * (socket as u64 + 1),
        Counts::Psys => 9_000_000,
    }
}

impl Driver {
    pub fn new(machine: Machine, tree: &Tree) -> io::Result<Self> {
        let mut counters = Vec::new();
        for zone in tree.zones() {
            let file = CounterFile::create(&zone.dir)?;
            file.set(begin_at(zone.counts) % machine.range_uj)?;
            counters.push((zone.counts, file));
        }
        let stat = File::open("/proc/stat")?;
        let start = clock::monotonic();
        let idle_at_start = idle_nanoseconds(&stat)?;
        let load_times = machine.loads.iter().map(|load| (load_time(&load.source), 0)).collect();
        Ok(Self {
            sockets: vec![Account::default(); machine.sockets.len()],
            loads: vec![0; machine.loads.len()],
            machine,
            counters,
            stat,
            busy: BTreeMap::new(),
            idle_at_start,
            load_times,
            start,
            last: start,
            rest: 0,
            series: vec![Point { at: start, ..Point::default() }],
        })
    }

    pub(super) fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Books everything up to now and moves the counters.
    pub fn step(&mut self) {
        let now = clock::monotonic();
        // A host that stops telling its CPU time cannot be played any further.
        let Ok(idle) = idle_nanoseconds(&self.stat) else {
            return;
        };
        let elapsed = u128::from(now.0 - self.last.0);
        for (socket, account) in self.machine.sockets.iter().zip(&mut self.sockets) {
            account.idle += u128::from(MicroWatts::from_watts(socket.idle_watts).0) * elapsed;
            account.dram += u128::from(MicroWatts::from_watts(socket.dram_watts.unwrap_or(0.0)).0) * elapsed;
            for cpu in &socket.cpus {
                let idle = idle.get(cpu).copied().unwrap_or(0);
                let idle = idle.saturating_sub(self.idle_at_start.get(cpu).copied().unwrap_or(0));
                let busy = (now.0 - self.start.0).saturating_sub(idle);
                let booked = self.busy.entry(*cpu).or_default();
                let more = busy.saturating_sub(*booked);
                *booked += more;
                account.busy += u128::from(more);
                account.active += u128::from(MicroWatts::from_watts(socket.watts_per_busy_cpu).0) * u128::from(more);
            }
        }
        for (index, load) in self.machine.loads.iter().enumerate() {
            let (at_start, booked) = &mut self.load_times[index];
            // A process that has ended reads as 0 and thereby books nothing more.
            let more = load_time(&load.source).saturating_sub(*at_start).saturating_sub(*booked);
            *booked += more;
            let energy = u128::from(MicroWatts::from_watts(load.watts_per_busy_cpu).0) * u128::from(more);
            self.loads[index] += energy;
            if let Some(account) = self.sockets.get_mut(load.socket) {
                account.active += energy;
            }
        }
        self.rest += u128::from(MicroWatts::from_watts(self.machine.psys_watts.unwrap_or(0.0)).0) * elapsed;
        self.last = now;
        self.show();
        let sum = |part: fn(&Account) -> u128| (self.sockets.iter().map(part).sum::<u128>() / MICROJOULE) as u64;
        if self.series.len() == SERIES {
            self.series.drain(..SERIES / 2);
        }
        self.series.push(Point { at: now, idle_uj: sum(|a| a.idle), active_uj: sum(|a| a.active) });
    }

    /// Writes every counter. One that a test took away is let be.
    fn show(&self) {
        for (counts, file) in &self.counters {
            let energy = match *counts {
                Counts::Package(socket) => self.sockets[socket].idle + self.sockets[socket].active,
                Counts::Core(socket) => self.sockets[socket].active,
                Counts::Dram(socket) => self.sockets[socket].dram,
                Counts::Psys => self.rest + self.sockets.iter().map(|a| a.idle + a.active + a.dram).sum::<u128>(),
            };
            let value = begin_at(*counts) + (energy / MICROJOULE) as u64;
            let _ = file.set(value % self.machine.range_uj);
        }
    }

    /// The sums with every point on the way.
    pub fn truth_with_series(&self) -> Truth {
        Truth { series: self.series.clone(), ..self.truth() }
    }

    /// The sums up to the last step.
    pub fn truth(&self) -> Truth {
        let whole = |energy: u128| (energy / MICROJOULE) as u64;
        let sockets: Vec<SocketTruth> = self
            .sockets
            .iter()
            .map(|account| SocketTruth {
                package_uj: whole(account.idle + account.active),
                idle_uj: whole(account.idle),
                active_uj: whole(account.active),
                dram_uj: whole(account.dram),
                busy_ns: account.busy as u64,
            })
            .collect();
        let loads = self.machine.loads.iter().zip(&self.loads).zip(&self.load_times);
        let sum = |part: fn(&Account) -> u128| whole(self.sockets.iter().map(part).sum());
        Truth {
            loads: loads
                .map(|((load, energy), (_, cpu_ns))| LoadTruth {
                    name: load.name.clone(),
                    energy_uj: whole(*energy),
                    cpu_ns: *cpu_ns,
                })
                .collect(),
            package_uj: sum(|a| a.idle + a.active),
            idle_uj: sum(|a| a.idle),
            active_uj: sum(|a| a.active),
            dram_uj: sum(|a| a.dram),
            sockets,
            series: Vec::new(),
        }
    }
}

/// Idle and iowait time of each CPU since boot. Ticks of USER_HZ, 100 a second on every Linux there is.
fn idle_nanoseconds(stat: &File) -> io::Result<BTreeMap<u32, u64>> {
    // The lines of the CPUs come first; what follows (interrupts) may be cut off.
    let mut text = vec![0; 1 << 16];
    let length = stat.read_at(&mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..length]);
    let mut idle = BTreeMap::new();
    for line in text.lines().skip(1).take_while(|line| line.starts_with("cpu")) {
        let mut columns = line.split_ascii_whitespace();
        let cpu = columns.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok());
        let columns: Vec<u64> = columns.filter_map(|column| column.parse().ok()).collect();
        if let (Some(cpu), [_, _, _, idle_ticks, iowait_ticks, ..]) = (cpu, columns.as_slice()) {
            idle.insert(cpu, (idle_ticks + iowait_ticks) * 10_000_000);
        }
    }
    Ok(idle)
}

/// CPU nanoseconds of a load so far; 0 once it is gone.
pub(super) fn load_time(source: &LoadSource) -> u64 {
    match source {
        LoadSource::Process(pid) => {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                return 0;
            };
            let time = |task: fs::DirEntry| {
                let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
                text.split(' ').next()?.parse::<u64>().ok()
            };
            tasks.flatten().filter_map(time).sum()
        }
        LoadSource::Cgroup(dir) => {
            let text = fs::read_to_string(dir.join("cpu.stat")).unwrap_or_default();
            let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
            usage.and_then(|usage| usage.trim().parse::<u64>().ok()).unwrap_or(0) * 1000
        }
    }
}
