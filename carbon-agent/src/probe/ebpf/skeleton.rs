//! The kernel's type information with nearly everything left out.
//!
//! To attach at a BTF tracepoint aya needs the number of one type, and builds a graph of all 150,000 to look it up. It is
//! given the same numbers with empty types in all places but those that it will look for, and none after the last of them.

use super::layout::KernelTypes;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const TYPEDEF: u32 = 8;
/// A forward declaration: the shortest of types.
const EMPTY: [u32; 3] = [0, 7 << 24, 0];
/// Magic, version and flags; length of the header; where types and strings begin and how long they are.
const HEADER: u32 = 24;

impl KernelTypes<'_> {
    /// Type information in which only the typedefs named `btf_trace_<tracepoint>` are left, each at its number.
    pub fn skeleton(&self, tracepoints: &[&str]) -> Vec<u8> {
        let wanted = |at: usize| {
            let name = || self.name(self.word(at)).strip_prefix(b"btf_trace_");
            self.kind(at) == TYPEDEF && name().is_some_and(|name| tracepoints.iter().any(|it| it.as_bytes() == name))
        };
        let begins = &self.begins[1..];
        let kept = begins.iter().rposition(|begin| wanted(*begin as usize)).map_or(0, |last| last + 1);
        let mut strings = vec![0u8];
        let types = 12 * kept;
        let mut out = Vec::with_capacity(HEADER as usize + types + 8192);
        out.extend_from_slice(&MAGIC.to_ne_bytes());
        out.extend_from_slice(&[VERSION, 0]);
        let mut put = |word: u32| out.extend_from_slice(&word.to_ne_bytes());
        // The length of the strings is filled in at the end.
        [HEADER, 0, types as u32, types as u32, 0].into_iter().for_each(&mut put);
        for begin in &begins[..kept] {
            let at = *begin as usize;
            if wanted(at) {
                let name = self.name(self.word(at));
                [strings.len() as u32, self.word(at + 4), self.word(at + 8)].into_iter().for_each(&mut put);
                strings.extend_from_slice(name);
                strings.push(0);
            } else {
                EMPTY.into_iter().for_each(&mut put);
            }
        }
        out[HEADER as usize - 4..HEADER as usize].copy_from_slice(&(strings.len() as u32).to_ne_bytes());
        out.extend_from_slice(&strings);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya::{Btf, Endianness};

    #[test]
    fn a_typedef_keeps_its_number() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("no kernel type information on this machine");
            return;
        };
        let small = KernelTypes::parse(&data).unwrap().skeleton(&["sched_switch", "softirq_exit"]);
        assert!(small.len() < data.len() / 2);
        let number = |data: &[u8]| {
            let types = KernelTypes::parse(data).unwrap();
            ["btf_trace_sched_switch", "btf_trace_softirq_exit"].map(|name| {
                let named = |at: &u32| types.name(types.word(*at as usize)) == name.as_bytes();
                types.begins[1..].iter().position(named).unwrap()
            })
        };
        assert_eq!(number(&small), number(&data));
        Btf::parse(&small, Endianness::default()).unwrap();
    }
}
