//! The three fields of `/proc/<pid>/stat` that identity needs, without the other forty.

use crate::probe::Comm;
use std::fs::File;
use std::io::Read;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub comm: Comm,
    pub parent: u32,
    /// Start in clock ticks since boot.
    pub start: u64,
}

/// `None` when the process is gone.
pub fn read(procfs: &Path, pid: u32) -> Option<Stat> {
    // A line is 200 to 400 bytes long; the start is the 22nd of 52 numbers.
    let mut line = [0; 1024];
    let mut file = File::open(procfs.join(format!("{pid}/stat"))).ok()?;
    let length = file.read(&mut line).ok()?;
    parse(&line[..length])
}

/// "PID (COMM) STATE PPID … START …"; the name may hold anything, parentheses and newlines too.
fn parse(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let comm = Comm::from_bytes(line.get(open + 1..close)?);
    let mut fields = std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().unwrap_or(0);
    let start = fields.nth(17)?.parse().ok()?;
    Some(Stat { comm, parent, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name() {
        let rest = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1";
        for name in ["sh", "a) S 1 (b", "", "new\nline)"] {
            let stat = parse(format!("12 ({name}) {rest}").as_bytes()).unwrap();
            assert_eq!((stat.comm, stat.parent, stat.start), (Comm::from_bytes(name.as_bytes()), 7, 4711), "{name:?}");
        }
        assert_eq!(parse(b"12 (sh) S 7 1"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b")("), None);
    }

    #[test]
    fn this_process_has_a_start_and_a_parent() {
        let stat = read(Path::new("/proc"), std::process::id()).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        let theirs = procfs::process::Process::myself().unwrap().stat().unwrap();
        assert_eq!(stat.start, theirs.starttime);
        assert_eq!(read(Path::new("/proc"), 0), None);
    }
}
