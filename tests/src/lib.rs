//! What the integration suites share: the real binary, the conditions a test needs, a meter whose truth is known.

pub mod agent;
pub mod books;
pub mod cgroups;
pub mod codecarbon;
pub mod contract;
pub mod counter_page;
pub mod daemon;
pub mod debian;
pub mod deploy;
pub mod engine;
pub mod exposition;
pub mod hotplug;
pub mod http;
pub mod identity;
pub mod kernel;
pub mod mount;
pub mod need;
pub mod pids;
pub mod powercap_tree;
pub mod prometheus;
pub mod systemd;
pub mod truth;
pub mod workers;
