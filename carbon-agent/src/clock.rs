//! The clocks: monotonic for durations, boot time for process starts, wall time for timestamps.

use crate::units::Nanos;

fn read(clock: libc::clockid_t) -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec and the clock ids used here exist on every Linux.
    let status = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(status, 0, "clock_gettime cannot fail for a clock that exists");
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Nanoseconds in one of the kernel's clock ticks: the unit of times in `/proc/<pid>/stat`.
pub fn tick() -> u64 {
    1_000_000_000 / procfs::ticks_per_second().max(1)
}

/// CLOCK_MONOTONIC: the clock of the kernel's `bpf_ktime_get_ns`; stands still while suspended.
pub fn monotonic() -> Nanos {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME: time since boot, suspend included; process start times are on it.
pub fn boottime() -> Nanos {
    read(libc::CLOCK_BOOTTIME)
}

/// The wall-clock time of a moment on the boot-time clock, as the wall clock stands now.
pub fn wall_time_of_boottime(moment: Nanos) -> jiff::Timestamp {
    let ago = boottime().0 as i128 - moment.0 as i128;
    let now = jiff::Timestamp::now().as_nanosecond();
    jiff::Timestamp::from_nanosecond(now - ago).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// Halfway between two moments: the best guess at when a counter read between them was latched.
pub fn midpoint(before: Nanos, after: Nanos) -> Nanos {
    Nanos(before.0 + after.0.saturating_sub(before.0) / 2)
}

/// Tells when the machine slept: CLOCK_BOOTTIME goes on while it is suspended, CLOCK_MONOTONIC does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SleepWatch {
    /// Time asleep since boot.
    asleep: Nanos,
}

/// A difference below this is two clocks read one after the other, not sleep.
const SHORTEST_SLEEP: Nanos = Nanos(500_000_000);

impl SleepWatch {
    pub fn new(monotonic: Nanos, boottime: Nanos) -> Self {
        Self { asleep: Nanos(boottime.0.saturating_sub(monotonic.0)) }
    }

    /// How long the machine slept since the last look, if it did.
    pub fn look(&mut self, monotonic: Nanos, boottime: Nanos) -> Option<Nanos> {
        let asleep = boottime.0.saturating_sub(monotonic.0);
        let more = Nanos(asleep.saturating_sub(self.asleep.0));
        (more >= SHORTEST_SLEEP).then(|| {
            self.asleep = Nanos(asleep);
            more
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_what_boottime_has_more() {
        let mut watch = SleepWatch::new(Nanos(10), Nanos(1_000_000_010));
        assert_eq!(watch.look(Nanos(2_000_000_000), Nanos(3_000_000_900)), None);
        let slept = watch.look(Nanos(3_000_000_000), Nanos(64_000_000_000));
        assert_eq!(slept, Some(Nanos(60_000_000_000)));
        assert_eq!(watch.look(Nanos(4_000_000_000), Nanos(65_000_000_000)), None);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let (first, second) = (monotonic(), monotonic());
        assert!(first <= second);
        assert!((first..=second).contains(&midpoint(first, second)));
    }
}
