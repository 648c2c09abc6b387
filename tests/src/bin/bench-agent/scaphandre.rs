//! The peer: Scaphandre 1.0 with its Prometheus exporter's pass, once a second, on the same tree.

use crate::{
    meter::Cost,
    subject::{Started, Tree},
};
use anyhow::{Context, Result, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const INSTALL: &str = "\
Scaphandre is not installed; figures of the agent alone follow. To have both:
    cargo install scaphandre --version 1.0.0 --no-default-features --features \"prometheus json\"";

/// Scaphandre ends with a panic where `/proc/modules` is missing (a kernel without modules): it is given an empty one.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
typedef int (*opener)(const char *, int, ...);
static int pass(const char *name, const char *path, int flags, mode_t mode) {
    if (strcmp(path, "/proc/modules") == 0) path = "/dev/null";
    return ((opener)dlsym(RTLD_NEXT, name))(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest);
    return pass("open", path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest);
    return pass("open64", path, flags, mode);
}
"#;

pub struct Scaphandre {
    binary: PathBuf,
    shim: Option<PathBuf>,
    output: PathBuf,
}

impl Scaphandre {
    /// `None`, and how to get it, where it is not on the PATH.
    pub fn find(folder: &Path) -> Result<Option<Self>> {
        let path = env::var_os("PATH").unwrap_or_default();
        let Some(binary) = env::split_paths(&path).map(|folder| folder.join("scaphandre")).find(|file| file.is_file())
        else {
            println!("{INSTALL}\n");
            return Ok(None);
        };
        let shim = if Path::new("/proc/modules").exists() { None } else { Some(build_shim(folder)?) };
        Ok(Some(Self { binary, shim, output: folder.join("scaphandre.json") }))
    }

    /// As a guest reads its host's share, which is how it is pointed at another tree than the kernel's.
    pub fn measure(&self, tree: &Tree, seconds: Duration) -> Result<Cost> {
        let mut command = Command::new(&self.binary);
        command.args(["--vm", "json", "--step", "1", "--file"]).arg(&self.output);
        command.env("SCAPHANDRE_POWERCAP_PATH", tree.powercap());
        if let Some(shim) = &self.shim {
            command.env("LD_PRELOAD", shim);
        }
        let cost = Started::start(&mut command)?.measure(seconds).context("Scaphandre")?;
        let written = fs::metadata(&self.output).is_ok_and(|file| file.len() > 0);
        ensure!(written, "Scaphandre wrote nothing: it cannot have measured");
        let _ = fs::remove_file(&self.output);
        Ok(cost)
    }
}

fn build_shim(folder: &Path) -> Result<PathBuf> {
    let (source, library) = (folder.join("modules.c"), folder.join("modules.so"));
    fs::write(&source, SHIM)?;
    let status = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
    ensure!(status.context("cc, to stand in for /proc/modules")?.success(), "the stand-in for /proc/modules");
    Ok(library)
}
