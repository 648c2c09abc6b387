//! The table of cells: open addressing by pid, emptied by the passing of the epoch.

use crate::{
    account::Moment,
    cycles,
    maps::{CELLS, ORDER},
    settings::patched,
    task::Task,
};
use carbon_common::{Cell, FILLING, Identity};
use core::{
    ptr::{read_volatile, write_volatile},
    sync::atomic::{Ordering, compiler_fence},
};

/// Places tried before time is called lost.
const PROBES: u32 = 32;

/// No cell has this index.
const NOWHERE: u32 = u32::MAX;

/// log2 of the cells in a group: 64 cells are a page.
const GROUP: u32 = 6;

/// Where to look for a thread or process, at the first try and at later ones.
///
/// Neighbouring pids, which tend to run together, share a group and so a page: what a switch costs with hundreds of
/// processes is page table walks. Where a pid collides, its whole group goes elsewhere, so that two runs
/// of neighbouring pids do not get entangled.
#[inline(always)]
fn place(tid: u32, probe: u32) -> u32 {
    let bits = patched!(SETTINGS.cell_bits);
    let mask = (1 << bits) - 1;
    if bits <= GROUP {
        return tid.wrapping_add(probe) & mask;
    }
    // Fibonacci hashing of the group.
    let group = (tid >> GROUP).wrapping_add(probe.wrapping_mul(0x0101)).wrapping_mul(0x9E37_79B1) >> 8;
    (group << GROUP | tid & ((1 << GROUP) - 1)) & mask
}

/// The cell of `who` on this CPU in this epoch and its index; fills one at the first call.
#[inline(always)]
pub fn cell<'a, T: Task>(moment: &mut Moment<'_>, who: &Identity, task: T) -> Option<(&'a mut Cell, u32)> {
    let bits = patched!(SETTINGS.cell_bits);
    let base = ((moment.epoch & 1) * patched!(SETTINGS.cpus) + moment.cpu) << bits;
    let first = base + place(who.tid, 0);
    let cell = CELLS.get_ptr_mut(first)?;
    // SAFETY: an entry of the map, of this CPU's part.
    let cell = unsafe { &mut *cell };
    if is(cell, who, moment.epoch) {
        return Some((cell, first));
    }
    let index = search(moment, who, base, task);
    if index == NOWHERE {
        return None;
    }
    // SAFETY: an entry of the map, of this CPU's part.
    CELLS.get_ptr_mut(index).map(|cell| (unsafe { &mut *cell }, index))
}

#[inline(always)]
fn is(cell: &Cell, who: &Identity, epoch: u32) -> bool {
    cell.epoch == epoch && cell.tid == who.tid && cell.start == who.start && cell.tgid == who.tgid
}

/// Not at its first place: looks further and fills the first free cell. Once per process, CPU and epoch,
/// and again where two pids share a place.
#[inline(never)]
fn search<T: Task>(moment: &mut Moment<'_>, who: &Identity, base: u32, task: T) -> u32 {
    if who.tid == u32::MAX {
        return NOWHERE;
    }
    let mask = (1 << patched!(SETTINGS.cell_bits)) - 1;
    let epoch = moment.epoch;
    for probe in 0..PROBES {
        let place = place(who.tid, probe);
        let Some(found) = CELLS.get_ptr_mut(base + place) else {
            break;
        };
        // SAFETY: an entry of the map, of this CPU's part.
        let cell = unsafe { &mut *found };
        if is(cell, who, epoch) {
            return base + place;
        }
        let old = cell.epoch;
        if old & !FILLING == epoch {
            continue;
        }
        // Only this CPU writes here, so that plain writes in this order suffice against what may interrupt us.
        // SAFETY: a field of the entry.
        unsafe { write_volatile(&raw mut cell.epoch, epoch | FILLING) };
        compiler_fence(Ordering::SeqCst);
        cell.start = who.start;
        cell.time = 0;
        cycles::clear(base + place);
        cell.tgid = who.tgid;
        cell.tid = who.tid;
        describe(cell, moment.now, task);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: a field of the entry.
        unsafe { write_volatile(&raw mut cell.epoch, epoch) };
        let used = &raw mut moment.state.windows[(epoch & 1) as usize].used;
        // SAFETY: a field of this CPU's entry.
        let entry = unsafe { read_volatile(used) };
        // SAFETY: the same.
        unsafe { write_volatile(used, entry + 1) };
        if let Some(order) = ORDER.get_ptr_mut(base + (entry & mask)) {
            // SAFETY: an entry of the map, of this CPU's part.
            unsafe { *order = place };
        }
        return base + place;
    }
    NOWHERE
}

/// Writes name, parent, cgroup and flags of `task` as they are now.
#[inline(always)]
pub fn describe<T: Task>(cell: &mut Cell, now: u64, task: T) {
    cell.seen = now;
    task.describe(cell);
}
