//! What can go wrong with a source of intensity, as `carbon_errors_total{stage="intensity"}` counts it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The `kind` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// No whole answer within the time allowed.
    Timeout,
    /// Nobody answers at that address, or the name is not known.
    Unreachable,
    /// The server's certificate or the TLS handshake was refused.
    Tls,
    /// The connection ended before the answer did.
    Dropped,
    /// An HTTP status other than 200, 401 and 403.
    Http(u16),
    /// The provider does not accept the token (HTTP 401, 403).
    Unauthorised,
    /// The token cannot be read, or is not one.
    Token,
    /// The answer is larger than any honest one.
    TooLarge,
    /// The answer is not what the provider documents: HTML, other JSON, no number, no time.
    Malformed,
    /// The provider says that it has no value now (null).
    NoValue,
    /// A number or a time that cannot be true.
    Implausible,
    /// The provider's newest value is too old to be used.
    Stale,
    /// The answer is for another zone than the one asked for.
    WrongZone,
    /// The file of values cannot be read or has a bad line.
    File,
    /// The last known values cannot be kept on disk, or what is there cannot be used.
    Cache,
}

impl FaultKind {
    /// Every kind there is; of the HTTP statuses those that providers and proxies usually fail with.
    pub const USUAL: [FaultKind; 21] = [
        Self::Timeout,
        Self::Unreachable,
        Self::Tls,
        Self::Dropped,
        Self::Http(400),
        Self::Http(404),
        Self::Http(429),
        Self::Http(500),
        Self::Http(502),
        Self::Http(503),
        Self::Http(504),
        Self::Unauthorised,
        Self::Token,
        Self::TooLarge,
        Self::Malformed,
        Self::NoValue,
        Self::Implausible,
        Self::Stale,
        Self::WrongZone,
        Self::File,
        Self::Cache,
    ];

    /// As metrics name it.
    pub fn label(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Http(status) => return Cow::Owned(format!("http_{status}")),
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Dropped => "dropped",
            Self::Unauthorised => "unauthorised",
            Self::Token => "token",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NoValue => "no_value",
            Self::Implausible => "implausible",
            Self::Stale => "stale",
            Self::WrongZone => "wrong_zone",
            Self::File => "file",
            Self::Cache => "cache",
        })
    }
}

/// A failed attempt to learn an intensity. The message names the cause in our own words: nothing that came over the
/// wire is quoted, because a server may echo the token that was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
    /// How long the server asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Fault {
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind.label())
    }
}
