use super::*;
use crate::energy::Domain;
use crate::energy::baseline::State;
use crate::energy::counter::MicroWatts;
use proptest::prelude::*;

const METER: Meter = Meter { domain: Domain::Package, socket: 0 };
const SECOND: u64 = 1_000_000_000;

fn idle(watts: f64, error: f64) -> Idle {
    Idle { power: MicroWatts::from_watts(watts), error: MicroWatts::from_watts(error), state: State::Known }
}

/// A small generator of 0..1, the same everywhere.
fn random(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

/// Plays `seconds` of a machine of 20 W idle: `busy` gives the busy CPUs of each load, whose watts per CPU are given.
fn play(learned: &mut Learned, seconds: u64, watts: &[f64], busy: impl Fn(u64, &mut u64) -> Vec<f64>) {
    let mut state = 88_172_645_463_325_252;
    for second in 0..seconds {
        let busy = busy(second, &mut state);
        let power: f64 = 20.0 + busy.iter().zip(watts).map(|(b, w)| b * w).sum::<f64>();
        let noise = 1.0 + 0.01 * (random(&mut state) - 0.5);
        let names = ["a", "b", "c", "d"];
        let cpu = names.iter().zip(&busy).map(|(name, b)| (Arc::from(*name), Nanos((b * 1e9) as u64))).collect();
        let energy = MicroJoules((power * noise * 1e6) as u64);
        learned.learn(Seen { meter: METER, energy, duration: Nanos(SECOND), idle: idle(20.0, 0.2), cpu: &cpu });
    }
}

#[track_caller]
fn check(learned: &Learned, expected: &[(&str, f64, f64)]) {
    for (name, watts, within) in expected {
        let factor = learned.factor(METER, name) as f64 / 1e3;
        assert!((factor - watts).abs() <= within * watts, "{name}: {factor} W for {watts}: {:?}", learned.learned());
    }
}

#[test]
fn loads_whose_duty_changes_are_told_apart() {
    let mut learned = Learned::default();
    play(&mut learned, 120, &[5.0, 25.0], |_, state| vec![random(state), random(state)]);
    check(&learned, &[("a", 5.0, 0.05), ("b", 25.0, 0.02)]);
    let all = learned.learned();
    assert!(all[0].1.iter().all(|weight| weight.confidence > 0.95), "{all:?}");
}

#[test]
fn what_the_data_cannot_tell_is_the_average() {
    let mut learned = Learned::default();
    play(&mut learned, 300, &[5.0, 25.0], |_, _| vec![0.6, 0.6]);
    check(&learned, &[("a", 15.0, 0.02), ("b", 15.0, 0.02), ("never seen", 15.0, 0.02)]);
    assert!(learned.learned()[0].1.iter().all(|weight| weight.confidence < 0.1), "{:?}", learned.learned());
}

#[test]
fn loads_of_one_cost_stay_together() {
    let mut learned = Learned::default();
    play(&mut learned, 300, &[15.0; 3], |_, state| vec![random(state), 0.5 + 0.1 * random(state), 0.02]);
    check(&learned, &[("a", 15.0, 0.01), ("b", 15.0, 0.02)]);
}

#[test]
fn hours_of_one_mix_do_not_wash_out_what_was_learned() {
    let mut learned = Learned::default();
    play(&mut learned, 120, &[5.0, 25.0], |_, state| vec![random(state), random(state)]);
    play(&mut learned, 3 * 3600, &[5.0, 25.0], |_, _| vec![0.7, 0.7]);
    check(&learned, &[("a", 5.0, 0.1), ("b", 25.0, 0.05)]);
}

#[test]
fn a_component_that_changes_its_cost_is_followed() {
    let mut learned = Learned::default();
    play(&mut learned, 300, &[5.0, 25.0], |_, state| vec![random(state), random(state)]);
    play(&mut learned, 400, &[20.0, 25.0], |_, state| vec![random(state), random(state)]);
    check(&learned, &[("a", 20.0, 0.1), ("b", 25.0, 0.1)]);
}

#[test]
fn whoever_costs_nothing_still_has_a_claim() {
    let mut learned = Learned::default();
    play(&mut learned, 200, &[0.0, 25.0], |_, state| vec![random(state), random(state)]);
    let free = learned.factor(METER, "a");
    assert!((1..1000).contains(&free), "{free}");
    check(&learned, &[("b", 25.0, 0.03)]);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut learned = Learned::default();
    for second in 0..2000u64 {
        let cpu = (0..8).map(|n| (Arc::from(format!("c{}", second * 3 + n)), Nanos(SECOND / 8))).collect();
        let energy = MicroJoules(35_000_000);
        learned.learn(Seen { meter: METER, energy, duration: Nanos(SECOND), idle: idle(20.0, 0.2), cpu: &cpu });
    }
    assert!(learned.learned()[0].1.len() <= 32);
    check(&learned, &[("never seen", 15.0, 0.05)]);
}

#[test]
fn before_anything_is_known_time_is_time() {
    for policy in [Policy::Time, Policy::Learned, Policy::Cycles] {
        let weights = of(policy);
        assert_eq!((weights.policy(), weights.factor(METER, "a")), (policy, 1));
    }
}

proptest! {
    /// Whatever is fed, factors are positive and bounded.
    #[test]
    fn any_input_is_survived(
        samples in prop::collection::vec(
            (0u64..1 << 44, 0u64..20 * SECOND, 0.0..1e4f64, 0.0..1e3f64,
             prop::collection::vec((0usize..6, 0u64..1 << 40), 0..6)),
            1..60,
        )
    ) {
        let mut learned = Learned::default();
        for (energy, duration, watts, error, ran) in samples {
            let names = ["a", "b", "c", "d", "e", "f"];
            let cpu = ran.into_iter().map(|(at, time)| (Arc::from(names[at]), Nanos(time))).collect();
            let idle = idle(watts, error);
            let (energy, duration) = (MicroJoules(energy), Nanos(duration));
            learned.learn(Seen { meter: METER, energy, duration, idle, cpu: &cpu });
            for name in names {
                prop_assert!((1..=1_000_000).contains(&learned.factor(METER, name)));
            }
        }
    }
}
