//! Waiting until no program can still be writing to the half of the tables that has been closed.

use std::{thread, time::Duration};

/// Every program that was running when this was called has ended when it returns.
///
/// `membarrier(GLOBAL)` is the kernel's `synchronize_rcu`, and programs run within RCU's read sections: exact,
/// some 8 to 25 ms long, all of it asleep. Kernels with full tickless CPUs refuse it; then 5 ms are waited,
/// thousands of times what a program takes.
pub fn period() {
    // SAFETY: the system call takes no pointer.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        thread::sleep(Duration::from_millis(5));
    }
}
