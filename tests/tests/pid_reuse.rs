//! Every number comes round again within seconds; no process receives what a former bearer of its number did.

use carbon_agent::identity::rules::{Field, Match, Rule, RuleSet};
use carbon_agent::identity::{Host, Policy, ProcessTable};
use carbon_agent::probe::ProcessKey;
use carbon_tests::kernel::{Running, open, options, sample};
use carbon_tests::pids::FewPids;
use std::collections::{HashMap, HashSet};
use std::{path::Path, process::Command, thread::sleep, time::Duration};

const ROOM: u32 = 1_000;

/// e-12 is one of the helper's children, the helper itself is not.
fn serial(name: &str) -> Option<(&str, u32)> {
    let (kind, number) = name.split_once('-')?;
    Some((kind, number.parse().ok().filter(|_| kind == "e" || kind == "o")?))
}

#[test]
fn no_process_receives_anothers_past() {
    let Some(mut probe) = open(&options()) else {
        return;
    };
    let Some(few) = FewPids::leave(ROOM) else {
        return;
    };
    let rule = |name: &str, glob: &str| Rule {
        name: name.to_owned(),
        matching: Match::Key { field: Field::Comm, glob: glob.to_owned() },
        line: 0,
    };
    let rules = RuleSet::compile(&[rule("even", "e-*"), rule("odd", "o-*")]).unwrap();
    let mut policy = Policy::new(rules, true);
    let mut table = ProcessTable::new(Host::new(Path::new("/proc"), Path::new("/sys")));
    table.observe(&sample(&mut probe), &mut policy);

    // Twice round and a bit: every number has had several bearers.
    let children = 2 * few.numbers + ROOM / 2;
    let mut helper =
        Running::start(Command::new(env!("CARGO_BIN_EXE_probe-shapes")).args(["serial", &children.to_string()]));
    let mut bearers: HashMap<u32, ProcessKey> = HashMap::new();
    let mut names: HashMap<ProcessKey, u32> = HashMap::new();
    let mut time: HashMap<ProcessKey, u64> = HashMap::new();
    let (mut ended, mut samples) = (false, 0);
    loop {
        let sample = sample(&mut probe);
        table.observe(&sample, &mut policy);
        for task in &sample.tasks {
            *time.entry(task.process).or_default() += task.time.0;
            let name = task.comm.to_string();
            let Some((kind, number)) = serial(&name) else { continue };
            // A serial is one process, and a process is one serial, for good.
            assert_eq!(*bearers.entry(number).or_insert(task.process), task.process, "{name}");
            assert_eq!(*names.entry(task.process).or_insert(number), number, "{name} {:?}", task.process);
            let component = table.component(task.process, task.tid);
            assert_eq!(&*component, if kind == "e" { "even" } else { "odd" }, "{name}");
        }
        samples += 1;
        if samples % 5 == 0 {
            table.forget_ended();
        }
        if ended {
            break;
        }
        ended = helper.child().try_wait().unwrap().is_some_and(|status| {
            assert!(status.success(), "{status}");
            true
        });
        sleep(Duration::from_millis(100));
    }
    drop(few);

    let pids: HashSet<u32> = bearers.values().map(|process| process.pid).collect();
    println!("{} processes bore {} pids, in {samples} samples", bearers.len(), pids.len());
    assert_eq!(bearers.len() as u32, children, "every process was seen");
    assert!(pids.len() < bearers.len() * 2 / 3, "numbers came round: {} for {}", pids.len(), bearers.len());
    // The even ones burned a millisecond each, the odd ones next to nothing: nobody's time went to a later bearer.
    let of = |rest| bearers.iter().filter(move |(number, _)| **number % 2 == rest).map(|(_, process)| time[process]);
    assert!(of(0).all(|time| time >= 990_000), "each kept its own millisecond: {:?}", of(0).min());
    assert!(of(1).sum::<u64>() < of(0).sum(), "{} {}", of(0).sum::<u64>(), of(1).sum::<u64>());
}
