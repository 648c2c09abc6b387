//! One real process whose named threads use CPU time as they are told (`probe-shapes workers`).

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The process; killed when dropped.
pub struct Workers {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Workers {
    /// `shapes` is the path of `probe-shapes`.
    pub fn start(shapes: &Path, names: &[&str]) -> Self {
        let mut child = Command::new(shapes)
            .arg("workers")
            .args(names)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("probe-shapes");
        let orders = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, orders, answers }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets each thread, in the order of the names, use so many milliseconds of CPU time; returns when all have.
    pub fn burn(&mut self, millis: &[u64]) {
        let line: Vec<String> = millis.iter().map(u64::to_string).collect();
        writeln!(self.orders, "{}", line.join(" ")).expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        assert_eq!(answer, "done\n");
    }

    /// Seconds of CPU time by thread name, as the scheduler counted them (`/proc/<pid>/task/*/schedstat`).
    pub fn scheduled(&self) -> BTreeMap<String, f64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives");
        let mut seconds = BTreeMap::new();
        for task in tasks {
            let task = task.expect("an entry").path();
            let read = |file: &str| fs::read_to_string(task.join(file)).expect("the thread lives");
            let nanos: u64 = read("schedstat").split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
            *seconds.entry(read("comm").trim_end().to_owned()).or_default() += nanos as f64 / 1e9;
        }
        seconds
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
