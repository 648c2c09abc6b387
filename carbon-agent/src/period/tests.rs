use super::*;
use AccountingPeriod::{Day, Month, Run, Week};

const MINUTE: u64 = 60_000_000_000;

fn at(wall: &str, minutes: u64) -> Moment {
    Moment { wall: wall.parse().expect("a time"), boottime: Nanos(minutes * MINUTE) }
}

/// The starts of the periods that hold a moment.
#[track_caller]
fn check_start(kind: AccountingPeriod, moment: &str, expected: &str) {
    assert_eq!(start_of(kind, moment.parse().unwrap()).to_string(), expected, "{kind} {moment}");
}

#[test]
fn periods_begin_in_utc() {
    check_start(Day, "2026-03-01T23:59:59.9Z", "2026-03-01T00:00:00Z");
    check_start(Day, "2026-03-02T00:30:00+02:00", "2026-03-01T00:00:00Z");
    check_start(Week, "2026-03-01T12:00:00Z", "2026-02-23T00:00:00Z");
    check_start(Week, "2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z");
    check_start(Month, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z");
    check_start(Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z");
    check_start(Run, "2026-12-31T23:59:59Z", "2026-12-31T23:59:59Z");
}

/// Follows the clocks from the first moment on; which of the later looks begin a period.
#[track_caller]
fn check(kind: AccountingPeriod, moments: &[(&str, u64)], expected: &[bool]) {
    let mut period = Period::new(kind, at(moments[0].0, moments[0].1));
    let seen: Vec<bool> = moments[1..].iter().map(|(wall, minutes)| period.observe(at(wall, *minutes))).collect();
    assert_eq!(seen, expected, "{kind} {moments:?}");
}

#[test]
fn the_boundary_begins_one_period() {
    let night = [
        ("2026-03-01T23:58:00Z", 0),
        ("2026-03-01T23:59:00Z", 1),
        ("2026-03-02T00:00:00Z", 2),
        ("2026-03-02T00:01:00Z", 3),
    ];
    check(Day, &night, &[false, true, false]);
    check(Week, &night, &[false, true, false]);
    check(Month, &night, &[false, false, false]);
    check(Run, &night, &[false, false, false]);
}

#[test]
fn a_leap_over_several_periods_begins_one() {
    // A host that slept for three days: both clocks went on.
    check(Day, &[("2026-03-01T12:00:00Z", 0), ("2026-03-04T12:00:00Z", 3 * 1440)], &[true]);
    // A month has passed although no moment of its last days was seen.
    check(Month, &[("2026-01-31T12:00:00Z", 0), ("2026-04-02T12:00:00Z", 61 * 1440)], &[true]);
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_costs_nothing() {
    let there_and_back =
        |wrong| [("2026-03-01T12:00:00Z", 0), (wrong, 1), ("2026-03-01T12:02:00Z", 2), ("2026-03-01T12:30:00Z", 30)];
    for wrong in ["2031-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-03-02T00:01:00Z"] {
        check(Day, &there_and_back(wrong), &[false, false, false]);
        check(Month, &there_and_back(wrong), &[false, false, false]);
    }
}

#[test]
fn a_clock_that_was_set_right_is_believed_in_the_end() {
    check(
        Day,
        &[
            ("2026-03-01T12:00:00Z", 0),
            ("2026-03-05T12:00:00Z", 1),
            ("2026-03-05T12:05:00Z", 6),
            ("2026-03-05T12:11:00Z", 12),
        ],
        &[false, false, true],
    );
    // Set back by years: the figure stays, and the next day begins one.
    check(
        Day,
        &[
            ("2031-03-01T12:00:00Z", 0),
            ("2026-03-01T12:00:00Z", 1),
            ("2026-03-01T12:11:00Z", 12),
            ("2026-03-02T00:01:00Z", 722),
        ],
        &[false, false, true],
    );
}

#[test]
fn a_boundary_that_comes_twice_counts_once() {
    // Five seconds back over midnight, as time servers do.
    check(
        Day,
        &[
            ("2026-03-01T23:59:59Z", 0),
            ("2026-03-02T00:00:02Z", 0),
            ("2026-03-01T23:59:57Z", 0),
            ("2026-03-02T00:00:30Z", 1),
        ],
        &[true, false, false],
    );
    // Two hours back, long enough to be believed.
    check(
        Day,
        &[
            ("2026-03-01T23:50:00Z", 0),
            ("2026-03-02T00:10:00Z", 20),
            ("2026-03-01T22:11:00Z", 21),
            ("2026-03-01T22:31:00Z", 41),
            ("2026-03-02T00:01:00Z", 131),
        ],
        &[true, false, false, false],
    );
}

/// A restart at `now` after a checkpoint at `last`, whose period began at midnight of its day: whether it still counts.
#[track_caller]
fn check_resume(kind: AccountingPeriod, last: (&str, u64), now: (&str, u64), same_boot: bool, expected: bool) {
    let (last, now) = (at(last.0, last.1), at(now.0, now.1));
    let saved = Period::new(kind, last).save();
    let (mut period, counts) = Period::resume(kind, &saved, last, now, same_boot, true);
    assert_eq!(counts, expected, "{kind} {last:?} {now:?}");
    assert!(!period.observe(Moment { boottime: Nanos(now.boottime.0 + 1), ..now }), "and not once more");
}

#[test]
fn a_period_survives_a_restart() {
    check_resume(Day, ("2026-03-01T12:00:00Z", 0), ("2026-03-01T13:00:00Z", 60), true, true);
    check_resume(Day, ("2026-03-01T12:00:00Z", 900), ("2026-03-01T13:00:00Z", 1), false, true);
    check_resume(Day, ("2026-03-01T12:00:00Z", 0), ("2026-03-02T12:00:00Z", 1440), true, false);
    check_resume(Day, ("2026-03-01T12:00:00Z", 900), ("2026-03-05T12:00:00Z", 1), false, false);
    check_resume(Month, ("2026-03-01T12:00:00Z", 900), ("2026-03-05T12:00:00Z", 1), false, true);
    check_resume(Week, ("2026-03-01T12:00:00Z", 900), ("2026-03-02T12:00:00Z", 1), false, false);
    // The clock jumped meanwhile.
    check_resume(Day, ("2026-03-01T12:00:00Z", 0), ("2026-03-05T12:00:00Z", 1), true, true);
    // A host without a clock of its own wakes in 1970.
    check_resume(Day, ("2026-03-01T12:00:00Z", 900), ("1970-01-01T00:00:10Z", 1), false, true);
}

#[test]
fn a_host_without_a_clock_keeps_its_day() {
    let last = at("2026-03-01T12:00:00Z", 900);
    let saved = Period::new(Day, last).save();
    let (mut period, _) = Period::resume(Day, &saved, last, at("1970-01-01T00:00:10Z", 1), false, true);
    assert!(!period.observe(at("2026-03-01T12:10:00Z", 2)), "the time server has answered");
    assert!(!period.observe(at("2026-03-01T12:30:00Z", 22)));
    assert!(period.observe(at("2026-03-02T00:00:00Z", 712)));
}

#[test]
fn a_run_counts_while_it_goes_on() {
    let (last, now) = (at("2026-03-01T12:00:00Z", 0), at("2027-03-01T12:00:00Z", 9));
    let saved = Period::new(Run, last).save();
    assert!(Period::resume(Run, &saved, last, now, true, true).1);
    assert!(!Period::resume(Run, &saved, last, now, true, false).1);
}

#[test]
fn another_kind_keeps_what_is_part_of_it() {
    let now = at("2026-03-04T12:00:00Z", 0);
    let mut period = Period::new(Day, now);
    assert!(!period.change(Day, now));
    assert!(!period.change(Month, now), "today is part of the month");
    assert!(period.change(Day, now), "the month is not part of today");
}
