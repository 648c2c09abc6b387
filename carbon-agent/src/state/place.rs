//! Where the state lies, and which boot this is.

use crate::config::{Loaded, Origin};
use crate::export::files;
use std::fs;
use std::path::{Path, PathBuf};

/// The state directory of a daemon: `state_dir`. Where nobody named one and the default is not for this user,
/// `$XDG_STATE_HOME/carbon-agent` or `~/.local/state/carbon-agent`, so that a trial without root keeps its counters.
pub fn directory(loaded: &Loaded) -> PathBuf {
    let named = &loaded.config.state_dir;
    if *loaded.origin("carbon.state_dir") != Origin::Default || is_root() || usable(named) {
        return named.clone();
    }
    let of_user = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = of_user("XDG_STATE_HOME").or_else(|| Some(of_user("HOME")?.join(".local/state")));
    state.map_or_else(|| named.clone(), |state| state.join("carbon-agent"))
}

/// Whether it is there, or could be made.
fn usable(dir: &Path) -> bool {
    let nearest = dir.ancestors().find(|ancestor| ancestor.exists());
    nearest.is_some_and(|nearest| files::writable(nearest).is_ok())
}

fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The kernel's name for this boot; `None` where procfs does not tell.
pub fn boot_id(procfs: &Path) -> Option<String> {
    let id = fs::read_to_string(procfs.join("sys/kernel/random/boot_id")).ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| id.to_owned())
}
