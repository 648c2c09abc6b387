//! The `power` PMU as sysfs describes it: which events there are, on which CPUs, and what a count is worth.

use crate::energy::{Domain, EnergyError, Meter};
use std::fs;
use std::path::Path;

/// One counter to open: an event on one CPU.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// `energy-pkg`.
    pub name: String,
    pub meter: Meter,
    /// PMU type and event number, for `perf_event_attr`.
    pub kind: u32,
    pub config: u64,
    pub cpu: u32,
    /// Joules a count.
    pub joules: f64,
}

/// Events and their domains. `energy-gpu` is the graphics part of the package (RAPL's PP1), not a card.
const NAMES: [(&str, Domain); 5] = [
    ("energy-pkg", Domain::Package),
    ("energy-cores", Domain::Core),
    ("energy-gpu", Domain::Uncore),
    ("energy-ram", Domain::Dram),
    ("energy-psys", Domain::Psys),
];

/// Every event that can be counted, one for each CPU of the PMU's `cpumask` (one a package or die).
pub(crate) fn discover(sysfs: &Path) -> Result<Vec<Event>, EnergyError> {
    let pmu = sysfs.join("bus/event_source/devices/power");
    let read = |name: &str| fs::read_to_string(pmu.join(name)).ok().map(|text| text.trim().to_owned());
    let absent = |what: String| EnergyError {
        kind: "absent",
        what,
        remedy: "load the driver (modprobe rapl); virtual machines have none: use --energy model".into(),
    };
    let Some(kind) = read("type").and_then(|kind| kind.parse().ok()) else {
        return Err(absent(format!("no perf power PMU at {}", pmu.display())));
    };
    let cpus = read("cpumask").map_or_else(|| vec![0], |mask| parse_cpus(&mask));
    let mut events = Vec::new();
    for (name, domain) in NAMES {
        let config = read(&format!("events/{name}")).and_then(|text| parse_config(&text));
        let scale = read(&format!("events/{name}.scale")).and_then(|scale| scale.parse::<f64>().ok());
        let unit = read(&format!("events/{name}.unit")).unwrap_or_default();
        let (Some(config), Some(joules)) = (config, scale) else {
            continue;
        };
        // Another unit than joules has never been seen; guessing what it means would be worse than leaving it out.
        if unit != "Joules" || !joules.is_finite() || joules <= 0.0 {
            continue;
        }
        for cpu in &cpus {
            let meter = Meter { domain, socket: if domain == Domain::Psys { 0 } else { socket_of(sysfs, *cpu) } };
            events.push(Event { name: name.into(), meter, kind, config, cpu: *cpu, joules });
            // The platform has one counter however many packages show it.
            if domain == Domain::Psys {
                break;
            }
        }
    }
    if events.is_empty() {
        return Err(absent(format!("the perf power PMU at {} has no energy event in joules", pmu.display())));
    }
    Ok(events)
}

/// `event=0x02` (and whatever else separated by commas) as the PMU's config; the event takes its lowest bits.
fn parse_config(text: &str) -> Option<u64> {
    let value = text.split(',').find_map(|term| term.trim().strip_prefix("event="))?;
    match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    }
}

/// A kernel CPU list: `0,18` or `0-3,8`. What does not parse is left out.
fn parse_cpus(list: &str) -> Vec<u32> {
    list.split(',')
        .filter_map(|part| {
            let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
            Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
        })
        .flatten()
        .collect()
}

fn socket_of(sysfs: &Path, cpu: u32) -> u32 {
    let path = sysfs.join(format!("devices/system/cpu/cpu{cpu}/topology/physical_package_id"));
    fs::read_to_string(path).ok().and_then(|socket| socket.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_and_event_terms() {
        assert_eq!(parse_cpus("0,18\n"), [0, 18]);
        assert_eq!(parse_cpus("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(parse_cpus(""), [] as [u32; 0]);
        assert_eq!(parse_config("event=0x02"), Some(2));
        assert_eq!(parse_config("umask=1,event=5"), Some(5));
        assert_eq!(parse_config("raw"), None);
    }
}
