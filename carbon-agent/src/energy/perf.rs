//! RAPL through the perf `power` PMU, for hosts whose powercap tree cannot be read.
//!
//! Source of the format: Documentation/ABI/testing/sysfs-bus-event_source-devices-events and
//! arch/x86/events/rapl.c. The kernel extends the counters to 64 bits: they do not wrap.
//!
//! The event files and the system call are exercised in tests; the energy events themselves were never read on real
//! hardware.

pub(crate) mod events;

use super::counter::{MicroWatts, Step, WrappingCounter};
use super::pending::Pending;
use super::{EnergyError, EnergySample, EnergySource, HostLoad, Quality};
use crate::clock;
use crate::perf_event;
use crate::units::MicroJoules;
use events::Event;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// More than any package or platform draws.
const BOUND: MicroWatts = MicroWatts(20_000_000_000);

/// The energy events of the perf `power` PMU.
#[derive(Debug)]
pub struct PerfPower {
    sysfs: PathBuf,
    counters: Vec<Counter>,
    pending: Pending,
    faults: Vec<EnergyError>,
}

#[derive(Debug)]
struct Counter {
    event: Event,
    /// Or why it cannot be read at the moment.
    file: Result<File, EnergyError>,
    energy: WrappingCounter,
}

impl PerfPower {
    /// Opens every energy event that `sysfs` lists. Those that cannot be opened are faults, as long as one can.
    pub fn open(sysfs: &Path) -> Result<Self, EnergyError> {
        let counters: Vec<Counter> = events::discover(sysfs)?
            .into_iter()
            .map(|event| Counter { file: open_event(&event), event, energy: WrappingCounter::new(None, BOUND) })
            .collect();
        if counters.iter().any(|counter| counter.file.is_ok()) {
            return Ok(Self { sysfs: sysfs.to_owned(), counters, pending: Pending::default(), faults: Vec::new() });
        }
        // Discovery has found at least one event, so there is a first error.
        Err(counters.into_iter().find_map(|counter| counter.file.err()).unwrap_or_else(|| EnergyError {
            kind: "absent",
            what: "no perf energy event".into(),
            remedy: "use --energy model".into(),
        }))
    }
}

impl EnergySource for PerfPower {
    fn method(&self) -> String {
        "rapl-perf".into()
    }

    fn quality(&self) -> Quality {
        Quality::Measured
    }

    fn latch(&mut self) {
        for counter in &mut self.counters {
            let Ok(file) = &mut counter.file else {
                continue;
            };
            let before = clock::monotonic();
            match read_count(file) {
                Ok(count) => {
                    let at = clock::midpoint(before, clock::monotonic());
                    let total = MicroJoules((count as f64 * counter.event.joules * 1e6) as u64);
                    match counter.energy.advance(total, at) {
                        Step::First => {}
                        Step::Advanced { energy, begin } => {
                            self.pending.add(counter.event.meter, energy, begin, at);
                        }
                        Step::Clamped { energy, begin, why } => {
                            self.pending.add(counter.event.meter, energy, begin, at);
                            self.faults.push(EnergyError {
                                kind: "implausible",
                                what: format!(
                                    "perf {} on cpu {} {}",
                                    counter.event.name,
                                    counter.event.cpu,
                                    why.words()
                                ),
                                remedy: "nothing to do if it happens once".into(),
                            });
                        }
                    }
                }
                Err(error) => {
                    // A counter opened anew begins at zero.
                    counter.energy.forget();
                    counter.file = Err(EnergyError {
                        kind: "vanished",
                        what: format!("perf {} on cpu {} stopped: {error}", counter.event.name, counter.event.cpu),
                        remedy: "nothing to do if its CPU went offline: it is opened again each sample".into(),
                    });
                }
            }
        }
    }

    fn resolve(&mut self, _load: &HostLoad) -> EnergySample {
        let mut faults = std::mem::take(&mut self.faults);
        for counter in &mut self.counters {
            if let Err(error) = &counter.file {
                faults.push(error.clone());
                if let Ok(file) = open_event(&counter.event) {
                    counter.file = Ok(file);
                }
            }
        }
        EnergySample { deltas: self.pending.take(), faults }
    }

    fn describe(&self) -> String {
        let events: Vec<String> = self
            .counters
            .iter()
            .filter(|counter| counter.file.is_ok())
            .map(|counter| format!("{} on cpu {}", counter.event.name, counter.event.cpu))
            .collect();
        format!("perf power events ({}): {}", self.sysfs.display(), events.join(", "))
    }
}

fn open_event(event: &Event) -> Result<File, EnergyError> {
    perf_event::open(event.kind, event.config, event.cpu).map_err(|error| open_error(event, &error))
}

/// The 64-bit count; an event in error state reads as end of file.
fn read_count(file: &mut File) -> io::Result<u64> {
    let mut count = [0; 8];
    file.read_exact(&mut count)?;
    Ok(u64::from_ne_bytes(count))
}

/// What the operator can do about an event that cannot be opened.
fn open_error(event: &Event, error: &io::Error) -> EnergyError {
    let what = format!("cannot open perf event {} on cpu {}: {error}", event.name, event.cpu);
    let (kind, remedy) = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => (
            "unreadable",
            "grant CAP_PERFMON (systemd: AmbientCapabilities=CAP_PERFMON), or set kernel.perf_event_paranoid to 0 or less",
        ),
        Some(libc::ENOSYS) => ("absent", "this kernel has no perf events; use --energy rapl or --energy model"),
        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::ENXIO) => {
            ("absent", "the processor does not count this; use --energy rapl or --energy model")
        }
        Some(libc::EMFILE | libc::ENFILE) => ("unreadable", "raise the limit of open files (systemd: LimitNOFILE=)"),
        _ => ("unreadable", "use --energy rapl or --energy model, and report the event with the kernel's version"),
    };
    EnergyError { kind, what, remedy: remedy.into() }
}

#[cfg(test)]
mod tests;
