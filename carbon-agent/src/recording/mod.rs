//! Recordings: samples of CPU time and energy as JSON lines, and sending them through the books again.
//!
//! `docs/replay.md` documents the format. A replay runs the very code of the live run ([`crate::division`],
//! [`crate::ledger`]) on the very input, so that its figures are the same to the last bit.

mod format;
mod read;
pub mod report;
mod write;

pub use format::Header;
pub use read::{Fault, Recording};
pub use write::Recorder;

use crate::attribution::IdlePolicy;
use crate::attribution::weights::{self, Policy};
use crate::division::Division;
use crate::energy::baseline::Baseline;
use crate::ledger::Ledger;
use crate::posting::Terms;
use crate::topology::Topology;

/// The books of a replayed recording, and what was learned for them.
#[derive(Debug)]
pub struct Replayed {
    pub ledger: Ledger,
    pub division: Division,
    pub samples: u64,
    /// The last line is not whole: the recorder was killed. Everything before it counts.
    pub cut_short: bool,
}

/// Sends a recording through attribution and ledger under the given policies.
pub fn replay(mut recording: Recording, idle: IdlePolicy, weights: Policy) -> Result<Replayed, Fault> {
    let header = &recording.header;
    if weights == Policy::Cycles && header.weights != Policy::Cycles {
        return Err(Fault::at(1, "no cycles were recorded: replay it with `--weights time` or `learned`"));
    }
    let topology = Topology::of(header.topology.iter().copied());
    let mut ledger = Ledger::with_components(header.components.iter().map(String::as_str));
    let mut division = Division::new(Baseline::default().restore(&header.baseline), weights::of(weights));
    let mut samples = 0;
    while let Some(sample) = recording.next_sample(&topology)? {
        samples += 1;
        let terms = Terms { idle, intensity: sample.intensity, ..Terms::default() };
        let component_of = |process, tid| sample.component(process, tid);
        let posting = division.divide(&sample.raw, &topology, &sample.known_idle, terms, component_of);
        ledger.post(&posting, component_of);
    }
    Ok(Replayed { ledger, division, samples, cut_short: recording.cut_short() })
}

#[cfg(test)]
mod tests;
