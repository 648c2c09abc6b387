//! The bounds that every scenario is held to.

use super::candidates::{Candidate, Kind};
use super::{Method, Ours, all, markdown, measure, measure_with, named};
use carbon_agent::attribution::weights::Policy;

/// The worst error of any load, in percent.
fn errors(scenario: &str) -> (f64, f64) {
    let row = measure(&named(scenario));
    eprintln!("{row:?}");
    (row.errors[0].1, row.errors[1].1)
}

#[track_caller]
fn check(scenario: &str, within: f64) {
    let (learned, _) = errors(scenario);
    assert!(learned <= within, "{scenario}: {learned:.2} % off");
}

#[test]
fn one_core_is_charged_its_15_watts() {
    let (learned, time) = errors("steady");
    assert!(learned <= 2.0 && time <= 2.0, "{learned} {time}");
}

#[test]
fn loads_of_5_and_25_watts_are_told_apart_after_two_minutes() {
    let (learned, time) = errors("two loads, 5 and 25 W, changing");
    assert!(learned <= 10.0, "{learned:.2} % off");
    assert!(time >= 100.0, "plain time misses by a factor: {time:.2} %");
}

#[test]
fn where_all_loads_cost_the_same_learning_does_not_hurt() {
    for scenario in ["two loads, 15 W each", "churn", "idle power steps", "two sockets"] {
        let (learned, time) = errors(scenario);
        assert!(learned <= time + 3.0, "{scenario}: {learned:.2} % off, plain time {time:.2} %");
    }
}

#[test]
fn what_cannot_be_told_apart_is_no_worse_than_plain_time() {
    let (learned, time) = errors("two loads, 5 and 25 W, always");
    assert!(learned <= time * 1.03, "{learned:.2} % off, plain time {time:.2} %");
}

#[test]
fn each_socket_is_charged_its_own() {
    check("two sockets", 3.0);
}

#[test]
fn phases_are_not_smeared() {
    check("turns of 1 s, 5 and 25 W, sampled at 0.1 s", 5.0);
    check("turns of 1 s, 5 and 25 W, sampled at 1 s", 10.0);
}

#[test]
fn churn_and_steps_are_followed() {
    check("churn", 3.0);
    check("idle power steps", 3.0);
}

#[test]
fn what_was_learned_outlasts_hours_that_teach_nothing() {
    check("two loads, 5 and 25 W: changing", 10.0);
}

/// The table of `docs/decisions/weights.md`.
#[test]
#[ignore = "prints a table: cargo test --release -p carbon-tests --lib truth::tests::candidates -- --ignored --nocapture"]
fn candidates_compared() {
    let rows: Vec<_> = all()
        .iter()
        .map(|scenario| {
            measure_with(scenario, |machine| {
                let with = |kind, name| -> Box<dyn Method> {
                    Box::new(Ours::with(machine, Box::new(Candidate::new(kind)), name))
                };
                vec![
                    Box::new(Ours::new(machine, Policy::Learned)),
                    Box::new(Ours::new(machine, Policy::Time)),
                    with(Kind::Nnls, "NNLS"),
                    with(Kind::Ridge, "ridge"),
                    with(Kind::Kalman, "Kalman"),
                ]
            })
        })
        .collect();
    eprintln!("{}", markdown(&rows));
}
