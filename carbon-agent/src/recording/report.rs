//! What a recorded or replayed run used, as text: the same figures give the same text.

use super::Header;
use crate::attribution::IdlePolicy;
use crate::attribution::weights::Policy;
use crate::division::Division;
use crate::energy::baseline::State;
use crate::export::figures::percent;
use crate::export::terminal::table::{Align, Table, plain};
use crate::ledger::Ledger;
use std::fmt::{Debug, Write};

/// Components with their CPU time, energy and emissions over the run, then what was learned. Energies are printed to the
/// microjoule, so that two reports tell any difference.
pub fn render(header: &Header, idle: IdlePolicy, ledger: &Ledger, division: &Division) -> String {
    let host = ledger.host().run;
    let mut text = format!(
        "{:.3} s; CPU time {}, energy {} ({}), idle {}, weights {}\n\n",
        ledger.run.seconds(),
        word(header.cpu_time),
        plain(&header.energy),
        word(header.quality),
        word(idle),
        division.policy()
    );
    let mut table = Table::new(&[
        ("component", Align::Left),
        ("CPU s", Align::Right),
        ("energy J", Align::Right),
        ("share", Align::Right),
        ("CO2e g", Align::Right),
    ]);
    let total = host.energy.total();
    let mut row = |name: &str, usage: &crate::snapshot::Usage| {
        let energy = usage.energy.total();
        table.row(vec![
            plain(name),
            format!("{:.9}", usage.cpu.seconds()),
            format!("{}.{:06}", energy.0 / 1_000_000, energy.0 % 1_000_000),
            format!("{:.1} %", percent(energy.joules(), total.joules())),
            format!("{:.6}", usage.emissions.grams()),
        ]);
    };
    for (name, book) in &ledger.components {
        row(name, &book.run);
    }
    row("host", &host);
    text.push_str(&table.render(str::to_owned));
    learned(&mut text, header, ledger, division);
    text
}

/// The name of a choice as rows and configuration spell it.
fn word(choice: impl Debug) -> String {
    format!("{choice:?}").to_lowercase()
}

fn learned(text: &mut String, header: &Header, ledger: &Ledger, division: &Division) {
    let mut idle =
        Table::new(&[("meter", Align::Left), ("idle W", Align::Right), ("±", Align::Right), ("", Align::Left)]);
    let mut any = false;
    // A model knows its idle power; what a baseline would say of it is nobody's figure.
    for meter in ledger.meters.keys().filter(|_| !header.energy.starts_with("model:")) {
        let Some(known) = division.baseline.idle(*meter) else { continue };
        any = true;
        idle.row(vec![
            format!("{} {}", meter.domain, meter.socket),
            format!("{:.3}", known.power.watts()),
            format!("{:.3}", known.error.watts()),
            if known.state == State::Known { "known" } else { "learning" }.to_owned(),
        ]);
    }
    if any {
        let _ = write!(text, "\n{}", idle.render(str::to_owned));
    }
    if division.policy() != Policy::Learned {
        return;
    }
    let mut weights = Table::new(&[
        ("meter", Align::Left),
        ("component", Align::Left),
        ("W per CPU", Align::Right),
        ("±", Align::Right),
        ("confidence", Align::Right),
    ]);
    for (meter, components) in division.weights.learned() {
        for weight in components {
            weights.row(vec![
                format!("{} {}", meter.domain, meter.socket),
                plain(&weight.component),
                format!("{:.3}", weight.watts_per_cpu),
                format!("{:.3}", weight.error),
                format!("{:.2}", weight.confidence),
            ]);
        }
    }
    let _ = write!(text, "\n{}", weights.render(str::to_owned));
}
