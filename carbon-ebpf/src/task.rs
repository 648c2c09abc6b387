//! Who a task is, asked of the kernel's own structure or of helpers.

use crate::settings::patched;
use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid};
use carbon_common::{Cell, Identity, flag};

/// `PF_IDLE`, `PF_EXITING` and `PF_KTHREAD` of `task_struct.flags`: unchanged since 3.10.
const PF_IDLE: u32 = 0x0000_0002;
const PF_EXITING: u32 = 0x0000_0004;
const PF_KTHREAD: u32 = 0x0020_0000;

/// A task that can say who it is.
pub trait Task: Copy {
    fn identity(self) -> Identity;

    /// Writes what is known of the task beside its identity: name, parent, flags, cgroup.
    fn describe(self, cell: &mut Cell);
}

/// A `task_struct`, its fields read at offsets that the loader took from the kernel's BTF.
///
/// The verifier knows the pointer's type and the (patched, so constant) offset: the loads are plain
/// loads, which yield 0 instead of faulting should the pointer have gone stale.
#[derive(Clone, Copy)]
pub struct BtfTask(pub *const u8);

impl BtfTask {
    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the verifier has checked that a field lies at `offset` of this structure.
        unsafe { *self.0.add(offset as usize).cast::<T>() }
    }

    #[inline(always)]
    fn pid(self) -> u32 {
        self.read(patched!(LAYOUT.pid))
    }

    #[inline(always)]
    pub fn tgid(self) -> u32 {
        self.read(patched!(LAYOUT.tgid))
    }

    /// One of the idle tasks. (Idle injection sets the flag, too, on a thread that only idles.)
    #[inline(always)]
    pub fn is_idle(self) -> bool {
        self.read::<u32>(patched!(LAYOUT.flags)) & PF_IDLE != 0
    }

    #[inline(always)]
    fn leader(self) -> Self {
        Self(self.read(patched!(LAYOUT.group_leader)))
    }

    /// Its whole thread group has ended. Until the last thread has, the process lives, leader or not.
    #[inline(always)]
    pub fn group_is_dead(self) -> bool {
        let signal = Self(self.read(patched!(LAYOUT.signal)));
        self.read::<u32>(patched!(LAYOUT.flags)) & PF_EXITING != 0
            && signal.read::<u32>(patched!(LAYOUT.signal_live)) == 0
    }

    /// A task that has a row of its own: any thread if threads are kept apart, else only the leader.
    #[inline(always)]
    pub fn has_row(self) -> bool {
        patched!(SETTINGS.threads) != 0 || self.pid() == self.tgid()
    }
}

impl Task for BtfTask {
    #[inline(always)]
    fn identity(self) -> Identity {
        let pid = self.pid();
        if pid == 0 {
            return Identity::IDLE;
        }
        let tgid = self.tgid();
        let leader = self.leader();
        // A thread that has been released may outlive its leader's structure for the moment until its last
        // switch. Should that memory be another task's by then, say so instead of charging a stranger.
        if leader.pid() != tgid {
            return Identity::UNKNOWN;
        }
        Identity {
            start: leader.read(patched!(LAYOUT.start_boottime)),
            tgid,
            tid: if patched!(SETTINGS.threads) != 0 { pid } else { tgid },
        }
    }

    #[inline(always)]
    fn describe(self, cell: &mut Cell) {
        let leader = self.leader();
        let named = if patched!(SETTINGS.threads) != 0 { self } else { leader };
        let parent = Self(leader.read(patched!(LAYOUT.real_parent)));
        let mut bits = parent.tgid() & flag::PARENT_MASK;
        if self.read::<u32>(patched!(LAYOUT.flags)) & PF_KTHREAD != 0 {
            bits |= flag::KERNEL_THREAD;
        }
        if self.group_is_dead() {
            bits |= flag::EXITED;
        }
        cell.parent_and_flags = bits;
        let comm = patched!(LAYOUT.comm);
        let halves: [u64; 2] = [named.read(comm), named.read(comm + 8)];
        cell.comm = bytes(halves);
        // SAFETY: takes nothing, reads the current task.
        cell.cgroup = unsafe { bpf_get_current_cgroup_id() };
    }
}

#[inline(always)]
fn bytes(halves: [u64; 2]) -> [u8; 16] {
    // SAFETY: any 16 bytes are an array of 16 bytes.
    unsafe { core::mem::transmute(halves) }
}

/// The running task as helpers describe it, for kernels that do not publish their layout.
#[derive(Clone, Copy)]
pub struct CurrentTask;

impl CurrentTask {
    #[inline(always)]
    pub fn is_leader(self) -> bool {
        let both = bpf_get_current_pid_tgid();
        (both >> 32) as u32 == both as u32
    }
}

impl Task for CurrentTask {
    #[inline(always)]
    fn identity(self) -> Identity {
        let both = bpf_get_current_pid_tgid();
        let (tgid, pid) = ((both >> 32) as u32, both as u32);
        if pid == 0 {
            return Identity::IDLE;
        }
        Identity { start: 0, tgid, tid: if patched!(SETTINGS.threads) != 0 { pid } else { tgid } }
    }

    #[inline(always)]
    fn describe(self, cell: &mut Cell) {
        cell.parent_and_flags = 0;
        cell.comm = bpf_get_current_comm().unwrap_or_default();
        // SAFETY: takes nothing, reads the current task.
        cell.cgroup = unsafe { bpf_get_current_cgroup_id() };
    }
}
