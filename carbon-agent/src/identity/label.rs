//! Text that others chose (a process names itself) made safe for labels, rows and terminals.

/// The longest label value, in bytes.
pub const LABEL_BYTES: usize = 128;

/// Valid UTF-8 of at most [`LABEL_BYTES`] bytes without control characters, whatever `bytes` holds.
///
/// Quotes and backslashes stay: escaping is the business of each format. What could break a line, move a
/// terminal's cursor or turn the direction of writing becomes U+FFFD, as invalid bytes do.
pub fn label(bytes: &[u8]) -> String {
    // No more than this many bytes can matter; a process may name itself megabytes long.
    let bytes = &bytes[..bytes.len().min(LABEL_BYTES)];
    let mut safe = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        let c = if is_unsafe(c) { char::REPLACEMENT_CHARACTER } else { c };
        if safe.len() + c.len_utf8() > LABEL_BYTES {
            break;
        }
        safe.push(c);
    }
    safe
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // line and paragraph separator
            '\u{2028}' | '\u{2029}'
            // marks, embeddings, overrides and isolates that reorder what follows
            | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // zero-width, so that two different names do not look the same
            | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: &str) {
        assert_eq!(label(input), expected);
    }

    #[test]
    fn names_are_kept_as_they_are() {
        check(b"python3", "python3");
        check(b"", "");
        check("naïve-größe-語".as_bytes(), "naïve-größe-語");
        check(b"(sd-pam) [x]", "(sd-pam) [x]");
    }

    #[test]
    fn quotes_and_backslashes_are_left_to_the_formats() {
        check(br#"a"b\n'c'{}"#, r#"a"b\n'c'{}"#);
    }

    #[test]
    fn control_characters_are_replaced() {
        check(b"a\nb\rc\td\0e\x1b[31mf\x7f", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}[31mf\u{fffd}");
        check("\u{85}\u{9b}31m".as_bytes(), "\u{fffd}\u{fffd}31m");
        check("x\u{202e}fdp.exe\u{2028}y\u{200b}z".as_bytes(), "x\u{fffd}fdp.exe\u{fffd}y\u{fffd}z");
    }

    #[test]
    fn invalid_bytes_are_replaced() {
        check(b"\xff\xfeok", "\u{fffd}\u{fffd}ok");
        check(b"cut \xe8\xaa", "cut \u{fffd}");
    }

    #[test]
    fn length_is_bounded_on_a_character_boundary() {
        assert_eq!(label(&[b'a'; 5000]), "a".repeat(LABEL_BYTES));
        let long = label("語".repeat(100).as_bytes());
        assert!(long.len() <= LABEL_BYTES, "{} bytes", long.len());
        let worst = label(&[0xff; 5000]);
        assert!(worst.len() <= LABEL_BYTES && worst.chars().all(|c| c == char::REPLACEMENT_CHARACTER));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_in_a_safe_label_goes_out(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let safe = label(&bytes);
            proptest::prop_assert!(safe.len() <= LABEL_BYTES);
            proptest::prop_assert!(!safe.chars().any(is_unsafe));
        }
    }
}
