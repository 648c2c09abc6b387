//! A powercap tree on disk whose counters follow a known power model, so that the truth is known to the joule.
//!
//! ```text
//! package µW = idle + per_busy_cpu × busy CPUs of the socket + Σ loads (watts × their own busy CPUs)
//! ```
//!
//! Busy time is the real one. Per CPU it is wall time minus the idle and iowait columns of `/proc/stat`, which the
//! kernel keeps in nanoseconds where it stops the tick on idle CPUs, and prints in ticks of 10 ms. So the busy time of
//! a window is off by up to 10 ms per CPU at each end, whatever its length: 1 % of a second, 10 % of 100 ms. The errors
//! do not add up, as each is taken back in the next window; long sums are exact. (The user and system columns would
//! not do: they count whoever runs when the tick comes, and 5 ms children live between ticks.)
//!
//! A load's own time ([`LoadSource`]) is in nanoseconds or microseconds but brought up to date only when the load is
//! switched out or the tick comes (4 ms at 250 Hz), so it lags by up to that.
//!
//! The counters move every few milliseconds, each by one fixed-width write of the whole number.

mod driver;
mod layout;

pub use driver::{Driver, Point, Truth};
pub use layout::Tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// One socket: which real CPUs it is made of and what it draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Socket {
    pub cpus: Vec<u32>,
    pub idle_watts: f64,
    pub watts_per_busy_cpu: f64,
    /// Constant power of its memory; a `dram` zone is there where this is given.
    pub dram_watts: Option<f64>,
}

/// Where a load's own CPU time is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadSource {
    /// `/proc/<pid>/task/*/schedstat`, nanoseconds. Children are not in it.
    Process(u32),
    /// `cpu.stat` of a cgroup v2 directory, microseconds. Everything that ever ran in it is.
    Cgroup(PathBuf),
}

/// A load with a wattage of its own, on top of what its CPUs draw anyway.
///
/// For loads that alone decide the power give the socket 0 W per busy CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    pub name: String,
    pub source: LoadSource,
    pub watts_per_busy_cpu: f64,
    /// Index of the socket whose package draws it.
    pub socket: usize,
}

/// The whole machine to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub sockets: Vec<Socket>,
    pub loads: Vec<Load>,
    /// The value after which every counter returns to zero. Small ones force wraps: 50 J lasts 2.5 s at 20 W.
    pub range_uj: u64,
    /// A `core` zone in each package: its power without the idle part.
    pub core: bool,
    /// A `psys` zone: all packages and memory, and the rest of the platform at this power.
    pub psys_watts: Option<f64>,
    /// `intel-rapl-mmio` shows each package a second time.
    pub mmio_mirror: bool,
    /// Zones side by side under [`Tree::powercap`] (as a hypervisor's share has them) instead of nested.
    pub flat: bool,
}

impl Machine {
    /// One socket of all CPUs of this host, with the range of a real counter.
    pub fn single(idle_watts: f64, watts_per_busy_cpu: f64) -> Self {
        Self::with_sockets(vec![Socket { cpus: online_cpus(), idle_watts, watts_per_busy_cpu, dram_watts: None }])
    }

    pub fn with_sockets(sockets: Vec<Socket>) -> Self {
        Self {
            sockets,
            loads: Vec::new(),
            range_uj: 262_143_328_850,
            core: false,
            psys_watts: None,
            mmio_mirror: false,
            flat: false,
        }
    }
}

/// The CPUs that `/proc/stat` lists.
pub fn online_cpus() -> Vec<u32> {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines().filter_map(|line| line.strip_prefix("cpu")?.split(' ').next()?.parse().ok()).collect()
}

/// A tree whose counters run until it is dropped or stopped.
#[derive(Debug)]
pub struct RunningTree {
    tree: Tree,
    driver: Arc<Mutex<Driver>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How often the counters move, about.
pub const STEP: Duration = Duration::from_millis(5);

impl RunningTree {
    /// Writes the tree under `root` (see [`Tree`]) and starts its counters.
    pub fn start(root: &Path, machine: Machine) -> io::Result<Self> {
        let tree = Tree::write(root, &machine)?;
        let driver = Arc::new(Mutex::new(Driver::new(machine, &tree)?));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (driver, stop) = (Arc::clone(&driver), Arc::clone(&stop));
            std::thread::Builder::new().name("fake-rapl".into()).spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    lock(&driver).step();
                    std::thread::sleep(STEP);
                }
            })?
        };
        Ok(Self { tree, driver, stop, thread: Some(thread) })
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Changes the machine from now on: `running.change(|machine| machine.sockets[0].idle_watts = 35.0)`.
    /// The shape (sockets, zones) must stay.
    pub fn change(&self, change: impl FnOnce(&mut Machine)) {
        let mut driver = lock(&self.driver);
        driver.step();
        change(driver.machine_mut());
    }

    /// What was really spent so far, up to this moment.
    pub fn truth(&self) -> Truth {
        let mut driver = lock(&self.driver);
        driver.step();
        driver.truth()
    }

    /// Stops the counters and says what was spent in all, point by point. The files stay until their directory goes.
    pub fn stop(mut self) -> Truth {
        self.halt();
        lock(&self.driver).truth_with_series()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the driver has shown itself on stderr; the truth up to it still stands.
            let _ = thread.join();
        }
    }
}

impl Drop for RunningTree {
    fn drop(&mut self) {
        self.halt();
    }
}

fn lock(driver: &Mutex<Driver>) -> MutexGuard<'_, Driver> {
    driver.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
