//! Names from the engines' local APIs: Docker's, and Podman's, which speaks the same.

use super::engine_files::docker_names;
use super::{NameSource, Names};
use crate::identity::cgroup::{Container, Engine};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An engine that does not answer in this time does not answer.
const TIMEOUT: Duration = Duration::from_millis(500);
/// All sockets together are asked no longer than this about one container.
const PATIENCE: Duration = Duration::from_secs(2);
/// A description is some 10 kB long.
const LONGEST: u64 = 4 << 20;
/// Users with an engine of their own that are looked at.
const USERS: usize = 64;

/// The unix sockets under `/run` on which engines listen, those of users included.
pub struct Sockets {
    run: PathBuf,
}

impl Sockets {
    pub fn new(root: &Path) -> Self {
        Self { run: root.join("run") }
    }

    fn present(&self, engine: Engine) -> Vec<PathBuf> {
        let names: &[&str] = match engine {
            Engine::Docker => &["docker.sock"],
            Engine::Podman => &["podman/podman.sock"],
            Engine::Unknown => &["docker.sock", "podman/podman.sock"],
            Engine::Containerd | Engine::CriO | Engine::Lxc | Engine::Nspawn => return Vec::new(),
        };
        let users = fs::read_dir(self.run.join("user")).into_iter().flatten().flatten().take(USERS);
        let directories = std::iter::once(self.run.clone()).chain(users.map(|user| user.path()));
        let sockets = directories.flat_map(|directory| names.iter().map(move |name| directory.join(name)));
        sockets.filter(|socket| socket.exists()).collect()
    }
}

impl NameSource for Sockets {
    fn names(&self, container: Option<&Container>, _pod: Option<&str>) -> Names {
        let Some(container) = container else { return Names::default() };
        let begun = Instant::now();
        // Users' own sockets may hang on purpose; the system's engines are asked before any of them.
        let mut sockets = self.present(container.engine).into_iter().take_while(|_| begun.elapsed() < PATIENCE);
        let describe = |socket: PathBuf| get(&socket, &format!("/containers/{}/json", container.id)).ok();
        let found = sockets.find_map(describe);
        found.and_then(|json| docker_names(&json)).unwrap_or_default()
    }
}

/// The body of what an HTTP server on a unix socket answers to GET.
///
/// HTTP/1.0, in which an answer ends with the connection and is never in chunks: nothing is left to parse but the status.
fn get(socket: &Path, target: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + TIMEOUT;
    let mut connection = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Also bounds the wait for a listener that no longer accepts.
    connection.set_write_timeout(Some(TIMEOUT))?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.connect(&SockAddr::unix(socket)?)?;
    connection.write_all(format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;

    let mut answer = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        match connection.read(&mut part)? {
            0 => break,
            length => answer.extend_from_slice(&part[..length]),
        }
        if answer.len() as u64 > LONGEST || Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    body(answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What follows the header of a good answer.
fn body(mut answer: Vec<u8>) -> Option<Vec<u8>> {
    let status = answer.strip_prefix(b"HTTP/1.")?.get(1..5)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    if status != b" 200" {
        return None;
    }
    answer.drain(..end + 4);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_has_a_body() {
        let check = |answer: &str, expected: Option<&str>| {
            let body = body(answer.as_bytes().to_vec()).map(|body| String::from_utf8(body).unwrap());
            assert_eq!(body.as_deref(), expected, "{answer:?}");
        };
        check("HTTP/1.0 200 OK\r\nServer: x\r\n\r\n{}", Some("{}"));
        check("HTTP/1.1 200 OK\r\n\r\n", Some(""));
        check("HTTP/1.0 404 Not Found\r\n\r\n{\"message\":\"no such container\"}", None);
        check("HTTP/1.0 200 OK\r\n", None);
        check("nonsense", None);
        check("", None);
    }
}
