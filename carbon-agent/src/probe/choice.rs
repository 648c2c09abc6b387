//! Which probe: the best that works, or exactly the one asked for.

use super::{Options, Probe, ProbeError, ebpf::EbpfProbe, procfs::ProcfsProbe};

/// `--probe`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    #[default]
    Auto,
    Ebpf,
    Procfs,
}

/// Opens a probe. `Auto` falls back to procfs and hands back why eBPF could not be had; a named choice
/// that cannot work is an error.
pub fn open(choice: Choice, options: &Options) -> Result<(Box<dyn Probe>, Option<ProbeError>), ProbeError> {
    let procfs = || ProcfsProbe::open(&options.host_procfs, options.threads);
    match choice {
        Choice::Ebpf => Ok((Box::new(EbpfProbe::open(options)?), None)),
        Choice::Procfs => Ok((Box::new(procfs()?), None)),
        Choice::Auto => match EbpfProbe::open(options) {
            Ok(probe) => Ok((Box::new(probe), None)),
            Err(reason) => Ok((Box::new(procfs()?), Some(reason))),
        },
    }
}
