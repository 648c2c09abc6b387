//! Where the host's files are.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub procfs: PathBuf,
    pub sysfs: PathBuf,
    /// The host's root directory, for the files and sockets of container engines.
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
}
