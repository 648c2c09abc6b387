use super::connection::{Limited, Limits};
use super::*;
use crate::export::fixture;
use crate::export::published::{Published, Running};
use crate::health::client;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;
use tokio::sync::oneshot;

/// A server on loopback, on a thread of its own.
struct Server {
    address: SocketAddr,
    published: Arc<Published>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let published = Arc::new(Published::default());
        let shared =
            Arc::new(Shared { published: published.clone(), run: Arc::new(Running::new(fixture::run_info())) });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(serve(listener, shared, async { drop(stopped.await) })).unwrap();
        });
        Self { address, published, stop: Some(stop), thread: Some(thread) }
    }

    /// Status line and headers, and body.
    fn ask(&self, method: &str, path: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (head, body) = self.ask("GET", path, "");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    fn stop(&mut self) -> Duration {
        let begin = Instant::now();
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        begin.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn before_the_first_interval_only_readiness_waits() {
    let server = Server::start();
    for (path, status) in [("/ready", 503), ("/api/v1/snapshot", 503), ("/metrics", 200), ("/health", 200), ("/", 200)]
    {
        assert_eq!(server.get(path).0, status, "{path}");
    }
    assert!(server.get("/metrics").1.contains("carbon_build_info"));
    server.published.publish(fixture::publication());
    assert_eq!(server.get("/ready").0, 200);
}

#[test]
fn health_follows_the_stages() {
    let server = Server::start();
    let mut publication = fixture::publication();
    server.published.publish(publication.clone());
    let (status, body) = server.get("/health/carbon");
    assert_eq!(status, 200, "degraded is not down");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["status"], "degraded");
    let outcome = client::check(&format!("http://{}", server.address));
    assert!(outcome.healthy && outcome.text.contains("✅ Configuration: Valid\n"), "{}", outcome.text);

    publication.snapshot.stages[0].status = crate::snapshot::StageStatus::Failed;
    server.published.publish(publication);
    assert_eq!(server.get("/health/carbon").0, 503);
    let outcome = client::check(&server.address.to_string());
    assert!(!outcome.healthy && outcome.text.contains("❌ Probe: "), "{}", outcome.text);
}

#[test]
fn metrics_come_in_the_format_asked_for() {
    let server = Server::start();
    server.published.publish(fixture::publication());
    let (head, body) = server.ask("GET", "/metrics", "");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("# TYPE carbon_errors_total counter"));
    let (head, body) = server.ask("GET", "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"));
}

#[test]
fn the_api_answers_in_json() {
    let server = Server::start();
    let mut publication = fixture::publication();
    publication.snapshot.timestamp = jiff::Timestamp::now();
    server.published.publish(publication);
    let json = |path| serde_json::from_str::<serde_json::Value>(&server.get(path).1).unwrap();
    let snapshot = json("/api/v1/snapshot");
    assert_eq!(snapshot["host"]["record"], "host");
    assert_eq!(snapshot["components"].as_array().unwrap().len(), 6);
    assert_eq!(snapshot["processes"][1]["comm"], fixture::HOSTILE);
    assert_eq!(snapshot["meters"][0]["domain"], "package");
    for path in ["/api/v1/history", "/api/v1/history?since=1h", "/api/v1/history?since=1d"] {
        assert_eq!(json(path)["intervals"].as_array().unwrap().len(), 1, "{path}");
    }
    assert_eq!(server.get("/api/v1/history?since=yesterday").0, 400);
}

#[test]
fn anything_else_is_refused_in_a_line() {
    let server = Server::start();
    for path in ["/nothing", "/metrics/", "/../etc/passwd", "/api/v1/%00", "//"] {
        let (status, body) = server.get(path);
        assert_eq!((status, body.lines().count()), (404, 1), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let (head, body) = server.ask(method, "/metrics", "Content-Length: 0\r\n");
        assert!(head.starts_with("HTTP/1.1 405 "), "{method}: {head}");
        assert!(head.to_ascii_lowercase().contains("allow: get"), "{head}");
        assert_eq!(body.lines().count(), 1);
    }
    let (head, body) = server.ask("HEAD", "/metrics", "");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
}

#[test]
fn requests_at_once_are_answered_while_a_slow_client_sends_nothing() {
    let server = Server::start();
    server.published.publish(fixture::publication());
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for path in ["/metrics", "/", "/api/v1/snapshot", "/health"] {
                    assert_eq!(server.get(path).0, 200);
                }
            });
        }
    });
}

#[test]
fn the_end_does_not_wait_for_a_slow_client() {
    let mut server = Server::start();
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost").unwrap();
    assert_eq!(server.get("/").0, 200);
    let took = server.stop();
    assert!(took < GRACE + Duration::from_secs(2), "{took:?}");
    assert!(TcpStream::connect(server.address).is_err());
}

/// A server with limits of its own, for as long as `talk` talks to it.
fn limited(limits: Limits, talk: impl FnOnce(SocketAddr) + Send + 'static) {
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::from_std(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { published: Arc::default(), run: Arc::new(Running::new(fixture::run_info())) });
        tokio::spawn(axum::serve(Limited::new(listener, limits), router(shared)).into_future());
        tokio::task::spawn_blocking(move || talk(address)).await.unwrap();
    });
}

/// Asks on a connection that stays open; true when it was answered.
fn ask_again(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = [0; 12];
    let _ = stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    // Before the first interval it is not ready; that is an answer, and the rest of it comes with the next read.
    let answered = stream.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 503";
    let mut rest = [0; 4096];
    answered && stream.read(&mut rest).is_ok()
}

/// Whether the server has ended the connection; waits for it up to `limit`.
fn ended(stream: &mut TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(limit)).unwrap();
    match stream.read(&mut [0; 4096]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(600);
const PATIENT: Limits = Limits { connections: 3, exchange: NEVER, idle: NEVER, lifetime: NEVER };

#[test]
fn silent_connections_keep_nobody_out() {
    limited(PATIENT, |address| {
        let silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut asking: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(asking.iter_mut().all(ask_again));
        let over = silent.into_iter().filter_map(|mut silent| ended(&mut silent, Duration::from_secs(5)).then_some(()));
        assert_eq!(over.count(), 10, "none of them outlives those who ask");
    });
}

#[test]
fn who_has_been_idle_longest_makes_room() {
    limited(PATIENT, |address| {
        let mut open: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        for (at, stream) in open.iter_mut().enumerate().rev() {
            assert!(ask_again(stream), "{at}");
        }
        // The first connected was the last to ask.
        assert!(ask_again(&mut TcpStream::connect(address).unwrap()));
        assert!(ended(&mut open[2], Duration::from_secs(5)));
        assert!(ask_again(&mut open[0]) && ask_again(&mut open[1]));
    });
}

#[test]
fn a_request_that_trickles_in_has_an_end() {
    let limits = Limits { exchange: Duration::from_millis(300), ..PATIENT };
    limited(limits, move |address| {
        let mut slow = TcpStream::connect(address).unwrap();
        assert!(ask_again(&mut slow));
        let begin = Instant::now();
        // It is never silent for long, and never done.
        while slow.write_all(b"G").is_ok() && !ended(&mut slow, Duration::from_millis(20)) {
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
        assert!(begin.elapsed() >= limits.exchange, "{:?}", begin.elapsed());
        // A connection that never asks ends as well.
        assert!(ended(&mut TcpStream::connect(address).unwrap(), Duration::from_secs(10)));
    });
}

#[test]
fn a_connection_may_be_idle_between_requests() {
    let limits = Limits { exchange: Duration::from_millis(100), ..PATIENT };
    limited(limits, move |address| {
        let mut scraper = TcpStream::connect(address).unwrap();
        assert!(ask_again(&mut scraper));
        std::thread::sleep(3 * limits.exchange);
        assert!(ask_again(&mut scraper));
    });
}

#[test]
fn a_port_in_use_is_named_with_its_remedy() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind(address).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    assert!(error.contains(&format!("sport = :{}", address.port())), "{error}");
}

#[test]
fn only_addresses_off_loopback_are_warned_of() {
    let warned = |address: &str| exposure_warning(address.parse().unwrap()).is_some();
    assert!(!warned("127.0.0.1:9090") && !warned("[::1]:9090"));
    assert!(warned("0.0.0.0:9090") && warned("192.0.2.1:9090"));
}
