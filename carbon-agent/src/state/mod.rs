//! What survives the agent: one checkpoint an interval in `state_dir`, so that counters go on where they were.
//!
//! `docs/decisions/durability.md` says in which order what is written, and what a kill at each moment costs.
//!
//! Invariants: what was published had been written before; a file under its name is whole or was set aside; a state
//! directory that cannot be used degrades the agent visibly and never ends it.

mod checkpoint;
mod format;
mod place;
mod redo;
mod store;

pub use checkpoint::{Checkpoint, Moment, PendingRows, Run};
pub use place::{boot_id, directory};
pub use redo::{Redone, redo};
pub use store::{Store, peek};

#[cfg(test)]
mod tests;
