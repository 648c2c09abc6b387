//! What was latched and not yet resolved.

use super::{Meter, MeterDelta};
use crate::units::{MicroJoules, Nanos};
use std::collections::BTreeMap;

/// Collects the steps of counters until they are asked for, so that a latch without a resolve loses nothing.
///
/// Several counters of one meter (the dies of a package) add up here.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<Meter, MeterDelta>);

impl Pending {
    pub(super) fn add(&mut self, meter: Meter, energy: MicroJoules, begin: Nanos, end: Nanos) {
        let delta = self.0.entry(meter).or_insert(MeterDelta { meter, energy: MicroJoules(0), begin, end });
        delta.energy += energy;
        delta.begin = delta.begin.min(begin);
        delta.end = delta.end.max(end);
    }

    /// Everything collected, in the order of domains and sockets.
    pub(super) fn take(&mut self) -> Vec<MeterDelta> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Domain;

    #[test]
    fn dies_add_up_and_latches_join() {
        let meter = Meter { domain: Domain::Package, socket: 0 };
        let mut pending = Pending::default();
        pending.add(meter, MicroJoules(3), Nanos(10), Nanos(20));
        pending.add(meter, MicroJoules(4), Nanos(11), Nanos(21));
        pending.add(meter, MicroJoules(5), Nanos(20), Nanos(30));
        let expected = MeterDelta { meter, energy: MicroJoules(12), begin: Nanos(10), end: Nanos(30) };
        assert_eq!(pending.take(), [expected]);
        assert_eq!(pending.take(), []);
    }
}
