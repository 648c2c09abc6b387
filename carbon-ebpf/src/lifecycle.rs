//! Births, new names, deaths: written into the same cells as time is, so that there is no second channel
//! that could be lost or overtaken. A process that lived and died between two samples arrives whole.

use crate::{
    account::Moment,
    settings::patched,
    table,
    task::{BtfTask, Task},
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use carbon_common::flag;

#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    // TP_PROTO(struct task_struct *parent, struct task_struct *child)
    let (parent, child) = (BtfTask(ctx.arg(0)), BtfTask(ctx.arg(1)));
    if child.has_row() {
        note(parent, child, flag::BORN);
    }
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    // TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
    let task = BtfTask(ctx.arg(0));
    note(task, task, 0);
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    // TP_PROTO(struct task_struct *p, …)
    let task = BtfTask(ctx.arg(0));
    if patched!(SETTINGS.threads) != 0 || task.group_is_dead() {
        note(task, task, 0);
    }
    0
}

/// Writes down who `subject` is at this moment, with whatever time its cell already has.
#[inline(always)]
fn note(current: BtfTask, subject: BtfTask, birth: u32) {
    let Some(mut moment) = Moment::begin(current) else {
        return;
    };
    moment.state.busy = 1;
    let who = subject.identity();
    if let Some((cell, _)) = table::cell(&mut moment, &who, subject) {
        let before = cell.parent_and_flags;
        table::describe(cell, moment.now, subject);
        cell.parent_and_flags |= birth;
        if before & flag::BORN != 0 {
            // Adopted meanwhile, perhaps; the parent is and remains who forked it.
            let kept = flag::BORN | flag::PARENT_MASK;
            cell.parent_and_flags = cell.parent_and_flags & !kept | before & kept;
        }
    }
    moment.state.busy = 0;
}
