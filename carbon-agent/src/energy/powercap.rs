//! RAPL through the kernel's powercap tree: `<sysfs>/class/powercap`, or a tree of that form elsewhere.
//!
//! Source of the format: Documentation/power/powercap/powercap.rst. Each zone's `energy_uj` is a counter in
//! microjoules that returns to zero past `max_energy_range_uj`.

pub(crate) mod zones;

use super::counter::{MicroWatts, Step, WrappingCounter};
use super::pending::Pending;
use super::{CounterReading, Domain, EnergyError, EnergySample, EnergySource, HostLoad, Quality, Readings};
use crate::clock;
use crate::units::{MicroJoules, Nanos};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use zones::Zone;

/// How often a healthy tree is looked through for new zones.
const RESCAN: Nanos = Nanos(10_000_000_000);

/// More than any socket (or its memory) draws, and far less than a misread counter pretends.
const ZONE_BOUND: MicroWatts = MicroWatts(3_000_000_000);
/// The same for a whole platform.
const PLATFORM_BOUND: MicroWatts = MicroWatts(20_000_000_000);

/// All RAPL zones of one tree.
#[derive(Debug)]
pub struct Powercap {
    root: PathBuf,
    /// By zone id.
    readers: BTreeMap<String, Reader>,
    /// Zones that were or should be there and cannot be read, by id: why. They stand until the zone is back.
    broken: BTreeMap<String, EnergyError>,
    /// Zones that showed the counter of another one when first seen. The verdict stays: later readings of the two may
    /// fall on either side of an update and look like two counters.
    mirrors: BTreeSet<String>,
    /// Doubtful readings since the last resolve.
    doubts: Vec<EnergyError>,
    pending: Pending,
    /// The counters as of the last resolve: what was latched since is in nobody's books yet.
    settled: Vec<CounterReading>,
    scanned: Nanos,
}

#[derive(Debug)]
struct Reader {
    zone: Zone,
    /// Open as long as the zone is healthy: re-reading it costs one `pread`.
    file: Option<File>,
    counter: WrappingCounter,
}

impl Powercap {
    /// Opens every zone under `root` (the directory that holds `intel-rapl:0`).
    ///
    /// Zones that cannot be opened are faults of the readings to come, as long as one can.
    pub fn open(root: &Path) -> Result<Self, EnergyError> {
        let mut source = Self {
            root: root.to_owned(),
            readers: BTreeMap::new(),
            broken: BTreeMap::new(),
            mirrors: BTreeSet::new(),
            doubts: Vec::new(),
            pending: Pending::default(),
            settled: Vec::new(),
            scanned: clock::monotonic(),
        };
        source.scan()?;
        if source.readers.values().any(|reader| reader.file.is_some()) {
            return Ok(source);
        }
        Err(source.broken.into_values().next().unwrap_or_else(|| EnergyError {
            kind: "absent",
            what: format!("no intel-rapl zone under {}", root.display()),
            remedy: "on hardware load the driver (modprobe intel_rapl_msr); in a virtual machine mount the \
                     hypervisor's share and name it with --powercap DIR, or use --energy model"
                .into(),
        }))
    }

    /// Looks for zones that are new or back. Those that read well stay as they are.
    fn scan(&mut self) -> Result<(), EnergyError> {
        for zone in zones::discover(&self.root)? {
            let known = self.readers.get(&zone.id);
            if known.is_some_and(|reader| reader.file.is_some()) || self.mirrors.contains(&zone.id) {
                continue;
            }
            if known.is_none() && self.readers.values().any(|other| zones::same_counter(&other.zone, &zone)) {
                self.mirrors.insert(zone.id);
                continue;
            }
            match File::open(&zone.energy) {
                Ok(file) => {
                    self.broken.remove(&zone.id);
                    let bound = if zone.meter.domain == Domain::Psys { PLATFORM_BOUND } else { ZONE_BOUND };
                    let reader = self.readers.entry(zone.id.clone()).or_insert_with(|| Reader {
                        counter: WrappingCounter::new(zone.range, bound),
                        zone: zone.clone(),
                        file: None,
                    });
                    // A name or a range that changed is another counter.
                    if reader.zone != zone {
                        reader.counter = WrappingCounter::new(zone.range, bound);
                        reader.zone = zone;
                    }
                    reader.file = Some(file);
                }
                Err(error) => {
                    self.broken.insert(zone.id.clone(), read_error(&zone.energy, &error));
                }
            }
        }
        Ok(())
    }
}

impl Powercap {
    fn source(&self) -> String {
        format!("{} {}", self.method(), self.root.display())
    }

    fn standing(&self) -> Vec<CounterReading> {
        let of = |(id, reader): (&String, &Reader)| {
            let (value, at, peak) = reader.counter.standing()?;
            Some(CounterReading { id: id.clone(), meter: reader.zone.meter, value, at, peak })
        };
        self.readers.iter().filter_map(of).collect()
    }
}

impl EnergySource for Powercap {
    fn method(&self) -> String {
        "rapl-powercap".into()
    }

    fn quality(&self) -> Quality {
        Quality::Measured
    }

    fn latch(&mut self) {
        for (id, reader) in &mut self.readers {
            let Some(file) = &mut reader.file else {
                continue;
            };
            match read_counter(file, &reader.zone.energy) {
                Ok((value, at)) => match reader.counter.advance(value, at) {
                    Step::First => {}
                    Step::Advanced { energy, begin } => {
                        self.pending.add(reader.zone.meter, energy, begin, at);
                    }
                    Step::Clamped { energy, begin, why } => {
                        self.pending.add(reader.zone.meter, energy, begin, at);
                        self.doubts.push(EnergyError {
                            kind: "implausible",
                            what: format!("{} ({}) {}", reader.zone.label, id, why.words()),
                            remedy: "nothing to do if it happens once (suspend, driver reload); if it goes on, \
                                     sample more often or take the zone for defective"
                                .into(),
                        });
                    }
                },
                Err(error) => {
                    if is_gone(&error) {
                        // What comes back under this name may be another counter: count afresh.
                        reader.counter.forget();
                    }
                    reader.file = None;
                    self.broken.insert(id.clone(), read_error(&reader.zone.energy, &error));
                }
            }
        }
    }

    fn resolve(&mut self, _load: &HostLoad) -> EnergySample {
        let now = clock::monotonic();
        // Standing faults first: a scan that heals them must not hide that this reading lacked the zone.
        let mut faults: Vec<EnergyError> = self.broken.values().cloned().collect();
        faults.append(&mut self.doubts);
        if !self.broken.is_empty() || now.0.saturating_sub(self.scanned.0) >= RESCAN.0 {
            self.scanned = now;
            // A tree that is gone as a whole already shows as a fault of each of its zones.
            let _ = self.scan();
        }
        self.settled = self.standing();
        EnergySample { deltas: self.pending.take(), faults }
    }

    fn readings(&self) -> Option<Readings> {
        Some(Readings { source: self.source(), counters: self.settled.clone(), carried: Vec::new() })
    }

    fn resume(&mut self, readings: &Readings) {
        if readings.source != self.source() {
            return;
        }
        for was in &readings.counters {
            let reader = self.readers.get_mut(&was.id).filter(|reader| reader.zone.meter == was.meter);
            if let Some(reader) = reader {
                reader.counter.resume(was.value, was.at, was.peak);
            }
        }
    }

    fn describe(&self) -> String {
        let zones: Vec<&str> = self
            .readers
            .values()
            .filter(|reader| reader.file.is_some())
            .map(|reader| reader.zone.label.as_str())
            .collect();
        format!("RAPL counters under {}: {}", self.root.display(), zones.join(", "))
    }
}

/// One reading and the moment it speaks of: halfway through the read.
///
/// A regular file that was replaced by a rename keeps its old content for whoever holds it open; such a one is
/// opened anew. (Sysfs never does this; a share from a hypervisor may.)
fn read_counter(file: &mut File, path: &Path) -> io::Result<(MicroJoules, Nanos)> {
    let reading = timed_read(file)?;
    if file.metadata()?.nlink() > 0 {
        return Ok(reading);
    }
    *file = File::open(path)?;
    timed_read(file)
}

fn timed_read(file: &File) -> io::Result<(MicroJoules, Nanos)> {
    let mut attempt = 0;
    loop {
        let mut text = [0; 24];
        let before = clock::monotonic();
        let length = file.read_at(&mut text, 0)?;
        let at = clock::midpoint(before, clock::monotonic());
        let parsed = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok());
        attempt += 1;
        match parsed {
            Some(value) => return Ok((MicroJoules(value), at)),
            // A writer that truncates before it writes leaves an empty file for a moment.
            None if attempt < 3 => std::thread::yield_now(),
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a number")),
        }
    }
}

/// Whether the zone itself went away, as opposed to being there but not readable.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO | libc::ENOTDIR))
}

fn read_error(path: &Path, error: &io::Error) -> EnergyError {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => EnergyError {
            kind: "unreadable",
            what: format!("no permission to read {path} (the kernel makes it mode 0400)"),
            remedy: "run as root, or grant CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities=CAP_DAC_READ_SEARCH), \
                     or chmod g+r and chgrp the energy_uj files by a udev rule on SUBSYSTEM==\"powercap\""
                .into(),
        },
        _ if is_gone(error) => EnergyError {
            kind: "vanished",
            what: format!("{path} is gone"),
            remedy: "nothing to do if a driver is being reloaded: it is looked for again each sample; otherwise \
                     load the driver (modprobe intel_rapl_msr) or remount the hypervisor's share"
                .into(),
        },
        Some(_) => EnergyError {
            kind: "unreadable",
            what: format!("cannot read {path}: {error}"),
            remedy: "it is tried again each sample; if it lasts, look into the kernel log for the RAPL driver".into(),
        },
        None => EnergyError {
            kind: "garbled",
            what: format!("{path} does not hold a number of microjoules"),
            remedy: "check what writes this file; it is read again each sample".into(),
        },
    }
}

#[cfg(test)]
mod tests;
