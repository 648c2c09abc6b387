//! Situations in which attribution is easy, hard, or impossible.

use super::machine::{Load, Machine};

/// A machine, how long it is watched and from when on errors count.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub machine: Machine,
    pub seconds: u64,
    pub sample_ms: u64,
    /// Seconds after which what is charged is compared with the truth.
    pub from: f64,
}

const fn load(name: &'static str, cpu: u32, watts_per_cpu: f64, duty: fn(f64, f64) -> f64) -> Load {
    Load { name, cpu, watts_per_cpu, duty, process_ms: 0, judged: true }
}

/// Daemons and timers: a percent or two of a CPU.
const BACKGROUND: Load = Load {
    name: "background",
    cpu: 3,
    watts_per_cpu: 15.0,
    duty: |_, random| 0.01 + 0.02 * random,
    process_ms: 0,
    judged: false,
};

fn one_socket(loads: &[Load]) -> Machine {
    let loads = loads.iter().copied().chain([BACKGROUND]).collect();
    Machine { sockets: 1, cpus_per_socket: 4, idle_watts: |_| 20.0, loads }
}

/// Work in stretches of five seconds.
fn stretches(t: f64) -> f64 {
    [0.0, 0.9, 0.3, 0.0, 0.6, 1.0, 0.1][(t / 5.0) as usize % 7]
}

/// Which of two takes its turn of a second. The turns begin `offset` after the samples do.
fn turn(t: f64, offset: f64, whose: u64) -> f64 {
    if t < 3.0 {
        return 0.0;
    }
    f64::from(u8::from((t - offset) as u64 % 2 == whose))
}

fn phases(name: &'static str, sample_ms: u64) -> Scenario {
    let loads = [load("A, 5 W", 0, 5.0, |t, _| turn(t, 0.23, 0)), load("B, 25 W", 1, 25.0, |t, _| turn(t, 0.23, 1))];
    Scenario { name, machine: one_socket(&loads), seconds: 150, sample_ms, from: 30.0 }
}

pub fn all() -> Vec<Scenario> {
    let scenario = |name, machine, seconds, from| Scenario { name, machine, seconds, sample_ms: 1000, from };
    let begins = |t: f64, _: f64| f64::from(u8::from(t >= 2.0));
    vec![
        scenario("steady: one busy core, 20 W idle + 15 W", one_socket(&[load("load", 0, 15.0, begins)]), 120, 15.0),
        scenario(
            "two loads, 15 W each, changing duty",
            one_socket(&[load("A", 0, 15.0, |_, random| random), load("B", 1, 15.0, |_, random| 1.0 - random)]),
            300,
            15.0,
        ),
        scenario(
            "two loads, 5 and 25 W, changing duty",
            one_socket(&[load("A, 5 W", 0, 5.0, |_, random| random), load("B, 25 W", 1, 25.0, |_, random| random)]),
            300,
            120.0,
        ),
        scenario(
            "two loads, 5 and 25 W: changing for 2 min, then both for 20",
            one_socket(&[
                load("A, 5 W", 0, 5.0, |t, random| if t < 120.0 { random } else { 0.8 }),
                load("B, 25 W", 1, 25.0, |t, random| if t < 120.0 { random } else { 0.8 }),
            ]),
            1320,
            120.0,
        ),
        scenario(
            "two loads, 5 and 25 W, always both",
            one_socket(&[load("A, 5 W", 0, 5.0, begins), load("B, 25 W", 1, 25.0, begins)]),
            300,
            120.0,
        ),
        scenario(
            "two sockets, 10 and 30 W",
            Machine {
                sockets: 2,
                cpus_per_socket: 4,
                idle_watts: |_| 20.0,
                loads: vec![load("A, 10 W", 0, 10.0, begins), load("B, 30 W", 4, 30.0, begins), BACKGROUND],
            },
            120,
            15.0,
        ),
        phases("turns of 1 s, 5 and 25 W, sampled at 1 s", 1000),
        phases("turns of 1 s, 5 and 25 W, sampled at 0.1 s", 100),
        scenario(
            "churn: processes of 20 ms beside a service",
            one_socket(&[
                Load { process_ms: 20, ..load("build", 0, 15.0, |t, _| stretches(t)) },
                load("service", 1, 15.0, |_, random| 0.3 + 0.2 * random),
            ]),
            180,
            15.0,
        ),
        scenario(
            "idle power steps from 20 to 35 W",
            Machine {
                idle_watts: |t| if t < 120.0 { 20.0 } else { 35.0 },
                ..one_socket(&[
                    load("A", 0, 15.0, |t, _| stretches(t)),
                    load("B", 1, 15.0, |t, _| stretches(t * 1.7 + 4.0)),
                ])
            },
            300,
            180.0,
        ),
    ]
}

/// The scenario whose name begins so.
pub fn named(name: &str) -> Scenario {
    all().into_iter().find(|scenario| scenario.name.starts_with(name)).expect("a scenario of that name")
}
