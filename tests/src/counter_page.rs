//! A page of Prometheus text on loopback, as an application serves it: answers, hangs or fails as a test tells it to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Text(String),
    Status(u16),
    /// Takes the request and never answers.
    Hang,
}

/// The server; it ends with the test's process.
#[derive(Clone, Debug)]
pub struct CounterPage {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    requests: usize,
    /// Connections that were left without an answer, kept so that they stay open.
    hanging: Vec<TcpStream>,
}

impl CounterPage {
    /// Serves `answer` at `address`, whatever the path.
    pub fn start(address: SocketAddr, answer: Answer) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let page = Self { address, state: Arc::new(Mutex::new(State { answer, requests: 0, hanging: Vec::new() })) };
        let serving = page.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.serve(stream);
            }
        });
        page
    }

    /// The address of the page, for a configuration.
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    pub fn now(&self, answer: Answer) {
        self.state().answer = answer;
    }

    pub fn requests(&self) -> usize {
        self.state().requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut head = BufReader::new(&stream).lines();
        // Up to the empty line that ends the request; a client that went away is no matter.
        while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let mut state = self.state();
        state.requests += 1;
        let (status, body) = match &state.answer {
            Answer::Text(text) => (200, text.clone()),
            Answer::Status(status) => (*status, String::new()),
            Answer::Hang => {
                state.hanging.push(stream);
                return;
            }
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: text/plain; version=0.0.4\r\n");
        let _ = write!(stream, "{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    }
}
