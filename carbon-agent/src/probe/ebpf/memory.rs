//! The kernel program's arrays, mapped into this process: reading them takes no system call.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
};

/// An array map of `T` in shared memory. Its contents change under our eyes: everything is copied out whole.
pub struct Shared<T> {
    base: NonNull<u8>,
    bytes: usize,
    entries: u32,
    of: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone; the kernel side is not a Rust thread.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    /// The kernel rounds the size of an entry up to 8 bytes.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    pub fn map(fd: BorrowedFd<'_>, entries: u32) -> io::Result<Self> {
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as usize;
        let bytes = (Self::STRIDE * entries as usize).next_multiple_of(page);
        // SAFETY: a fresh shared mapping of a descriptor we hold; the kernel checks its size.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { base, bytes, entries, of: PhantomData })
    }

    /// The address of an entry.
    ///
    /// # Panics
    /// When `index` is out of range.
    pub fn entry(&self, index: u32) -> *mut T {
        assert!(index < self.entries, "entry {index} of {}", self.entries);
        // SAFETY: within the mapping, by the assertion.
        unsafe { self.base.as_ptr().add(Self::STRIDE * index as usize).cast() }
    }

    /// A copy of an entry.
    pub fn read(&self, index: u32) -> T {
        // SAFETY: an aligned entry within the mapping; T is plain data written by the kernel program.
        unsafe { self.entry(index).read_volatile() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, not unmapped before.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
