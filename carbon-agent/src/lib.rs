//! Per-process energy and carbon accounting for a Linux host.
//!
//! The kernel counts who ran ([`probe`]), the meter counts what was spent ([`energy`]), a pure function
//! divides the second by the first so that the books close ([`attribution`], [`ledger`]), and exporters
//! print the ledger. `ARCHITECTURE.md` in the repository root is the map.

pub mod agent;
pub mod attribution;
pub mod carbon;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod division;
pub mod energy;
pub mod export;
pub mod health;
pub mod identity;
pub mod interval;
pub mod ledger;
pub mod logging;
pub mod perf_event;
pub mod period;
pub mod posting;
pub mod probe;
pub mod recording;
pub mod report;
pub mod sampler;
pub mod skew;
pub mod snapshot;
pub mod state;
pub mod supervision;
pub mod topology;
pub mod units;
