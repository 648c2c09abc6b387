//! Optional: the CPU's own counter of cycles, read at every event beside the clock.

use crate::{
    maps::{COUNTERS, CYCLES},
    settings::patched,
};
use aya_ebpf::{bindings::BPF_F_CURRENT_CPU, helpers::bpf_perf_event_read};
use carbon_common::CpuState;

/// Above this the helper's answer is a negative error number.
const ERRORS: u64 = u64::MAX - 4095;

#[inline(always)]
pub fn counted() -> bool {
    patched!(SETTINGS.cycles) != 0
}

/// Cycles of this CPU since time was last charged, which it is now; 0 where there is no counter, or was none before.
#[inline(always)]
pub fn since_charged(state: &mut CpuState) -> u64 {
    if !counted() {
        return 0;
    }
    let (before, value) = (state.cycles, read());
    state.cycles = value;
    if before == 0 { 0 } else { value.saturating_sub(before) }
}

/// Of the cycles since time was last charged, `time` nanoseconds ago, those of the first `part` nanoseconds. What is left
/// is for the next charge.
#[inline(always)]
pub fn up_to(state: &mut CpuState, part: u64, time: u64) -> u64 {
    if !counted() || state.cycles == 0 {
        return 0;
    }
    let cycles = read().saturating_sub(state.cycles);
    // A CPU that is busy has an event at least every few seconds, so that this does not overflow: 2^36 × 2^24.
    let time = (time >> 10).max(1);
    let old = cycles * (part >> 10).min(time) / time;
    state.cycles += old;
    old
}

/// This CPU's counter; 0 where there is none.
#[inline(always)]
fn read() -> u64 {
    // SAFETY: the map is of the kind that the helper takes; it only reads.
    let value = unsafe { bpf_perf_event_read((&raw const COUNTERS).cast_mut().cast(), BPF_F_CURRENT_CPU) };
    if value < ERRORS { value } else { 0 }
}

/// Adds to what stands beside a cell.
#[inline(always)]
pub fn add(index: u32, cycles: u64) {
    if counted()
        && let Some(entry) = CYCLES.get_ptr_mut(index)
    {
        // SAFETY: an entry of the map, of this CPU's part.
        unsafe { *entry += cycles };
    }
}

/// A cell begins.
#[inline(always)]
pub fn clear(index: u32) {
    if counted()
        && let Some(entry) = CYCLES.get_ptr_mut(index)
    {
        // SAFETY: an entry of the map, of this CPU's part.
        unsafe { *entry = 0 };
    }
}
