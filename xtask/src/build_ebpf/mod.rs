//! `cargo xtask build-ebpf`: the kernel program from source to the object that carbon-agent embeds.
//!
//! The object is kept in the repository, so that a plain `cargo build` needs no eBPF toolchain. The same source,
//! lock file and tools give the same bytes, wherever the source and cargo's home lie.

mod manifest;
mod toolchain;

use crate::root;
use anyhow::{Context, Result, bail, ensure};
use manifest::Manifest;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use toolchain::Toolchain;

const TARGET: &str = "bpfel-unknown-none";

#[derive(clap::Args)]
pub struct Arguments {
    /// Build to target/ebpf only, and fail when the kept object is not what the source gives
    #[arg(long)]
    check: bool,
    /// Write the object here instead of carbon-ebpf/object, and no manifest
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    output: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let kept = root().join("carbon-ebpf/object");
    let object_file = kept.join("carbon-ebpf.o");
    let manifest_file = kept.join("manifest.json");
    let before = Manifest::read(&manifest_file);
    let toolchain = Toolchain::find(before.as_ref().map(|manifest| manifest.rustc.as_str()))?;
    let built = build(&toolchain, "carbon-ebpf")?;
    let object = fs::read(&built).with_context(|| built.display().to_string())?;
    let now = Manifest::of(&object, &toolchain)?;
    println!("built {} with {} ({})", built.display(), now.rustc, toolchain.kind());
    if arguments.check {
        return check(before.as_ref(), &now, &fs::read(&object_file).unwrap_or_default(), &object);
    }
    if let Some(output) = &arguments.output {
        return fs::write(output, &object).with_context(|| output.display().to_string());
    }
    fs::create_dir_all(&kept)?;
    fs::write(&object_file, &object).with_context(|| object_file.display().to_string())?;
    now.write(&manifest_file)?;
    println!("kept {}: {} bytes, sha256 {}", object_file.display(), object.len(), now.object);
    Ok(())
}

/// The kept object must be what the source gives: the same bytes with the same tools, else the same sources.
fn check(before: Option<&Manifest>, now: &Manifest, kept: &[u8], built: &[u8]) -> Result<()> {
    let remedy = "run `cargo xtask build-ebpf` and commit carbon-ebpf/object";
    let Some(before) = before else { bail!("carbon-ebpf/object/manifest.json is missing or unreadable; {remedy}") };
    ensure!(
        manifest::digest(kept) == before.object,
        "the kept object is not the one that its manifest describes; {remedy}"
    );
    ensure!(
        before.sources == now.sources,
        "the kept object is stale: the kernel program's sources have changed since it was built; {remedy}"
    );
    if (&before.rustc, &before.linker) == (&now.rustc, &now.linker) {
        ensure!(
            kept == built,
            "the kept object is stale: the same tools build different bytes from this source; {remedy}"
        );
        println!("the kept object is what the source gives, byte for byte");
    } else {
        println!(
            "the kept object was built from these sources; bytes not compared, since the tools differ: \
             kept with {} and {}, here {} and {}",
            before.rustc, before.linker, now.rustc, now.linker
        );
    }
    Ok(())
}

/// The programs that `bench probe` compares, built into target/ebpf only.
pub fn build_bench() -> Result<PathBuf> {
    let kept = Manifest::read(&root().join("carbon-ebpf/object/manifest.json"));
    build(&Toolchain::find(kept.as_ref().map(|manifest| manifest.rustc.as_str()))?, "alternatives")
}

fn build(toolchain: &Toolchain, program: &str) -> Result<PathBuf> {
    let root = root();
    let target = root.join("target/ebpf");
    let mut command = toolchain.cargo();
    command
        .current_dir(&root)
        .args(["build", "--locked", "--package", "carbon-ebpf", "--release", "--target", TARGET, "--bin", program])
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain, &root)?.join("\x1f"));
    // The workspace's release profile is the agent's; a change there must not change the object.
    for (key, value) in [
        ("OPT_LEVEL", "3"),
        ("LTO", "false"),
        ("CODEGEN_UNITS", "1"),
        ("DEBUG", "2"),
        ("STRIP", "none"),
        ("PANIC", "abort"),
        ("OVERFLOW_CHECKS", "false"),
        ("DEBUG_ASSERTIONS", "false"),
        ("INCREMENTAL", "false"),
    ] {
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    run_quietly(&mut command)?;
    let built = target.join(TARGET).join("release").join(program);
    let object = target.join(format!("{program}.o"));
    // DWARF goes, BTF stays.
    run_quietly(Command::new(&toolchain.objcopy).arg("--strip-debug").arg(&built).arg(&object))?;
    Ok(object)
}

fn flags(toolchain: &Toolchain, root: &Path) -> Result<Vec<String>> {
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        "-Clink-arg=--btf".into(),
        // Without debug information there is no BTF.
        "-Cdebuginfo=2".into(),
        "--cfg=bpf_target_arch=\"x86_64\"".into(),
        format!("--remap-path-prefix={}=/carbon-agent", root.display()),
    ];
    // Every registry has its own directory below src, named after its address.
    let sources = toolchain::cargo_home()?.join("registry/src");
    let mut registries: Vec<PathBuf> =
        fs::read_dir(&sources).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    registries.sort();
    for registry in registries {
        flags.push(format!("--remap-path-prefix={}=/registry", registry.display()));
    }
    flags.push(format!("--remap-path-prefix={}=/rust", toolchain.sysroot.display()));
    Ok(flags)
}

fn run_quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{:?} failed ({}):\n{}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
