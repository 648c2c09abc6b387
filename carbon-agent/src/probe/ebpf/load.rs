//! Getting the program into the kernel, and saying what to do when the kernel refuses.

use super::{Options, TypeInformation, layout::KernelTypes, memory::Shared};
use crate::probe::ProbeError;
use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, Endianness,
    maps::{Map, MapError},
    programs::{BtfTracePoint, ProgramError, RawTracePoint},
};
use carbon_common::{Cell, Control, CpuState, Settings, TaskLayout};
use std::{
    error::Error,
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

/// The object of `cargo xtask build-ebpf`, kept in the repository.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../carbon-ebpf/object/carbon-ebpf.o"));

/// Identity of the built-in object: which program a figure came from.
pub fn built_in_object() -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(OBJECT);
    format!("sha256:{}", hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>())
}

const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Program and hook.
type Hook = (&'static str, &'static str);

const TYPED: [Hook; 4] = [
    ("sched_switch", "sched_switch"),
    ("sched_process_fork", "sched_process_fork"),
    ("sched_process_exec", "sched_process_exec"),
    ("sched_process_exit", "sched_process_exit"),
];
const TYPED_INTERRUPTS: [Hook; 4] = [
    ("irq_handler_entry", "irq_handler_entry"),
    ("irq_handler_exit", "irq_handler_exit"),
    ("softirq_entry", "softirq_entry"),
    ("softirq_exit", "softirq_exit"),
];
const PLAIN: [Hook; 3] =
    [("switch_plain", "sched_switch"), ("exec_plain", "sched_process_exec"), ("exit_plain", "sched_process_exit")];

/// The loaded, not yet attached program and its memory.
pub struct Loaded {
    pub bpf: Ebpf,
    pub settings: Settings,
    /// Attached at the BTF tracepoints; else (no BTF) at the raw ones. The reason is kept.
    pub plain: Option<String>,
    pub control: Shared<Control>,
    pub states: Shared<CpuState>,
    pub cells: Shared<Cell>,
    pub order: Shared<u32>,
}

pub fn load(options: &Options) -> Result<Loaded, ProbeError> {
    let object = match &options.object {
        Some(path) => fs::read(path).map_err(|error| ProbeError {
            what: format!("eBPF object {}: {error}", path.display()),
            remedy: "name a readable object or leave the option out".into(),
        })?,
        None => OBJECT.to_vec(),
    };
    let (types, plain) = match kernel_types(options.type_information) {
        Ok(types) => (Some(types), None),
        Err(reason) if options.type_information == TypeInformation::Required => {
            return Err(ProbeError {
                what: reason,
                remedy: "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or allow the raw tracepoint".into(),
            });
        }
        Err(reason) => (None, Some(reason)),
    };
    let settings = settings(options, plain.is_some())?;
    match install(&object, types.as_ref(), settings) {
        Ok((bpf, memory)) => {
            let [control, states, cells, order] = memory;
            Ok(Loaded {
                control: map(&bpf, control, 1)?,
                states: map(&bpf, states, settings.cpus)?,
                cells: map(&bpf, cells, table_entries(settings))?,
                order: map(&bpf, order, table_entries(settings))?,
                bpf,
                settings,
                plain,
            })
        }
        Err(error) => Err(explain(&error)),
    }
}

fn kernel_types(wanted: TypeInformation) -> Result<(Btf, TaskLayout), String> {
    if wanted == TypeInformation::Ignored {
        return Err("type information of the kernel not used, as asked".into());
    }
    let data = fs::read(KERNEL_TYPES).map_err(|error| format!("{KERNEL_TYPES}: {error}"))?;
    let hooks: Vec<&str> = TYPED.iter().chain(&TYPED_INTERRUPTS).map(|(_, hook)| *hook).collect();
    let known = KernelTypes::parse(&data).and_then(|types| Ok((types.task_layout()?, types.skeleton(&hooks))));
    let (layout, skeleton) = known.map_err(|error| format!("{KERNEL_TYPES}: {error}"))?;
    drop(data);
    let btf =
        Btf::parse(&skeleton, Endianness::default()).map_err(|error| format!("{KERNEL_TYPES}, the needed: {error}"))?;
    Ok((btf, layout))
}

fn settings(options: &Options, plain: bool) -> Result<Settings, ProbeError> {
    let cpus = aya::util::nr_cpus().map_err(|(path, error)| ProbeError {
        what: format!("{path}: {error}"),
        remedy: "make sysfs readable".into(),
    })? as u32;
    let wanted = match options.cells_per_cpu {
        0 => automatic_cells(cpus),
        some => some,
    };
    Ok(Settings {
        cpus,
        cell_bits: wanted.clamp(2, 1 << 20).next_power_of_two().ilog2(),
        threads: u32::from(options.threads),
        interrupts: u32::from(options.interrupts && !plain),
    })
}

/// Room for this many active processes per CPU and sample; `carbon-ebpf/src/maps.rs` has the table.
///
/// The fewer the CPUs, the more of the host's processes each of them runs: with two, nearly all.
const fn automatic_cells(cpus: u32) -> u32 {
    match cpus {
        0..=2 => 16384,
        3..=4 => 8192,
        5..=16 => 4096,
        17..=64 => 2048,
        _ => 1024,
    }
}

const fn table_entries(settings: Settings) -> u32 {
    (2 * settings.cpus) << settings.cell_bits
}

const MEMORY: [&str; 4] = ["CONTROL", "STATES", "CELLS", "ORDER"];

fn install(
    object: &[u8],
    types: Option<&(Btf, TaskLayout)>,
    settings: Settings,
) -> Result<(Ebpf, [&'static str; 4]), EbpfError> {
    let patched = settings.words();
    let layout = types.map(|(_, layout)| layout.words()).unwrap_or_default();
    let mut bpf = EbpfLoader::new()
        .btf(types.map(|(btf, _)| btf))
        .override_global("SETTINGS", &patched, true)
        .override_global("LAYOUT", &layout, true)
        .map_max_entries("STATES", settings.cpus)
        .map_max_entries("CELLS", table_entries(settings))
        .map_max_entries("ORDER", table_entries(settings))
        .load(object)?;
    match types {
        Some((btf, _)) => {
            for (name, hook) in typed_hooks(settings) {
                program::<BtfTracePoint>(&mut bpf, name)?.load(hook, btf)?;
            }
            program::<RawTracePoint>(&mut bpf, "flush")?.load()?;
        }
        None => {
            for (name, _) in PLAIN {
                program::<RawTracePoint>(&mut bpf, name)?.load()?;
            }
            program::<RawTracePoint>(&mut bpf, "flush_plain")?.load()?;
        }
    }
    Ok((bpf, MEMORY))
}

fn typed_hooks(settings: Settings) -> impl Iterator<Item = Hook> {
    let interrupts = if settings.interrupts != 0 { &TYPED_INTERRUPTS[..] } else { &[] };
    TYPED.iter().chain(interrupts).copied()
}

/// Attaches the hooks; from here on time is charged.
///
/// Births first, switches last, so that nobody is charged whose birth could not be seen.
pub fn attach(loaded: &mut Loaded) -> Result<(), ProbeError> {
    let run = |loaded: &mut Loaded| -> Result<(), EbpfError> {
        if loaded.plain.is_some() {
            for (name, hook) in PLAIN.iter().rev() {
                program::<RawTracePoint>(&mut loaded.bpf, name)?.attach(hook)?;
            }
        } else {
            let hooks: Vec<Hook> = typed_hooks(loaded.settings).collect();
            for (name, _) in hooks.iter().rev() {
                program::<BtfTracePoint>(&mut loaded.bpf, name)?.attach()?;
            }
        }
        Ok(())
    };
    run(loaded).map_err(|error| explain(&error))
}

/// The names of the attached programs.
pub fn attached(loaded: &Loaded) -> Vec<&'static str> {
    if loaded.plain.is_some() {
        PLAIN.iter().map(|(name, _)| *name).collect()
    } else {
        typed_hooks(loaded.settings).map(|(name, _)| name).collect()
    }
}

fn program<'a, P>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    bpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

fn map<T: Copy>(bpf: &Ebpf, name: &str, entries: u32) -> Result<Shared<T>, ProbeError> {
    let fd = array(bpf, name).ok_or_else(|| ProbeError {
        what: format!("the eBPF object has no array {name}"),
        remedy: "build it again: cargo xtask build-ebpf".into(),
    })?;
    Shared::map(fd, entries).map_err(|error| ProbeError {
        what: format!("the probe's table {name} cannot be mapped into memory: {error}"),
        remedy: "use a kernel from 5.5 on, or fewer cells per CPU".into(),
    })
}

fn array<'a>(bpf: &'a Ebpf, name: &str) -> Option<BorrowedFd<'a>> {
    match bpf.map(name)? {
        Map::Array(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}

/// What the refusal means, and what the operator can do about it.
fn explain(error: &EbpfError) -> ProbeError {
    match refusal(error).and_then(|error| error.raw_os_error()) {
        Some(libc::EPERM | libc::EACCES) if !missing_capabilities().is_empty() => ProbeError {
            what: format!("the kernel refused the eBPF probe: {} missing", missing_capabilities().join(" and ")),
            remedy: "run as root, or grant them: `setcap cap_bpf,cap_perfmon+ep` on the binary, or in the \
                     systemd unit `AmbientCapabilities=CAP_BPF CAP_PERFMON` (and the same in CapabilityBoundingSet)"
                .into(),
        },
        Some(libc::EPERM) => ProbeError {
            what: format!(
                "the kernel refused the eBPF probe ({}) although CAP_BPF and CAP_PERFMON are there",
                chain(error)
            ),
            remedy: memlock_remedy(),
        },
        Some(libc::ENOMEM) => {
            ProbeError { what: format!("no memory for the eBPF probe ({})", chain(error)), remedy: memlock_remedy() }
        }
        Some(libc::ENOSYS) => ProbeError {
            what: "this kernel or its seccomp filter has no bpf() system call".into(),
            remedy: "allow it (systemd: SystemCallFilter=bpf; containers: a seccomp profile with bpf)".into(),
        },
        _ => ProbeError {
            what: format!("the eBPF probe could not be loaded: {}", chain(error)),
            remedy: "report it with the kernel's version (uname -r); `--probe procfs` works meanwhile".into(),
        },
    }
}

fn memlock_remedy() -> String {
    "before Linux 5.11 maps count against the locked-memory limit: raise it (`ulimit -l unlimited`, systemd: \
     LimitMEMLOCK=infinity); else look whether a security module, a seccomp filter or lockdown forbids bpf()"
        .into()
}

/// The system's own error in a chain of aya's.
fn refusal(error: &EbpfError) -> Option<&io::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found);
        }
        if let Some(MapError::CreateError { io_error, .. }) = current.downcast_ref::<MapError>() {
            return Some(io_error);
        }
        if let Some(ProgramError::LoadError { io_error, .. }) = current.downcast_ref::<ProgramError>() {
            return Some(io_error);
        }
        cause = current.source();
    }
    None
}

/// The chain of causes in one line; a verifier's log is cut to its last lines.
fn chain(error: &EbpfError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let next = current.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = current.source();
    }
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [first, .., last2, last1] if lines.len() > 4 => format!("{first} … {last2} {last1}"),
        _ => lines.join(" "),
    }
}

const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Which of the two capabilities this process lacks.
pub fn missing_capabilities() -> Vec<&'static str> {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    missing_from(effective)
}

fn missing_from(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1 || effective >> CAP_SYS_ADMIN & 1 == 1;
    [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter_map(|(bit, name)| (!has(bit)).then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(missing_from(0), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing_from(1 << CAP_BPF), ["CAP_PERFMON"]);
        assert_eq!(missing_from(1 << CAP_PERFMON), ["CAP_BPF"]);
        assert!(missing_from(1 << CAP_SYS_ADMIN).is_empty());
        assert!(missing_from(1 << CAP_BPF | 1 << CAP_PERFMON).is_empty());
    }

    #[test]
    fn larger_hosts_get_fewer_cells_per_cpu() {
        let cells: Vec<u32> = [1, 2, 4, 16, 64, 512].map(automatic_cells).to_vec();
        assert_eq!(cells, [16384, 16384, 8192, 4096, 2048, 1024]);
    }
}
