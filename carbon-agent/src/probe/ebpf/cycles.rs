//! The CPUs' counters of cycles, handed to the kernel program, which reads them at every switch.

use super::load::Loaded;
use crate::perf_event;
use crate::probe::ProbeError;
use aya::maps::{Map, MapData};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What is counted: a perf event, by PMU type and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    pub kind: u32,
    pub config: u64,
}

impl Counter {
    /// Cycles of the core while it is not halted: `PERF_TYPE_HARDWARE`, `PERF_COUNT_HW_CPU_CYCLES` of linux/perf_event.h.
    pub const CYCLES: Self = Self { kind: 0, config: 0 };
    /// A clock that every kernel has, in nanoseconds: `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_CPU_CLOCK`. Proves the way
    /// from the counter to the rows where there is no hardware counter.
    pub const CPU_CLOCK: Self = Self { kind: 1, config: 0 };
}

/// The open counters, one a CPU.
pub struct Counters {
    counter: Counter,
    open: Vec<Option<File>>,
}

impl Counters {
    /// Opens the counter on every CPU that is online; there must be one at least.
    pub fn open(counter: Counter, loaded: &Loaded) -> Result<Self, ProbeError> {
        let mut counters = Self { counter, open: (0..loaded.settings.cpus).map(|_| None).collect() };
        let mut refusal = None;
        for cpu in 0..loaded.settings.cpus {
            if let Err(error) = counters.open_on(cpu, loaded) {
                refusal.get_or_insert(error);
            }
        }
        match refusal {
            Some(error) if counters.open.iter().all(Option::is_none) => Err(explain(&error)),
            _ => Ok(counters),
        }
    }

    /// Follows CPUs that came, and forgets those that went: their counters stand still for good.
    pub fn follow(&mut self, offline: &[bool], loaded: &Loaded) {
        for (cpu, offline) in (0..).zip(offline) {
            let open = &mut self.open[cpu as usize];
            if *offline {
                *open = None;
            } else if open.is_none()
                && loaded.states.read(cpu).epoch != 0
                && let Err(error) = self.open_on(cpu, loaded)
            {
                tracing::debug!(cpu, %error, "no counter of cycles");
            }
        }
    }

    fn open_on(&mut self, cpu: u32, loaded: &Loaded) -> io::Result<()> {
        let file = perf_event::open(self.counter.kind, self.counter.config, cpu)?;
        let Some(Map::PerfEventArray(map)) = loaded.bpf.map("COUNTERS") else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the eBPF object has no array COUNTERS"));
        };
        put(map, cpu, &file)?;
        self.open[cpu as usize] = Some(file);
        Ok(())
    }
}

/// `BPF_MAP_UPDATE_ELEM` of linux/bpf.h. (aya's own type for such maps opens events that write to a buffer.)
fn put(map: &MapData, cpu: u32, counter: &File) -> io::Result<()> {
    #[repr(C)]
    struct Update {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    const UPDATE: libc::c_int = 2;
    let value = counter.as_raw_fd() as u32;
    let update = Update {
        map: map.fd().as_fd().as_raw_fd() as u32,
        padding: 0,
        key: &raw const cpu as u64,
        value: &raw const value as u64,
        flags: 0,
    };
    // SAFETY: the structure is the head of `union bpf_attr` for this command; key and value live through the call and have
    // the sizes of the map's (four bytes each).
    let done = unsafe { libc::syscall(libc::SYS_bpf, UPDATE, &raw const update, size_of::<Update>()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn explain(error: &io::Error) -> ProbeError {
    let remedy = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "grant CAP_PERFMON, or use carbon.weights: learned or time",
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (systemd: LimitNOFILE=)",
        _ => "use carbon.weights: learned or time (virtual machines mostly have no such counters)",
    };
    ProbeError { what: format!("the processor's counter of cycles cannot be opened: {error}"), remedy: remedy.into() }
}
