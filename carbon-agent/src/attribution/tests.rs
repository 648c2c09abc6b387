use super::*;
use crate::units::Nanos;
use proptest::prelude::*;

fn task(pid: u32) -> Owner {
    Owner::Task { process: ProcessKey { pid, start: Nanos(u64::from(pid) * 7) }, tid: pid }
}

fn package(socket: u32, energy: u64, idle: u64) -> MeterSpend {
    MeterSpend {
        meter: Meter { domain: Domain::Package, socket },
        energy: MicroJoules(energy),
        idle: MicroJoules(idle),
    }
}

fn claim(owner: Owner, socket: u32, weight: u64) -> Claim {
    Claim { owner, place: Place::Socket(socket), weight }
}

fn check(meters: &[MeterSpend], claims: &[Claim], policy: IdlePolicy, expected: &[(Owner, u64)]) {
    let rows = attribute(meters, claims, policy);
    let got: Vec<_> = rows.iter().map(|(o, e)| (*o, e.total().0)).collect();
    assert_eq!(got, expected);
}

#[test]
fn active_energy_follows_time_and_idle_is_a_row() {
    check(
        &[package(0, 100, 40)],
        &[claim(task(1), 0, 200), claim(task(2), 0, 100)],
        IdlePolicy::Separate,
        &[(task(1), 40), (task(2), 20), (Owner::Idle, 40)],
    );
}

#[test]
fn each_socket_is_divided_among_those_who_ran_on_it() {
    check(
        &[package(0, 100, 0), package(1, 300, 0)],
        &[claim(task(1), 0, 5), claim(task(2), 1, 5)],
        IdlePolicy::Separate,
        &[(task(1), 100), (task(2), 300)],
    );
}

#[test]
fn a_socket_without_claims_is_unattributed() {
    check(
        &[package(3, 100, 30)],
        &[claim(task(1), 0, 5)],
        IdlePolicy::Separate,
        &[(Owner::Idle, 30), (Owner::Unattributed, 70)],
    );
}

#[test]
fn idle_may_be_shared() {
    let claims = [claim(task(1), 0, 3), claim(task(2), 0, 1), claim(Owner::Kernel, 0, 4)];
    check(
        &[package(0, 80, 80)],
        &claims,
        IdlePolicy::Proportional,
        &[(task(1), 30), (task(2), 10), (Owner::Kernel, 40)],
    );
    check(&[package(0, 80, 80)], &claims, IdlePolicy::Even, &[(task(1), 40), (task(2), 40)]);
    check(&[package(0, 80, 80)], &[], IdlePolicy::Even, &[(Owner::Idle, 80)]);
}

#[test]
fn gpu_energy_is_not_divided_by_cpu_time() {
    let gpu = MeterSpend { meter: Meter { domain: Domain::Gpu, socket: 0 }, ..package(0, 50, 10) };
    check(&[gpu], &[claim(task(1), 0, 1)], IdlePolicy::Separate, &[(Owner::Idle, 10), (Owner::Unattributed, 40)]);
}

fn any_owner() -> impl Strategy<Value = Owner> {
    prop_oneof![(0..20u32).prop_map(task), Just(Owner::Kernel), Just(Owner::Unattributed)]
}

fn any_claims() -> impl Strategy<Value = Vec<Claim>> {
    let weight = prop_oneof![Just(0), 0..5_000_000_000u64, any::<u64>()];
    prop::collection::vec((any_owner(), 0..4u32, weight), 0..40)
        .prop_map(|claims| claims.into_iter().map(|(o, s, w)| claim(o, s, w)).collect())
}

fn any_meters() -> impl Strategy<Value = Vec<MeterSpend>> {
    // Distinct meters, each below 2^56 µJ so that a sum over them fits.
    let spend = (0..6usize, 0..4u32, 0..(1u64 << 56), 0..(1u64 << 57));
    prop::collection::btree_map((0..6usize, 0..4u32), spend, 0..12).prop_map(|meters| {
        meters
            .into_iter()
            .map(|((domain, socket), (_, _, energy, idle))| MeterSpend {
                meter: Meter { domain: Domain::ALL[domain], socket },
                energy: MicroJoules(energy),
                idle: MicroJoules(idle),
            })
            .collect()
    })
}

fn any_policy() -> impl Strategy<Value = IdlePolicy> {
    prop_oneof![Just(IdlePolicy::Separate), Just(IdlePolicy::Proportional), Just(IdlePolicy::Even)]
}

proptest! {
    #[test]
    fn books_close_in_every_domain(meters in any_meters(), claims in any_claims(), policy in any_policy()) {
        let rows = attribute(&meters, &claims, policy);
        for domain in Domain::ALL {
            let metered: u64 = meters.iter().filter(|m| m.meter.domain == domain).map(|m| m.energy.0).sum();
            let booked: u64 = rows.values().map(|e| e[domain].0).sum();
            prop_assert_eq!(metered, booked);
        }
    }

    #[test]
    fn order_of_input_does_not_matter(
        meters in any_meters(), claims in any_claims(), policy in any_policy(), turn in 0..40usize,
    ) {
        let mut turned = claims.clone();
        turned.reverse();
        let by = turn.min(turned.len());
        turned.rotate_left(by);
        let mut meters_turned = meters.clone();
        meters_turned.reverse();
        prop_assert_eq!(attribute(&meters, &claims, policy), attribute(&meters_turned, &turned, policy));
    }

    #[test]
    fn nobody_who_did_not_run_pays_active_energy(meters in any_meters(), claims in any_claims()) {
        let rows = attribute(&meters, &claims, IdlePolicy::Separate);
        for owner in rows.keys().filter(|o| matches!(o, Owner::Task { .. } | Owner::Kernel)) {
            prop_assert!(claims.iter().any(|c| c.owner == *owner && c.weight > 0));
        }
    }
}
