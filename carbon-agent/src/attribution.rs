//! Divides what the meters counted among those who ran. Pure: no clock, no I/O, no failure.
//!
//! Per meter, `Σ tasks + kernel + idle + unattributed = energy`, exactly, in whole microjoules, for any input.

use crate::energy::{Domain, Meter};
use crate::probe::ProcessKey;
use crate::snapshot::EnergyByDomain;
use crate::units::MicroJoules;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod apportion;
pub mod weights;
pub use apportion::apportion;

/// Whose energy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A task; `tid` equals `process.pid` unless threads are kept apart.
    Task { process: ProcessKey, tid: u32 },
    /// Kernel threads, and interrupts where they are told apart.
    Kernel,
    /// What the machine would have spent with nothing running.
    Idle,
    /// What cannot be told: lost CPU time, energy of a domain nobody can be held to.
    Unattributed,
}

/// What a claim is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A processor: claims are CPU time in nanoseconds, or cycles where the weights are cycles.
    Socket(u32),
    /// A graphics card: claims are shares of its multiprocessors.
    Card(u32),
}

/// A claim on the active energy of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub owner: Owner,
    pub place: Place,
    pub weight: u64,
}

/// What one meter counted in a sample and how much of it the idle machine would have spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterSpend {
    pub meter: Meter,
    pub energy: MicroJoules,
    /// Idle share; taken as `energy` where it is larger.
    pub idle: MicroJoules,
}

/// What becomes of idle energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdlePolicy {
    /// A row of its own.
    #[default]
    Separate,
    /// Shared out as active energy is.
    Proportional,
    /// Shared equally among the tasks that ran on the socket.
    Even,
}

/// Energy by owner. Owners that got nothing have no row.
pub type Rows = BTreeMap<Owner, EnergyByDomain>;

/// Divides the energy of every meter among the claims on its place.
///
/// - `psys` speaks for the whole machine and is divided among all who claim a socket; `gpu` is not divided by CPU time:
///   what its driver does not tell apart is unattributed.
/// - Active energy of a place on which nobody claims anything is unattributed.
/// - Remainders of the integer division go to the largest fractions (Hamilton's method), ties to the smaller owner,
///   so the order of `claims` does not matter.
pub fn attribute(meters: &[MeterSpend], claims: &[Claim], policy: IdlePolicy) -> Rows {
    attribute_by(meters, claims, policy, |_, _| 1)
}

/// As [`attribute`], with claims of different worth: on each meter a claim counts `factor` times its weight.
///
/// A factor of 0 counts as 1: whoever ran has a claim, and shared idle energy finds everybody who ran.
pub fn attribute_by(
    meters: &[MeterSpend],
    claims: &[Claim],
    policy: IdlePolicy,
    factor: impl Fn(Meter, Owner) -> u64,
) -> Rows {
    let mut rows = Rows::new();
    let by_place = Claims::new(claims);
    for spend in meters {
        let domain = spend.meter.domain;
        let claims = match domain {
            Domain::Psys => &by_place.cpu,
            Domain::Gpu => by_place.of(Place::Card(spend.meter.socket)),
            _ => by_place.of(Place::Socket(spend.meter.socket)),
        };
        let worth = |(owner, weight): (&Owner, &u64)| {
            let factor = factor(spend.meter, *owner).max(1);
            (*owner, weight.saturating_mul(factor))
        };
        let idle = spend.idle.min(spend.energy);
        let active = MicroJoules(spend.energy.0 - idle.0);
        share(&mut rows, domain, active, claims.iter().map(worth), Owner::Unattributed);
        match policy {
            IdlePolicy::Separate => book(&mut rows, Owner::Idle, domain, idle),
            IdlePolicy::Proportional => share(&mut rows, domain, idle, claims.iter().map(worth), Owner::Idle),
            IdlePolicy::Even => {
                let tasks = claims.iter().filter(|(o, w)| matches!(o, Owner::Task { .. }) && **w > 0);
                share(&mut rows, domain, idle, tasks.map(|(o, _)| (*o, 1)), Owner::Idle)
            }
        }
    }
    rows
}

/// The claims by place, one per owner, in the owners' order.
struct Claims {
    places: BTreeMap<Place, BTreeMap<Owner, u64>>,
    /// On any socket.
    cpu: BTreeMap<Owner, u64>,
    none: BTreeMap<Owner, u64>,
}

impl Claims {
    fn new(claims: &[Claim]) -> Self {
        let mut places: BTreeMap<Place, BTreeMap<Owner, u64>> = BTreeMap::new();
        let mut cpu: BTreeMap<Owner, u64> = BTreeMap::new();
        for claim in claims {
            let here = places.entry(claim.place).or_default().entry(claim.owner).or_default();
            *here = here.saturating_add(claim.weight);
            if let Place::Socket(_) = claim.place {
                let anywhere = cpu.entry(claim.owner).or_default();
                *anywhere = anywhere.saturating_add(claim.weight);
            }
        }
        Self { places, cpu, none: BTreeMap::new() }
    }

    fn of(&self, place: Place) -> &BTreeMap<Owner, u64> {
        self.places.get(&place).unwrap_or(&self.none)
    }
}

/// Divides `energy` by weight; with no weight at all it goes to `nobody`.
fn share(
    rows: &mut Rows,
    domain: Domain,
    energy: MicroJoules,
    claims: impl Iterator<Item = (Owner, u64)>,
    nobody: Owner,
) {
    let (owners, weights): (Vec<Owner>, Vec<u64>) = claims.unzip();
    match apportion(energy.0, &weights) {
        Some(shares) => {
            for (owner, share) in owners.into_iter().zip(shares) {
                book(rows, owner, domain, MicroJoules(share));
            }
        }
        None => book(rows, nobody, domain, energy),
    }
}

fn book(rows: &mut Rows, owner: Owner, domain: Domain, energy: MicroJoules) {
    if energy.0 > 0 {
        rows.entry(owner).or_default()[domain] += energy;
    }
}

#[cfg(test)]
mod tests;
