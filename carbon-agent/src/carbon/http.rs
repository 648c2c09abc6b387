//! The HTTP client of everything in this module: short waits, small answers, no redirects, faults that quote nothing.

use super::fault::{Fault, FaultKind};
use jiff::Timestamp;
use std::io;
use std::time::Duration;

/// No honest answer of a provider comes near this; a page of Prometheus metrics may.
pub const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// The longest that a server's Retry-After is honoured: a provider that says «next year» is asked again the same day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(6 * 3600);

/// A client with a limit on the whole of each request, from the look-up of the name to the last byte.
#[derive(Debug)]
pub struct Http {
    agent: ureq::Agent,
    timeout: Duration,
}

impl Http {
    pub fn new(timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // A redirect would carry the `auth-token` header to wherever it points.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Requests are minutes apart: a kept connection would be closed by then.
            .max_idle_connections(0)
            .user_agent(concat!("carbon-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), timeout }
    }

    /// The body of a 200 answer. `headers` may hold secrets: no fault shows them.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<String, Fault> {
        let mut request = self.agent.get(url);
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", "application/json, text/plain;q=0.9");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.call().map_err(|error| self.classify(&error))?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(Fault::new(FaultKind::Unauthorised, "the token or the plan is not accepted")),
            status => {
                let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let retry_after = after.and_then(|text| retry_after(text, Timestamp::now()));
                let message = match status {
                    429 => "asked too often".to_owned(),
                    300..400 => "the address points elsewhere, which is not followed".to_owned(),
                    _ => format!("answered with status {status}"),
                };
                return Err(Fault { kind: FaultKind::Http(status), message, retry_after });
            }
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        String::from_utf8(body.map_err(|error| self.classify(&error))?)
            .map_err(|_| Fault::new(FaultKind::Malformed, "the answer is not text"))
    }

    fn classify(&self, error: &ureq::Error) -> Fault {
        let timeout = || Fault::new(FaultKind::Timeout, format!("no whole answer within {:?}", self.timeout));
        let unreachable = |text: &str| Fault::new(FaultKind::Unreachable, text);
        let dropped = || Fault::new(FaultKind::Dropped, "the connection ended before the answer did");
        match error {
            ureq::Error::Timeout(_) => timeout(),
            ureq::Error::HostNotFound => unreachable("the name of the host is not known"),
            ureq::Error::ConnectionFailed => unreachable("no connection"),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Fault::new(FaultKind::Malformed, "the request cannot be sent: check url, zone and token")
            }
            ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
                Fault::new(FaultKind::TooLarge, format!("the answer is larger than {MAX_ANSWER_BYTES} bytes"))
            }
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
                Fault::new(FaultKind::Tls, "the server's certificate or handshake was refused")
            }
            ureq::Error::Io(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => timeout(),
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => dropped(),
                // rustls hands its errors over as invalid data.
                io::ErrorKind::InvalidData => {
                    Fault::new(FaultKind::Tls, "the server's certificate or handshake was refused")
                }
                kind => unreachable(&kind.to_string()),
            },
            _ => Fault::new(FaultKind::Malformed, "the answer is not HTTP"),
        }
    }
}

/// `Retry-After` as seconds or as a date (RFC 9110, 10.2.3), at most [`MAX_RETRY_AFTER`].
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_for_ever() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 01 Mar 2026 12:00:30 GMT", Some(30)),
            ("Sun, 01 Mar 2026 11:00:00 GMT", Some(0)),
            ("99999999", Some(6 * 3600)),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn what_goes_over_the_wire_cannot_be_logged() {
        assert!(log::STATIC_MAX_LEVEL <= log::LevelFilter::Debug, "the HTTP client's trace shows whole requests");
    }
}
