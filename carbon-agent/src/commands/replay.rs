//! `carbon-agent replay FILE`: a recording through attribution and ledger once more, under policies of one's choice.

use super::Failure;
use crate::agent;
use crate::attribution::weights::Policy;
use crate::cli::ReplayArgs;
use crate::config::{Loaded, Origin, WeightsChoice};
use crate::recording::{self, Recording};
use std::fs::File;
use std::io::BufReader;

/// The report. Policies that no flag names are those of the recorded run, whatever this host is configured to.
pub fn replay(loaded: &Loaded, arguments: &ReplayArgs) -> Result<String, Failure> {
    let name = arguments.file.display();
    let file = File::open(&arguments.file).map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    let fault = |fault: recording::Fault| Failure::job(format!("{name}: {fault}"));
    let recording = Recording::open(Box::new(BufReader::new(file))).map_err(fault)?;
    let header = recording.header.clone();
    let by_flag = |key: &str| matches!(loaded.origin(key), Origin::Flag(_));
    let idle = if by_flag("carbon.idle") { agent::idle_policy(loaded.config.idle) } else { header.idle };
    let weights = match loaded.config.weights {
        _ if !by_flag("carbon.weights") => header.weights,
        WeightsChoice::Auto => header.weights,
        WeightsChoice::Time => Policy::Time,
        WeightsChoice::Learned => Policy::Learned,
        WeightsChoice::Cycles => Policy::Cycles,
    };
    let replayed = recording::replay(recording, idle, weights).map_err(fault)?;
    if replayed.cut_short {
        eprintln!("carbon-agent: {name}: the last line is not whole; replayed the {} samples before", replayed.samples);
    }
    Ok(recording::report::render(&header, idle, &replayed.ledger, &replayed.division))
}
