//! The Prometheus series: built from the latest publication at each scrape, so a scrape changes nothing.

mod encode;
mod error_kinds;
pub mod family;
mod samples;
mod self_stats;

pub use encode::{classic, openmetrics};
pub use samples::{Series, collect};
pub use self_stats::SelfStats;

#[cfg(test)]
mod tests;
