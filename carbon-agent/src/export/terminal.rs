//! Reports for a terminal: where the joules and grams went. Pure text; the caller knows whether colour is wanted.

pub(crate) mod table;

use super::figures::{duration, percent, scaled};
use crate::energy::Quality;
use crate::ledger::reserved;
use crate::probe::CpuMethod;
use crate::snapshot::{ComponentRow, Snapshot, Usage};
use crate::units::{Emissions, MicroJoules, Nanos};
use std::collections::BTreeMap;
use std::fmt::Write;
use table::{Align, Table, plain};

/// Rows of a report; the rest is summed as one.
const MAX_ROWS: usize = 20;

/// `exec`: what one component (the command and its descendants) used, by the name of its processes.
pub fn command_report(snapshot: &Snapshot, component: &str, colour: bool) -> String {
    let style = Style { colour };
    let seconds = snapshot.run_duration.seconds();
    let total = snapshot.components.iter().find(|row| row.component == component).map_or(Usage::default(), |r| r.run);
    let mut text = headline(&style, &total, snapshot.run_duration);

    let (named, rest) = by_name(snapshot, component, total);
    let mut table = Table::new(&[
        ("process", Align::Left),
        ("count", Align::Right),
        ("CPU", Align::Right),
        ("energy", Align::Right),
        ("share", Align::Right),
        ("power", Align::Right),
        ("CO2e", Align::Right),
    ]);
    for row in &named {
        table.row(cells(&row.name, &row.count.to_string(), &row.usage, total.energy.total(), seconds));
    }
    if rest != Usage::default() {
        table.row(cells("(others)", "", &rest, total.energy.total(), seconds));
    }
    table.row(cells("total", "", &total, total.energy.total(), seconds));
    text.push_str(&table.render(style.bold()));
    text.push('\n');
    let host = snapshot.host_run.energy.total();
    let _ = writeln!(
        text,
        "{}",
        style.dim(&format!(
            "The host used {} in that time: {} idle, {:.1} % by this command.",
            scaled(host.joules(), "J"),
            scaled(energy_of(snapshot, reserved::IDLE).joules(), "J"),
            percent(total.energy.total().joules(), host.joules()),
        ))
    );
    text.push_str(&method(snapshot, &style));
    text
}

/// `run`, at its end: what each component used since the start.
pub fn run_report(snapshot: &Snapshot, colour: bool) -> String {
    let style = Style { colour };
    let seconds = snapshot.run_duration.seconds();
    let host = &snapshot.host_run;
    let mut text = headline(&style, host, snapshot.run_duration);
    let mut table = Table::new(&[
        ("component", Align::Left),
        ("CPU", Align::Right),
        ("energy", Align::Right),
        ("share", Align::Right),
        ("power", Align::Right),
        ("CO2e", Align::Right),
    ]);
    let mut rows: Vec<&ComponentRow> = snapshot.components.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.run.energy.total()));
    for row in rows {
        table.row(cells(&row.component, NO_COUNT, &row.run, host.energy.total(), seconds));
    }
    table.row(cells("total", NO_COUNT, host, host.energy.total(), seconds));
    text.push_str(&table.render(style.bold()));
    text.push('\n');
    text.push_str(&method(snapshot, &style));
    text
}

fn headline(style: &Style, total: &Usage, length: Nanos) -> String {
    format!(
        "\n{} in {}, {} on average, {} CO2e\n\n",
        style.strong(&scaled(total.energy.total().joules(), "J")),
        duration(length.seconds()),
        scaled(total.energy.total().watts_over(length), "W"),
        style.strong(&scaled(total.emissions.grams(), "g")),
    )
}

/// A table without the column of counts.
const NO_COUNT: &str = "\0";

fn cells(name: &str, count: &str, usage: &Usage, whole: MicroJoules, seconds: f64) -> Vec<String> {
    let joules = usage.energy.total().joules();
    let watts = if seconds > 0.0 { joules / seconds } else { 0.0 };
    let mut cells = vec![plain(name)];
    if count != NO_COUNT {
        cells.push(count.to_owned());
    }
    cells.extend([
        duration(usage.cpu.seconds()),
        scaled(joules, "J"),
        format!("{:.1} %", percent(joules, whole.joules())),
        scaled(watts, "W"),
        scaled(usage.emissions.grams(), "g"),
    ]);
    cells
}

struct Named {
    name: String,
    count: usize,
    usage: Usage,
}

/// The component's processes summed by name, the most energy first, and what of `total` they do not hold: processes
/// below the snapshot's top, and names below this report's.
fn by_name(snapshot: &Snapshot, component: &str, total: Usage) -> (Vec<Named>, Usage) {
    let mut sums: BTreeMap<&str, (usize, Usage)> = BTreeMap::new();
    for row in snapshot.processes.iter().filter(|row| row.identity.is_some() && row.component == component) {
        let (count, usage) = sums.entry(&row.comm).or_default();
        *count += 1;
        *usage += row.run;
    }
    let mut named: Vec<Named> =
        sums.into_iter().map(|(name, (count, usage))| Named { name: name.to_owned(), count, usage }).collect();
    named.sort_by_key(|row| std::cmp::Reverse((row.usage.energy.total(), row.usage.cpu)));
    named.truncate(MAX_ROWS);
    let shown = named.iter().fold(Usage::default(), |mut sum, row| {
        sum += row.usage;
        sum
    });
    (named, without(total, shown))
}

/// `whole − part`; a part that is larger leaves nothing, as a process may have run before the component's books began.
fn without(whole: Usage, part: Usage) -> Usage {
    let mut rest = Usage {
        cpu: Nanos(whole.cpu.0.saturating_sub(part.cpu.0)),
        emissions: Emissions(whole.emissions.0.saturating_sub(part.emissions.0)),
        ..whole
    };
    for (mine, theirs) in rest.energy.0.iter_mut().zip(part.energy.0) {
        mine.0 = mine.0.saturating_sub(theirs.0);
    }
    rest
}

fn energy_of(snapshot: &Snapshot, component: &str) -> MicroJoules {
    snapshot.components.iter().find(|row| row.component == component).map_or(MicroJoules(0), |r| r.run.energy.total())
}

fn method(snapshot: &Snapshot, style: &Style) -> String {
    let quality = match snapshot.quality {
        Quality::Measured => "measured",
        Quality::Estimated => "ESTIMATED, this host has no meter",
    };
    let cpu = match snapshot.method.cpu_time {
        CpuMethod::Ebpf => "eBPF, every context switch",
        CpuMethod::Procfs => "procfs, in clock ticks; short-lived processes are missed",
    };
    let lines = format!(
        "Energy: {} ({quality}). CPU time: {cpu}.\nCarbon: {:.0} g/kWh ({}).",
        snapshot.method.energy, snapshot.intensity.grams_per_kwh, snapshot.method.intensity
    );
    lines.lines().map(|line| style.dim(line) + "\n").collect()
}

struct Style {
    colour: bool,
}

impl Style {
    fn bold(&self) -> fn(&str) -> String {
        if self.colour { |text| format!("\u{1b}[1m{text}\u{1b}[0m") } else { str::to_owned }
    }

    fn strong(&self, text: &str) -> String {
        self.bold()(text)
    }

    fn dim(&self, text: &str) -> String {
        let text = plain(text);
        if self.colour { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text }
    }
}

#[cfg(test)]
mod tests;
