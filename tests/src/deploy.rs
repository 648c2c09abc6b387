//! Environments for the deployment suites: machines that boot the Debian root, packages to install in them.

pub mod machine;
pub mod packages;
