//! A table of text in aligned columns.

use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Longer cells are cut, so that one long name does not push every figure out of sight.
const MAX_WIDTH: usize = 40;

pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|(title, align)| ((*title).to_owned(), *align)).collect(), rows: Vec::new() }
    }

    /// Cells in the order of the columns, free of control characters (see [`plain`]).
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells.into_iter().map(cut).collect());
    }

    /// Every line indented by two and without blanks at its end; `emphasis` is put on the titles.
    pub fn render(&self, emphasis: impl Fn(&str) -> String) -> String {
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| title.clone()).collect();
        let mut widths: Vec<usize> = titles.iter().map(|title| width(title)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        let mut text = emphasis(&self.line(&titles, &widths));
        text.push('\n');
        for row in &self.rows {
            let _ = writeln!(text, "{}", self.line(row, &widths));
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), widest) in cells.iter().zip(&self.columns).zip(widths) {
            let pad = " ".repeat(widest - width(cell));
            match align {
                Align::Left => line.extend(["  ", cell, &pad]),
                Align::Right => line.extend(["  ", &pad, cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Text without what a terminal would obey: a process may call itself anything.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn cut(cell: String) -> String {
    if width(&cell) <= MAX_WIDTH { cell } else { cell.chars().take(MAX_WIDTH - 1).chain(['…']).collect() }
}

fn width(text: &str) -> usize {
    text.chars().count()
}
