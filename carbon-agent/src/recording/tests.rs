use super::*;
use crate::division::KnownIdle;
use crate::energy::{Domain, EnergySample, GpuLoad, GpuUse, GpuUser, Meter, MeterDelta, Quality};
use crate::probe::{Comm, CpuMethod, CpuSample, CpuWindow, ProcessKey, TaskTime};
use crate::sampler::{RawSample, host_load};
use crate::units::{MicroJoules, Nanos};
use std::io::{self, BufReader, Write};
use std::sync::{Arc, Mutex};

/// A file that the test can look into.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn header(weights: Policy) -> Header {
    Header {
        cpu_time: CpuMethod::Ebpf,
        energy: "rapl-powercap".into(),
        quality: Quality::Measured,
        idle: IdlePolicy::Separate,
        weights,
        topology: vec![(0, 0), (1, 1)],
        components: vec!["a".into(), "never ran".into()],
        baseline: Default::default(),
    }
}

fn task(pid: u32, cpu: u32, time: u64) -> TaskTime {
    TaskTime {
        process: ProcessKey { pid, start: Nanos(u64::from(pid) * 3) },
        tid: pid,
        cpu,
        time: Nanos(time),
        comm: Comm::from_bytes(b"pain \xff\n\"quoted\""),
        parent: 1,
        cgroup: 9,
        kernel_thread: pid == 2,
        exited: false,
        seen: Nanos(0),
    }
}

/// A component may change with time.
fn component_of(second: u64) -> impl Fn(ProcessKey, u32) -> Arc<str> + Copy {
    move |process, _| Arc::from(if process.pid == 10 && second > 30 { "moved" } else { "a" })
}

fn sample(second: u64, topology: &Topology) -> RawSample {
    let (begin, end) = (second * 1_000_000_007, (second + 1) * 1_000_000_007);
    let busy = second * 7919 % 13 * 70_000_001;
    let tasks = vec![task(10, 0, busy), task(11, 1, busy / 3), task(2, 1, 5), task(12, 0, 0)];
    let window = |cpu, idle| CpuWindow {
        cpu,
        begin: Nanos(begin),
        end: Nanos(end),
        idle: Nanos(1_000_000_007 - idle),
        lost: Nanos(cpu.into()),
        ..CpuWindow::default()
    };
    let cpus = vec![window(0, busy), window(1, busy / 3 + 6)];
    let cpu = CpuSample { begin: Nanos(begin), end: Nanos(end), cpus, tasks, cycles: Vec::new() };
    let delta = |domain, socket, energy| MeterDelta {
        meter: Meter { domain, socket },
        energy: MicroJoules(energy),
        begin: Nanos(begin + 1_234_567),
        end: Nanos(end + 1_234_567),
    };
    let deltas = vec![
        delta(Domain::Package, 0, 20_000_000 + busy / 100),
        delta(Domain::Package, 1, 11_000_000 + busy / 70),
        delta(Domain::Dram, 0, 3_000_000),
        delta(Domain::Gpu, 1, 70_000_000 + second % 5 * 40_000_000),
    ];
    let card = Meter { domain: Domain::Gpu, socket: 1 };
    let user = |pid: u32, known: bool, weight| GpuUser {
        meter: card,
        pid,
        process: known.then_some(task(pid, 0, 0).process),
        weight,
    };
    let users = match second % 5 {
        0 => Vec::new(),
        share => vec![user(10, true, share * 10), user(13, true, 7), user(99, false, 3)],
    };
    let loads = vec![GpuLoad { meter: card, busy: Nanos(second % 5 * 200_000_000), wall: Nanos(1_000_000_007) }];
    RawSample {
        load: host_load(&cpu, topology),
        cpu,
        energy: EnergySample { deltas, faults: Vec::new() },
        gpus: GpuUse { users, loads },
    }
}

/// A live run of a minute: its recording and its report.
fn live(policy: Policy) -> (Vec<u8>, String) {
    let header = header(policy);
    let topology = Topology::of(header.topology.iter().copied());
    let paper = Paper::default();
    let mut recorder = Recorder::new(Box::new(paper.clone()), &header);
    let mut ledger = Ledger::with_components(header.components.iter().map(String::as_str));
    let mut division = Division::new(Baseline::default(), weights::of(policy));
    for second in 0..60 {
        let raw = sample(second, &topology);
        // A source that knows the idle energy of one meter.
        let known: KnownIdle = [(raw.energy.deltas[2].meter, MicroJoules(2_900_000 + second))].into();
        recorder.sample(&raw, &known, 380_000 + second, component_of(second));
        let terms = Terms { intensity: 380_000 + second, ..Terms::default() };
        let posting = division.divide(&raw, &topology, &known, terms, component_of(second));
        ledger.post(&posting, component_of(second));
    }
    recorder.finish().unwrap();
    let text = paper.0.lock().unwrap().clone();
    (text, report::render(&header, IdlePolicy::Separate, &ledger, &division))
}

fn open(text: &[u8]) -> Result<Recording, Fault> {
    Recording::open(Box::new(BufReader::new(io::Cursor::new(text.to_vec()))))
}

fn replayed(text: &[u8], idle: IdlePolicy, policy: Policy) -> (String, Replayed) {
    let recording = open(text).unwrap();
    let header = recording.header.clone();
    let replayed = replay(recording, idle, policy).unwrap();
    (report::render(&header, idle, &replayed.ledger, &replayed.division), replayed)
}

#[test]
fn a_replay_is_the_live_run_to_the_last_bit() {
    for policy in [Policy::Time, Policy::Learned] {
        let (text, report) = live(policy);
        let (again, books) = replayed(&text, IdlePolicy::Separate, policy);
        assert_eq!(again, report);
        assert_eq!((books.samples, books.cut_short), (60, false));
        assert!(books.ledger.components.contains_key("moved"), "components change within a recording");
        assert!(books.ledger.components.contains_key("never ran"));
    }
}

#[test]
fn another_policy_says_something_else_of_the_same_energy() {
    let (text, report) = live(Policy::Time);
    let (shared, books) = replayed(&text, IdlePolicy::Proportional, Policy::Learned);
    assert_ne!(shared, report);
    let (_, separate) = replayed(&text, IdlePolicy::Separate, Policy::Time);
    assert_eq!(books.ledger.host().run, separate.ledger.host().run);
    assert!(books.ledger.residual().iter().all(|(_, rest)| *rest == 0));
}

#[test]
fn a_killed_recorder_leaves_a_good_recording() {
    let (text, _) = live(Policy::Time);
    let (_, books) = replayed(&text[..text.len() - 40], IdlePolicy::Separate, Policy::Time);
    assert_eq!((books.samples, books.cut_short), (59, true));
}

#[test]
fn what_is_no_recording_is_told_with_its_line() {
    let (text, _) = live(Policy::Time);
    let text = String::from_utf8(text).unwrap();
    let first = text.lines().next().unwrap().to_owned() + "\n";
    let newer = first.replace("\"version\":1", "\"version\":2");
    let cases = [
        ("", "line 1: this is no recording"),
        ("{\"schema\":1}\n", "line 1: this is no recording"),
        (&newer, "line 1: format version 2; this carbon-agent reads up to 1: use a newer one"),
        (&format!("{first}{first}"), "line 2: a second beginning"),
        (&format!("{first}nonsense\n"), "line 2: expected"),
        (
            &format!(
                "{first}{}\n",
                r#"{"sample":{"begin":0,"end":1,"intensity":0,"cpus":[],"tasks":[[7,1,0,5,0]],"energy":[]}}"#
            ),
            "line 2: no process 7",
        ),
    ];
    for (text, expected) in cases {
        let result = open(text.as_bytes()).and_then(|r| replay(r, IdlePolicy::Separate, Policy::Time));
        let message = result.expect_err(text).to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let cycles = replay(open(text.as_bytes()).unwrap(), IdlePolicy::Separate, Policy::Cycles).unwrap_err();
    assert!(cycles.to_string().contains("no cycles were recorded"), "{cycles}");
}
