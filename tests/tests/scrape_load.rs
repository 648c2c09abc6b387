//! Readers, however many, slow or rude, do not disturb the measuring.

use carbon_tests::agent::rows;
use carbon_tests::books::assert_closed;
use carbon_tests::daemon::Daemon;
use carbon_tests::http;
use carbon_tests::powercap_tree::{Machine, RunningTree};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One at a time: the load of one test would be the other's delay.
static ALONE: Mutex<()> = Mutex::new(());

fn daemon() -> (TempDir, RunningTree, Daemon) {
    let directory = tempfile::tempdir().unwrap();
    let tree = RunningTree::start(directory.path(), Machine::single(20.0, 10.0)).unwrap();
    let arguments = ["--interval", "1", "--sample-interval", "0.25"];
    let mut daemon =
        Daemon::start(directory.path(), &tree, "carbon: { intensity: { grams_per_kwh: 380 } }\n", &arguments);
    daemon.wait_ready();
    (directory, tree, daemon)
}

/// Lengths of the intervals that ended so far.
fn intervals(daemon: &Daemon) -> Vec<f64> {
    let history = daemon.get("/api/v1/history?since=1h").json();
    history["intervals"].as_array().unwrap().iter().map(|it| it["interval_seconds"].as_f64().unwrap()).collect()
}

#[test]
fn many_scrapes_at_once_do_not_disturb_sampling() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (_directory, tree, daemon) = daemon();
    let (stop, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let before = intervals(&daemon).len();
    let meter = "carbon_host_energy_joules_total";
    let counted = daemon.scrape().value(meter, &[("domain", "package")]);
    let truth = tree.truth().package_uj;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for path in
            ["/metrics", "/metrics", "/metrics", "/metrics", "/", "/api/v1/snapshot", "/api/v1/history", "/health"]
        {
            let (daemon, stop, answered) = (&daemon, &stop, &answered);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(daemon.get(path).status, 200, "{path}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(8));
        stop.store(true, Ordering::Relaxed);
    });
    let (elapsed, answered) = (begin.elapsed().as_secs_f64(), answered.load(Ordering::Relaxed));
    let scrape = daemon.scrape();
    let counted = scrape.value(meter, &[("domain", "package")]) - counted;
    let spent = (tree.truth().package_uj - truth) as f64 / 1e6;
    let lengths = intervals(&daemon).split_off(before);
    println!(
        "{answered} answers in {elapsed:.1} s; {counted:.1} J counted of {spent:.1} J spent; intervals {lengths:.2?}"
    );

    assert!(answered > 200, "the readers were busy: {answered}");
    // The figures at either end lag by up to an interval (and a beat, on a starved host).
    let lag = 1.5 * spent / elapsed;
    assert!((counted - spent).abs() < lag + 0.02 * spent, "{counted} J of {spent} J");
    assert!(lengths.len() as f64 >= 0.7 * elapsed, "the beat was kept: {lengths:?}");
    assert!(lengths.iter().all(|seconds| *seconds < 2.5), "no interval was held up: {lengths:?}");
    assert_eq!(scrape.value("carbon_attribution_residual_joules", &[("domain", "package")]), 0.0);
    assert!(scrape.of("carbon_errors_total").all(|(_, count)| count == 0.0), "nothing went wrong");
    let output = daemon.output();
    daemon.stop();
    assert!(assert_closed(&rows(&output)) >= lengths.len());
}

#[test]
fn slow_and_rude_clients_delay_only_themselves() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (_directory, _tree, mut daemon) = daemon();
    let connect = || TcpStream::connect(daemon.address()).unwrap();
    // Half a request, a request a byte at a time, a reader that never reads, and one that is gone.
    let mut slow: Vec<TcpStream> = (0..30).map(|_| connect()).collect();
    for (index, stream) in slow.iter_mut().enumerate() {
        match index % 3 {
            0 => stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").unwrap(),
            1 => {}
            _ => {
                // Many answers asked for and none taken: the connection fills up.
                for _ in 0..30 {
                    stream.write_all(b"GET /api/v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                }
            }
        }
    }
    drop(connect());
    for _ in 0..10 {
        let begin = Instant::now();
        assert_eq!(daemon.get("/metrics").status, 200);
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    }
    for byte in b"GET /health HTTP/1.1\r\n" {
        slow[1].write_all(&[*byte]).unwrap();
    }
    let nonsense = http::request(daemon.address(), "\u{1}\u{2}", "/", "").map(|answer| answer.status);
    assert!(nonsense.is_ok_and(|status| status == 400));
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    // Refused in the middle, by an answer or by the end of the connection.
    assert!(http::get(daemon.address(), "/", &long).map_or(true, |answer| answer.status >= 400));

    // More of them than there is room for: who asks gets in all the same, and rows are written.
    let address = daemon.address();
    let crowd: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(address).unwrap()).collect();
    let written = rows(&daemon.output()).len();
    for _ in 0..10 {
        assert_eq!(daemon.get("/metrics").status, 200);
    }
    daemon.wait(Duration::from_secs(20), "rows are written while there is a crowd", |daemon| {
        rows(&daemon.output()).len() > written + 10
    });
    drop((crowd, slow));
    assert_eq!(daemon.get("/ready").status, 200);
    let output = daemon.output();
    daemon.stop();
    assert!(assert_closed(&rows(&output)) >= 2);
}
