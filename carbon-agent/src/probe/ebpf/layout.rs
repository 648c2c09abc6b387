//! Where the running kernel keeps the fields of a task: looked up in its own type information (BTF).
//!
//! A reader of just what is needed, without building a graph of the 150,000 types: the agent stays small.

use carbon_common::TaskLayout;

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const TYPE_TAG: u32 = 18;

/// The kernel's type information, raw.
pub struct KernelTypes<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins in `types`; type 0 is `void`.
    pub(super) begins: Vec<u32>,
}

impl<'a> KernelTypes<'a> {
    pub fn parse(data: &'a [u8]) -> Result<Self, String> {
        let word = |at: usize| number(data, at).ok_or("type information is cut short");
        let magic = word(0)? as u16;
        if magic != MAGIC {
            return Err(format!("type information begins with {magic:#06x}, not {MAGIC:#06x}"));
        }
        let header = word(4)? as usize;
        let section = |offset: u32, length: u32| {
            let begin = header.checked_add(offset as usize)?;
            data.get(begin..begin.checked_add(length as usize)?)
        };
        let types = section(word(8)?, word(12)?).ok_or("types lie outside the file")?;
        let strings = section(word(16)?, word(20)?).ok_or("strings lie outside the file")?;
        let mut begins = vec![0];
        let mut at = 0;
        while at < types.len() {
            begins.push(at as u32);
            let info = number(types, at + 4).ok_or("a type is cut short")?;
            let count = (info & 0xffff) as usize;
            at += 12
                + match info >> 24 & 0x1f {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCT | UNION | 15 | 19 => 12 * count,
                    6 | 13 => 8 * count,
                    2 | 7..=12 | 16 | TYPE_TAG => 0,
                    kind => return Err(format!("type information has the unknown kind {kind}")),
                };
        }
        Ok(Self { types, strings, begins })
    }

    /// The offsets of everything the kernel program reads.
    pub fn task_layout(&self) -> Result<TaskLayout, String> {
        let task = self.structure("task_struct")?;
        let signal = self.structure("signal_struct")?;
        let of = |name| self.offset(task, name).ok_or(format!("task_struct has no field {name}"));
        Ok(TaskLayout {
            pid: of("pid")?,
            tgid: of("tgid")?,
            start_boottime: of("start_boottime")?,
            group_leader: of("group_leader")?,
            real_parent: of("real_parent")?,
            flags: of("flags")?,
            comm: of("comm")?,
            signal: of("signal")?,
            signal_live: self.offset(signal, "live").ok_or("signal_struct has no field live")?,
        })
    }

    fn structure(&self, name: &str) -> Result<usize, String> {
        self.begins[1..]
            .iter()
            .map(|at| *at as usize)
            .find(|at| self.kind(*at) == STRUCT && self.name(self.word(*at)) == name.as_bytes())
            .ok_or_else(|| format!("the kernel's type information has no struct {name}"))
    }

    /// The byte offset of a member, looking into anonymous structs and unions (randomised layouts nest so).
    fn offset(&self, structure: usize, name: &str) -> Option<u32> {
        let info = self.word(structure + 4);
        let bitfields = info >> 31 == 1;
        (0..(info & 0xffff) as usize).find_map(|index| {
            let member = structure + 12 + 12 * index;
            let bits = self.word(member + 8);
            let bytes = if bitfields { bits & 0x00ff_ffff } else { bits } / 8;
            match self.name(self.word(member)) {
                b"" => {
                    let inner = self.resolve(self.word(member + 4))?;
                    self.offset(inner, name).map(|offset| bytes + offset)
                }
                found => (found == name.as_bytes()).then_some(bytes),
            }
        })
    }

    /// The struct or union behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<usize> {
        for _ in 0..16 {
            let at = *self.begins.get(id as usize).filter(|_| id != 0)? as usize;
            match self.kind(at) {
                STRUCT | UNION => return Some(at),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = self.word(at + 8),
                _ => return None,
            }
        }
        None
    }

    pub(super) fn kind(&self, at: usize) -> u32 {
        self.word(at + 4) >> 24 & 0x1f
    }

    pub(super) fn name(&self, offset: u32) -> &[u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    pub(super) fn word(&self, at: usize) -> u32 {
        number(self.types, at).unwrap_or_default()
    }
}

fn number(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_agree_with_what_bpftool_prints() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("no kernel type information on this machine");
            return;
        };
        let layout = KernelTypes::parse(&data).unwrap().task_layout().unwrap();
        assert_eq!(layout.tgid, layout.pid + 4);
        assert!(layout.comm > layout.tgid);
        assert!(layout.signal_live > 0 && layout.signal_live < 64);
    }

    #[test]
    fn a_cut_file_is_an_error_and_not_a_panic() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            return;
        };
        for length in [0, 3, 7, 23, 24, 4096] {
            assert!(KernelTypes::parse(&data[..length]).is_err());
        }
        assert!(KernelTypes::parse(b"not type information at all").is_err());
    }
}
