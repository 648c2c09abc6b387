//! Lines of a file of any size in bounded memory.

use std::io::{self, BufRead};

/// No line of ours comes near; a longer one is damage, whatever it is.
const MAX_LINE: usize = 1 << 20;

/// Calls `each` with every line, without its newline. A line beyond [`MAX_LINE`] is passed over; returns how many
/// there were.
pub fn for_each(mut reader: impl BufRead, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    // A line that spans two fills of the reader's buffer is put together here; all others are lent as they lie.
    let mut carry = Vec::new();
    let mut too_long = 0;
    let mut skipping = false;
    loop {
        let buffer = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if buffer.is_empty() {
            if !carry.is_empty() && !skipping {
                each(&carry);
            }
            return Ok(too_long);
        }
        let length = buffer.len();
        let mut rest = buffer;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..at], &rest[at + 1..]);
            if skipping {
                skipping = false;
            } else if carry.is_empty() {
                each(line);
            } else {
                carry.extend_from_slice(line);
                each(&carry);
            }
            carry.clear();
            rest = after;
        }
        if !skipping {
            carry.extend_from_slice(rest);
            if carry.len() > MAX_LINE {
                too_long += 1;
                skipping = true;
                carry = Vec::new();
            }
        }
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn check(text: &[u8], buffer: usize, expected: &[&str], too_long: u64) {
        let mut got = Vec::new();
        let count = for_each(BufReader::with_capacity(buffer, text), |line| {
            got.push(String::from_utf8_lossy(line).into_owned());
        });
        assert_eq!(
            (got.as_slice(), count.unwrap()),
            (expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice(), too_long)
        );
    }

    #[test]
    fn lines_are_whole_whatever_the_buffer() {
        for buffer in [1, 2, 3, 5, 100] {
            check(b"one\n\nthree\nfour", buffer, &["one", "", "three", "four"], 0);
            check(b"", buffer, &[], 0);
            check(b"\n", buffer, &[""], 0);
        }
    }

    #[test]
    fn an_endless_line_is_passed_over() {
        let long = [b"a\n".as_slice(), &vec![b'x'; 3 * MAX_LINE], b"\nb\n"].concat();
        check(&long, 1 << 16, &["a", "b"], 1);
        check(&long[..2 * MAX_LINE], 1 << 16, &["a"], 1);
    }
}
