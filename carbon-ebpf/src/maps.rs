//! Every map: its key, its size, and what happens when it is full.
//!
//! All but the last two are arrays that the agent maps into its memory (`BPF_F_MMAPABLE`): reading a sample takes no
//! system call, and the kernel finds an entry with a bounds check and a multiplication.
//!
//! | map | key | entries (set by the loader) | bytes an entry | when full |
//! |---|---|---|---|---|
//! | `CONTROL` | 0 | 1 | 24 | cannot be |
//! | `STATES` | CPU number | possible CPUs | 192 | cannot be: one per possible CPU, online or not |
//! | `CELLS` | parity, CPU, place by pid (`table.rs`) | 2 × CPUs × cells per CPU | 64 | the time goes to the CPU's `lost`; cells of past epochs are free, so the next epoch starts empty |
//! | `ORDER` | parity, CPU, how many before it | as `CELLS` | 4 (8 with padding) | cannot be: an entry per filled cell, a cell is filled once an epoch |
//! | `CYCLES` | as `CELLS` | as `CELLS` where cycles are counted, else 1 | 8 | cannot be: an entry per cell |
//! | `COUNTERS` | CPU number | possible CPUs | | cannot be: the agent puts each CPU's counter of cycles here, if asked to |
//! | `AYA_LOGS` (aya-log) | ring buffer | 128 KiB | | the message is dropped; written only when a table is full, once per CPU and epoch |
//!
//! Cells per CPU: 16384 up to 2 CPUs, 8192 up to 4, 4096 up to 16, 2048 up to 64, else 1024 (a setting
//! overrides it). That is room for this many *active* processes per CPU and sample; with both maps and two
//! parities it takes 144 bytes each: 2.3 MiB per CPU on the smallest hosts, 144 KiB per CPU on large ones.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerfEventArray},
};
use carbon_common::{Cell, Control, CpuState};

/// `BPF_F_MMAPABLE`
const MMAPABLE: u32 = 1 << 10;

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, MMAPABLE);

#[map]
pub static STATES: Array<CpuState> = Array::with_max_entries(1, MMAPABLE);

#[map]
pub static CELLS: Array<Cell> = Array::with_max_entries(2, MMAPABLE);

/// Which cells of a CPU are filled, in the order of filling: the agent reads what is active, not the table.
#[map]
pub static ORDER: Array<u32> = Array::with_max_entries(2, MMAPABLE);

/// Hardware cycles beside the time of a cell.
#[map]
pub static CYCLES: Array<u64> = Array::with_max_entries(1, MMAPABLE);

/// The counters of cycles, one a CPU. (Nothing is ever written through it.)
#[map]
pub static COUNTERS: PerfEventArray<u64> = PerfEventArray::new(0);
