//! CPU time counted in the kernel at every context switch.
//!
//! The kernel program (`carbon-ebpf`) charges each CPU's time to cells in shared memory. Two halves take
//! turns: a cut makes the kernel write to the other one, and the closed half is read at leisure. For every
//! CPU, tasks + idle + interrupts + lost is the length of the window, to the nanosecond.

mod cycles;
mod grace;
mod handover;
mod layout;
mod load;
mod log;
mod memory;
mod names;
mod read;
mod skeleton;

pub use cycles::Counter;
pub use load::built_in_object;

use super::{CpuMethod, CpuSample, Probe, ProbeCost, ProbeError, ProcessKey};
use crate::clock::monotonic;
use crate::units::Nanos;
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun};
use carbon_common::Identity;
use cycles::Counters;
use load::Loaded;
use names::Names;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering, fence},
};

/// What the probe is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `/proc` is mounted.
    pub host_procfs: PathBuf,
    /// A row per thread instead of one per process.
    pub threads: bool,
    /// Tell interrupts apart from the task they interrupt.
    pub interrupts: bool,
    /// Room for active processes per CPU and sample, rounded up to a power of two; 0: by the number of CPUs.
    pub cells_per_cpu: u32,
    /// Count this beside time, for weights.
    pub cycles: Option<Counter>,
    pub type_information: TypeInformation,
    /// Another eBPF object than the one built in.
    pub object: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host_procfs: PathBuf::from("/proc"),
            threads: false,
            interrupts: false,
            cells_per_cpu: 0,
            cycles: None,
            type_information: TypeInformation::default(),
            object: None,
        }
    }
}

/// Whether to use the kernel's type information (BTF).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TypeInformation {
    /// Where the kernel has it.
    #[default]
    Automatic,
    Required,
    /// Run as on a kernel without it.
    Ignored,
}

/// Where this kernel keeps the fields of a task.
pub fn task_layout() -> Result<carbon_common::TaskLayout, String> {
    let data = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())?;
    layout::KernelTypes::parse(&data)?.task_layout()
}

pub struct EbpfProbe {
    options: Options,
    loaded: Loaded,
    counters: Option<Counters>,
    attached: Vec<&'static str>,
    names: Names,
    log: log::Forward,
    /// Who forked the processes that were born in the sample being read.
    births: HashMap<ProcessKey, u32>,
    epoch: u64,
    /// When the running sample began.
    begin: Nanos,
    /// Per CPU, up to when its time has been handed out.
    boundaries: Vec<u64>,
    /// Per CPU, whether it refused to say what it runs.
    offline: Vec<bool>,
    /// A sample that has been cut off but not collected.
    pending: Option<Pending>,
    /// Samples that were cut off and not collected before the next cut.
    carried: Option<CpuSample>,
    /// What the probes that this one took over from had counted of themselves.
    before: ProbeCost,
}

#[derive(Clone, Copy)]
struct Pending {
    epoch: u64,
    begin: Nanos,
    end: Nanos,
}

impl EbpfProbe {
    pub fn open(options: &Options) -> Result<Self, ProbeError> {
        let mut loaded = load::load(options)?;
        let counters = options.cycles.map(|counter| Counters::open(counter, &loaded)).transpose()?;
        let attached = load::attached(&loaded);
        let begin = monotonic();
        publish(&loaded, 1, begin);
        load::attach(&mut loaded)?;
        let cpus = loaded.settings.cpus as usize;
        let log = log::Forward::of(&mut loaded.bpf);
        let mut probe = Self {
            options: options.clone(),
            loaded,
            counters,
            attached,
            names: Names::new(options.host_procfs.clone()),
            log,
            births: HashMap::new(),
            epoch: 1,
            begin,
            boundaries: vec![begin.0; cpus],
            offline: vec![false; cpus],
            pending: None,
            carried: None,
            before: ProbeCost::default(),
        };
        probe.flush_all();
        // Reading the kernel's type information took tens of megabytes: hand them back.
        // SAFETY: no preconditions.
        unsafe { libc::malloc_trim(0) };
        Ok(probe)
    }

    /// Charges, on every CPU that is online, the running task up to now.
    fn flush_all(&mut self) {
        for cpu in 0..self.loaded.settings.cpus {
            self.flush(cpu);
        }
    }

    /// The same on one CPU. One that is offline refuses; it has nothing running, whatever its last switch says
    /// (the kernel traces none on a CPU that is on its way out).
    fn flush(&mut self, cpu: u32) {
        self.offline[cpu as usize] = false;
        let name = if self.loaded.plain.is_some() { "flush_plain" } else { "flush" };
        let program: Option<&RawTracePoint> = self.loaded.bpf.program(name).and_then(|program| program.try_into().ok());
        let Some(program) = program else { return };
        // It keeps off while it interrupts another of our programs: microseconds.
        for _ in 0..10 {
            let options = RawTracePointRunOptions { cpu: Some(cpu), ..RawTracePointRunOptions::new() };
            match program.test_run(options) {
                Ok(result) if result.return_value != 0 => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(cpu, %error, "not flushed");
                    self.offline[cpu as usize] = true;
                    return;
                }
            }
        }
    }

    /// Turns the page of every CPU that still runs what it ran at the cut, so that it says who that is.
    ///
    /// A CPU that idles is known to, and is not woken; the others are busy anyway.
    fn ask_the_busy(&mut self, epoch: u64) {
        for cpu in 0..self.loaded.settings.cpus {
            let state = self.loaded.states.read(cpu);
            if state.epoch != 0 && state.epoch <= epoch && state.running == Identity::UNKNOWN {
                self.flush(cpu);
            }
        }
    }

    /// Ends the running sample at `now`; the one before must have been collected.
    fn cut_at(&mut self, now: Nanos) {
        self.pending = Some(Pending { epoch: self.epoch, begin: self.begin, end: now });
        self.epoch += 1;
        self.begin = now;
        publish(&self.loaded, self.epoch, now);
    }

    /// Keeps a sample for the next [`Probe::collect`].
    fn carry(&mut self, sample: CpuSample) {
        self.carried = Some(match self.carried.take() {
            Some(carried) => carried.followed_by(sample),
            None => sample,
        });
    }

    fn collect_pending(&mut self) -> Result<Option<CpuSample>, ProbeError> {
        let Some(pending) = self.pending.take() else {
            return Ok(None);
        };
        if self.loaded.plain.is_some() {
            // Each CPU enters the new epoch by this, which is a grace period, too.
            self.flush_all();
        } else {
            grace::period();
            self.ask_the_busy(pending.epoch);
        }
        let sample = self.read(pending);
        if let Some(counters) = &mut self.counters {
            counters.follow(&self.offline, &self.loaded);
        }
        self.log.flush();
        Ok(Some(sample))
    }
}

impl Probe for EbpfProbe {
    fn method(&self) -> CpuMethod {
        CpuMethod::Ebpf
    }

    fn cut(&mut self) -> Result<Nanos, ProbeError> {
        if let Some(sample) = self.collect_pending()? {
            self.carry(sample);
        }
        let now = monotonic();
        self.cut_at(now);
        Ok(now)
    }

    fn collect(&mut self) -> Result<CpuSample, ProbeError> {
        let sample = self.collect_pending()?;
        Ok(match (self.carried.take(), sample) {
            (Some(carried), Some(sample)) => carried.followed_by(sample),
            (carried, sample) => {
                carried.or(sample).unwrap_or(CpuSample { begin: self.begin, end: self.begin, ..CpuSample::default() })
            }
        })
    }

    fn keep_threads_apart(&mut self, apart: bool) -> Result<(), ProbeError> {
        if (self.loaded.settings.threads != 0) == apart {
            return Ok(());
        }
        let next = Self::open(&Options { threads: apart, ..self.options.clone() })?;
        self.hand_over(next)
    }

    fn cost(&mut self) -> ProbeCost {
        let states = (0..self.loaded.settings.cpus).map(|cpu| self.loaded.states.read(cpu));
        let (events, lost) = states.fold((0, 0), |(events, lost), state| (events + state.events, lost + state.lost));
        ProbeCost {
            events: self.before.events + events,
            run_time: self.run_time().map(|time| time + self.before.run_time.unwrap_or_default()),
            lost: self.before.lost + Nanos(lost),
        }
    }

    fn cycles(&self) -> Result<(), ProbeError> {
        match self.counters {
            Some(_) => Ok(()),
            None => Err(ProbeError {
                what: "the probe was not asked to count cycles".into(),
                remedy: "set carbon.weights: cycles and restart".into(),
            }),
        }
    }

    fn describe(&self) -> String {
        let settings = &self.loaded.settings;
        let table = format!("{} cells on each of {} CPUs", 1u32 << settings.cell_bits, settings.cpus);
        match &self.loaded.plain {
            None => format!(
                "eBPF at BTF tracepoint sched_switch; {table}; interrupts {}",
                if settings.interrupts != 0 { "told apart" } else { "counted with the interrupted task" }
            ),
            Some(reason) => format!(
                "eBPF at raw tracepoint sched_switch ({reason}); {table}; without start times, parents and \
                 births from the kernel: they come from /proc, so a process that lived and died between two \
                 samples has its time and name but no parent"
            ),
        }
    }
}

impl EbpfProbe {
    /// Time spent in our programs; the kernel counts it only while its BPF statistics are on.
    fn run_time(&self) -> Option<Nanos> {
        let enabled = std::fs::read("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|text| text.starts_with(b"1"));
        if !enabled {
            return None;
        }
        let programs = self.attached.iter().filter_map(|name| self.loaded.bpf.program(name));
        let times = programs.filter_map(|program| program.info().ok()).map(|info| info.run_time());
        Some(Nanos(times.map(|time| time.as_nanos() as u64).sum()))
    }
}

/// Makes the kernel charge to `epoch`, which began at `begin`.
fn publish(loaded: &Loaded, epoch: u64, begin: Nanos) {
    let control = loaded.control.entry(0);
    // SAFETY: the array's only entry, aligned; the kernel reads it at any time, so each word is written whole
    // and the epoch after its beginning.
    unsafe {
        let flips = (&raw mut (*control).flip).cast::<u64>();
        AtomicU64::from_ptr(flips.add((epoch & 1) as usize)).store(begin.0, Ordering::Relaxed);
        fence(Ordering::Release);
        AtomicU64::from_ptr(&raw mut (*control).epoch).store(epoch, Ordering::Release);
    }
}
