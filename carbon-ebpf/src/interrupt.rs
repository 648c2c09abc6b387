//! Optional: time in hard and soft interrupts is the kernel's, not the interrupted task's.

use crate::{
    account::Moment,
    task::{BtfTask, Task},
};
use aya_ebpf::{helpers::bpf_get_current_task_btf, macros::btf_tracepoint, programs::BtfTracePointContext};

#[btf_tracepoint(function = "irq_handler_entry")]
pub fn irq_handler_entry(_: BtfTracePointContext) -> i32 {
    enter()
}

#[btf_tracepoint(function = "irq_handler_exit")]
pub fn irq_handler_exit(_: BtfTracePointContext) -> i32 {
    leave()
}

#[btf_tracepoint(function = "softirq_entry")]
pub fn softirq_entry(_: BtfTracePointContext) -> i32 {
    enter()
}

#[btf_tracepoint(function = "softirq_exit")]
pub fn softirq_exit(_: BtfTracePointContext) -> i32 {
    leave()
}

#[inline(always)]
fn enter() -> i32 {
    step(|depth| depth + 1)
}

#[inline(always)]
fn leave() -> i32 {
    step(|depth| depth.saturating_sub(1))
}

/// Charges what ran so far (the task, or the interrupt this one interrupts) and changes the depth.
///
/// An interrupt that arrives while a program is at work on this CPU's books keeps off them altogether, its
/// end too: both lie within that program, and its few hundred nanoseconds stay with whom it works for.
#[inline(always)]
fn step(change: impl Fn(u32) -> u32) -> i32 {
    // SAFETY: takes nothing.
    let current = BtfTask(unsafe { bpf_get_current_task_btf() }.cast_const().cast());
    if Moment::is_busy() {
        return 0;
    }
    if let Some(mut moment) = Moment::begin(current) {
        moment.state.busy = 1;
        moment.charge(current, current.identity());
        moment.state.in_interrupt = change(moment.state.in_interrupt);
        moment.state.busy = 0;
    }
    0
}
