//! The files of a written powercap tree, and the topology that goes with it.

use super::Machine;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A written host: `ROOT/sys` to be given as `--host-sysfs`.
///
/// Nested machines look as the kernel lays them out, zones under `devices/virtual/powercap` and links to all of them
/// in `class/powercap`; flat ones hold the zones themselves in [`Tree::powercap`]. `devices/system/cpu` says which
/// CPU is on which socket.
#[derive(Clone, Debug)]
pub struct Tree {
    sysfs: PathBuf,
    zones: Vec<ZoneFile>,
}

/// What a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Package(usize),
    Core(usize),
    Dram(usize),
    Psys,
}

#[derive(Clone, Debug)]
pub(super) struct ZoneFile {
    pub(super) counts: Counts,
    pub(super) dir: PathBuf,
}

impl Tree {
    /// `--host-sysfs`.
    pub fn sysfs(&self) -> &Path {
        &self.sysfs
    }

    /// `--powercap`: the directory that holds `intel-rapl:0`.
    pub fn powercap(&self) -> PathBuf {
        self.sysfs.join("class/powercap")
    }

    /// The real directory of a zone, such as `intel-rapl:0:1`, for a test to take away or spoil.
    pub fn zone(&self, id: &str) -> Option<PathBuf> {
        self.zones.iter().map(|zone| zone.dir.clone()).find(|dir| dir.ends_with(id))
    }

    pub(super) fn zones(&self) -> &[ZoneFile] {
        &self.zones
    }

    /// Writes the tree for `machine` under `root`.
    pub fn write(root: &Path, machine: &Machine) -> io::Result<Self> {
        let mut tree = Self { sysfs: root.join("sys"), zones: Vec::new() };
        let class = tree.powercap();
        fs::create_dir_all(&class)?;
        let control = |name: &str| {
            if machine.flat { class.clone() } else { tree.sysfs.join("devices/virtual/powercap").join(name) }
        };
        let (msr, mmio) = (control("intel-rapl"), control("intel-rapl-mmio"));
        let mut next = 0;
        for (index, socket) in machine.sockets.iter().enumerate() {
            let package = msr.join(format!("intel-rapl:{next}"));
            tree.add(&package, &format!("package-{index}"), Counts::Package(index), machine)?;
            let parent = if machine.flat { &msr } else { &package };
            let mut part = 0;
            if machine.core {
                tree.add(&parent.join(format!("intel-rapl:{next}:{part}")), "core", Counts::Core(index), machine)?;
                part += 1;
            }
            if socket.dram_watts.is_some() {
                tree.add(&parent.join(format!("intel-rapl:{next}:{part}")), "dram", Counts::Dram(index), machine)?;
            }
            if machine.mmio_mirror {
                let mirror = mmio.join(format!("intel-rapl-mmio:{index}"));
                tree.add(&mirror, &format!("package-{index}"), Counts::Package(index), machine)?;
            }
            next += 1;
        }
        if machine.psys_watts.is_some() {
            tree.add(&msr.join(format!("intel-rapl:{next}")), "psys", Counts::Psys, machine)?;
        }
        if !machine.flat {
            tree.link(&class, &msr)?;
            if machine.mmio_mirror {
                tree.link(&class, &mmio)?;
            }
        }
        tree.write_topology(machine)?;
        Ok(tree)
    }

    fn add(&mut self, dir: &Path, name: &str, counts: Counts, machine: &Machine) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("name"), format!("{name}\n"))?;
        fs::write(dir.join("enabled"), "1\n")?;
        fs::write(dir.join("max_energy_range_uj"), format!("{}\n", machine.range_uj))?;
        self.zones.push(ZoneFile { counts, dir: dir.to_owned() });
        Ok(())
    }

    /// As the kernel does: the control type and each of its zones, flat.
    fn link(&self, class: &Path, control: &Path) -> io::Result<()> {
        let zones = self.zones.iter().map(|zone| zone.dir.as_path()).filter(|dir| dir.starts_with(control));
        for target in zones.chain([control]) {
            if let Some(name) = target.file_name() {
                symlink(target, class.join(name))?;
            }
        }
        Ok(())
    }

    fn write_topology(&self, machine: &Machine) -> io::Result<()> {
        let cpus = self.sysfs.join("devices/system/cpu");
        let mut online: Vec<u32> = Vec::new();
        for (index, socket) in machine.sockets.iter().enumerate() {
            for cpu in &socket.cpus {
                let topology = cpus.join(format!("cpu{cpu}/topology"));
                fs::create_dir_all(&topology)?;
                fs::write(topology.join("physical_package_id"), format!("{index}\n"))?;
                fs::write(topology.join("core_id"), format!("{cpu}\n"))?;
                online.push(*cpu);
            }
        }
        online.sort_unstable();
        let online: Vec<String> = online.iter().map(u32::to_string).collect();
        fs::write(cpus.join("online"), format!("{}\n", online.join(",")))
    }
}

/// An open `energy_uj`.
#[derive(Debug)]
pub(super) struct CounterFile(File);

impl CounterFile {
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("energy_uj"))?))
    }

    /// One write of a fixed width, so that a reader finds either the old number or the new one.
    pub(super) fn set(&self, value: u64) -> io::Result<()> {
        self.0.write_all_at(format!("{value:020}\n").as_bytes(), 0)
    }
}
