//! Takes one sample: cuts the probe's account, latches the meters right after, reads both back.
//! The only stage between the sources and the pure part; it decides nothing.

use crate::energy::{EnergySample, EnergySource, HostLoad, SocketLoad};
use crate::probe::{CpuSample, Probe, ProbeError};
use crate::topology::Topology;
use crate::units::Nanos;
use std::collections::BTreeMap;

/// Everything read in one sample, nothing derived but the load.
#[derive(Clone, Debug, Default)]
pub struct RawSample {
    pub cpu: CpuSample,
    pub load: HostLoad,
    pub energy: EnergySample,
}

/// The sources of a host, read together.
pub struct Sampler {
    pub probe: Box<dyn Probe>,
    pub energy: Box<dyn EnergySource>,
    pub topology: Topology,
}

impl Sampler {
    pub fn new(probe: Box<dyn Probe>, energy: Box<dyn EnergySource>, topology: Topology) -> Self {
        Self { probe, energy, topology }
    }

    /// One sample: what ran and what was spent since the one before. The first after opening speaks of the time since
    /// the probe was attached, and of no energy.
    pub fn sample(&mut self) -> Result<RawSample, ProbeError> {
        self.probe.cut()?;
        self.energy.latch();
        let cpu = self.probe.collect()?;
        let load = host_load(&cpu, &self.topology);
        let energy = self.energy.resolve(&load);
        Ok(RawSample { cpu, load, energy })
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
