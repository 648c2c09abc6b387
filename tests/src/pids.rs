//! A host that soon runs out of process ids, so that they come round again while a test watches.

use crate::need::need;
use std::{
    fs::{self, File},
    io::Write,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
};

const LIMIT: &str = "/proc/sys/kernel/pid_max";

/// Below this the kernel gives no number after the first round.
const RESERVED: u32 = 300;

/// `kernel.pid_max`, lowered for as long as this lives.
///
/// A shell sets it back when its standard input ends, so it does also when the test panics or is killed. It holds the
/// lock that keeps two tests from doing this at once until that is done.
pub struct FewPids {
    watcher: Child,
    /// So many numbers can be given out at most before one comes again.
    pub numbers: u32,
}

impl FewPids {
    /// Leaves room for about `spare` processes beside those that live; `None` (said why) where that cannot be.
    pub fn leave(spare: u32) -> Option<Self> {
        let lock = File::create(std::env::temp_dir().join("carbon-tests-pid_max.lock")).expect("a lock file");
        // SAFETY: a descriptor of ours.
        assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0, "flock");
        let before: u32 = fs::read_to_string(LIMIT).expect(LIMIT).trim().parse().expect("a number");
        let limit = RESERVED + living() + spare;
        if !need(limit < before, &format!("a {LIMIT} above {limit}, to lower it to that")) {
            return None;
        }
        let script = format!("read line; echo {before} > {LIMIT}");
        let watcher = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(lock)
            .spawn()
            .expect("the shell that sets pid_max back");
        let few = Self { watcher, numbers: limit - RESERVED };
        let lowered = fs::write(LIMIT, limit.to_string()).is_ok();
        need(lowered, &format!("leave to write {LIMIT}")).then_some(few)
    }
}

impl Drop for FewPids {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.watcher.stdin.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.watcher.wait();
    }
}

/// Threads alive now: each holds a number.
fn living() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").expect("/proc/loadavg");
    let field = text.split(' ').nth(3).and_then(|field| field.split_once('/'));
    field.and_then(|(_, all)| all.parse().ok()).expect("running/all")
}
