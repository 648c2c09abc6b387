//! The live table of `top`: a pure drawing of a snapshot.

use super::figures::{duration, percent, scaled};
use crate::energy::Quality;
use crate::identity::label::label;
use crate::snapshot::{Snapshot, StageStatus, Usage};
use crate::units::Nanos;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table, TableState};
use std::cmp::Reverse;

/// What the person at the keyboard has chosen to see.
#[derive(Debug, Default)]
pub struct View {
    scrolled: TableState,
    components_only: bool,
    totals: bool,
}

impl View {
    /// Moves through the processes.
    pub fn scroll(&mut self, by: i16) {
        let at = i64::try_from(self.scrolled.selected().unwrap_or(0)).unwrap_or(0) + i64::from(by);
        self.scrolled.select(Some(usize::try_from(at).unwrap_or(0)));
    }

    /// Shows or hides the processes.
    pub fn toggle_processes(&mut self) {
        self.components_only = !self.components_only;
    }

    /// Figures of the last moment, or since the start.
    pub fn toggle_totals(&mut self) {
        self.totals = !self.totals;
    }
}

/// Draws the snapshot, or that there is none yet.
pub fn draw(frame: &mut Frame, snapshot: Option<&Snapshot>, view: &mut View) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(3), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    let keys = "q quit   p processes   t totals/now   ↑↓ scroll";
    frame.render_widget(Paragraph::new(keys).style(Style::new().add_modifier(Modifier::DIM)), foot);
    let Some(snapshot) = snapshot else {
        frame.render_widget(Paragraph::new("measuring …"), head);
        return;
    };
    headline(frame, head, snapshot, view.totals);
    if view.components_only {
        components(frame, body, snapshot, view.totals);
    } else {
        let wanted = u16::try_from(snapshot.components.len()).unwrap_or(u16::MAX).saturating_add(3);
        let [upper, lower] =
            Layout::vertical([Constraint::Length(wanted.min(body.height / 2)), Constraint::Fill(1)]).areas(body);
        components(frame, upper, snapshot, view.totals);
        processes(frame, lower, snapshot, view);
    }
}

fn headline(frame: &mut Frame, area: Rect, snapshot: &Snapshot, totals: bool) {
    let (usage, length) = chosen(snapshot, totals);
    let energy = usage.energy.total();
    let quality = match snapshot.quality {
        Quality::Measured => "measured",
        Quality::Estimated => "estimated",
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let first = Line::from(vec![
        Span::styled(scaled(energy.watts_over(length), "W"), bold),
        Span::raw(format!(
            "   {} and {} CO2e in {}   {quality}: {}, CPU time {:?}, {} g/kWh",
            scaled(energy.joules(), "J"),
            scaled(usage.emissions.grams(), "g"),
            duration(length.seconds()),
            snapshot.method.energy,
            snapshot.method.cpu_time,
            snapshot.intensity.grams_per_kwh,
        )),
    ]);
    let trouble = snapshot.stages.iter().find(|stage| stage.status != StageStatus::Ok);
    let second = trouble.map(|stage| format!("{}: {}", stage.stage.name(), stage.reason)).unwrap_or_default();
    let second = Line::styled(second, Style::new().fg(Color::Yellow));
    frame.render_widget(Paragraph::new(vec![first, second]), area);
}

fn chosen(snapshot: &Snapshot, totals: bool) -> (Usage, Nanos) {
    if totals { (snapshot.host_run, snapshot.run_duration) } else { (snapshot.host, snapshot.duration) }
}

const COLUMNS: [Constraint; 6] = [
    Constraint::Fill(1),
    Constraint::Length(10),
    Constraint::Length(10),
    Constraint::Length(8),
    Constraint::Length(10),
    Constraint::Length(10),
];

fn components(frame: &mut Frame, area: Rect, snapshot: &Snapshot, totals: bool) {
    let (whole, length) = chosen(snapshot, totals);
    let mut rows: Vec<(&str, Usage)> = snapshot
        .components
        .iter()
        .map(|row| (row.component.as_str(), if totals { row.run } else { row.interval }))
        .collect();
    rows.sort_by_key(|(_, usage)| Reverse((usage.energy.total(), usage.cpu)));
    let rows = rows.into_iter().map(|(name, usage)| Row::new(cells(label(name.as_bytes()), &usage, &whole, length)));
    let table = Table::new(rows, COLUMNS).header(header("component")).block(Block::new().borders(Borders::TOP));
    frame.render_widget(table, area);
}

fn processes(frame: &mut Frame, area: Rect, snapshot: &Snapshot, view: &mut View) {
    let (whole, length) = chosen(snapshot, view.totals);
    let rows: Vec<Row> = snapshot
        .processes
        .iter()
        .map(|row| {
            let pid = row.identity.as_ref().map(|identity| identity.pid.to_string()).unwrap_or_default();
            let name = format!("{pid:>8} {:<16} {}", label(row.comm.as_bytes()), label(row.component.as_bytes()));
            Row::new(cells(name, if view.totals { &row.run } else { &row.interval }, &whole, length))
        })
        .collect();
    if let Some(at) = view.scrolled.selected() {
        view.scrolled.select(Some(at.min(rows.len().saturating_sub(1))));
    }
    let table = Table::new(rows, COLUMNS)
        .header(header("     pid process          component"))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::new().borders(Borders::TOP));
    frame.render_stateful_widget(table, area, &mut view.scrolled);
}

fn header(first: &str) -> Row<'_> {
    let names = [first, "power", "energy", "share", "CPU", "CO2e"];
    Row::new(names.map(str::to_owned)).style(Style::new().add_modifier(Modifier::BOLD))
}

fn cells(name: String, usage: &Usage, whole: &Usage, length: Nanos) -> [String; 6] {
    let energy = usage.energy.total();
    [
        name,
        scaled(energy.watts_over(length), "W"),
        scaled(energy.joules(), "J"),
        format!("{:.1} %", percent(energy.joules(), whole.energy.total().joules())),
        duration(usage.cpu.seconds()),
        scaled(usage.emissions.grams(), "g"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(view: &mut View, snapshot: Option<&Snapshot>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(110, 30)).unwrap();
        terminal.draw(|frame| draw(frame, snapshot, view)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn components_and_processes_are_on_the_screen() {
        let snapshot = fixture::snapshot();
        let text = screen(&mut View::default(), Some(&snapshot));
        for row in &snapshot.components {
            let name = label(row.component.as_bytes());
            assert!(text.contains(&name), "{name} is missing in\n{text}");
        }
        assert!(text.contains("measured: rapl-powercap"), "{text}");
        let mut view = View::default();
        view.toggle_processes();
        assert!(!screen(&mut view, Some(&snapshot)).contains("pid process"));
    }

    #[test]
    fn scrolling_stays_among_the_rows_and_nothing_yet_is_no_panic() {
        let mut view = View::default();
        view.scroll(-5);
        view.scroll(1000);
        screen(&mut view, Some(&fixture::snapshot()));
        assert!(view.scrolled.selected().unwrap() < fixture::snapshot().processes.len());
        assert!(screen(&mut view, None).contains("measuring"));
    }
}
