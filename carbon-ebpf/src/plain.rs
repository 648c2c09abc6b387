//! For kernels without BTF: raw tracepoints and helpers only.
//!
//! What it lacks: start times and parents (the agent asks `/proc`), the next task (the agent flushes each CPU
//! at a cut instead), births without CPU time, and the end of a group whose leader left early.

use crate::{
    account::Moment,
    table,
    task::{CurrentTask, Task},
};
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use carbon_common::{Identity, flag};

#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn switch_plain(_: RawTracePointContext) -> i32 {
    if let Some(mut moment) = Moment::begin(CurrentTask) {
        moment.charge(CurrentTask, CurrentTask.identity());
        moment.state.running = Identity::UNKNOWN;
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn exec_plain(_: RawTracePointContext) -> i32 {
    note(0)
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn exit_plain(_: RawTracePointContext) -> i32 {
    note(if CurrentTask.is_leader() { flag::EXITED } else { 0 })
}

#[inline(always)]
fn note(flags: u32) -> i32 {
    if let Some(mut moment) = Moment::begin(CurrentTask)
        && let Some((cell, _)) = table::cell(&mut moment, &CurrentTask.identity(), CurrentTask)
    {
        table::describe(cell, moment.now, CurrentTask);
        cell.parent_and_flags |= flags;
    }
    0
}
