use super::*;

fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start: Nanos(1) }
}

fn package(energy: u64) -> EnergyByDomain {
    let mut by_domain = EnergyByDomain::default();
    by_domain[Domain::Package] = MicroJoules(energy);
    by_domain
}

fn posting() -> Posting {
    let meter = Meter { domain: Domain::Package, socket: 0 };
    let worker = Owner::Task { process: key(7), tid: 7 };
    Posting {
        duration: Nanos(1_000_000_000),
        energy: [(worker, package(70)), (Owner::Idle, package(30))].into(),
        cpu: [(worker, Nanos(9)), (Owner::Kernel, Nanos(1))].into(),
        meters: vec![MeterDelta { meter, energy: MicroJoules(100), begin: Nanos(0), end: Nanos(1) }],
        intensity: 380_000,
    }
}

#[test]
fn components_sum_to_the_host_and_the_host_to_the_meters() {
    let mut ledger = Ledger::with_components(["quiet"]);
    ledger.post(&posting(), |_, _| "worker".into());
    let host = ledger.host();
    assert_eq!(host.interval.energy.total(), MicroJoules(100));
    assert_eq!(host.interval.emissions, Emissions::of(MicroJoules(100), 380_000));
    assert_eq!(host.interval.cpu, Nanos(10));
    assert_eq!(ledger.residual(), [(Domain::Package, 0)]);
    assert_eq!(ledger.components["quiet"], ComponentBook::default());
}

#[test]
fn closing_an_interval_keeps_the_run_and_forgets_the_dead() {
    let mut ledger = Ledger::with_components([]);
    ledger.post(&posting(), |_, _| "worker".into());
    ledger.close_interval(|_| false);
    assert_eq!(ledger.components["worker"].interval, Usage::default());
    assert_eq!(ledger.components["worker"].run.energy.total(), MicroJoules(70));
    assert_eq!(ledger.processes.len(), 1);
    ledger.close_interval(|process| process == key(7));
    assert!(ledger.processes.is_empty());
    assert_eq!(ledger.components["worker"].lifetime.energy.total(), MicroJoules(70));
}

#[test]
fn the_last_moments_of_a_process_find_its_book() {
    let mut ledger = Ledger::with_components([]);
    ledger.post(&posting(), |_, _| "worker".into());
    ledger.close_interval(|_| true);
    ledger.post(&posting(), |_, _| "worker".into());
    let books: Vec<u64> = ledger.processes.values().map(|book| book.run.energy.total().0).collect();
    assert_eq!(books, [140], "no counter begins anew");
    ledger.close_interval(|_| true);
    ledger.close_interval(|_| true);
    assert!(ledger.processes.is_empty());
}

#[test]
fn a_process_that_changes_its_component_has_a_book_in_each() {
    let mut ledger = Ledger::with_components([]);
    ledger.post(&posting(), |_, _| "before".into());
    ledger.post(&posting(), |_, _| "after".into());
    assert_eq!(ledger.processes.len(), 2);
    assert_eq!(ledger.components["before"].run, ledger.components["after"].run);
}

#[test]
fn a_new_period_begins_at_zero_and_the_counters_go_on() {
    let mut ledger = Ledger::with_components([]);
    ledger.post(&posting(), |_, _| "worker".into());
    ledger.begin_period();
    assert_eq!(ledger.host().period, Emissions::default());
    assert!(ledger.host().lifetime.emissions > Emissions::default());
}

#[test]
fn what_was_saved_goes_on_as_far_as_it_should() {
    let mut before = Ledger::with_components([]);
    before.post(&posting(), |_, _| "worker".into());
    before.close_interval(|_| true);
    let saved = before.save();

    let mut after = Ledger::with_components(["another"]);
    after.restore(&saved, true, true);
    after.post(&posting(), |_, _| "worker".into());
    let host = after.host();
    assert_eq!(host.interval.energy.total(), MicroJoules(100), "what was saved is in no interval");
    for sum in [host.run, host.lifetime] {
        assert_eq!(sum.energy.total(), MicroJoules(200));
    }
    assert_eq!((host.period, after.run), (host.lifetime.emissions, Nanos(2_000_000_000)));
    assert_eq!(after.residual(), [(Domain::Package, 0)]);

    let mut anew = Ledger::with_components([]);
    anew.restore(&saved, false, false);
    let host = anew.host();
    assert_eq!((host.run, host.period, anew.run), (Usage::default(), Emissions::default(), Nanos(0)));
    assert_eq!(host.lifetime.energy.total(), MicroJoules(100), "a series keeps its total though no rule names it");
}

#[test]
fn what_stands_in_rows_already_is_in_the_counters_only() {
    let mut ledger = Ledger::with_components([]);
    ledger.catch_up(&posting().meters, 380_000, Nanos(9), |from, to| Emissions(u128::from(from.0 + to.0)));
    let host = ledger.host();
    assert_eq!((host.interval, host.run), (Usage::default(), Usage::default()));
    assert_eq!(host.lifetime.energy.total(), MicroJoules(100));
    assert_eq!(host.period, Emissions::of(MicroJoules(100), 380_000));
    assert_eq!((host.lifetime.embodied, ledger.amortised), (Emissions(9), Nanos(9)));
    assert_eq!(ledger.meters.values().map(|book| book.lifetime.0).sum::<u64>(), 100);
    assert_eq!(ledger.residual(), [(Domain::Package, 0)]);
}

#[test]
fn a_correction_reaches_every_sum_and_takes_none_below_where_it_was() {
    let mut ledger = Ledger::with_components(["quiet"]);
    let spent = ledger.post(&posting(), |_, _| "worker".into());
    let spent: Vec<_> = spent.iter().map(|(name, energy)| (&**name, energy.0)).collect();
    assert_eq!(spent, [("idle", 30), ("kernel", 0), ("worker", 70)]);
    let before = ledger.components["worker"];
    ledger.correct_emissions(|name, most| match &**name {
        "worker" => 1000,
        "quiet" => -5,
        "idle" => -2 * most.0 as i128,
        _ => 0,
    });
    let after = ledger.components["worker"];
    for (before, after) in [
        (before.interval.emissions, after.interval.emissions),
        (before.run.emissions, after.run.emissions),
        (before.lifetime.emissions, after.lifetime.emissions),
        (before.period, after.period),
    ] {
        assert_eq!(after.0, before.0 + 1000);
    }
    assert_eq!(ledger.components["quiet"], ComponentBook::default());
    assert_eq!(ledger.components["idle"].interval.emissions, Emissions(0));
    assert_eq!(ledger.components["idle"].interval.energy, package(30));
    assert_eq!(ledger.host().interval.emissions, after.interval.emissions);
}

#[test]
fn what_is_taken_off_is_no_more_than_the_period_holds() {
    let mut ledger = Ledger::with_components([]);
    ledger.post(&posting(), |_, _| "worker".into());
    ledger.begin_period();
    ledger.correct_emissions(|_, most| {
        assert_eq!(most, Emissions(0));
        -1
    });
    assert!(ledger.host().lifetime.emissions > Emissions(0));
}

#[test]
fn embodied_emissions_are_shared_by_energy_and_sum_to_the_hosts() {
    let mut ledger = Ledger::with_components(["quiet"]);
    let mut asked = Vec::new();
    for host in [101, 7] {
        ledger.post(&posting(), |_, _| "worker".into());
        ledger.book_embodied(|from, to| {
            asked.push((from, to));
            Emissions(host)
        });
        ledger.close_interval(|_| false);
    }
    let second = 1_000_000_000;
    assert_eq!(asked, [(Nanos(0), Nanos(second)), (Nanos(second), Nanos(2 * second))], "time is counted once");
    let borne = |name: &str| ledger.components[name].run.embodied.0;
    // 70.7 and 30.3, then 4.9 and 2.1: the larger fraction gets what is left.
    assert_eq!([borne("worker"), borne("idle"), borne("kernel"), borne("quiet")], [71 + 5, 30 + 2, 0, 0]);
    let host = ledger.host();
    assert_eq!((host.run.embodied, host.lifetime.embodied), (Emissions(108), Emissions(108)));
    assert_eq!(host.lifetime.emissions, Emissions::of(MicroJoules(200), 380_000), "a scope of its own");

    let mut after = Ledger::with_components([]);
    after.restore(&ledger.save(), false, true);
    assert_eq!(after.host().lifetime.embodied, Emissions(108), "the counter survives a restart");
    after.post(&posting(), |_, _| "worker".into());
    after.book_embodied(|from, _| Emissions(u128::from(from.0)));
    assert_eq!(after.host().interval.embodied, Emissions(2 * u128::from(second)), "and so does the time");
}

#[test]
fn where_no_energy_was_metered_embodied_emissions_are_unattributed() {
    let mut ledger = Ledger::with_components(["quiet"]);
    ledger.post(&Posting { duration: Nanos(5), ..Posting::default() }, |_, _| "worker".into());
    ledger.book_embodied(|_, to| Emissions(u128::from(to.0)));
    assert_eq!(ledger.components[reserved::UNATTRIBUTED].interval.embodied, Emissions(5));
    assert_eq!(ledger.host().interval.embodied, Emissions(5));
}

proptest::proptest! {
    #[test]
    fn whatever_is_divided_is_divided_whole(total: u128, weights in proptest::collection::vec(0u64..1 << 50, 1..20)) {
        match divided(Emissions(total), &weights) {
            None => proptest::prop_assert!(weights.iter().all(|weight| *weight == 0)),
            Some(parts) => {
                proptest::prop_assert_eq!(parts.iter().map(|part| part.0).sum::<u128>(), total);
                let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
                for (part, weight) in parts.iter().zip(&weights) {
                    // Within one unit of the exact share, and nothing for nothing.
                    let (low, high) = (total / sum * u128::from(*weight), (total / sum + 1).saturating_mul(u128::from(*weight)));
                    proptest::prop_assert!((low..=high).contains(&part.0) && (*weight > 0 || part.0 == 0));
                }
            }
        }
    }
}
