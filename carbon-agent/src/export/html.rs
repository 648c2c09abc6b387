//! What every page of ours shares: the style sheet, and text that cannot break out.

use std::fmt::{self, Display, Write};

/// Inlined into each page, so that a page needs nothing from elsewhere.
pub const STYLE: &str = include_str!("html.css");

/// Text in HTML, within elements and quoted attributes. Control characters are shown, not sent.
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
