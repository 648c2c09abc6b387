//! A small file system of a test's own, for disks that are full or read-only.

use crate::need;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A tmpfs, unmounted when it is dropped.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
    options: String,
}

impl Tmpfs {
    /// Mounts so many bytes at `path`; `None`, said or failed, where mounting is not allowed.
    pub fn mount(path: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a mount point");
        let tmpfs = Self { path: path.to_owned(), options: format!("size={bytes},mode=0755") };
        let mounted = tmpfs.call(0);
        need::need(mounted.is_ok(), "leave to mount a tmpfs (root with CAP_SYS_ADMIN)").then_some(tmpfs)
    }

    /// Read-only, as a file system becomes after an error; no file may be open for writing.
    pub fn read_only(&self) -> io::Result<()> {
        self.call(libc::MS_REMOUNT | libc::MS_RDONLY)
    }

    pub fn writable(&self) -> io::Result<()> {
        self.call(libc::MS_REMOUNT)
    }

    fn call(&self, flags: libc::c_ulong) -> io::Result<()> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let options = CString::new(self.options.as_str())?;
        // SAFETY: all strings are NUL-terminated and outlive the call, which writes to none of them.
        let status =
            unsafe { libc::mount(c"none".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), flags, options.as_ptr().cast()) };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let Ok(path) = CString::new(self.path.as_os_str().as_bytes()) else { return };
        // SAFETY: a NUL-terminated string that outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}
