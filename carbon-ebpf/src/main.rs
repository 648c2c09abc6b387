//! What carbon-agent runs in the kernel: CPU time per process, charged at every context switch.
//!
//! `maps.rs` says where it goes, `account.rs` how; one file a hook.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod account;
mod cycles;
mod flush;
mod interrupt;
mod lifecycle;
mod maps;
mod plain;
mod settings;
mod switch;
mod table;
mod task;

/// The helpers used (`ktime`, `current_task_btf`, …) are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
