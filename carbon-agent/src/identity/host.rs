//! Where the host's files are.

use crate::config::HostConfig;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub procfs: PathBuf,
    pub sysfs: PathBuf,
    /// The host's root directory, for the files and sockets of container engines, the kubelet's files and the list of
    /// users.
    pub root: PathBuf,
}

impl Host {
    /// With procfs and sysfs elsewhere than usual the agent runs in a container: the root directory of the host is then
    /// that of the host's first process.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        let usual = procfs == Path::new("/proc");
        let root = if usual { PathBuf::from("/") } else { procfs.join("1/root") };
        Self { procfs: procfs.to_owned(), sysfs: sysfs.to_owned(), root }
    }

    /// As configured: a root that is named holds.
    pub fn of(config: &HostConfig) -> Self {
        let host = Self::new(&config.procfs, &config.sysfs);
        let root = config.root.clone().unwrap_or(host.root);
        Self { root, ..host }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_named_one_else_that_of_the_hosts_first_process() {
        let check = |procfs: &str, root: Option<&str>, expected: &str| {
            let root = root.map(PathBuf::from);
            let config = HostConfig { procfs: procfs.into(), sysfs: "/sys".into(), root };
            assert_eq!(Host::of(&config).root, Path::new(expected));
        };
        check("/proc", None, "/");
        check("/host/proc", None, "/host/proc/1/root");
        check("/host/proc", Some("/host/root"), "/host/root");
        check("/proc", Some("/host"), "/host");
    }
}
