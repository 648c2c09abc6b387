//! The records that the kernel program writes and the agent reads through shared memory.
//!
//! All are `repr(C)` with the layout asserted below: both sides are compiled from this one file, but for
//! different machines (`bpfel-unknown-none` and the host).
#![no_std]

/// What the running sample is; written by the agent, read by the kernel at every switch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Control {
    /// The sample that is running: 1, 2, 3, …; its parity chooses the half of every doubled record.
    pub epoch: u64,
    /// When the epoch of each parity began (CLOCK_MONOTONIC). Written before `epoch`.
    pub flip: [u64; 2],
}

/// Who ran: enough to find the cell, and never to confuse a reused pid with its predecessor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Start of the thread group leader (CLOCK_BOOTTIME); 0 where the kernel's layout is unknown (no BTF).
    pub start: u64,
    pub tgid: u32,
    /// The thread; equals `tgid` unless threads are kept apart. 0 is the idle task.
    pub tid: u32,
}

impl Identity {
    pub const IDLE: Self = Self { start: 0, tgid: 0, tid: 0 };
    /// Someone, not known who. Time that remains so is booked as lost.
    pub const UNKNOWN: Self = Self { start: 0, tgid: u32::MAX, tid: u32::MAX };
}

/// What a CPU did in one epoch beside running tasks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The epoch these numbers belong to; any other number means "nothing happened here".
    pub epoch: u32,
    /// How many entries of the order list are filled.
    pub used: u32,
    pub idle: u64,
    pub interrupts: u64,
    /// Time of tasks that found no cell.
    pub lost: u64,
}

/// The state of a CPU at the first event of an epoch, before that event overwrote it.
///
/// The agent needs it to give the slice that straddles the cut to its owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Edge {
    pub last: u64,
    pub running: Identity,
    pub in_interrupt: u64,
    /// Hardware cycles from `last` to the cut, where they are counted.
    pub cycles: u64,
}

/// One per possible CPU; only that CPU's programs write it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuState {
    /// Up to when this CPU's time has been charged.
    pub last: u64,
    /// Who runs since `last`: the idle task, or someone ([`Identity::UNKNOWN`]; the agent has it looked up if it
    /// needs to know).
    pub running: Identity,
    /// The epoch of the last event on this CPU; 0 before the first.
    pub epoch: u64,
    /// Depth of interrupts being handled; while above 0 time is the interrupts', not `running`'s.
    pub in_interrupt: u32,
    /// A program is at work on this record (only interrupts can nest into one, and they must keep off).
    pub busy: u32,
    /// Programs run since attach.
    pub events: u64,
    /// Time that found no cell, since attach.
    pub lost: u64,
    /// This CPU's counter of cycles when time was last charged, where cycles are counted; 0 before the first.
    pub cycles: u64,
    pub windows: [Window; 2],
    pub edge: Edge,
}

/// One process (or thread) on one CPU in one epoch: a cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell {
    pub start: u64,
    pub time: u64,
    pub cgroup: u64,
    /// When `comm`, `cgroup` and the parent were read.
    pub seen: u64,
    pub tgid: u32,
    pub tid: u32,
    /// Parent pid in the low 24 bits (a pid has at most 22), `flag::*` above.
    pub parent_and_flags: u32,
    /// The epoch this cell belongs to. A cell of any other epoch is free: emptying the table costs nothing.
    pub epoch: u32,
    pub comm: [u8; 16],
}

/// Bits of [`Cell::parent_and_flags`].
pub mod flag {
    pub const PARENT_MASK: u32 = 0x00ff_ffff;
    pub const KERNEL_THREAD: u32 = 1 << 24;
    /// The last thread of the group has ended.
    pub const EXITED: u32 = 1 << 25;
    /// The cell saw the birth: its parent is the one that forked, whoever adopted the process since.
    pub const BORN: u32 = 1 << 26;
}

/// Set in [`Cell::epoch`] while the cell is being filled, so that an interrupt in between keeps off.
pub const FILLING: u32 = 1 << 31;

impl Cell {
    pub const fn parent(&self) -> u32 {
        self.parent_and_flags & flag::PARENT_MASK
    }

    pub const fn has(&self, flag: u32) -> bool {
        self.parent_and_flags & flag != 0
    }
}

/// Byte offsets of the kernel's structures, found by the agent in the running kernel's BTF and
/// patched into the program before it is loaded: the verifier sees constants.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskLayout {
    pub pid: u32,
    pub tgid: u32,
    pub start_boottime: u32,
    pub group_leader: u32,
    pub real_parent: u32,
    pub flags: u32,
    pub comm: u32,
    pub signal: u32,
    /// `signal_struct.live`: threads of the group that have not ended.
    pub signal_live: u32,
}

/// Geometry and options, patched in as well.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Possible CPUs.
    pub cpus: u32,
    /// log2 of the cells per CPU and parity.
    pub cell_bits: u32,
    /// Keep threads apart (0 or 1).
    pub threads: u32,
    /// The interrupt hooks are attached (0 or 1).
    pub interrupts: u32,
    /// Count hardware cycles beside time (0 or 1).
    pub cycles: u32,
}

impl TaskLayout {
    /// As the loader patches it in.
    pub const fn words(&self) -> [u32; 9] {
        // SAFETY: repr(C) of nine u32.
        unsafe { *(&raw const *self).cast() }
    }
}

impl Settings {
    /// As the loader patches it in.
    pub const fn words(&self) -> [u32; 5] {
        // SAFETY: repr(C) of five u32.
        unsafe { *(&raw const *self).cast() }
    }
}

/// Index of the first cell (and of the first order entry) of a CPU in an epoch.
pub const fn first_cell(settings: &Settings, epoch: u32, cpu: u32) -> u32 {
    ((epoch & 1) * settings.cpus + cpu) << settings.cell_bits
}

const _: () = {
    assert!(size_of::<Control>() == 24);
    assert!(size_of::<Identity>() == 16);
    assert!(size_of::<Window>() == 32);
    assert!(size_of::<Cell>() == 64);
    assert!(size_of::<CpuState>() == 192);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_keeps_parent_and_flags_apart() {
        let cell = Cell { parent_and_flags: 4_194_303 | flag::EXITED, ..Cell::default() };
        assert_eq!(cell.parent(), 4_194_303);
        assert!(cell.has(flag::EXITED));
        assert!(!cell.has(flag::KERNEL_THREAD));
    }
}
