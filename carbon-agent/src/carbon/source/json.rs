//! Answers as JSON, with faults that say where and quote nothing.

use crate::carbon::fault::{Fault, FaultKind};
use serde::de::DeserializeOwned;

/// Reads an answer. serde's own messages quote the text they stumble over, which may be an echo of the token.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| {
        let what = if text.trim_start().starts_with('<') {
            "the answer is HTML, not JSON".to_owned()
        } else if text.trim().is_empty() {
            "the answer is empty".to_owned()
        } else if error.is_data() {
            format!("the answer lacks what the provider documents (line {}, column {})", error.line(), error.column())
        } else {
            format!("the answer is not JSON (line {}, column {})", error.line(), error.column())
        };
        Fault::new(FaultKind::Malformed, what)
    })
}
