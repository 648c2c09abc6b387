use super::*;
use crate::carbon::fault::FaultKind;
use jiff::SignedDuration;

fn time(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

fn live(provider: &str, zone: &str, kind: Kind, points: &[(&str, f64)]) -> Series {
    let label = Label { provider: provider.into(), zone: zone.into(), kind, method: format!("{provider}:{zone}") };
    let mut series = Series::empty(label, SignedDuration::from_hours(1));
    series.merge(points.iter().map(|(from, grams_per_kwh)| Point {
        valid_from: time(from),
        valid_until: Some(time(from) + SignedDuration::from_hours(1)),
        grams_per_kwh: *grams_per_kwh,
        fetched_at: time(from),
        estimated: false,
    }));
    series
}

fn chain(declared: Vec<Series>) -> Sources {
    Sources::new(declared, time("00:00:00"))
}

#[test]
fn nothing_configured_is_the_world_and_says_so() {
    let in_force = chain(vec![]).at(time("06:00:00"));
    assert_eq!((in_force.grams_per_kwh, in_force.method.as_str()), (475.0, "static:WORLD:2018"));
    assert_eq!((in_force.zone.as_str(), in_force.age_seconds), ("WORLD", 6.0 * 3600.0));
    assert!(in_force.degraded.unwrap().contains("no zone is configured"));
}

#[test]
fn the_first_with_a_value_for_that_time_is_used() {
    let sources = chain(vec![
        live("electricity_maps", "DE", Kind::Average, &[("12:00:00", 300.0), ("13:00:00", 320.0)]),
        fixed(250.0, time("00:00:00")),
    ]);
    for (at, grams, method, degraded) in [
        ("11:00:00", 250.0, "fixed", true),
        ("12:30:00", 300.0, "electricity_maps:DE", false),
        ("14:59:00", 320.0, "electricity_maps:DE", false),
        ("15:00:00", 250.0, "fixed", true),
    ] {
        let in_force = sources.at(time(at));
        assert_eq!((in_force.grams_per_kwh, in_force.method.as_str()), (grams, method), "{at}");
        assert_eq!(in_force.degraded.is_some(), degraded, "{at}");
    }
    assert_eq!(sources.at(time("12:30:00")).age_seconds, 1800.0);
}

#[test]
fn a_country_that_the_zone_tells_stands_before_the_world() {
    let german = chain(vec![live("electricity_maps", "DE", Kind::Average, &[])]);
    assert_eq!(german.at(time("12:00:00")).method, "static:DEU:2023");
    let unknown = chain(vec![live("watttime", "CAISO_NORTH", Kind::Marginal, &[])]);
    assert_eq!(unknown.at(time("12:00:00")).method, "static:WORLD:2018");
}

#[test]
fn the_reason_names_the_fault_of_each_source_passed_over() {
    let mut sources = chain(vec![
        live("electricity_maps", "DE", Kind::Average, &[]),
        live("uk_carbon_intensity", "GBR", Kind::Average, &[("02:00:00", 1.0)]),
    ]);
    sources.declared_mut(0).fault = Some(Fault::new(FaultKind::Timeout, "no answer in 10 s"));
    assert_eq!(
        sources.at(time("12:00:00")).degraded.unwrap(),
        "electricity_maps:DE: no answer in 10 s (timeout); uk_carbon_intensity:GBR: its newest value is of \
         2026-03-01T02:00:00Z; static:DEU:2023 is used instead"
    );
}

#[test]
fn marginal_sources_stand_before_averages_and_the_switch_is_said() {
    let sources = chain(vec![
        live("watttime", "CAISO_NORTH", Kind::Marginal, &[("12:00:00", 500.0)]),
        fixed(250.0, time("00:00:00")),
        live("watttime", "OTHER", Kind::Marginal, &[("14:00:00", 600.0)]),
    ]);
    assert_eq!(sources.at(time("14:30:00")).method, "watttime:OTHER");
    let switched = sources.at(time("18:00:00"));
    assert_eq!((switched.method.as_str(), switched.kind), ("fixed", Kind::Average));
    assert!(switched.degraded.unwrap().contains("an average intensity where a marginal one is configured"));
}

#[test]
fn an_average_chain_never_uses_a_marginal_value() {
    let sources = chain(vec![
        live("electricity_maps", "ZZ", Kind::Average, &[]),
        live("watttime", "CAISO_NORTH", Kind::Marginal, &[("12:00:00", 500.0)]),
    ]);
    assert_eq!(sources.at(time("12:30:00")).method, "static:WORLD:2018");
}

#[test]
fn a_stretch_over_two_values_is_weighted_by_time() {
    let sources =
        chain(vec![live("electricity_maps", "DE", Kind::Average, &[("12:00:00", 300.0), ("13:00:00", 500.0)])]);
    let within = sources.weighted(time("12:10:00"), time("12:10:01"));
    assert_eq!((within.grams_per_kwh, within.methods.as_slice()), (300.0, &["electricity_maps:DE".to_owned()][..]));
    assert_eq!(sources.weighted(time("12:59:57"), time("13:00:01")).milligrams_per_kwh(1.0), 350_000);
    assert_eq!(sources.weighted(time("12:59:57"), time("13:00:01")).milligrams_per_kwh(1.5), 525_000);
    let into_the_fallback = sources.weighted(time("14:59:59"), time("15:00:01"));
    assert_eq!(into_the_fallback.grams_per_kwh, (500.0 + 380.9) / 2.0);
    assert_eq!(into_the_fallback.methods, ["electricity_maps:DE", "static:DEU:2023"]);
    assert_eq!(sources.weighted(time("13:00:00"), time("12:00:00")).grams_per_kwh, 300.0, "a clock set back");
    assert_eq!(sources.weighted(time("13:00:00"), time("13:00:00")).grams_per_kwh, 500.0, "an empty stretch");
}

#[test]
fn kinds_are_not_averaged_with_each_other() {
    let sources = chain(vec![live("watttime", "X", Kind::Marginal, &[("12:00:00", 800.0)])]);
    let mostly_marginal = sources.weighted(time("13:59:57"), time("14:00:01"));
    assert_eq!((mostly_marginal.grams_per_kwh, mostly_marginal.kind), (800.0, Kind::Marginal));
    let mostly_average = sources.weighted(time("13:59:59"), time("14:00:03"));
    assert_eq!((mostly_average.grams_per_kwh, mostly_average.kind), (475.0, Kind::Average));
    assert_eq!(mostly_average.methods, ["static:WORLD:2018"]);
}

#[test]
fn what_can_never_be_used_is_told() {
    let maps = || live("electricity_maps", "DE", Kind::Average, &[]);
    let watttime = || live("watttime", "X", Kind::Marginal, &[]);
    let number = || fixed(1.0, time("00:00:00"));
    assert_eq!(chain(vec![maps(), number()]).never_used(), []);
    assert_eq!(chain(vec![number(), maps()]).never_used(), [(1, Some(0))]);
    assert_eq!(chain(vec![number(), number()]).never_used(), [(1, Some(0))]);
    assert_eq!(chain(vec![maps(), watttime()]).never_used(), [(1, None)]);
    assert_eq!(chain(vec![watttime(), number(), maps()]).never_used(), [(2, Some(1))]);
    assert_eq!(chain(vec![number(), watttime()]).never_used(), [(1, Some(0))]);
    assert_eq!(chain(vec![]).never_used(), []);
}

#[test]
fn an_interval_names_every_method_once() {
    let sources = chain(vec![live("electricity_maps", "DE", Kind::Average, &[("12:00:00", 300.0)])]);
    let mut methods = Methods::default();
    for (begin, end) in [("12:00:00", "12:00:01"), ("13:59:59", "14:00:01"), ("14:00:01", "14:00:02")] {
        methods.add(&sources.weighted(time(begin), time(end)));
    }
    assert_eq!(methods.take(), "electricity_maps:DE+static:DEU:2023");
    assert_eq!(methods.take(), "");
}

#[test]
fn a_value_that_arrives_late_meets_the_energy_of_its_own_time() {
    use crate::carbon::LateBooks;
    use crate::units::{Emissions, MicroJoules};
    // The value of 13:00 is published at 13:04. One joule is spent each second.
    let mut known = chain(vec![live("electricity_maps", "DE", Kind::Average, &[("12:00:00", 300.0)])]);
    let mut books = LateBooks::default();
    let joule = MicroJoules(1_000_000);
    let mut booked = Emissions(0);
    let mut sample = |books: &mut LateBooks<&str>, sources: &Sources, second: i64| {
        let begin = time("12:59:30") + SignedDuration::from_secs(second);
        let end = begin + SignedDuration::from_secs(1);
        let price = sources.weighted(begin, end).milligrams_per_kwh(1.0);
        books.booked(begin, end, price, [("web", joule)]);
        booked += Emissions::of(joule, price);
    };
    for second in 0..270 {
        sample(&mut books, &known, second);
    }
    let late = live("electricity_maps", "DE", Kind::Average, &[("13:00:00", 400.0)]);
    known.declared_mut(0).series.merge(late.points().iter().cloned());
    books.restate(|begin, end| known.weighted(begin, end).milligrams_per_kwh(1.0));
    for second in 270..300 {
        sample(&mut books, &known, second);
    }
    let change = books.settle(&"web", Emissions(0));
    let expected = Emissions::of(MicroJoules(30_000_000), 300_000) + Emissions::of(MicroJoules(270_000_000), 400_000);
    assert_eq!(booked.0 as i128 + change, expected.0 as i128);
}

proptest::proptest! {
    /// However a stretch is cut, its parts weigh the same as the whole.
    #[test]
    fn weights_add_up(cuts in proptest::collection::btree_set(0i64..7 * 3600, 2..20)) {
        let sources = chain(vec![live(
            "electricity_maps",
            "DE",
            Kind::Average,
            &[("12:00:00", 300.0), ("13:00:00", 500.0), ("16:30:00", 80.0)],
        )]);
        let cuts: Vec<Timestamp> =
            cuts.into_iter().map(|second| time("11:00:00") + SignedDuration::from_secs(second)).collect();
        let gram_seconds = |begin: Timestamp, end: Timestamp| {
            sources.weighted(begin, end).grams_per_kwh * end.duration_since(begin).as_secs_f64()
        };
        let parts: f64 = cuts.windows(2).map(|cut| gram_seconds(cut[0], cut[1])).sum();
        let whole = gram_seconds(cuts[0], cuts[cuts.len() - 1]);
        proptest::prop_assert!((parts - whole).abs() < 1e-6 * whole, "{} {}", parts, whole);
    }
}
