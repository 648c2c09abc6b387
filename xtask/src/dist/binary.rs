//! The binary that ships: built against the glibc of the oldest promised host, and checked for it.

use super::done;
use crate::root;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ubuntu 22.04.
const GLIBC: (u32, u32) = (2, 35);

/// Builds with zig as the linker, which brings the symbol versions of any glibc; without it by the host's own linker,
/// and says so. Whether that will do, [`check_glibc`] tells.
pub fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new("cargo");
    command.current_dir(root());
    if zig() {
        let old = format!("{target}.{}.{}", GLIBC.0, GLIBC.1);
        command.args(["zigbuild", "--release", "--package", "carbon-agent", "--target", &old]);
    } else {
        eprintln!("dist: no cargo-zigbuild with zig (pip install ziglang): linking against this host's glibc");
        command.args(["build", "--release", "--package", "carbon-agent", "--target", &target]);
    }
    done(&mut command)?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(folder.join(target).join("release/carbon-agent"))
}

fn zig() -> bool {
    let works = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let any = works("zig", &["version"]) || works("python3", &["-m", "ziglang", "version"]);
    let named = std::env::var_os("CARGO_ZIGBUILD_ZIG_PATH").is_some();
    works("cargo-zigbuild", &["--version"]) && (any || named)
}

/// Fails when the binary needs a symbol newer than the promised glibc has.
pub fn check_glibc(path: &Path) -> Result<()> {
    let output = Command::new("readelf").args(["--version-info", "--wide"]).arg(path).output();
    let output = output.context("readelf (binutils) reads the symbol versions")?;
    ensure!(output.status.success(), "readelf cannot read {}", path.display());
    let Some(highest) = highest_glibc(&String::from_utf8_lossy(&output.stdout)) else {
        bail!("{} names no version of glibc: is it linked dynamically?", path.display())
    };
    ensure!(
        highest <= GLIBC,
        "{} needs glibc {}.{}; the promise is {}.{}",
        path.display(),
        highest.0,
        highest.1,
        GLIBC.0,
        GLIBC.1
    );
    println!("{}: needs glibc {}.{} (promised: {}.{})", path.display(), highest.0, highest.1, GLIBC.0, GLIBC.1);
    Ok(())
}

/// The newest `GLIBC_x.y` in what readelf says.
fn highest_glibc(text: &str) -> Option<(u32, u32)> {
    let versions = text.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let mut parts = rest[..end].split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let text = "0x0010: Name: GLIBC_2.4  Flags: none\n Name: GLIBC_2.28 x\n Name: GLIBC_2.2.5 \n GLIBC_PRIVATE";
        assert_eq!(highest_glibc(text), Some((2, 28)));
        assert_eq!(highest_glibc("GCC_3.0"), None);
    }
}
