//! Counting with the kernel's perf events: one event on one CPU, whoever runs there.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;

/// `struct perf_event_attr` in its first published size (64 bytes), which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
}

/// `PERF_FLAG_FD_CLOEXEC` of linux/perf_event.h.
const CLOSE_ON_EXEC: libc::c_ulong = 8;

/// Opens event `config` of the PMU `kind` on `cpu`; it counts from now on. Needs CAP_PERFMON or a low
/// `kernel.perf_event_paranoid`.
pub fn open(kind: u32, config: u64, cpu: u32) -> io::Result<File> {
    let attributes = Attributes { kind, size: size_of::<Attributes>() as u32, config, ..Attributes::default() };
    // SAFETY: `attributes` has the layout and the size it states, lives through the call and is only read. Any process
    // (-1), one CPU, no group.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            -1 as libc::pid_t,
            cpu as libc::c_int,
            -1 as libc::c_int,
            CLOSE_ON_EXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd as libc::c_int) })
}
