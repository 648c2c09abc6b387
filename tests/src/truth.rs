//! Machines whose every joule is known, played sample by sample through our attribution and through other formulas.
//!
//! `cargo xtask bench truth` prints the table; the tests hold us to it.

mod formulas;
mod machine;
mod scenarios;
mod table;

pub use formulas::{Kepler, Method, Ours, Scaphandre};
pub use machine::{Load, Machine, Played};
pub use scenarios::{Scenario, all, named};
pub use table::{Row, markdown, measure, measure_with};

#[cfg(test)]
mod candidates;
#[cfg(test)]
mod tests;
