//! The agent's own cost, as every exporter shows it (`process_*`).

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};

/// Read from `/proc/self` at each scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelfStats {
    pub cpu_seconds: f64,
    pub open_fds: u64,
    /// `None` where there is no limit.
    pub max_fds: Option<u64>,
    pub virtual_bytes: u64,
    pub resident_bytes: u64,
    pub start_time_seconds: f64,
}

impl SelfStats {
    /// `None` where `/proc` does not tell, for instance because it is not mounted.
    pub fn read() -> Option<Self> {
        read().ok()
    }
}

fn read() -> ProcResult<SelfStats> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let max_fds = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Unlimited => None,
        LimitValue::Value(limit) => Some(limit),
    };
    Ok(SelfStats {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        open_fds: process.fd_count()? as u64,
        max_fds,
        virtual_bytes: stat.vsize,
        resident_bytes: stat.rss_bytes().get(),
        start_time_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_young() {
        let stats = SelfStats::read().unwrap();
        assert!(stats.resident_bytes > 0 && stats.virtual_bytes >= stats.resident_bytes);
        assert!(stats.open_fds >= 3);
        let age = jiff::Timestamp::now().as_second() as f64 - stats.start_time_seconds;
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
