//! `sched_switch`: the time since the last switch goes to the task that leaves the CPU.

use crate::{
    account::Moment,
    settings::patched,
    task::{BtfTask, Task},
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use carbon_common::Identity;

#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    // TP_PROTO(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
    let (prev, next) = (BtfTask(ctx.arg(1)), BtfTask(ctx.arg(2)));
    if let Some(mut moment) = Moment::begin(prev) {
        // Asked of the outgoing task, whose lines the scheduler has just written (its switch counters lie beside
        // its start time); of the incoming one, still cold, nothing but whether it is the idle task.
        moment.charge(prev, prev.identity());
        // With threaded (preemptible) soft interrupts a task may leave the CPU inside one.
        if patched!(SETTINGS.interrupts) != 0 {
            moment.state.in_interrupt = 0;
        }
        moment.state.running = if next.is_idle() { Identity::IDLE } else { Identity::UNKNOWN };
    }
    0
}
