//! Tokens and passwords: read anew for each use, so that one that was rotated is taken up without a restart.

use super::fault::{Fault, FaultKind};
use crate::config::model::{Secret, Token};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Where a provider's token comes from.
#[derive(Debug)]
pub struct Credential {
    token: Token,
    /// The file whose openness was already complained of.
    warned: Option<PathBuf>,
}

/// More than any token; a path to something else is not read to its end.
const MAX_BYTES: u64 = 16 << 10;

impl Credential {
    pub fn new(token: Token) -> Self {
        Self { token, warned: None }
    }

    /// The token, without white space around it, fit for a header.
    pub fn read(&mut self) -> Result<Secret, Fault> {
        let secret = match &self.token {
            Token::Value(secret) => Secret::new(secret.reveal().trim()),
            Token::File(path) => {
                let path = path.clone();
                let fault = |error: std::io::Error| {
                    Fault::new(FaultKind::Token, format!("token_file {}: {}", path.display(), error.kind()))
                };
                let file = std::fs::File::open(&path).map_err(fault)?;
                let mode = file.metadata().map_err(fault)?.permissions().mode();
                let mut text = Vec::new();
                file.take(MAX_BYTES).read_to_end(&mut text).map_err(fault)?;
                self.complain_if_open(&path, mode);
                let text = String::from_utf8(text).map_err(|_| not_a_token())?;
                Secret::new(text.trim())
            }
        };
        let fit = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if fit(secret.reveal()) { Ok(secret) } else { Err(not_a_token()) }
    }

    fn complain_if_open(&mut self, path: &std::path::Path, mode: u32) {
        let open = mode & 0o004 != 0;
        if open && self.warned.as_deref() != Some(path) {
            tracing::warn!(path = %path.display(), "every user of this host can read the token; chmod o-r it");
            self.warned = Some(path.to_owned());
        }
    }
}

fn not_a_token() -> Fault {
    Fault::new(FaultKind::Token, "the token is empty, or not one line of printable ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_trimmed_and_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let mut credential = Credential::new(Token::File(path.clone()));
        let fault = credential.read().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Token);
        assert!(fault.message.contains(path.to_str().unwrap()), "{fault}");
        for text in ["first\n", "  second  \n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(credential.read().unwrap().reveal(), text.trim());
        }
        for text in ["", "\n", "two\nlines", "nul\0", "caf\u{e9}"] {
            std::fs::write(&path, text).unwrap();
            let fault = credential.read().unwrap_err();
            assert_eq!(fault.kind, FaultKind::Token, "{text:?}");
            assert!(text.trim().is_empty() || !fault.message.contains(text.trim()));
        }
    }
}
