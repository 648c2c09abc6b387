//! Constants that the loader patches in before the program is loaded.

use carbon_common::{Settings, TaskLayout};

/// A constant for the verifier, a value unknown until load for the compiler.
#[repr(transparent)]
pub struct Patched<T>(T);

#[unsafe(no_mangle)]
pub static SETTINGS: Patched<Settings> =
    Patched(Settings { cpus: 1, cell_bits: 0, threads: 0, interrupts: 0, cycles: 0 });

#[unsafe(no_mangle)]
pub static LAYOUT: Patched<TaskLayout> = Patched(TaskLayout {
    pid: 0,
    tgid: 0,
    start_boottime: 0,
    group_leader: 0,
    real_parent: 0,
    flags: 0,
    comm: 0,
    signal: 0,
    signal_live: 0,
});

/// Reads one field; volatile, since the loader changes what the compiler believes to be constant.
macro_rules! patched {
    ($name:ident . $field:ident) => {
        // SAFETY: a field of an initialised static.
        unsafe { core::ptr::read_volatile(&raw const (*$crate::settings::$name.get()).$field) }
    };
}
pub(crate) use patched;

impl<T> Patched<T> {
    pub const fn get(&self) -> *const T {
        &raw const self.0
    }
}
