//! A server on loopback that answers, hangs, lies, drops and floods, as a test tells it to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Takes the request and says nothing.
    Hang,
    /// Promises a body and closes after a few bytes of it.
    Drop,
    /// A body without end.
    Flood,
    /// One byte a while: each read succeeds, the whole never comes.
    Drip,
}

impl Reply {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Answer { status: 200, headers: vec![], body: body.into() }
    }

    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: vec![], body: String::new() }
    }
}

/// A request as it came: the first line's path, and the headers in lower case.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

type Script = Box<dyn FnMut(&Request) -> Reply + Send>;

/// The server, its script and what it was asked.
pub struct Loopback {
    pub url: String,
    script: Arc<Mutex<Script>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Loopback {
    pub fn start(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (serve_script, serve_requests) = (script.clone(), requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, requests) = (serve_script.clone(), serve_requests.clone());
                std::thread::spawn(move || {
                    if let Some(request) = read(&stream) {
                        requests.lock().unwrap().push(request.clone());
                        let reply = script.lock().unwrap()(&request);
                        // The client may be gone: that is its right.
                        let _ = write(stream, reply);
                    }
                });
            }
        });
        Self { url, script, requests }
    }

    pub fn now_does(&self, script: impl FnMut(&Request) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    Some(Request { path, headers })
}

fn write(mut stream: TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Answer { status, headers, body } => {
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n", body.len())?;
            for (name, value) in headers {
                write!(stream, "{name}: {value}\r\n")?;
            }
            write!(stream, "\r\n{body}")
        }
        Reply::Hang => {
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        Reply::Drop => write!(stream, "HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n{{\"carbon"),
        Reply::Flood => {
            write!(stream, "HTTP/1.1 200 X\r\nconnection: close\r\n\r\n")?;
            let block = vec![b'x'; 1 << 16];
            loop {
                stream.write_all(&block)?;
            }
        }
        Reply::Drip => {
            write!(stream, "HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n")?;
            loop {
                stream.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
