//! Which hwmon channels measure what.
//!
//! Channels carry a device name and, mostly, a label; neither follows a standard. What is recognised is listed here;
//! what is not is left out, as a wattage of something unknown is worth nothing.

use crate::energy::{Domain, Meter};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a channel gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quantity {
    /// `energyN_input`: microjoules, counting up.
    Energy,
    /// `powerN_average` or `powerN_input`: microwatts.
    Power,
}

/// One channel that is a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sensor {
    pub meter: Meter,
    pub quantity: Quantity,
    pub path: PathBuf,
    /// `amd_energy/Esocket0`: what people know it by.
    pub label: String,
}

/// Drivers of graphics cards; their channels are the card.
const GRAPHICS: [&str; 5] = ["amdgpu", "i915", "nouveau", "radeon", "xe"];

/// All recognised sensors under `<sysfs>/class/hwmon`, one a meter: a counter rather than a wattage, else the first.
pub(crate) fn discover(sysfs: &Path) -> Vec<Sensor> {
    let mut devices: Vec<(u32, PathBuf)> = fs::read_dir(sysfs.join("class/hwmon"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("hwmon")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    devices.sort();
    let mut chosen: BTreeMap<Meter, Sensor> = BTreeMap::new();
    let mut cards = 0;
    for (_, dir) in devices {
        let Some(device) = read_line(&dir.join("name")) else {
            continue;
        };
        let card = GRAPHICS.contains(&device.as_str()).then_some(cards);
        let mut found = false;
        for sensor in channels(&dir, &device, card) {
            found = true;
            let better = chosen.get(&sensor.meter).is_none_or(|other| sensor.quantity < other.quantity);
            if better {
                chosen.insert(sensor.meter, sensor);
            }
        }
        if card.is_some() && found {
            cards += 1;
        }
    }
    chosen.into_values().collect()
}

fn channels(dir: &Path, device: &str, card: Option<u32>) -> Vec<Sensor> {
    let mut sensors: Vec<Sensor> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name();
            let file = file.to_str()?;
            let (channel, rest) = file.split_once('_')?;
            let quantity = match rest {
                "input" if channel.starts_with("energy") => Quantity::Energy,
                "average" if channel.starts_with("power") => Quantity::Power,
                // A device with both gives its mean; a momentary value is for those without.
                "input" if channel.starts_with("power") && !dir.join(format!("{channel}_average")).exists() => {
                    Quantity::Power
                }
                _ => return None,
            };
            let label = read_line(&dir.join(format!("{channel}_label"))).unwrap_or_default();
            let meter = classify(device, &label, card)?;
            let shown = if label.is_empty() { channel } else { label.as_str() };
            Some(Sensor { meter, quantity, path: entry.path(), label: format!("{device}/{shown}") })
        })
        .collect();
    // Directory order is no order; the lowest channel is a device's main one.
    sensors.sort_by(|a, b| a.path.cmp(&b.path));
    sensors
}

/// The meter that a channel is; `None` where that cannot be told.
pub(crate) fn classify(device: &str, label: &str, card: Option<u32>) -> Option<Meter> {
    if let Some(card) = card {
        return Some(Meter { domain: Domain::Gpu, socket: card });
    }
    let label = label.to_ascii_lowercase();
    let number = label.trim_start_matches(|c: char| !c.is_ascii_digit());
    let socket = number.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let meter = |domain| Some(Meter { domain, socket });
    match device {
        // drivers/hwmon/amd_energy.c: Esocket0, and Ecore000 for each core, which are parts of it.
        "amd_energy" => label.starts_with("esocket").then_some(Meter { domain: Domain::Package, socket }),
        // drivers/hwmon/fam15h_power.c: the processor's own estimate.
        "fam15h_power" => Some(Meter { domain: Domain::Package, socket: 0 }),
        // drivers/hwmon/acpi_power_meter.c: the whole machine.
        "power_meter" => Some(Meter { domain: Domain::Psys, socket: 0 }),
        // A rail that feeds the graphics as well cannot be told apart.
        _ if label.contains("gpu") => None,
        _ if label.contains("dram") || label.contains("ddr") => meter(Domain::Dram),
        _ if ["package", "socket", "cpu"].iter().any(|word| label.contains(word)) => meter(Domain::Package),
        _ => None,
    }
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
