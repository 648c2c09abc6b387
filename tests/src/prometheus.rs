//! A real Prometheus on loopback, with the shipped configuration made fast: every interval and every `for` is short.

use crate::agent::repository;
use crate::http::{self, free_address, quoted};
use crate::need;
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `deploy/prometheus`.
pub fn shipped() -> PathBuf {
    repository().join("deploy/prometheus")
}

/// Whether Prometheus and its tool are there.
pub fn installed() -> bool {
    need::program("prometheus") && need::program("promtool")
}

/// Runs `promtool` in `deploy/prometheus`.
pub fn promtool(arguments: &[&str]) -> Output {
    Command::new("promtool").args(arguments).current_dir(shipped()).output().expect("promtool starts")
}

/// A running Prometheus; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts it in `directory` with the shipped files, scraping `target` each second. An alert fires after `pending`.
    pub fn start(directory: &Path, target: SocketAddr, pending: Duration) -> Self {
        let pending = format!("{}s", pending.as_secs());
        fs::create_dir_all(directory.join("rules")).expect("a directory for rules");
        let config = read(&shipped().join("prometheus.yml")).replace("localhost:9090", &target.to_string());
        let config = with(&with(&config, "scrape_interval:", "1s"), "evaluation_interval:", "1s");
        fs::write(directory.join("prometheus.yml"), config).expect("a configuration");
        for entry in fs::read_dir(shipped().join("rules")).expect("rules are shipped").flatten() {
            let rules = with(&with(&read(&entry.path()), "for:", &pending), "interval:", "1s");
            fs::write(directory.join("rules").join(entry.file_name()), rules).expect("a rule file");
        }
        let address = free_address();
        let log = || File::create(directory.join("prometheus.log")).expect("a log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("prometheus starts");
        let mut prometheus = Self { child, address, directory: directory.to_owned() };
        prometheus.wait(Duration::from_secs(60), "Prometheus is ready", |prometheus| {
            http::get(prometheus.address, "/-/ready", "").is_ok_and(|answer| answer.status == 200)
        });
        prometheus
    }

    /// The instant vector of a query; a query that Prometheus refuses is a failure.
    #[track_caller]
    pub fn query(&self, query: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", quoted(query));
        let answer = http::get(self.address, &path, "").expect("Prometheus answers").json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The number of a query that has one result.
    pub fn number(&self, query: &str) -> Option<f64> {
        match self.query(query).as_slice() {
            [one] => one["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// `pending`, `firing`, or nothing.
    pub fn alert(&self, name: &str) -> Option<String> {
        let alerts = self.api("/api/v1/alerts");
        let states = alerts["data"]["alerts"].as_array().into_iter().flatten();
        states
            .filter(|alert| alert["labels"]["alertname"] == name)
            .find_map(|it| Some(it["state"].as_str()?.to_owned()))
    }

    /// The loaded rule of a name, as Prometheus understood it.
    pub fn rule(&self, name: &str) -> Option<Value> {
        let rules = self.api("/api/v1/rules");
        let groups = rules["data"]["groups"].as_array()?;
        groups.iter().flat_map(|group| group["rules"].as_array()).flatten().find(|rule| rule["name"] == name).cloned()
    }

    pub fn api(&self, path: &str) -> Value {
        http::get(self.address, path, "").expect("Prometheus answers").json()
    }

    /// Waits until `done`, and panics with Prometheus' own log when it takes too long.
    pub fn wait(&mut self, limit: Duration, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + limit;
        while !done(self) {
            let log = || read(&self.directory.join("prometheus.log"));
            assert!(self.child.try_wait().expect("a child can be asked for").is_none(), "{what}: it ended\n{}", log());
            assert!(Instant::now() < end, "{limit:?} passed before {what}\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// YAML text with another value for a key, wherever a line has it.
fn with(text: &str, key: &str, value: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix(key) {
        Some(_) => format!("{}{key} {value}\n", &line[..line.len() - line.trim_start().len()]),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
