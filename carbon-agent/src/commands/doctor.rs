//! `carbon-agent doctor`: what this host can measure, what it cannot, and the exact remedy. It opens every source for
//! real: what it says works has worked just now.

use crate::agent;
use crate::config::model::Config;
use crate::energy::nvml::Gpus;
use crate::{energy, probe};
use std::fmt::Write as _;

/// The findings, a line each; 1 when something is in the way of measured figures.
pub fn doctor(config: &Config) -> (String, u8) {
    let mut report = String::new();
    let mut measured = true;
    let kernel = std::fs::read_to_string(config.host.procfs.join("sys/kernel/osrelease")).unwrap_or_default();
    line(&mut report, Mark::Good, "kernel", kernel.trim());

    let options = agent::probe_options(config, false);
    for (name, choice) in [("probe ebpf", probe::Choice::Ebpf), ("probe procfs", probe::Choice::Procfs)] {
        match probe::open(choice, &options) {
            Ok((probe, _)) => line(&mut report, Mark::Good, name, &probe.describe()),
            Err(error) => {
                measured &= choice != probe::Choice::Ebpf;
                line(&mut report, Mark::Bad, name, &error.to_string());
            }
        }
    }

    let roots = agent::energy_roots(config);
    let overrides = agent::model_overrides(config);
    let mut meters = 0;
    let sources = [
        ("energy rapl", energy::Choice::Rapl),
        ("energy perf", energy::Choice::Perf),
        ("energy hwmon", energy::Choice::Hwmon),
        ("energy model", energy::Choice::Model),
    ];
    for (name, choice) in sources {
        match energy::open(choice, &roots, overrides) {
            Ok((source, _)) => {
                meters += usize::from(choice != energy::Choice::Model);
                line(&mut report, Mark::Good, name, &source.describe());
            }
            Err(error) => line(&mut report, Mark::Missing, name, &error.to_string()),
        }
    }
    match Gpus::open(0) {
        Ok(Some(gpus)) => line(&mut report, Mark::Good, "energy gpu", &gpus.describe()),
        Ok(None) => line(&mut report, Mark::Good, "energy gpu", "no NVIDIA driver here, and so no such cards to meter"),
        Err(error) => line(&mut report, Mark::Missing, "energy gpu", &error.to_string()),
    }
    measured &= meters > 0;
    let verdict = if measured {
        "CPU time and energy can be measured here"
    } else {
        "some figures will be estimated: see the lines above for what is missing"
    };
    line(&mut report, if measured { Mark::Good } else { Mark::Missing }, "verdict", verdict);
    (report, u8::from(!measured))
}

enum Mark {
    Good,
    Missing,
    Bad,
}

fn line(report: &mut String, mark: Mark, name: &str, text: &str) {
    let mark = match mark {
        Mark::Good => "✅",
        Mark::Missing => "⚠️ ",
        Mark::Bad => "❌",
    };
    writeln!(report, "{mark} {name}: {text}").expect("writing to a string does not fail");
}
