//! The project's own tasks: one file each.

mod bench;
mod bench_truth;
mod build_ebpf;
mod coverage;
mod dist;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the kernel program from source and keep the object, with its manifest, in carbon-ebpf/object
    BuildEbpf(build_ebpf::Arguments),
    /// Package: .deb, .tar.gz and SHA256SUMS in target/dist
    Dist(dist::Arguments),
    /// How much of the agent its tests run, by crate and module; fails below 85 % of the lines
    Coverage(coverage::Arguments),
    /// Measure
    #[command(subcommand)]
    Bench(bench::What),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::BuildEbpf(arguments) => build_ebpf::run(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Coverage(arguments) => coverage::run(&arguments),
        Task::Bench(what) => bench::run(&what),
    }
}

/// The workspace's directory.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
