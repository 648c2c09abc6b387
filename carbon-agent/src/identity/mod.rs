//! Whose it is: from what is known of a process to the component that bears its energy.

pub mod cgroup;
pub mod cgroups;
mod discovery;
mod facts;
mod hierarchy;
mod host;
pub mod label;
pub mod names;
mod policy;
pub mod rules;
mod stat;
mod table;
mod users;

pub use facts::Facts;
pub use host::Host;
pub use policy::Policy;
pub use table::{Basis, ProcessTable};
