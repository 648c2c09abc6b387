//! Records of real processes as the probe would make them, for tests of identity without the probe.

use anyhow::{Context, Result};
use carbon_agent::probe::{Comm, ProcessKey, TaskTime};
use carbon_agent::units::Nanos;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A record of a living process: what the kernel program would have noted of it now.
pub fn task(pid: u32) -> Result<TaskTime> {
    let read = |name: &str| fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(name));
    let stat = read("stat")?;
    let (head, rest) = stat.rsplit_once(") ").context("stat")?;
    let (_, comm) = head.split_once('(').context("stat")?;
    let field = |number: usize| rest.split(' ').nth(number).and_then(|f| f.parse::<u64>().ok()).context("stat");
    // SAFETY: sysconf has no preconditions.
    let tick = 1_000_000_000 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    let cgroups = read("cgroup")?;
    let unified = cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    Ok(TaskTime {
        process: ProcessKey { pid, start: Nanos(field(19)? * tick + tick / 2) },
        tid: pid,
        cpu: 0,
        time: Nanos(1),
        comm: Comm::from_bytes(comm.as_bytes()),
        parent: field(1)? as u32,
        cgroup: cgroup_id(unified).unwrap_or_default(),
        kernel_thread: false,
        exited: false,
        seen: Nanos(1),
    })
}

/// The id of a cgroup of the unified hierarchy: the inode of its directory.
fn cgroup_id(path: &str) -> Option<u64> {
    let mount = Path::new("/sys/fs/cgroup");
    let root = [mount.to_owned(), mount.join("unified")].into_iter().find(|r| r.join("cgroup.controllers").exists())?;
    Some(fs::metadata(root.join(path.trim_start_matches('/'))).ok()?.ino())
}
