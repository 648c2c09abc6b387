//! Which CPU is on which socket, from sysfs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The sockets (physical packages) of the host's CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    socket_of: BTreeMap<u32, u32>,
}

impl Topology {
    /// Reads `<sysfs>/devices/system/cpu/cpu*/topology/physical_package_id`. A CPU that does not tell (offline, or a
    /// virtual machine that shows -1) counts to socket 0.
    pub fn read(sysfs: &Path) -> Self {
        let mut socket_of = BTreeMap::new();
        let directory = sysfs.join("devices/system/cpu");
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("cpu")).and_then(|n| n.parse::<u32>().ok());
            if let Some(cpu) = number {
                let text = fs::read_to_string(entry.path().join("topology/physical_package_id"));
                let socket = text.ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
                socket_of.insert(cpu, socket);
            }
        }
        Self { socket_of }
    }

    /// The socket of a CPU; 0 where nothing is known.
    pub fn socket(&self, cpu: u32) -> u32 {
        self.socket_of.get(&cpu).copied().unwrap_or(0)
    }

    /// Of given CPUs, each with its socket.
    pub fn of(pairs: impl IntoIterator<Item = (u32, u32)>) -> Self {
        Self { socket_of: pairs.into_iter().collect() }
    }

    /// Every CPU with its socket.
    pub fn pairs(&self) -> Vec<(u32, u32)> {
        self.socket_of.iter().map(|(cpu, socket)| (*cpu, *socket)).collect()
    }

    /// CPUs known to sysfs.
    pub fn cpus(&self) -> usize {
        self.socket_of.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_come_from_sysfs_and_default_to_the_first() {
        let sysfs = tempfile::tempdir().unwrap();
        for (cpu, package) in [(0, Some("0\n")), (1, Some("1\n")), (2, Some("-1\n")), (3, None)] {
            let topology = sysfs.path().join(format!("devices/system/cpu/cpu{cpu}/topology"));
            fs::create_dir_all(&topology).unwrap();
            if let Some(package) = package {
                fs::write(topology.join("physical_package_id"), package).unwrap();
            }
        }
        fs::create_dir_all(sysfs.path().join("devices/system/cpu/cpufreq")).unwrap();
        let topology = Topology::read(sysfs.path());
        assert_eq!((0..5).map(|cpu| topology.socket(cpu)).collect::<Vec<_>>(), [0, 1, 0, 0, 0]);
        assert_eq!(topology.cpus(), 4);
    }
}
