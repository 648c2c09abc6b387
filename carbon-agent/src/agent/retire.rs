//! Thousands of short-lived units and containers must not grow state, metrics and memory without bound.

use crate::carbon::Pricing;
use crate::identity::{Policy, ProcessTable};
use crate::ledger::Ledger;

/// Puts components together that are too many and unused; call it between two intervals.
pub fn retire(ledger: &mut Ledger, table: &ProcessTable, policy: &mut Policy, pricing: &mut Pricing) {
    if !ledger.is_crowded(policy.components()) {
        return;
    }
    let retired = ledger.retire(policy.components(), &table.components_in_use());
    tracing::debug!("the series of {} components that nobody uses any more end", retired.len());
    policy.forget(&retired);
    pricing.retire(&retired);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Owner;
    use crate::carbon::Pace;
    use crate::config::IntensitySource;
    use crate::energy::Domain;
    use crate::identity::Host;
    use crate::identity::rules::RuleSet;
    use crate::ledger::retire::KEPT;
    use crate::ledger::{Posting, reserved};
    use crate::probe::{Comm, CpuSample, ProcessKey, TaskTime};
    use crate::snapshot::{EnergyByDomain, Usage};
    use crate::units::{MicroJoules, Nanos};
    use std::collections::BTreeMap;

    struct Books {
        ledger: Ledger,
        table: ProcessTable,
        policy: Policy,
        pricing: Pricing,
        /// Numbers processes, so that each has a name that no other had.
        born: u32,
        spent: u64,
    }

    impl Books {
        fn start(state: &std::path::Path) -> Self {
            let price = [IntensitySource::GramsPerKwh(380.0)];
            Self {
                ledger: Ledger::with_components([]),
                table: ProcessTable::new(Host::new("/nowhere".as_ref(), "/nowhere".as_ref())),
                policy: Policy::new(RuleSet::compile(&[]).unwrap(), true),
                pricing: Pricing::start(&price, state, 1.0, Pace::default()).unwrap(),
                born: 0,
                spent: 0,
            }
        }

        fn task(pid: u32, name: &str, exited: bool) -> TaskTime {
            TaskTime {
                process: ProcessKey { pid, start: Nanos(u64::from(pid)) },
                tid: pid,
                cpu: 0,
                time: Nanos(1000),
                comm: Comm::from_bytes(name.as_bytes()),
                parent: 1,
                cgroup: 0,
                kernel_thread: false,
                exited,
                seen: Nanos(1),
            }
        }

        /// An interval in which `fresh` processes with names of their own run and end, beside one that always runs.
        fn interval(&mut self, fresh: u32) {
            let mut tasks = vec![Self::task(1_000_000, "server", false)];
            for _ in 0..fresh {
                self.born += 1;
                tasks.push(Self::task(self.born, &format!("job-{}", self.born), true));
            }
            self.table.observe(&CpuSample { tasks: tasks.clone(), ..CpuSample::default() }, &mut self.policy);
            let mut posting = Posting { duration: Nanos(1_000_000_000), intensity: 380_000, ..Posting::default() };
            for task in &tasks {
                let owner = Owner::Task { process: task.process, tid: task.tid };
                let mut energy = EnergyByDomain::default();
                energy[Domain::Package] = MicroJoules(u64::from(task.process.pid % 977) + 1);
                self.spent += energy.total().0;
                posting.energy.insert(owner, energy);
                posting.cpu.insert(owner, task.time);
            }
            let now = jiff::Timestamp::now();
            let priced = self.pricing.price(now, posting.duration);
            let spent = self.ledger.post(&posting, |process, tid| self.table.component(process, tid));
            self.pricing.booked(priced, spent);
            self.pricing.settle(&mut self.ledger);
            self.ledger.close_interval(|process| self.table.is_gone(process));
            self.table.forget_ended();
            retire(&mut self.ledger, &self.table, &mut self.policy, &mut self.pricing);
        }
    }

    fn sum(ledger: &Ledger) -> Usage {
        ledger.books().fold(Usage::default(), |mut sum, (_, book)| {
            sum += book.lifetime;
            sum
        })
    }

    #[test]
    fn ten_thousand_names_leave_a_bounded_state_and_every_joule() {
        let state = tempfile::tempdir().unwrap();
        let mut host = Books::start(state.path());
        for _ in 0..40 {
            host.interval(125);
        }
        let before = host.ledger.save();
        // Restarts must not add up either.
        let (born, spent) = (host.born, host.spent);
        let mut host = Books { born, spent, ..Books::start(state.path()) };
        host.ledger.restore(&before, true, true);
        for _ in 0..40 {
            host.interval(125);
        }
        assert_eq!(host.born, 10_000);
        let saved = host.ledger.save();
        let bound = KEPT + reserved::ALL.len();
        assert!(saved.components.len() <= bound, "{} components", saved.components.len());
        assert!(host.table.len() <= 200);
        assert!(serde_json::to_vec(&saved).unwrap().len() < 500_000);

        // Every microjoule, nanosecond and gram is where it was, or in `other`.
        let all = sum(&host.ledger);
        assert_eq!(all.energy.total(), MicroJoules(host.spent));
        assert_eq!(all.cpu, Nanos(1000 * (10_000 + 80)));
        assert_eq!(all, host.ledger.host().lifetime);
        assert_eq!(host.ledger.retired.interval, Usage::default());
        let by_name: BTreeMap<&str, _> = host.ledger.books().collect();
        assert!(by_name["other"].lifetime.energy.total() > MicroJoules(0));
        assert_eq!(by_name["unassigned"].lifetime, Usage::default(), "there was room for all");
        // Who lives stays, and so do the newest.
        assert_eq!(by_name["server"].lifetime.cpu, Nanos(80_000));
        assert!(by_name.contains_key("job-10000") && !by_name.contains_key("job-1"));
    }

    #[test]
    fn more_at_once_than_there_is_room_for_are_unassigned_and_nothing_is_lost() {
        let state = tempfile::tempdir().unwrap();
        let mut host = Books::start(state.path());
        host.interval(3000);
        host.interval(10);
        assert_eq!(sum(&host.ledger).energy.total(), MicroJoules(host.spent));
        assert!(host.ledger.components["unassigned"].lifetime.cpu >= Nanos(1000 * 2000));
        assert!(host.ledger.components.len() <= KEPT + reserved::ALL.len());
        assert!(host.ledger.components.contains_key("job-3010"), "room again");
    }
}
