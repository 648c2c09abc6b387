//! Which zones a powercap tree holds and which meter each one is.
//!
//! The kernel nests zones (`intel-rapl:0/intel-rapl:0:0`) and links all of them flat into `class/powercap`, so the
//! same zone is met on several paths. The id is what tells zones apart; a path is only where to read it.

use crate::energy::{Domain, EnergyError, Meter};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// The control type whose counters count; any other (`intel-rapl-mmio`) shows the same hardware a second time.
const PRIMARY: &str = "intel-rapl";

/// Deep enough for `DIR/intel-rapl/intel-rapl:0/intel-rapl:0:0`.
const DEPTH: usize = 3;

/// One zone of the tree that is a meter of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    /// `intel-rapl:0:1`: unique in the tree.
    pub id: String,
    /// `package-0`, or `package-0/dram` for a part: what people know it by.
    pub label: String,
    pub meter: Meter,
    pub energy: PathBuf,
    /// `max_energy_range_uj`; `None` where the tree has none (a share from a hypervisor).
    pub range: Option<NonZeroU64>,
}

/// A control type and the place in its tree: `intel-rapl-mmio:0:1` is `("intel-rapl-mmio", [0, 1])`.
fn parse_id(id: &str) -> Option<(&str, Vec<u32>)> {
    let (control, indices) = id.split_once(':')?;
    let indices = indices.split(':').map(|index| index.parse().ok()).collect::<Option<Vec<u32>>>()?;
    control.starts_with(PRIMARY).then_some((control, indices))
}

/// All zones under `root` that count energy, in the order of their ids. Those of another control type are left out
/// where the primary one has the same.
pub(crate) fn discover(root: &Path) -> Result<Vec<Zone>, EnergyError> {
    let mut found = BTreeMap::new();
    collect(root, DEPTH, &mut found).map_err(|error| root_error(root, &error))?;
    let names: BTreeMap<&str, Option<String>> =
        found.iter().map(|(id, dir)| (id.as_str(), read_line(&dir.join("name")))).collect();
    let mut zones: Vec<(bool, Zone)> = found
        .iter()
        .filter_map(|(id, dir)| {
            let (control, indices) = parse_id(id)?;
            let parent = id.rsplit_once(':').map(|(parent, _)| parent).filter(|parent| names.contains_key(parent));
            let name = names[id.as_str()].as_deref();
            let parent_name = parent.and_then(|parent| names[parent].as_deref());
            let (meter, label) = classify(&indices, name, parent.is_some(), parent_name)?;
            let range = read_line(&dir.join("max_energy_range_uj"))
                .and_then(|range| range.parse().ok())
                .and_then(NonZeroU64::new);
            let energy = dir.join("energy_uj");
            Some((control == PRIMARY, Zone { id: id.clone(), label, meter, energy, range }))
        })
        .collect();
    let primary: BTreeSet<String> =
        zones.iter().filter(|(primary, _)| *primary).map(|(_, zone)| zone.label.clone()).collect();
    zones.retain(|(is_primary, zone)| *is_primary || !primary.contains(&zone.label));
    Ok(zones.into_iter().map(|(_, zone)| zone).collect())
}

/// Collects every zone directory by its id; the path met first stays.
fn collect(dir: &Path, depth: usize, found: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !name.starts_with(PRIMARY) {
            continue;
        }
        if parse_id(name).is_some() && path.join("energy_uj").symlink_metadata().is_ok() {
            found.entry(name.to_owned()).or_insert_with(|| path.clone());
        }
        if depth > 0 && path.is_dir() {
            // A zone may be taken away while we look; what is gone is simply not found.
            let _ = collect(&path, depth - 1, found);
        }
    }
    Ok(())
}

/// The meter that a zone is, and its label; `None` for a zone that nobody can put a name to.
fn classify(indices: &[u32], name: Option<&str>, nested: bool, parent_name: Option<&str>) -> Option<(Meter, String)> {
    let by_place = *indices.first()?;
    let socket_of = |package: Option<&str>| package.and_then(package_socket).unwrap_or(by_place);
    let Some(name) = name else {
        // A share from a hypervisor may hold nothing but `energy_uj`. What has no parent is then the whole guest on
        // that socket; a nameless part of something else cannot be told.
        let meter = Meter { domain: Domain::Package, socket: by_place };
        return (!nested).then(|| (meter, format!("package-{by_place}")));
    };
    if let Some(socket) = package_socket(name) {
        return Some((Meter { domain: Domain::Package, socket }, name.to_owned()));
    }
    if let Some(rest) = name.strip_prefix("psys") {
        let socket = rest.strip_prefix('-').and_then(|socket| socket.parse().ok()).unwrap_or(0);
        return Some((Meter { domain: Domain::Psys, socket }, name.to_owned()));
    }
    let domain = match name {
        "core" => Domain::Core,
        "uncore" => Domain::Uncore,
        "dram" => Domain::Dram,
        _ => return None,
    };
    let socket = socket_of(parent_name);
    let package = parent_name.map_or_else(|| format!("package-{socket}"), str::to_owned);
    Some((Meter { domain, socket }, format!("{package}/{name}")))
}

/// The socket in `package-1` or, where each die has its own counter, `package-1-die-0`.
fn package_socket(name: &str) -> Option<u32> {
    name.strip_prefix("package-")?.split('-').next()?.parse().ok()
}

/// Whether two zones of one meter show one and the same counter.
///
/// Older kernels give each die of some processors a zone although the counters are per package: all dies of a socket
/// then show the same number, and adding them up would double the energy. Counters of their own agree to the
/// microjoule only at zero.
pub(crate) fn same_counter(a: &Zone, b: &Zone) -> bool {
    let value = |zone: &Zone| read_line(&zone.energy).and_then(|value| value.parse::<u64>().ok());
    // The counter may move between the two reads, hence the attempts.
    a.meter == b.meter && (0..3).any(|_| matches!((value(a), value(b)), (Some(a), Some(b)) if a == b && a > 0))
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn root_error(root: &Path, error: &io::Error) -> EnergyError {
    match error.kind() {
        io::ErrorKind::NotFound => EnergyError {
            kind: "absent",
            what: format!("no powercap tree at {}", root.display()),
            remedy: "on hardware load the driver (modprobe intel_rapl_msr); in a virtual machine mount the \
                     hypervisor's share and name it with --powercap DIR, or use --energy model"
                .into(),
        },
        _ => EnergyError {
            kind: "unreadable",
            what: format!("cannot list {}: {error}", root.display()),
            remedy: "make the directory readable to the agent's user".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(indices: &[u32], name: Option<&str>, parent: Option<Option<&str>>, expected: Option<(Domain, u32, &str)>) {
        let got = classify(indices, name, parent.is_some(), parent.flatten());
        let expected = expected.map(|(domain, socket, label)| (Meter { domain, socket }, label.to_owned()));
        assert_eq!(got, expected);
    }

    #[test]
    fn names_become_meters() {
        check(&[0], Some("package-0"), None, Some((Domain::Package, 0, "package-0")));
        check(&[2], Some("package-1-die-0"), None, Some((Domain::Package, 1, "package-1-die-0")));
        check(&[1], Some("psys"), None, Some((Domain::Psys, 0, "psys")));
        check(&[3], Some("psys-1"), None, Some((Domain::Psys, 1, "psys-1")));
        let package = Some(Some("package-1"));
        check(&[2, 0], Some("dram"), package, Some((Domain::Dram, 1, "package-1/dram")));
        check(&[2, 1], Some("core"), package, Some((Domain::Core, 1, "package-1/core")));
        let die = Some(Some("package-1-die-1"));
        check(&[3, 0], Some("uncore"), die, Some((Domain::Uncore, 1, "package-1-die-1/uncore")));
        check(&[0, 0], Some("tea"), package, None);
    }

    #[test]
    fn a_share_without_names_is_the_guest() {
        check(&[1], None, None, Some((Domain::Package, 1, "package-1")));
        check(&[0, 0], None, None, Some((Domain::Package, 0, "package-0")));
        check(&[0, 0], None, Some(None), None);
    }

    #[test]
    fn ids_are_told_from_other_names() {
        assert_eq!(parse_id("intel-rapl:0:1"), Some(("intel-rapl", vec![0, 1])));
        assert_eq!(parse_id("intel-rapl-mmio:0"), Some(("intel-rapl-mmio", vec![0])));
        assert_eq!(parse_id("intel-rapl"), None);
        assert_eq!(parse_id("intel-rapl:x"), None);
        assert_eq!(parse_id("dtpm:0"), None);
    }
}
