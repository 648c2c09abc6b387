//! The output directory.

use super::fault::Fault;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Creates the directory with its parents where missing, and checks that files can be created in it.
pub fn prepare(dir: &Path) -> Result<(), Fault> {
    std::fs::create_dir_all(dir).and_then(|()| writable(dir)).map_err(|source| Fault::new(dir, source))
}

/// Whether this process may create files in `dir`. Asks the kernel without leaving a trace, unlike a trial file.
pub fn writable(dir: &Path) -> io::Result<()> {
    if !std::fs::metadata(dir)?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call; the call writes nothing through it.
    let answer = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK | libc::X_OK, libc::AT_EACCESS) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
