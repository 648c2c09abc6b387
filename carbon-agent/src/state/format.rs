//! The bytes of a checkpoint: a line that names the format, its version and the body's length and SHA-256, then the
//! body as JSON. People can read it; whoever edits it is found out.

use super::Checkpoint;
use sha2::{Digest, Sha256};

const MAGIC: &str = "carbon-agent-state";
/// Raised when an older agent would misread what a newer one writes. Fields may be added without.
const VERSION: u32 = 1;

/// Why bytes are not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is damaged ({0})")]
    Damaged(String),
    #[error("it is of version {0}, this agent writes version {VERSION}")]
    OtherVersion(u32),
}

pub fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let body = serde_json::to_vec(checkpoint).expect("plain data, and memory does not fail to be written");
    let mut bytes = format!("{MAGIC} {VERSION} {} {}\n", body.len(), digest(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes.push(b'\n');
    bytes
}

pub fn decode(bytes: &[u8]) -> Result<Checkpoint, Unreadable> {
    let damaged = |what: &str| Unreadable::Damaged(what.to_owned());
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("no header"))?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| damaged("no header"))?;
    let [magic, version, length, sum] = header.split(' ').collect::<Vec<_>>()[..] else {
        return Err(damaged("no header"));
    };
    let version: u32 = version.parse().map_err(|_| damaged("no version"))?;
    if magic != MAGIC {
        return Err(damaged("no header"));
    }
    if version != VERSION {
        return Err(Unreadable::OtherVersion(version));
    }
    let length: usize = length.parse().map_err(|_| damaged("no length"))?;
    let body = bytes[end + 1..].get(..length).ok_or_else(|| damaged("it is cut short"))?;
    if digest(body) != sum {
        return Err(damaged("the checksum differs"));
    }
    serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))
}

fn digest(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}
