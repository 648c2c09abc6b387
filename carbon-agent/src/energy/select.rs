//! Which energy source a host gets: the named one, or the first of the declared order that works.

use super::hwmon::Hwmon;
use super::model::{Model, Overrides};
use super::perf::PerfPower;
use super::powercap::Powercap;
use super::{EnergyError, EnergySource};
use std::path::PathBuf;
use std::str::FromStr;

/// What the operator asked for: `--energy auto|rapl|perf|hwmon|model`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first of powercap, perf, hwmon, model that works.
    #[default]
    Auto,
    Rapl,
    Perf,
    Hwmon,
    Model,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "rapl" => Ok(Self::Rapl),
            "perf" => Ok(Self::Perf),
            "hwmon" => Ok(Self::Hwmon),
            "model" => Ok(Self::Model),
            _ => Err(format!("no energy source {text:?}; use auto, rapl, perf, hwmon or model")),
        }
    }
}

/// Where the host's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `/sys`, or what `--host-sysfs` names.
    pub sysfs: PathBuf,
    /// `/proc`, or what `--host-procfs` names.
    pub procfs: PathBuf,
    /// `--powercap DIR`: the directory that holds `intel-rapl:0`; `<sysfs>/class/powercap` where not given.
    pub powercap: Option<PathBuf>,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sysfs: "/sys".into(), procfs: "/proc".into(), powercap: None }
    }
}

type Opened = Result<Box<dyn EnergySource>, EnergyError>;

/// Opens the source that `choice` names, or the first that works.
///
/// The second value says why those earlier in the order do not work: a reason for a degraded stage, not a failure.
/// A named choice is never replaced by another: it works or is an error.
pub fn open(
    choice: Choice,
    roots: &Roots,
    overrides: Overrides,
) -> Result<(Box<dyn EnergySource>, Vec<EnergyError>), EnergyError> {
    let order: &[Choice] = match choice {
        Choice::Auto => &[Choice::Rapl, Choice::Perf, Choice::Hwmon, Choice::Model],
        Choice::Rapl => &[Choice::Rapl],
        Choice::Perf => &[Choice::Perf],
        Choice::Hwmon => &[Choice::Hwmon],
        Choice::Model => &[Choice::Model],
    };
    let mut reasons = Vec::new();
    for candidate in order {
        match open_one(*candidate, roots, overrides) {
            Ok(source) => return Ok((source, reasons)),
            Err(error) => reasons.push(error),
        }
    }
    // The last of the order is what a named choice failed with, and what `auto` ended on.
    Err(reasons.pop().unwrap_or_else(|| EnergyError {
        kind: "absent",
        what: "no energy source".into(),
        remedy: "use --energy model".into(),
    }))
}

fn open_one(choice: Choice, roots: &Roots, overrides: Overrides) -> Opened {
    match choice {
        Choice::Auto | Choice::Model => Ok(Box::new(Model::open(&roots.procfs, overrides)?)),
        Choice::Rapl => {
            let default = || roots.sysfs.join("class/powercap");
            Ok(Box::new(Powercap::open(&roots.powercap.clone().unwrap_or_else(default))?))
        }
        Choice::Perf => Ok(Box::new(PerfPower::open(&roots.sysfs)?)),
        Choice::Hwmon => Ok(Box::new(Hwmon::open(&roots.sysfs)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn empty_host() -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let roots = Roots { sysfs: dir.path().join("sys"), procfs: dir.path().join("proc"), powercap: None };
        fs::create_dir_all(&roots.sysfs).expect("sysfs");
        fs::create_dir_all(&roots.procfs).expect("procfs");
        (dir, roots)
    }

    #[test]
    fn auto_ends_with_the_model_and_keeps_every_reason() {
        let (_dir, roots) = empty_host();
        let (source, reasons) = open(Choice::Auto, &roots, Overrides::default()).expect("a model");
        assert_eq!(source.method(), "model:unknown");
        assert_eq!(reasons.len(), 3);
        assert!(reasons.iter().all(|reason| !reason.what.is_empty() && !reason.remedy.is_empty()));
        assert!(reasons[0].what.contains("class/powercap"));
    }

    #[test]
    fn a_named_choice_that_cannot_work_is_an_error() {
        let (_dir, roots) = empty_host();
        for choice in [Choice::Rapl, Choice::Perf, Choice::Hwmon] {
            let error = open(choice, &roots, Overrides::default()).err().expect("nothing there");
            assert!(!error.remedy.is_empty(), "{error}");
        }
    }

    #[test]
    fn choices_are_named_as_the_flag_names_them() {
        assert_eq!("hwmon".parse(), Ok(Choice::Hwmon));
        assert!("tea".parse::<Choice>().expect_err("no such source").contains("auto, rapl, perf"));
    }

    #[test]
    fn powercap_comes_first_and_may_lie_elsewhere() {
        let (dir, mut roots) = empty_host();
        for tree in ["sys/class/powercap", "share"] {
            let zone = dir.path().join(tree).join("intel-rapl:0");
            fs::create_dir_all(&zone).expect("a zone");
            fs::write(zone.join("name"), "package-0\n").expect("a name");
            fs::write(zone.join("energy_uj"), "1\n").expect("a counter");
        }
        let (source, reasons) = open(Choice::Auto, &roots, Overrides::default()).expect("powercap");
        assert_eq!((source.method().as_str(), reasons.len()), ("rapl-powercap", 0));
        roots.powercap = Some(dir.path().join("share"));
        let (source, _) = open(Choice::Rapl, &roots, Overrides::default()).expect("the share");
        assert!(source.describe().contains("share"));
    }
}
