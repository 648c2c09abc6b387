//! A CPU taken from the whole machine for a moment.

use crate::need::need;
use std::{
    fs::{self, File},
    io::Write,
    os::fd::AsRawFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A CPU that is off for as long as this lives.
///
/// A shell puts it back when its standard input ends, so it does also when the test panics or is killed. It holds the
/// lock that keeps two tests from doing this at once until that is done.
pub struct Offline {
    watcher: Child,
}

impl Offline {
    /// Takes `cpu` away; `None` (said why) where that cannot be.
    pub fn take(cpu: u32) -> Option<Self> {
        let switch = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online"));
        let on = || fs::read_to_string(&switch).is_ok_and(|text| text.trim() == "1");
        if !need(on(), &format!("a CPU {cpu} that can be switched off ({})", switch.display())) {
            return None;
        }
        let lock = File::create(std::env::temp_dir().join("carbon-tests-hotplug.lock")).expect("a lock file");
        // SAFETY: a descriptor of ours.
        assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0, "flock");
        let script = format!("trap '' INT TERM HUP; read line; echo 1 > {}", switch.display());
        let watcher = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(lock)
            .spawn()
            .expect("the shell that puts the CPU back");
        // From here on it comes back whatever happens.
        let offline = Self { watcher };
        let taken = fs::write(&switch, "0");
        need(taken.is_ok() && !on(), &format!("leave to switch CPU {cpu} off ({taken:?})")).then_some(offline)
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.watcher.stdin.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.watcher.wait();
    }
}
