//! Charging time: one clock reading, one cell.

use crate::{
    cycles,
    maps::{CONTROL, STATES},
    settings::patched,
    table,
    task::Task,
};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_log_ebpf::warn;
use carbon_common::{Control, CpuState, Edge, Identity, Window};
use core::{arch::asm, ptr::read_volatile};

/// An event on this CPU: when it is and what it may write to.
pub struct Moment<'a> {
    pub now: u64,
    pub epoch: u32,
    pub cpu: u32,
    pub state: &'a mut CpuState,
}

impl Moment<'_> {
    /// A program is at work on this CPU's books, and this one interrupts it.
    #[inline(always)]
    pub fn is_busy() -> bool {
        // SAFETY: takes nothing.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        // SAFETY: this CPU's entry.
        STATES.get_ptr(cpu).is_some_and(|state| unsafe { (*state).busy } != 0)
    }

    /// Opens the books of this CPU, turning the page first when the agent has begun a new epoch.
    ///
    /// `outgoing` is the task that has been running up to now.
    #[inline(always)]
    pub fn begin<T: Task>(outgoing: T) -> Option<Self> {
        let control = CONTROL.get_ptr(0)?;
        // The epoch before the clock: then `now` is never earlier than the start of `epoch`, while a cut in
        // between only means that this event still belongs to the old one.
        // SAFETY: the map's only entry; the agent may change it at any time, hence volatile.
        let epoch = unsafe { read_volatile(&raw const (*control).epoch) };
        // SAFETY: takes nothing.
        let now = unsafe { bpf_ktime_get_ns() };
        // SAFETY: takes nothing.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        // SAFETY: this CPU's entry, which only programs on this CPU write.
        let state = unsafe { &mut *STATES.get_ptr_mut(cpu)? };
        state.events += 1;
        if state.epoch != epoch {
            turn_page(state, control, epoch, outgoing, now);
        }
        Some(Self { now, epoch: epoch as u32, cpu, state })
    }

    /// Charges the time since the last event to whoever ran.
    #[inline(always)]
    pub fn charge<T: Task>(&mut self, outgoing: T, who: Identity) {
        let time = self.now.saturating_sub(self.state.last);
        self.state.last += time;
        let cycles = cycles::since_charged(self.state);
        let window = &mut self.state.windows[(self.epoch & 1) as usize];
        if patched!(SETTINGS.interrupts) != 0 && self.state.in_interrupt != 0 {
            window.interrupts += time;
        } else if who.tid == 0 {
            window.idle += time;
        } else if let Some((cell, index)) = table::cell(self, &who, outgoing) {
            cell.time += time;
            cycles::add(index, cycles);
        } else {
            self.lose(time);
        }
    }

    /// Time without a cell. Rare, so kept out of the way of the rest.
    #[inline(always)]
    fn lose(&mut self, time: u64) {
        let window = &mut self.state.windows[(self.epoch & 1) as usize];
        let first = window.lost == 0;
        window.lost += time;
        self.state.lost += time;
        if first {
            complain(self.cpu);
        }
    }
}

/// Once per CPU and epoch.
#[inline(never)]
fn complain(cpu: u32) -> u32 {
    warn!((), "CPU {}: no room for a process in the table, its time is unattributed", cpu);
    0
}

/// The first event of an epoch on this CPU: keeps what the agent needs of the old one, clears the new one.
#[inline(never)]
fn turn_page<T: Task>(state: &mut CpuState, control: *const Control, epoch: u64, outgoing: T, now: u64) -> u64 {
    // SAFETY: the map's only entry. The index is 0 or 1.
    let flip = unsafe { read_volatile((&raw const (*control).flip).cast::<u64>().add((epoch & 1) as usize)) };
    let running = outgoing.identity();
    let last = state.last;
    let cycles = cycles::up_to(state, flip.saturating_sub(last), now.saturating_sub(last));
    state.edge = Edge { last, running, in_interrupt: u64::from(state.in_interrupt), cycles };
    state.windows[(epoch & 1) as usize] = Window { epoch: epoch as u32, ..Window::default() };
    // An exchange is a full barrier on every machine: whoever sees the new epoch sees the edge, and whoever
    // still sees the old one has not read what is overwritten below. (`core` has no exchange for this target.)
    // SAFETY: an aligned u64 in a map entry.
    unsafe {
        asm!("{value} = xchg_64({place} + 0, {value})", value = inout(reg) epoch => _, place = in(reg) &raw mut state.epoch);
    }
    state.running = running;
    if state.last < flip {
        state.last = flip;
    }
    0
}
