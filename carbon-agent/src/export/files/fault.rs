//! Why lines could not be written, and what the operator can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A failed attempt to write below the output directory.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; {remedy}", path.display())]
pub struct Fault {
    pub path: PathBuf,
    /// A stable word for the metric label `kind`.
    pub kind: &'static str,
    pub remedy: &'static str,
    pub source: io::Error,
}

impl Fault {
    /// Every kind there is, and what else the file writer counts.
    pub const KINDS: [&str; 12] = [
        "no_space",
        "read_only",
        "permission",
        "directory",
        "not_a_file",
        "descriptors",
        "io",
        "other",
        "csv",
        "dropped",
        "retention",
        "torn",
    ];

    pub fn new(path: &Path, source: io::Error) -> Self {
        let (kind, remedy) = classify(&source);
        Self { path: path.to_owned(), kind, remedy, source }
    }
}

fn classify(error: &io::Error) -> (&'static str, &'static str) {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ("no_space", "free disk space, or set output.max_bytes or retain_days"),
        Some(libc::EROFS) => ("read_only", "remount the file system read-write, or choose another --output-dir"),
        Some(libc::EACCES | libc::EPERM) => {
            ("permission", "give the directory to the agent's user (chown), or choose another --output-dir")
        }
        Some(libc::ENOENT | libc::ENOTDIR) => ("directory", "create the directory, or choose another --output-dir"),
        Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => {
            ("not_a_file", "remove what stands in the place of the file: it must be a regular file")
        }
        Some(libc::EMFILE | libc::ENFILE) => ("descriptors", "raise the limit of open files (LimitNOFILE)"),
        Some(libc::EIO) => ("io", "check the disk: the kernel log tells more"),
        _ => ("other", "see the error"),
    }
}
