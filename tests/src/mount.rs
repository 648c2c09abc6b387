//! A small file system of a test's own, for disks that are full, read-only or hang.

use crate::need;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        unmount(&self.path);
    }
}

fn unmount(path: &Path) {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return };
    // SAFETY: a NUL-terminated string that outlives the call.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
}

/// A file system on a disk (a file of its own) that can be made to hang; unmounted when it is dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts an ext4 of so many bytes at `path`; `None`, said or failed, where that is not allowed.
    pub fn mount(path: &Path, bytes: u64) -> Option<Self> {
        if !need::program("mkfs.ext4") {
            return None;
        }
        std::fs::create_dir_all(path).expect("a mount point");
        let image = path.with_extension("image");
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("an image");
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status().expect("mkfs.ext4");
        assert!(made.success(), "mkfs.ext4: {made}");
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(path).output().expect("mount");
        let why = String::from_utf8_lossy(&mounted.stderr);
        need::need(mounted.status.success(), &format!("leave to mount a disk image (root, loop devices): {why}"))
            .then(|| Self { path: path.to_owned() })
    }

    /// Whoever writes to it waits, until what comes back is dropped.
    pub fn freeze(&self) -> io::Result<Frozen> {
        let root = File::open(&self.path)?;
        call(&root, FIFREEZE)?;
        Ok(Frozen(root))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// A disk that hangs.
#[derive(Debug)]
pub struct Frozen(File);

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = call(&self.0, FITHAW) {
            eprintln!("the disk cannot be thawed: {error}");
        }
    }
}

// linux/fs.h
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;

fn call(root: &File, request: libc::c_ulong) -> io::Result<()> {
    // SAFETY: a descriptor of our own; neither request reads or writes its argument.
    let status = unsafe { libc::ioctl(root.as_raw_fd(), request as _, 0) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
