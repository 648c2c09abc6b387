//! Renders the open interval of the books as a [`Snapshot`]'s rows. Pure but for the executable's path, which is read
//! for the few processes that get a row.

use crate::clock;
use crate::identity::ProcessTable;
use crate::ledger::{Ledger, ProcessBook, reserved};
use crate::probe::ProcessKey;
use crate::snapshot::{ComponentRow, MeterRow, ProcessIdentity, ProcessRow, Usage};
use std::sync::Arc;

/// One row a component, reserved ones included; they sum to the host.
pub fn component_rows(ledger: &Ledger) -> Vec<ComponentRow> {
    let row = |(name, book): (&Arc<str>, &crate::ledger::ComponentBook)| ComponentRow {
        component: name.to_string(),
        interval: book.interval,
        run: book.run,
        lifetime: book.lifetime,
        period_emissions: book.period,
        sci: None,
    };
    ledger.components.iter().map(row).collect()
}

/// One row a meter.
pub fn meter_rows(ledger: &Ledger, idle_watts: impl Fn(crate::energy::Meter) -> Option<f64>) -> Vec<MeterRow> {
    let row = |(meter, book): (&crate::energy::Meter, &crate::ledger::MeterBook)| MeterRow {
        meter: *meter,
        interval: book.interval,
        total: book.lifetime,
        idle_watts: idle_watts(*meter),
    };
    ledger.meters.iter().map(row).collect()
}

/// The `top` processes by energy in the interval, then all others as one row if there are any.
pub fn process_rows(ledger: &Ledger, table: &mut ProcessTable, top: usize) -> Vec<ProcessRow> {
    let mut books: Vec<(&(ProcessKey, Arc<str>), &ProcessBook)> =
        ledger.processes.iter().filter(|(_, book)| book.interval != Usage::default()).collect();
    let rank = |book: &ProcessBook| (book.interval.energy.total(), book.interval.cpu);
    books.sort_by(|(a_key, a), (b_key, b)| rank(b).cmp(&rank(a)).then_with(|| a_key.cmp(b_key)));
    let rest = books.split_off(top.min(books.len()));

    let mut rows: Vec<ProcessRow> = books
        .into_iter()
        .map(|((process, component), book)| ProcessRow {
            identity: Some(ProcessIdentity {
                pid: process.pid,
                start_time: clock::wall_time_of_boottime(process.start),
                unit: table.unit(*process),
                container: table.container(*process),
                exe: table.exe(*process),
            }),
            comm: table.comm(*process).map(|comm| comm.to_string()).unwrap_or_default(),
            component: component.to_string(),
            interval: book.interval,
            run: book.run,
        })
        .collect();
    if !rest.is_empty() {
        let mut other = ProcessRow {
            identity: None,
            comm: reserved::OTHER.to_owned(),
            component: reserved::OTHER.to_owned(),
            interval: Usage::default(),
            run: Usage::default(),
        };
        for (_, book) in rest {
            other.interval += book.interval;
            other.run += book.run;
        }
        rows.push(other);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Owner;
    use crate::identity::Host;
    use crate::ledger::Posting;
    use crate::units::Nanos;

    #[test]
    fn the_top_are_rows_and_the_rest_is_other() {
        let key = |pid| ProcessKey { pid, start: Nanos(1) };
        let owner = |pid| Owner::Task { process: key(pid), tid: pid };
        let mut ledger = Ledger::with_components([]);
        let posting = Posting {
            cpu: [(owner(1), Nanos(5)), (owner(2), Nanos(9)), (owner(3), Nanos(2)), (owner(4), Nanos(1))].into(),
            ..Posting::default()
        };
        ledger.post(&posting, |_, _| "c".into());
        let mut table = ProcessTable::new(Host::new("/nowhere".as_ref(), "/nowhere".as_ref()));
        let rows = process_rows(&ledger, &mut table, 2);
        let seen: Vec<_> = rows.iter().map(|row| (row.identity.as_ref().map(|i| i.pid), row.interval.cpu.0)).collect();
        assert_eq!(seen, [(Some(2), 9), (Some(1), 5), (None, 3)]);
        assert_eq!(rows[2].comm, "other");
    }
}
