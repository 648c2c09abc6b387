//! Energy from hwmon: counters (`energyN_input`, µJ) where a driver has them, else wattages (`powerN_average`,
//! `powerN_input`, µW) times the time between readings.
//!
//! Source of the format: Documentation/hwmon/sysfs-interface.rst. A wattage read once a sample stands for the whole
//! sample; the energy is the mean of the two readings at its ends times its length (trapezoid), with what rounding
//! leaves over carried on. Tested on written trees; never run on a machine with such sensors.

pub(crate) mod sensors;

use super::counter::{MicroWatts, Step, WrappingCounter};
use super::pending::Pending;
use super::{Domain, EnergyError, EnergySample, EnergySource, HostLoad, Quality};
use crate::clock;
use crate::units::{MicroJoules, Nanos};
use sensors::{Quantity, Sensor};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// More than any processor, card or machine draws.
const BOUND: MicroWatts = MicroWatts(20_000_000_000);

/// The hwmon sensors of one host.
#[derive(Debug)]
pub struct Hwmon {
    sysfs: PathBuf,
    readers: Vec<Reader>,
    pending: Pending,
    doubts: Vec<EnergyError>,
}

#[derive(Debug)]
struct Reader {
    sensor: Sensor,
    state: Reading,
    broken: Option<EnergyError>,
}

#[derive(Debug)]
enum Reading {
    Counter(WrappingCounter),
    /// The wattage before, and µW·ns left over from whole microjoules.
    Wattage {
        last: Option<(MicroWatts, Nanos)>,
        remainder: u64,
    },
}

impl Hwmon {
    /// Opens the sensors under `<sysfs>/class/hwmon`. One of them must be of a processor: a card or the whole machine
    /// alone is nothing that could be divided among processes.
    pub fn open(sysfs: &Path) -> Result<Self, EnergyError> {
        let found = sensors::discover(sysfs);
        if !found.iter().any(|sensor| sensor.meter.domain == Domain::Package) {
            let others: Vec<&str> = found.iter().map(|sensor| sensor.label.as_str()).collect();
            let beside = if others.is_empty() { String::new() } else { format!(" (only {})", others.join(", ")) };
            return Err(EnergyError {
                kind: "absent",
                what: format!("no energy or power sensor of a processor in {}/class/hwmon{beside}", sysfs.display()),
                remedy: "load a driver that has one (amd_energy, fam15h_power), or use --energy rapl or --energy model"
                    .into(),
            });
        }
        // Whether they can be read shows now, not in the first sample.
        let packages = || found.iter().filter(|sensor| sensor.meter.domain == Domain::Package);
        if packages().all(|sensor| read_number(&sensor.path).is_err())
            && let Some((sensor, error)) =
                packages().find_map(|sensor| Some((sensor, read_number(&sensor.path).err()?)))
        {
            return Err(read_error(sensor, &error));
        }
        let readers = found.into_iter().map(|sensor| Reader {
            state: match sensor.quantity {
                Quantity::Energy => Reading::Counter(WrappingCounter::new(None, BOUND)),
                Quantity::Power => Reading::Wattage { last: None, remainder: 0 },
            },
            sensor,
            broken: None,
        });
        Ok(Self {
            sysfs: sysfs.to_owned(),
            readers: readers.collect(),
            pending: Pending::default(),
            doubts: Vec::new(),
        })
    }
}

impl EnergySource for Hwmon {
    fn method(&self) -> String {
        "hwmon".into()
    }

    fn quality(&self) -> Quality {
        Quality::Measured
    }

    fn latch(&mut self) {
        for reader in &mut self.readers {
            let before = clock::monotonic();
            let read = read_number(&reader.sensor.path);
            let at = clock::midpoint(before, clock::monotonic());
            match read {
                Ok(value) => {
                    reader.broken = None;
                    reader.take(value, at, &mut self.pending, &mut self.doubts);
                }
                Err(error) => {
                    // What it drew meanwhile is not known.
                    match &mut reader.state {
                        Reading::Counter(counter) => counter.forget(),
                        Reading::Wattage { last, .. } => *last = None,
                    }
                    reader.broken = Some(read_error(&reader.sensor, &error));
                }
            }
        }
    }

    fn resolve(&mut self, _load: &HostLoad) -> EnergySample {
        let mut faults: Vec<EnergyError> = self.readers.iter().filter_map(|reader| reader.broken.clone()).collect();
        faults.append(&mut self.doubts);
        EnergySample { deltas: self.pending.take(), faults }
    }

    fn cards(&self) -> u32 {
        let numbers = self.readers.iter().map(|reader| reader.sensor.meter).filter(|meter| meter.domain == Domain::Gpu);
        numbers.map(|meter| meter.socket + 1).max().unwrap_or(0)
    }

    fn describe(&self) -> String {
        let sensors: Vec<String> = self
            .readers
            .iter()
            .map(|reader| match reader.sensor.quantity {
                Quantity::Energy => reader.sensor.label.clone(),
                Quantity::Power => format!("{} (watts × time)", reader.sensor.label),
            })
            .collect();
        format!("hwmon sensors under {}/class/hwmon: {}", self.sysfs.display(), sensors.join(", "))
    }
}

impl Reader {
    fn take(&mut self, value: u64, at: Nanos, pending: &mut Pending, doubts: &mut Vec<EnergyError>) {
        let meter = self.sensor.meter;
        match &mut self.state {
            Reading::Counter(counter) => match counter.advance(MicroJoules(value), at) {
                Step::First => {}
                Step::Advanced { energy, begin } => pending.add(meter, energy, begin, at),
                Step::Clamped { energy, begin, why } => {
                    pending.add(meter, energy, begin, at);
                    doubts.push(EnergyError {
                        kind: "implausible",
                        what: format!("hwmon {} {}", self.sensor.label, why.words()),
                        remedy: "nothing to do if it happens once (suspend, driver reload)".into(),
                    });
                }
            },
            Reading::Wattage { last, remainder } => {
                let now = MicroWatts(value.min(BOUND.0));
                if let Some((before, begin)) = last.replace((now, at)) {
                    let elapsed = u128::from(at.0.saturating_sub(begin.0));
                    let amount = u128::from(before.0 + now.0) * elapsed / 2 + u128::from(*remainder);
                    *remainder = (amount % 1_000_000_000) as u64;
                    pending.add(meter, MicroJoules((amount / 1_000_000_000) as u64), begin, at);
                }
            }
        }
    }
}

fn read_number(path: &Path) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a number"))
}

fn read_error(sensor: &Sensor, error: &io::Error) -> EnergyError {
    let what = format!("cannot read {} ({}): {error}", sensor.path.display(), sensor.label);
    let (kind, remedy) = match error.kind() {
        io::ErrorKind::PermissionDenied => ("unreadable", "run as root or grant CAP_DAC_READ_SEARCH"),
        io::ErrorKind::NotFound => ("vanished", "nothing to do if a driver is being reloaded: it is tried each sample"),
        io::ErrorKind::InvalidData => ("garbled", "check the driver; it is tried again each sample"),
        _ => ("unreadable", "it is tried again each sample; if it lasts, look into the kernel log"),
    };
    EnergyError { kind, what, remedy: remedy.into() }
}

#[cfg(test)]
mod tests;
