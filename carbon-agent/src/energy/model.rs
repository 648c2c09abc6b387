//! Estimation where there is no meter: a straight line between an idle and a full-load wattage per vCPU.
//!
//! ```text
//! package energy of a socket = min × available + (max − min) × busy      (watts per vCPU × vCPU time)
//! dram energy of a socket    = 0.392 W/GB × memory / sockets × time
//! ```
//!
//! Source of the line and its coefficients: Cloud Carbon Footprint, methodology, "Compute" and "Memory";
//! [`coefficients`] has the table. Always marked estimated: see [`ERROR_BAND`].

pub mod coefficients;

use super::counter::MicroWatts;
use super::{Domain, EnergyError, EnergySample, EnergySource, HostLoad, Meter, MeterDelta, Quality};
use crate::units::{MicroJoules, Nanos};
use coefficients::{CpuId, MEMORY_PER_GB, Microarchitecture};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How far off the estimate may be, in words for health, logs and documentation.
///
/// The table's own figures are the evidence: between two editions of it, from ever more machines of the same family,
/// the idle watts of Ivy Bridge fell from 3.04 to 1.71 and those of Haswell rose from 1.00 to 1.86. Nothing ties one
/// host more closely to its family's average than that.
pub const ERROR_BAND: &str = "an estimate: between half and twice the true figure";

/// Wattages that the operator knows better than the table: `--model-min-watts`, `--model-max-watts`.
///
/// Both are per vCPU, as the table is, so that one value serves a fleet of different sizes; a measured host's total is
/// divided by its vCPUs first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overrides {
    pub min_watts: Option<f64>,
    pub max_watts: Option<f64>,
}

/// The estimation model of one host.
#[derive(Debug)]
pub struct Model {
    name: String,
    min: MicroWatts,
    max: MicroWatts,
    memory: MicroWatts,
    /// What was left over from whole microjoules, by meter, in µW·ns: nothing is lost to rounding.
    remainders: BTreeMap<Meter, u64>,
}

/// µW·ns in a microjoule.
const MICROJOULE: u128 = 1_000_000_000;

impl Model {
    /// The model for the host whose procfs is given.
    pub fn open(procfs: &Path, overrides: Overrides) -> Result<Self, EnergyError> {
        // A host that hides its processor gets the averages: `auto` must never end with nothing.
        let cpuinfo = fs::read_to_string(procfs.join("cpuinfo")).unwrap_or_default();
        let meminfo = fs::read_to_string(procfs.join("meminfo")).unwrap_or_default();
        Self::new(CpuId::parse(&cpuinfo).microarchitecture(), memory_bytes(&meminfo), overrides)
    }

    fn new(cpu: Microarchitecture, memory: u64, overrides: Overrides) -> Result<Self, EnergyError> {
        let chosen = |watts: Option<f64>, otherwise| watts.map_or(otherwise, MicroWatts::from_watts);
        let (min, max) = (chosen(overrides.min_watts, cpu.min), chosen(overrides.max_watts, cpu.max));
        let sound = |watts: Option<f64>| watts.is_none_or(|watts| watts.is_finite() && watts >= 0.0);
        if !sound(overrides.min_watts) || !sound(overrides.max_watts) || min > max {
            return Err(EnergyError {
                kind: "unusable",
                what: format!("a vCPU cannot draw {} W idle and {} W busy", min.watts(), max.watts()),
                remedy: "give --model-min-watts and --model-max-watts per vCPU, not negative, the first not above the second"
                    .into(),
            });
        }
        let name = if overrides == Overrides::default() { cpu.name.into() } else { format!("{}+override", cpu.name) };
        // Decimal gigabytes, as the coefficient's source counts them.
        let memory = u128::from(MEMORY_PER_GB.0) * u128::from(memory) / 1_000_000_000;
        let memory = MicroWatts(u64::try_from(memory).unwrap_or(u64::MAX));
        Ok(Self { name, min, max, memory, remainders: BTreeMap::new() })
    }

    /// Whole microjoules out of µW·ns; what is left over waits for the next sample.
    fn whole(&mut self, meter: Meter, amount: u128) -> MicroJoules {
        let remainder = self.remainders.entry(meter).or_default();
        let amount = amount + u128::from(*remainder);
        *remainder = (amount % MICROJOULE) as u64;
        MicroJoules(u64::try_from(amount / MICROJOULE).unwrap_or(u64::MAX))
    }
}

impl EnergySource for Model {
    fn method(&self) -> String {
        format!("model:{}", self.name)
    }

    fn quality(&self) -> Quality {
        Quality::Estimated
    }

    fn latch(&mut self) {
        // There is nothing to read: the load that `resolve` is given says it all.
    }

    fn resolve(&mut self, load: &HostLoad) -> EnergySample {
        let elapsed = u128::from(load.end.0.saturating_sub(load.begin.0));
        let sockets = load.sockets.len() as u128;
        let mut deltas = Vec::with_capacity(load.sockets.len() * 2);
        if elapsed == 0 {
            return EnergySample::default();
        }
        let mut push = |meter, energy| deltas.push(MeterDelta { meter, energy, begin: load.begin, end: load.end });
        for (place, socket) in load.sockets.iter().enumerate() {
            // Busy time cannot exceed what there was; clocks read a moment apart may say so all the same.
            let busy = socket.busy.min(socket.available);
            let idle = u128::from(self.min.0) * u128::from(socket.available.0);
            let active = u128::from(self.max.0 - self.min.0) * u128::from(busy.0);
            let package = Meter { domain: Domain::Package, socket: socket.socket };
            push(package, self.whole(package, idle + active));
            if self.memory.0 > 0 {
                // The shares of all sockets add up to the whole, whatever the division leaves over.
                let dram = Meter { domain: Domain::Dram, socket: socket.socket };
                push(dram, self.whole(dram, (u128::from(self.memory.0) * elapsed + place as u128) / sockets));
            }
        }
        EnergySample { deltas, faults: Vec::new() }
    }

    fn idle_part(&self, delta: &MeterDelta, available: Nanos) -> Option<MicroJoules> {
        match delta.meter.domain {
            Domain::Package => Some(self.min.over(available).min(delta.energy)),
            // Memory is modelled as constant: all of it would be spent with nothing running.
            _ => Some(delta.energy),
        }
    }

    fn describe(&self) -> String {
        format!(
            "no meter, modelled: {} to {} W per vCPU ({}), {:.1} W of memory; {ERROR_BAND}",
            self.min.watts(),
            self.max.watts(),
            self.name,
            self.memory.watts()
        )
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes; 0 where it cannot be read.
fn memory_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::SocketLoad;

    const SECOND: u64 = 1_000_000_000;

    fn load(begin: u64, end: u64, sockets: &[(u64, u64)]) -> HostLoad {
        let sockets = sockets.iter().enumerate().map(|(socket, &(busy, available))| SocketLoad {
            socket: socket as u32,
            busy: Nanos(busy),
            available: Nanos(available),
        });
        HostLoad { begin: Nanos(begin), end: Nanos(end), sockets: sockets.collect() }
    }

    fn model(min: f64, max: f64, memory: u64) -> Model {
        let overrides = Overrides { min_watts: Some(min), max_watts: Some(max) };
        Model::new(coefficients::UNKNOWN, memory, overrides).expect("sound wattages")
    }

    fn energies(sample: &EnergySample) -> Vec<(Domain, u32, u64)> {
        sample.deltas.iter().map(|d| (d.meter.domain, d.meter.socket, d.energy.0)).collect()
    }

    #[test]
    fn the_line_runs_from_idle_to_full_load_per_socket() {
        let mut model = model(1.0, 5.0, 10_000_000_000);
        let sample = model.resolve(&load(0, SECOND, &[(0, 2 * SECOND), (SECOND, 2 * SECOND)]));
        let expected = [
            (Domain::Package, 0, 2_000_000),
            (Domain::Dram, 0, 1_960_000),
            (Domain::Package, 1, 6_000_000),
            (Domain::Dram, 1, 1_960_000),
        ];
        assert_eq!(energies(&sample), expected);
        assert_eq!(model.quality(), Quality::Estimated);
        assert_eq!(model.method(), "model:unknown+override");
        assert!(model.describe().contains("between half and twice"));
    }

    #[test]
    fn the_foot_of_the_line_is_its_idle_part() {
        let mut model = model(1.0, 5.0, 10_000_000_000);
        let sample = model.resolve(&load(0, SECOND, &[(SECOND, 2 * SECOND)]));
        let idle = |delta| model.idle_part(delta, Nanos(2 * SECOND)).map(|energy| energy.0);
        let parts: Vec<_> = sample.deltas.iter().map(idle).collect();
        assert_eq!(parts, [Some(2_000_000), Some(3_920_000)]);
    }

    #[test]
    fn rounding_loses_no_energy() {
        let mut model = model(0.333_333, 1.777_777, 3_333_333_333);
        let step = 333_333_337;
        let mut total = [0u64; 2];
        for sample in 0..9_000u64 {
            let load = load(sample * step, (sample + 1) * step, &[(step / 7, step)]);
            for (sum, delta) in total.iter_mut().zip(model.resolve(&load).deltas) {
                *sum += delta.energy.0;
            }
        }
        let exact = 9_000 * (333_333u128 * u128::from(step) + 1_444_444 * u128::from(step / 7)) / MICROJOULE;
        assert_eq!(u128::from(total[0]), exact);
        assert_eq!(u128::from(total[1]), 9_000 * u128::from(model.memory.0) * u128::from(step) / MICROJOULE);
    }

    #[test]
    fn more_busy_than_there_was_time_is_full_load() {
        let mut model = model(1.0, 5.0, 0);
        let sample = model.resolve(&load(0, SECOND, &[(3 * SECOND, SECOND)]));
        assert_eq!(energies(&sample), [(Domain::Package, 0, 5_000_000)]);
    }

    #[test]
    fn no_time_no_energy() {
        assert!(model(1.0, 5.0, 1).resolve(&load(7, 7, &[(0, 0)])).deltas.is_empty());
        assert!(model(1.0, 5.0, 1).resolve(&HostLoad::default()).deltas.is_empty());
    }

    #[test]
    fn impossible_wattages_are_refused() {
        for (min, max) in [(5.0, 1.0), (-1.0, 5.0), (f64::NAN, 5.0), (1.0, f64::INFINITY)] {
            let overrides = Overrides { min_watts: Some(min), max_watts: Some(max) };
            let error = Model::new(coefficients::UNKNOWN, 0, overrides).expect_err("nonsense");
            assert!(error.remedy.contains("--model-min-watts"));
        }
    }

    #[test]
    fn a_hidden_processor_gets_the_averages() {
        let empty = tempfile::tempdir().expect("a temporary directory");
        let model = Model::open(empty.path(), Overrides::default()).expect("a model always opens");
        assert_eq!(model.method(), "model:unknown");
        assert_eq!(memory_bytes("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), 16_384_000 * 1024);
    }
}
