//! What rows say about the machine, read once from a procfs tree. A fact that is not there stays empty: an exporter
//! has no reason to fail over a processor that does not tell its name.

use std::fs;
use std::path::Path;

/// The machine, as CodeCarbon's columns describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// `Linux-<release>-<architecture>`.
    pub os: String,
    /// Logical CPUs.
    pub cpu_count: u32,
    pub cpu_model: String,
    pub memory_bytes: u64,
}

impl HostFacts {
    /// Reads the facts below `procfs` (`--host-procfs`).
    pub fn read(procfs: &Path) -> Self {
        let text = |path: &str| fs::read(procfs.join(path)).map(|b| String::from_utf8_lossy(&b).into_owned());
        let cpuinfo = text("cpuinfo").unwrap_or_default();
        Self {
            os: text("sys/kernel/osrelease")
                .map(|release| format!("Linux-{}-{}", release.trim(), std::env::consts::ARCH))
                .unwrap_or_default(),
            cpu_count: cpu_count(&cpuinfo),
            cpu_model: cpu_model(&cpuinfo),
            memory_bytes: text("meminfo").ok().and_then(|m| meminfo(&m, "MemTotal")).unwrap_or(0),
        }
    }
}

/// Memory in use now: what is not available to programs.
pub fn memory_used(procfs: &Path) -> Option<u64> {
    let text = fs::read_to_string(procfs.join("meminfo")).ok()?;
    Some(meminfo(&text, "MemTotal")?.saturating_sub(meminfo(&text, "MemAvailable")?))
}

fn cpu_count(cpuinfo: &str) -> u32 {
    cpuinfo.lines().filter(|line| key_value(line).is_some_and(|(key, _)| key == "processor")).count() as u32
}

fn cpu_model(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(key_value)
        .find(|(key, _)| *key == "model name")
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default()
}

/// A line of `/proc/meminfo` in bytes.
fn meminfo(text: &str, wanted: &str) -> Option<u64> {
    let (_, value) = text.lines().filter_map(key_value).find(|(key, _)| *key == wanted)?;
    let kilobytes: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    Some((key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_from_the_given_tree() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/kernel")).unwrap();
        fs::write(root.path().join("sys/kernel/osrelease"), "5.15.0-91-generic\n").unwrap();
        fs::write(
            root.path().join("cpuinfo"),
            "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU @ 2.0GHz\n",
        )
        .unwrap();
        fs::write(root.path().join("meminfo"), "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n").unwrap();
        assert_eq!(
            HostFacts::read(root.path()),
            HostFacts {
                os: format!("Linux-5.15.0-91-generic-{}", std::env::consts::ARCH),
                cpu_count: 2,
                cpu_model: "Some CPU @ 2.0GHz".into(),
                memory_bytes: 2048 * 1024,
            }
        );
        assert_eq!(memory_used(root.path()), Some(1024 * 1024));
    }

    #[test]
    fn an_empty_tree_yields_empty_facts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(HostFacts::read(root.path()), HostFacts::default());
        assert_eq!(memory_used(root.path()), None);
    }
}
