//! Watts per vCPU by microarchitecture, and how a processor says which one it is.
//!
//! Source of the watts: Cloud Carbon Footprint, `ccf-coefficients`, `output/coefficients-aws-use.csv` of 2026-03-09
//! (Apache-2.0), which averages SPECpower_ssj2008 results over each family: power of the whole server at active idle
//! and at full load, divided by its hardware threads. Rounded here to milliwatts. See NOTICE and docs/method.md.

use crate::energy::counter::MicroWatts;

/// Watts of one vCPU (hardware thread) with nothing and with everything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Microarchitecture {
    /// As rows name it after `model:`.
    pub name: &'static str,
    pub min: MicroWatts,
    pub max: MicroWatts,
}

const fn per_vcpu(name: &'static str, min_milliwatts: u64, max_milliwatts: u64) -> Microarchitecture {
    Microarchitecture { name, min: MicroWatts(min_milliwatts * 1000), max: MicroWatts(max_milliwatts * 1000) }
}

const SANDY_BRIDGE: Microarchitecture = per_vcpu("sandy-bridge", 2212, 8631);
const IVY_BRIDGE: Microarchitecture = per_vcpu("ivy-bridge", 1707, 5557);
const HASWELL: Microarchitecture = per_vcpu("haswell", 1857, 5595);
const BROADWELL: Microarchitecture = per_vcpu("broadwell", 713, 3685);
const SKYLAKE: Microarchitecture = per_vcpu("skylake", 613, 4104);
const CASCADE_LAKE: Microarchitecture = per_vcpu("cascade-lake", 690, 4063);
const COFFEE_LAKE: Microarchitecture = per_vcpu("coffee-lake", 1138, 5422);
const ICE_LAKE: Microarchitecture = per_vcpu("ice-lake", 767, 3758);
const SAPPHIRE_RAPIDS: Microarchitecture = per_vcpu("sapphire-rapids", 1036, 4160);
const EMERALD_RAPIDS: Microarchitecture = per_vcpu("emerald-rapids", 814, 4482);
const GRANITE_RAPIDS: Microarchitecture = per_vcpu("granite-rapids", 582, 2527);
const EPYC_1: Microarchitecture = per_vcpu("epyc-1st-gen", 847, 2604);
const EPYC_2: Microarchitecture = per_vcpu("epyc-2nd-gen", 474, 1693);
const EPYC_3: Microarchitecture = per_vcpu("epyc-3rd-gen", 456, 1957);
const EPYC_4: Microarchitecture = per_vcpu("epyc-4th-gen", 739, 2282);
/// The source lists 3.68 and 8.96 W for this family, which is four times what a 500 W part with 384 threads can draw
/// and contradicts its own trend; the figures of the generation before stand in.
const EPYC_5: Microarchitecture = per_vcpu("epyc-5th-gen", 739, 2282);
/// The source has no measured Arm server and lists EPYC 2nd Gen's figures for Graviton; so do we.
const NEOVERSE: Microarchitecture = per_vcpu("neoverse", 474, 1693);
/// Cloud Carbon Footprint's averages for a processor it does not know (AWS: MIN_WATTS_AVG, MAX_WATTS_AVG).
pub const UNKNOWN: Microarchitecture = per_vcpu("unknown", 740, 3500);

/// Memory, Cloud Carbon Footprint: 0.392 W a GB (average of Crucial's 0.375 and Micron's 0.4083).
pub const MEMORY_PER_GB: MicroWatts = MicroWatts(392_000);

/// What `/proc/cpuinfo` says of the first processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuId {
    /// `GenuineIntel`, `AuthenticAMD`; empty on Arm.
    pub vendor: String,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    /// Intel's matrix extension: no processor before Sapphire Rapids has it, whatever model a hypervisor shows.
    pub amx: bool,
    /// Arm: implementer and part.
    pub implementer: u32,
    pub part: u32,
}

impl CpuId {
    /// Reads the first processor's block of `/proc/cpuinfo`.
    pub fn parse(cpuinfo: &str) -> Self {
        let mut id = Self::default();
        for line in cpuinfo.lines().take_while(|line| !line.trim().is_empty()) {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            let number = || match value.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).unwrap_or_default(),
                None => value.parse().unwrap_or_default(),
            };
            match key.trim() {
                "vendor_id" => id.vendor = value.to_owned(),
                "cpu family" => id.family = number(),
                "model" => id.model = number(),
                "stepping" => id.stepping = number(),
                "flags" => id.amx = value.split(' ').any(|flag| flag == "amx_tile"),
                "CPU implementer" => id.implementer = number(),
                "CPU part" => id.part = number(),
                _ => {}
            }
        }
        id
    }

    /// The microarchitecture, or [`UNKNOWN`].
    ///
    /// Models: Linux, arch/x86/include/asm/intel-family.h and arch/x86/kernel/cpu/amd.c; arch/arm64/include/asm/cputype.h.
    /// Client parts take the figures of the nearest server part, as Cloud Carbon Footprint's Coffee Lake (Xeon E) is one.
    pub fn microarchitecture(&self) -> Microarchitecture {
        match (self.vendor.as_str(), self.family, self.model) {
            ("GenuineIntel", 6, 0xCF) => EMERALD_RAPIDS,
            ("GenuineIntel", 6, 0xAD | 0xAE) => GRANITE_RAPIDS,
            ("GenuineIntel", 6, _) if self.amx => SAPPHIRE_RAPIDS,
            ("GenuineIntel", 6, 0x2A | 0x2D) => SANDY_BRIDGE,
            ("GenuineIntel", 6, 0x3A | 0x3E) => IVY_BRIDGE,
            ("GenuineIntel", 6, 0x3C | 0x3F | 0x45 | 0x46) => HASWELL,
            ("GenuineIntel", 6, 0x3D | 0x47 | 0x4F | 0x56) => BROADWELL,
            // One model number, three generations: the stepping tells them apart (Cooper Lake counts as Cascade Lake).
            ("GenuineIntel", 6, 0x55) if self.stepping <= 4 => SKYLAKE,
            ("GenuineIntel", 6, 0x55) => CASCADE_LAKE,
            ("GenuineIntel", 6, 0x4E | 0x5E | 0x8E | 0x9E | 0xA5 | 0xA6 | 0xA7) => COFFEE_LAKE,
            ("GenuineIntel", 6, 0x6A | 0x6C | 0x7D | 0x7E) => ICE_LAKE,
            ("GenuineIntel", 6, 0x8F) => SAPPHIRE_RAPIDS,
            ("AuthenticAMD", 0x17, 0x00..=0x2F) => EPYC_1,
            ("AuthenticAMD", 0x17, _) => EPYC_2,
            ("AuthenticAMD", 0x19, 0x10..=0x1F | 0x60..=0x7F | 0xA0..=0xAF) => EPYC_4,
            ("AuthenticAMD", 0x19, _) => EPYC_3,
            ("AuthenticAMD", 0x1A, _) => EPYC_5,
            // Neoverse N1, V1, N2, V2.
            _ if self.implementer == 0x41 && matches!(self.part, 0xD0C | 0xD40 | 0xD49 | 0xD4F) => NEOVERSE,
            _ => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cpuinfo: &str, expected: &str) {
        assert_eq!(CpuId::parse(cpuinfo).microarchitecture().name, expected);
    }

    fn x86(vendor: &str, family: u32, model: u32, stepping: u32, flags: &str) -> String {
        format!(
            "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n\
             model name\t: whatever it says\nstepping\t: {stepping}\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\nmodel\t\t: 1\n"
        )
    }

    #[test]
    fn processors_are_known_by_family_and_model() {
        check(&x86("GenuineIntel", 6, 85, 4, ""), "skylake");
        check(&x86("GenuineIntel", 6, 85, 7, ""), "cascade-lake");
        check(&x86("GenuineIntel", 6, 106, 6, ""), "ice-lake");
        check(&x86("GenuineIntel", 6, 143, 8, "amx_tile"), "sapphire-rapids");
        check(&x86("GenuineIntel", 6, 207, 2, "amx_tile"), "emerald-rapids");
        check(&x86("AuthenticAMD", 23, 1, 2, ""), "epyc-1st-gen");
        check(&x86("AuthenticAMD", 23, 49, 0, ""), "epyc-2nd-gen");
        check(&x86("AuthenticAMD", 25, 1, 1, ""), "epyc-3rd-gen");
        check(&x86("AuthenticAMD", 25, 17, 1, ""), "epyc-4th-gen");
        check(&x86("AuthenticAMD", 26, 2, 1, ""), "epyc-5th-gen");
    }

    #[test]
    fn a_hypervisors_made_up_model_yields_to_what_the_processor_can_do() {
        check(&x86("GenuineIntel", 6, 167, 1, "avx512f amx_bf16 amx_tile"), "sapphire-rapids");
        check(&x86("GenuineIntel", 6, 167, 1, "avx512f"), "coffee-lake");
    }

    #[test]
    fn arm_servers_and_strangers() {
        check("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "neoverse");
        check("processor\t: 0\nCPU implementer\t: 0x51\nCPU part\t: 0x001\n", "unknown");
        check(&x86("HygonGenuine", 24, 1, 1, ""), "unknown");
        check("", "unknown");
    }
}
