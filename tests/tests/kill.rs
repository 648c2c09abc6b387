//! SIGKILL at 200 random moments: no line torn, none doubled, none missing, counters never go back, and the books hold
//! what the meter counted, to the microjoule.
//!
//! `CARBON_TEST_SEED=N` repeats a run; `CARBON_TEST_KILLS=N` makes it longer or shorter.

use carbon_agent::energy::Domain;
use carbon_agent::ledger::reserved;
use carbon_agent::state::{self, Checkpoint};
use carbon_tests::agent::rows;
use carbon_tests::books::{assert_closed, microjoules};
use carbon_tests::daemon::{Daemon, Setup};
use carbon_tests::powercap_tree::{Machine, RunningTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The counter returns to zero every half minute or so, and no start takes that long.
const RANGE: u64 = 1_000_000_000;

/// Numbers that look random and can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Counters that survive a restart, as `/metrics` last showed them; each look must show at least as much.
#[derive(Default)]
struct Watch {
    seen: BTreeMap<String, f64>,
    looks: usize,
}

impl Watch {
    fn look(&mut self, daemon: &Daemon) {
        let of_this_start = ["carbon_process_", "carbon_probe_", "carbon_errors_"];
        let metrics = daemon.metrics().into_iter().filter(|(series, _)| {
            series.starts_with("carbon_")
                && series.contains("_total")
                && !of_this_start.iter().any(|p| series.starts_with(p))
        });
        let mut counters = 0;
        for (series, value) in metrics {
            let before = self.seen.insert(series.clone(), value).unwrap_or(0.0);
            assert!(value >= before, "{series} went back from {before} to {value}\n{}", daemon.log());
            counters += 1;
        }
        self.looks += usize::from(counters > 0);
    }
}

/// What the books hold of the package, and where its raw counter stood at that moment.
fn booked(checkpoint: &Checkpoint) -> (u64, u64) {
    let meters = checkpoint.books.meters.iter().filter(|meter| meter.meter.domain == Domain::Package);
    let readings = checkpoint.readings.as_ref().expect("powercap has counters");
    let raw = readings.counters.iter().find(|counter| counter.meter.domain == Domain::Package).expect("a package");
    // What was read after the last cut is kept beside the books, for the next sample.
    let carried = readings.carried.iter().filter(|(meter, _)| meter.domain == Domain::Package);
    let carried: u64 = carried.map(|(_, energy)| energy.0).sum();
    (meters.map(|meter| meter.lifetime.0).sum(), (raw.value.0 + RANGE - carried % RANGE) % RANGE)
}

/// Waits for a random moment of the daemon's life, watching its counters; every second time for one in the middle of a
/// write, where it hurts most.
fn wait_for_the_moment(dice: &mut Dice, daemon: &Daemon, state: &Path, watch: &mut Watch) {
    if dice.below(2) == 0 {
        let end = Instant::now() + Duration::from_micros(dice.below(900_000));
        while Instant::now() < end {
            watch.look(daemon);
            std::thread::sleep(Duration::from_millis(20).min(end.saturating_duration_since(Instant::now())));
        }
        return;
    }
    let limit = Instant::now() + Duration::from_secs(5);
    let (new, skip) = (state.join("state.json.new"), dice.below(2));
    for _ in 0..=skip {
        while !new.exists() && Instant::now() < limit {
            std::thread::sleep(Duration::from_micros(100));
        }
        let end = Instant::now() + Duration::from_micros(dice.below(4_000));
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn two_hundred_kills() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    let seed = from_environment("CARBON_TEST_SEED").unwrap_or(clock | 1);
    let kills = from_environment("CARBON_TEST_KILLS").unwrap_or(200);
    println!("CARBON_TEST_SEED={seed}");
    let mut dice = Dice(seed.max(1));

    let root = tempfile::tempdir().expect("a directory");
    let tree =
        RunningTree::start(root.path(), Machine { range_uj: RANGE, ..Machine::single(20.0, 5.0) }).expect("a tree");
    let sysfs = tree.tree().sysfs().to_str().expect("a path in UTF-8").to_owned();
    // The probe of the kernel takes a second to load, in which nothing can go wrong with the books.
    let setup = Setup::new(root.path(), 0.3, 0.1);
    let setup = setup.with(&["--probe", "procfs", "--energy", "rapl", "--host-sysfs", &sysfs]);
    let mut watch = Watch::default();

    // The first checkpoint is where the account begins: nothing is promised of an agent that had none yet.
    let mut daemon = setup.start();
    daemon.wait_for("a first interval", Duration::from_secs(20), |metrics| {
        metrics.keys().any(|series| series.starts_with("carbon_host_energy_joules_total"))
    });
    daemon.kill();
    let first = state::peek(&setup.state).expect("a checkpoint");
    let (begun, raw_begun) = booked(&first);
    let truth_begun = tree.truth().package_uj;

    let started = Instant::now();
    for _ in 0..kills {
        daemon = setup.start();
        wait_for_the_moment(&mut dice, &daemon, &setup.state, &mut watch);
        daemon.kill();
    }
    daemon = setup.start();
    daemon.wait_for("an interval of the last start", Duration::from_secs(20), |metrics| {
        metrics.keys().any(|series| series.starts_with("carbon_host_energy_joules_total"))
    });
    watch.look(&daemon);
    daemon.terminate();
    let truth = tree.truth().package_uj;
    println!("{kills} kills in {:.1} s, {} looks at the counters", started.elapsed().as_secs_f64(), watch.looks);

    // Every line is whole and parses: `rows` sees to it.
    let rows = rows(&setup.output);
    assert_closed(&rows);
    let mut keys = BTreeSet::new();
    for row in &rows {
        let name = [&row["component"], &row["comm"], &row["pid"], &row["start_time"]].map(ToString::to_string);
        let key = (row["timestamp"].to_string(), row["record"].to_string(), name);
        assert!(keys.insert(key.clone()), "doubled: {key:?}");
    }
    let hosts: Vec<_> = rows.iter().filter(|row| row["record"] == "host").collect();
    let ids: BTreeSet<_> = hosts.iter().map(|row| row["run_id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "kills interrupt a run, they do not end it");
    let emissions: Vec<f64> = hosts.iter().map(|row| row["emissions"].as_f64().expect("a number")).collect();
    assert!(emissions.is_sorted(), "cumulative figures go on");

    // What the rows hold, what the counters hold and what the meter counted are one figure.
    let last = state::peek(&setup.state).expect("a checkpoint");
    let (ended, raw_ended) = booked(&last);
    let in_rows: i128 = hosts.iter().map(|row| microjoules(&row["interval_energy_joules"]["package"])).sum();
    assert_eq!(in_rows, i128::from(ended), "rows against counters");
    assert_eq!((raw_begun + ended - begun) % RANGE, raw_ended, "counters against the meter, modulo its range");
    let said = |text: &str| daemon.log().matches(text).count();
    println!("{} intervals redone, {} torn ends", said("that a kill had cut off"), said("torn end"));
    let (grown, spent) = (ended - begun, truth - truth_begun);
    println!("booked {:.3} J, spent {:.3} J, {} intervals", grown as f64 / 1e6, spent as f64 / 1e6, hosts.len());
    let an_interval = 0.5 * (20.0 + 5.0 * 2.0 * 8.0) * 1e6;
    assert!(grown.abs_diff(spent) as f64 <= an_interval, "booked {grown} µJ of {spent} µJ");
    let down =
        last.books.components.iter().find(|book| book.component == reserved::UNATTRIBUTED).expect("always there");
    assert!(down.lifetime.energy.total().0 > 0, "what was spent while it was down is booked");
    assert!(last.run.ended);
}
