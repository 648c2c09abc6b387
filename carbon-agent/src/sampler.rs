//! Takes one sample: cuts the probe's account, latches the meters right after, reads both back.
//! The only stage between the sources and the pure part; it decides nothing.

use crate::energy::nvml::Gpus;
use crate::energy::{CounterReading, EnergySample, EnergySource, GpuUse, HostLoad, Readings, SocketLoad};
use crate::probe::{CpuSample, Probe, ProbeError};
use crate::topology::Topology;
use crate::units::Nanos;
use std::collections::BTreeMap;

/// Everything read in one sample, nothing derived but the load.
#[derive(Clone, Debug, Default)]
pub struct RawSample {
    pub cpu: CpuSample,
    pub load: HostLoad,
    /// Graphics cards included.
    pub energy: EnergySample,
    pub gpus: GpuUse,
}

/// The sources of a host, read together.
pub struct Sampler {
    pub probe: Box<dyn Probe>,
    pub energy: Box<dyn EnergySource>,
    /// Most hosts have none.
    pub gpus: Option<Gpus>,
    pub topology: Topology,
}

impl Sampler {
    /// Where energy comes from, as rows name it.
    pub fn energy_method(&self) -> String {
        match &self.gpus {
            Some(gpus) => format!("{}+{}", self.energy.method(), gpus.method()),
            None => self.energy.method(),
        }
    }

    /// Where all counters stood at the last sample; `None` where none outlives this process.
    pub fn readings(&self) -> Option<Readings> {
        let cards: Vec<CounterReading> = self.gpus.iter().flat_map(Gpus::readings).collect();
        let none = || Readings { source: self.energy.method(), counters: Vec::new(), carried: Vec::new() };
        let mut readings = self.energy.readings().or_else(|| (!cards.is_empty()).then(none))?;
        readings.counters.extend(cards);
        Some(readings)
    }

    /// Counts on from readings of this boot; call it before the first sample.
    pub fn resume(&mut self, readings: &Readings) {
        self.energy.resume(readings);
        if let Some(gpus) = &mut self.gpus {
            gpus.resume(&readings.counters);
        }
    }

    /// One sample: what ran and what was spent since the one before. The first after opening speaks of the time since
    /// the probe was attached, and of no energy.
    pub fn sample(&mut self) -> Result<RawSample, ProbeError> {
        self.probe.cut()?;
        self.energy.latch();
        if let Some(gpus) = &mut self.gpus {
            gpus.latch();
        }
        let cpu = self.probe.collect()?;
        let load = host_load(&cpu, &self.topology);
        let mut energy = self.energy.resolve(&load);
        let gpus = self.gpus.as_mut().map(|gpus| gpus.resolve(&mut energy)).unwrap_or_default();
        Ok(RawSample { cpu, load, energy, gpus })
    }
}

/// Busy and available time of each socket.
pub fn host_load(sample: &CpuSample, topology: &Topology) -> HostLoad {
    let mut sockets: BTreeMap<u32, SocketLoad> = BTreeMap::new();
    for window in &sample.cpus {
        let socket = topology.socket(window.cpu);
        let load = sockets.entry(socket).or_insert(SocketLoad { socket, ..SocketLoad::default() });
        let available = window.end.0.saturating_sub(window.begin.0);
        load.available += Nanos(available);
        load.busy += Nanos(available.saturating_sub(window.idle.0));
    }
    HostLoad { begin: sample.begin, end: sample.end, sockets: sockets.into_values().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::CpuWindow;

    #[test]
    fn load_is_what_was_not_idle() {
        let window = |cpu, begin, end, idle| CpuWindow {
            cpu,
            begin: Nanos(begin),
            end: Nanos(end),
            idle: Nanos(idle),
            ..CpuWindow::default()
        };
        let sample = CpuSample {
            cpus: vec![window(0, 0, 100, 40), window(1, 5, 95, 90), window(2, 10, 10, 0)],
            ..CpuSample::default()
        };
        let load = host_load(&sample, &Topology::default());
        assert_eq!(load.sockets, [SocketLoad { socket: 0, busy: Nanos(60), available: Nanos(190) }]);
    }
}
