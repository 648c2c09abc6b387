//! What the probe was chosen against: measured by `cargo xtask bench probe`, never part of the agent.
//!
//! All hook `sched_switch` and charge the time since the CPU's last switch to the outgoing process, by other
//! means. `docs/decisions/probe-kernel-side.md` has the results.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_seq_write, bpf_task_storage_get,
    },
    macros::{btf_map, btf_tracepoint, map},
    maps::{PerCpuArray, PerCpuHashMap},
    programs::BtfTracePointContext,
};

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`
const CREATE: u64 = 1;

/// Byte offset of a u64 field of `task_struct`, patched in.
#[unsafe(no_mangle)]
static RUNTIME_OFFSET: u32 = 0;

#[map]
static LAST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[map]
static TIMES: PerCpuHashMap<u32, u64> = PerCpuHashMap::with_max_entries(10_240, 0);

/// Time not yet carried to the hash, and whose it is.
#[map]
static PENDING: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// Task-local storage; aya-ebpf has no type for it.
#[repr(C)]
pub struct TaskStorage {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const u64,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; 1],
}

// SAFETY: placeholders for the loader, never dereferenced.
unsafe impl Sync for TaskStorage {}

#[btf_map]
static TASKS: TaskStorage = TaskStorage {
    r#type: core::ptr::null(),
    key: core::ptr::null(),
    value: core::ptr::null(),
    max_entries: core::ptr::null(),
    map_flags: core::ptr::null(),
};

/// Nothing: what being called costs.
#[btf_tracepoint(function = "sched_switch")]
pub fn empty(_: BtfTracePointContext) -> i32 {
    0
}

/// The clock and the CPU's last switch, charged to nobody: what any of them must pay.
#[btf_tracepoint(function = "sched_switch")]
pub fn clock(_: BtfTracePointContext) -> i32 {
    let _ = since_last();
    0
}

/// A per-CPU hash by process.
#[btf_tracepoint(function = "sched_switch")]
pub fn hash(_: BtfTracePointContext) -> i32 {
    let Some(time) = since_last() else { return 0 };
    add((bpf_get_current_pid_tgid() >> 32) as u32, time);
    0
}

/// The same, but the hash is left alone while the same process (or idle) leaves the CPU again.
#[btf_tracepoint(function = "sched_switch")]
pub fn hash_skip(_: BtfTracePointContext) -> i32 {
    let Some(time) = since_last() else { return 0 };
    let tgid = bpf_get_current_pid_tgid() >> 32;
    let Some(pending) = PENDING.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's entry.
    let pending = unsafe { &mut *pending };
    if pending[0] == tgid {
        pending[1] += time;
    } else {
        add(pending[0] as u32, pending[1]);
        *pending = [tgid, time];
    }
    0
}

/// Storage that hangs on the task itself.
#[btf_tracepoint(function = "sched_switch")]
pub fn storage(_: BtfTracePointContext) -> i32 {
    let Some(time) = since_last() else { return 0 };
    // SAFETY: the map's definition and the current task; created at the first call.
    unsafe {
        let task = bpf_get_current_task_btf();
        let value = bpf_task_storage_get((&raw const TASKS).cast_mut().cast(), task, core::ptr::null_mut(), CREATE);
        if let Some(sum) = value.cast::<u64>().as_mut() {
            *sum += time;
        }
    }
    0
}

/// Nothing a switch: walks all tasks and writes one of the scheduler's own counters of each.
#[unsafe(link_section = "iter/task")]
#[unsafe(no_mangle)]
pub extern "C" fn iterate(ctx: *const *const u64) -> i32 {
    // SAFETY: struct bpf_iter__task is { meta, task }, meta begins with the seq_file; the verifier checks the rest.
    unsafe {
        let task = *ctx.add(1);
        if task.is_null() {
            return 0;
        }
        let meta = *ctx;
        let seq = *meta.cast::<*mut aya_ebpf::bindings::seq_file>();
        let offset = core::ptr::read_volatile(&raw const RUNTIME_OFFSET);
        let value = *task.cast::<u8>().add(offset as usize).cast::<u64>();
        let record = [value, value];
        bpf_seq_write(seq, (&raw const record).cast(), 16);
    }
    0
}

#[inline(always)]
fn since_last() -> Option<u64> {
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    let last = LAST.get_ptr_mut(0)?;
    // SAFETY: this CPU's entry.
    let before = unsafe { core::mem::replace(&mut *last, now) };
    Some(now.wrapping_sub(before))
}

#[inline(always)]
fn add(tgid: u32, time: u64) {
    match TIMES.get_ptr_mut(&tgid) {
        // SAFETY: this CPU's value.
        Some(sum) => unsafe { *sum += time },
        None => {
            let _ = TIMES.insert(&tgid, &time, 0);
        }
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
