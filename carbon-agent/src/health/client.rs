//! `carbon-agent health`: asks a running agent and prints a line a check.

use super::{Check, Health, mark, one_line};
use crate::snapshot::StageStatus;
use std::time::Duration;
use ureq::Agent;

/// What to print, and whether the exit status is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub text: String,
    pub healthy: bool,
}

const PATH: &str = "/health/carbon";
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any agent says of itself; whatever else listens there must not fill our memory.
const MAX_BODY: u64 = 1 << 20;

/// Asks the agent at `url` (`http://127.0.0.1:9090`, with or without a path).
pub fn check(url: &str) -> Outcome {
    match ask(url) {
        Ok(health) => Outcome { text: health.lines(), healthy: health.is_up() },
        Err(why) => failed(&format!("Carbon component: {why}")),
    }
}

/// What to print when the configuration that should tell the address is not usable.
pub fn invalid_configuration(why: &str) -> Outcome {
    failed(&format!("Configuration: {why}"))
}

fn failed(text: &str) -> Outcome {
    let check = Check { status: StageStatus::Failed, text: one_line(text) };
    Outcome { text: format!("{} {}\n", mark(check.status), check.text), healthy: false }
}

fn ask(url: &str) -> Result<Health, String> {
    let url = endpoint(url);
    // A proxy from the environment would be asked about its own loopback.
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let mut response = agent
        .get(&url)
        .call()
        .map_err(|error| format!("no answer from {url}: {error}; is the agent running, and does it listen there?"))?;
    let status = response.status();
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_BODY)
        .read_to_vec()
        .map_err(|error| format!("the answer from {url} cannot be read: {error}"))?;
    serde_json::from_slice(&body)
        .map_err(|_| format!("{url} answers {status}, but not as a carbon-agent: another program listens there"))
}

/// The health endpoint of an address given with or without scheme and path.
fn endpoint(url: &str) -> String {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let has_path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).is_some_and(|(_, p)| !p.is_empty());
    if has_path { url } else { format!("{}{PATH}", url.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn the_path_may_be_left_out() {
        let expected = "http://127.0.0.1:9090/health/carbon";
        for url in ["http://127.0.0.1:9090", "http://127.0.0.1:9090/", "127.0.0.1:9090", expected] {
            assert_eq!(endpoint(url), expected, "{url}");
        }
        assert_eq!(endpoint("http://host/agent/health"), "http://host/agent/health");
    }

    /// What `check` says of a server that sends these bytes.
    fn of_server(answer: &'static [u8]) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        });
        let outcome = check(&format!("http://{address}"));
        server.join().unwrap();
        outcome
    }

    #[test]
    fn another_program_on_the_port_is_told_apart() {
        let outcome = of_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        assert!(!outcome.healthy);
        assert!(outcome.text.contains("another program listens there"), "{}", outcome.text);
        assert!(!of_server(b"\x00\x01garbage").healthy);
        assert!(!of_server(b"").healthy);
    }

    #[test]
    fn nobody_listening_is_unhealthy_in_one_line() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let outcome = check(&format!("http://{free}"));
        assert!(!outcome.healthy);
        assert!(outcome.text.starts_with("❌ Carbon component: no answer from http://127.0.0.1:"), "{}", outcome.text);
        assert_eq!(outcome.text.lines().count(), 1);
    }
}
