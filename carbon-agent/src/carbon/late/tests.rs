use super::*;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_772_366_400 + second).unwrap()
}

fn books(samples: &[(i64, u64, u64)]) -> LateBooks<&'static str> {
    let mut books = LateBooks::default();
    for (second, price, energy) in samples {
        books.booked(at(*second), at(second + 1), *price, [("web", MicroJoules(*energy)), ("idle", MicroJoules(0))]);
    }
    books
}

#[test]
fn a_higher_value_is_booked_with_the_next_interval() {
    let mut books = books(&[(0, 100, 10), (1, 100, 20)]);
    books.restate(|_, _| 150);
    assert_eq!(books.outstanding().get("web"), Some(&(30 * 50)));
    assert_eq!(books.settle(&"web", Emissions(0)), 1500);
    assert_eq!(books.settle(&"web", Emissions(0)), 0);
    books.restate(|_, _| 150);
    assert!(books.outstanding().is_empty(), "the same value twice changes nothing");
}

#[test]
fn a_lower_value_is_taken_off_what_is_emitted_later() {
    let mut books = books(&[(0, 100, 10)]);
    books.restate(|_, _| 40);
    assert_eq!(books.settle(&"web", Emissions(250)), -250);
    assert_eq!(books.settle(&"idle", Emissions(250)), 0);
    assert_eq!(books.settle(&"web", Emissions(1000)), -350);
    assert!(books.outstanding().is_empty());
}

#[test]
fn only_the_time_that_the_value_is_of_is_priced_anew() {
    let mut books = books(&[(58, 100, 1), (59, 100, 1), (60, 100, 1), (61, 100, 1)]);
    assert_eq!(books.slots.len(), 2, "a slot a minute");
    books.restate(|begin, _| if begin < at(60) { 100 } else { 300 });
    assert_eq!(books.outstanding().get("web"), Some(&400));
}

#[test]
fn what_is_kept_is_bounded_whatever_the_clock_does() {
    let mut books = LateBooks::default();
    for second in 0..20_000 {
        books.booked(at(second), at(second + 1), 100, [((), MicroJoules(1))]);
    }
    assert!(books.slots.len() <= 122, "{}", books.slots.len());
    for second in 0..2000 {
        books.booked(at(-second * 60), at(-second * 60 + 1), second as u64, [((), MicroJoules(1))]);
    }
    assert!(books.slots.len() <= MAX_SLOTS);
}

proptest! {
    /// However values arrive, booked + outstanding is energy × its intensity, and no counter goes back.
    #[test]
    fn sums_stay_exact_and_counters_monotonic(
        samples in prop::collection::vec((0u64..1_000_000, 0u64..5_000_000, prop::option::of(0u64..5_000_000)), 1..80),
    ) {
        let mut books = LateBooks::default();
        let (mut counter, mut energy_total) = (0i128, 0u64);
        let mut last_price = None;
        for (second, (energy, price, revision)) in samples.into_iter().enumerate() {
            let second = second as i64;
            books.booked(at(second), at(second + 1), price, [((), MicroJoules(energy))]);
            energy_total += energy;
            last_price = revision;
            if let Some(revision) = revision {
                books.restate(|_, _| revision);
            }
            let emitted = Emissions::of(MicroJoules(energy), price);
            let before = counter;
            counter += emitted.0 as i128 + books.settle(&(), emitted);
            prop_assert!(counter >= before);
        }
        if let Some(price) = last_price {
            let outstanding = books.outstanding().get(&()).copied().unwrap_or(0);
            prop_assert_eq!(counter + outstanding, i128::from(energy_total) * i128::from(price));
        }
    }
}
