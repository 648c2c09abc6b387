//! Run by the agent on a CPU of its choice (`BPF_PROG_TEST_RUN`), never attached: charges the task that is
//! running there up to now. At the start it tells who is running before the first switch.

use crate::{
    account::Moment,
    task::{BtfTask, CurrentTask, Task},
};
use aya_ebpf::{helpers::bpf_get_current_task_btf, macros::raw_tracepoint, programs::RawTracePointContext};

#[raw_tracepoint]
pub fn flush(_: RawTracePointContext) -> i32 {
    // SAFETY: takes nothing.
    run(BtfTask(unsafe { bpf_get_current_task_btf() }.cast_const().cast()))
}

/// The same where the kernel does not publish its layout.
#[raw_tracepoint]
pub fn flush_plain(_: RawTracePointContext) -> i32 {
    run(CurrentTask)
}

#[inline(always)]
fn run<T: Task>(current: T) -> i32 {
    if Moment::is_busy() {
        return 1;
    }
    if let Some(mut moment) = Moment::begin(current) {
        moment.charge(current, current.identity());
    }
    0
}
