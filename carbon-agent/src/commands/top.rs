//! `carbon-agent top`: a live table of components and processes. It measures by itself and needs no running agent.

use super::Failure;
use crate::agent::Agent;
use crate::config::Config;
use crate::export::terminal;
use crate::export::top::{self, View};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// How often the table changes, unless the samples are further apart.
const REFRESH: Duration = Duration::from_secs(2);

/// Shows the table until `q`, or prints one report where standard output is no terminal.
pub fn top(config: &Config) -> Result<u8, Failure> {
    let mut agent = Agent::open(config)?;
    let every = config.sample_interval;
    let refresh = REFRESH.max(every);
    if !stdout().is_terminal() {
        measure(&mut agent, every, refresh);
        let snapshot = agent.close_interval();
        let _ = stdout().write_all(terminal::run_report(&snapshot, false).as_bytes());
        return Ok(0);
    }
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::job(format!("the terminal cannot be drawn on: {error}")))?;
    let result = show(&mut terminal, &mut agent, every, refresh);
    ratatui::restore();
    result.map(|()| 0).map_err(|error| Failure::job(format!("the terminal: {error}")))
}

/// Samples for `length`, with nothing to look at.
fn measure(agent: &mut Agent, every: Duration, length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::thread::sleep(every.min(end.saturating_duration_since(Instant::now())));
        agent.sample();
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    agent: &mut Agent,
    every: Duration,
    refresh: Duration,
) -> std::io::Result<()> {
    let mut view = View::default();
    let mut latest = None;
    let (mut next_sample, mut next_refresh) = (Instant::now() + every, Instant::now() + refresh);
    loop {
        terminal.draw(|frame| top::draw(frame, latest.as_ref(), &mut view))?;
        if event::poll(next_sample.saturating_duration_since(Instant::now()))?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
            && press(&mut view, key)
        {
            return Ok(());
        }
        if Instant::now() >= next_sample {
            agent.sample();
            next_sample = Instant::now() + every;
            if Instant::now() >= next_refresh {
                latest = Some(agent.close_interval());
                next_refresh = Instant::now() + refresh;
            }
        }
    }
}

/// Whether the key ends the program.
fn press(view: &mut View, key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Down | KeyCode::Char('j') => view.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => view.scroll(-1),
        KeyCode::PageDown => view.scroll(10),
        KeyCode::PageUp => view.scroll(-10),
        KeyCode::Char('p') => view.toggle_processes(),
        KeyCode::Char('t') => view.toggle_totals(),
        _ => {}
    }
    false
}
