//! A report as a table, JSON, CSV or a page.

use super::sums::REST;
use super::{Report, Sum, Units};
use crate::cli::{ReportBy, ReportFormat};
use crate::export::figures::{duration, percent, scaled};
use crate::export::html::{Escaped, STYLE};
use crate::export::rfc3339;
use crate::export::terminal::table::{Align, Table, plain};
use serde::Serialize;
use std::fmt::Write;

/// Rows of a table or page; JSON and CSV have all of them.
const SHOWN: usize = 50;

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    cpu_seconds: f64,
    energy_joules: f64,
    energy_kwh: f64,
    emissions_kg: f64,
    mean_power_watts: f64,
    share_percent: f64,
    embodied_kg: f64,
    functional_unit: Option<&'a str>,
    functional_units: Option<f64>,
    sci_grams_per_unit: Option<f64>,
}

/// The report in the format asked for, with its newline.
pub fn render(report: &Report, format: ReportFormat) -> String {
    match format {
        ReportFormat::Table => table(report),
        ReportFormat::Json => json(report),
        ReportFormat::Csv => csv(report),
        ReportFormat::Html => html(report),
    }
}

fn title(report: &Report) -> &'static str {
    match report.by {
        ReportBy::Component => "component",
        ReportBy::Process => "process",
        ReportBy::Unit => "unit",
        ReportBy::Container => "container",
        ReportBy::Day => "day",
    }
}

/// Days in their order, everything else by energy.
fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows: Vec<(&str, &Sum)> = report.sums.rows.iter().map(|(name, sum)| (name.as_str(), sum)).collect();
    match report.by {
        ReportBy::Day => rows.sort_by_key(|(name, _)| *name),
        _ => rows.sort_by(|a, b| b.1.microjoules.cmp(&a.1.microjoules).then(a.0.cmp(b.0))),
    }
    rows.into_iter().map(|(name, sum)| row(report, name, sum)).collect()
}

fn row<'a>(report: &Report, name: &'a str, sum: &'a Sum) -> Row<'a> {
    let joules = sum.microjoules as f64 / 1e6;
    let seconds = report.sums.seconds;
    // Units of several kinds are not added up.
    let units = sum.units.as_ref().filter(|units| units.name.is_some());
    Row {
        name,
        cpu_seconds: sum.cpu_seconds,
        energy_joules: joules,
        energy_kwh: joules / 3.6e6,
        emissions_kg: sum.emissions_kg,
        mean_power_watts: if seconds > 0.0 { joules / seconds } else { 0.0 },
        share_percent: percent(sum.microjoules as f64, report.sums.host.microjoules as f64),
        embodied_kg: sum.embodied_kg,
        functional_unit: units.and_then(|units| units.name.as_deref()),
        functional_units: units.map(|units| units.count),
        sci_grams_per_unit: units.and_then(Units::grams_per_unit),
    }
}

fn table(report: &Report) -> String {
    let columns = Columns::of(report);
    let mut titles = vec![
        (title(report), Align::Left),
        ("CPU", Align::Right),
        ("energy", Align::Right),
        ("share", Align::Right),
        ("CO2e", Align::Right),
    ];
    titles.extend(columns.titles().into_iter().map(|title| (title, Align::Right)));
    let mut table = Table::new(&titles);
    let rows = rows(report);
    let cells = |row: &Row<'_>| {
        let mut cells = vec![
            plain(row.name),
            duration(row.cpu_seconds),
            scaled(row.energy_joules, "J"),
            format!("{:.1} %", row.share_percent),
            scaled(row.emissions_kg * 1e3, "g"),
        ];
        cells.extend(columns.cells(row).iter().map(|cell| plain(cell)));
        cells
    };
    for row in rows.iter().take(SHOWN) {
        table.row(cells(row));
    }
    table.row(cells(&row(report, "host", &report.sums.host)));
    let mut text = format!("{}\n\n{}\n", summary(report), table.render(str::to_owned));
    if rows.len() > SHOWN {
        let _ = writeln!(text, "{} more; --format csv has all of them.", rows.len() - SHOWN);
    }
    for note in notes(report) {
        let _ = writeln!(text, "{}", plain(&note));
    }
    text
}

/// The columns that not every report has: embodied emissions and SCI, each where it is known of any row.
#[derive(Clone, Copy)]
struct Columns {
    embodied: bool,
    sci: bool,
}

impl Columns {
    fn of(report: &Report) -> Self {
        let sums = &report.sums;
        Self { embodied: sums.host.embodied_kg > 0.0, sci: sums.rows.values().any(|sum| sum.units.is_some()) }
    }

    fn titles(self) -> Vec<&'static str> {
        let titles = [(self.embodied, "embodied"), (self.sci, "units"), (self.sci, "SCI")];
        titles.into_iter().filter(|(shown, _)| *shown).map(|(_, title)| title).collect()
    }

    fn cells(self, row: &Row<'_>) -> Vec<String> {
        let mut cells = Vec::new();
        if self.embodied {
            cells.push(scaled(row.embodied_kg * 1e3, "g"));
        }
        if self.sci {
            let unit = row.functional_unit.unwrap_or_default();
            cells.push(row.functional_units.map_or_else(String::new, |units| format!("{units} {unit}")));
            cells.push(row.sci_grams_per_unit.map_or_else(String::new, |grams| scaled(grams, "g") + "/" + unit));
        }
        cells
    }
}

/// One sentence: how much, over what time.
fn summary(report: &Report) -> String {
    let sums = &report.sums;
    let (Some(first), Some(last)) = (&sums.first, &sums.last) else {
        return format!("Nothing was recorded since {}.", rfc3339(report.since));
    };
    let host = row(report, "host", &sums.host);
    format!(
        "{} ({}), {} CO2e, {} on average, over {} measured between {first} and {last}.",
        scaled(host.energy_joules, "J"),
        scaled(host.energy_kwh * 1e3, "Wh"),
        scaled(host.emissions_kg * 1e3, "g"),
        scaled(host.mean_power_watts, "W"),
        duration(sums.seconds),
    )
}

/// What a reader must know to trust the figures.
fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if report.sums.estimated {
        notes.push("Energy is estimated, at least in part: the host had no meter.".to_owned());
    }
    if matches!(report.by, ReportBy::Process | ReportBy::Unit | ReportBy::Container) {
        notes.push(
            "Rows hold the top processes of each interval; what was below is under \"other\" or \"(none)\".".into(),
        );
    }
    if Columns::of(report).sci {
        notes.push("SCI is the operational and embodied CO2e of the counted time, by functional unit.".to_owned());
    }
    let several = |(name, sum): (&String, &Sum)| {
        let mixed = sum.units.as_ref().is_some_and(|units| units.name.is_none());
        (mixed && name != REST).then(|| {
            format!("{name} changed its functional unit in this time, so it has no SCI: ask for a shorter time.")
        })
    };
    let mut changed: Vec<String> = report.sums.rows.iter().filter_map(several).collect();
    changed.sort();
    notes.extend(changed);
    if report.sums.damaged > 0 {
        notes.push(format!("{} of {} lines were damaged and passed over.", report.sums.damaged, report.sums.lines));
    }
    notes.extend(report.skipped.iter().map(|file| format!("Not read: {file}")));
    notes
}

fn json(report: &Report) -> String {
    let body = serde_json::json!({
        "by": title(report),
        "since": rfc3339(report.since),
        "first": report.sums.first,
        "last": report.sums.last,
        "seconds": report.sums.seconds,
        "quality": if report.sums.estimated { "estimated" } else { "measured" },
        "host": row(report, "host", &report.sums.host),
        "rows": rows(report),
        "files": report.files,
        "files_skipped": report.skipped,
        "lines": report.sums.lines,
        "lines_damaged": report.sums.damaged,
    });
    format!("{body:#}\n")
}

fn csv(report: &Report) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows(report) {
        writer.serialize(row).expect("a flat record in memory");
    }
    let bytes = writer.into_inner().expect("memory does not fail to be written");
    String::from_utf8(bytes).expect("names are text")
}

fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Energy and carbon by {0}</title><style>{STYLE}</style></head><body>\
         <header><h1>Energy and carbon by {0}</h1></header><p>{1}</p><section><table>\
         <tr><th>{0}</th><th class=\"n\">mean power</th><th class=\"share\">share</th><th class=\"n\">CPU</th>\
         <th class=\"n\">energy</th><th class=\"n\">CO₂e</th>",
        title(report),
        Escaped(&summary(report)),
    );
    let columns = Columns::of(report);
    for title in columns.titles() {
        let _ = write!(page, "<th class=\"n\">{title}</th>");
    }
    page.push_str("</tr>");
    for row in rows(report).iter().take(SHOWN) {
        let _ = write!(
            page,
            "<tr><td class=\"name\">{}</td><td class=\"n\">{}</td><td><div class=\"bar\"><meter min=\"0\" max=\"100\" \
             value=\"{:.1}\"></meter><span>{:.1} %</span></div></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td>",
            Escaped(row.name),
            scaled(row.mean_power_watts, "W"),
            row.share_percent,
            row.share_percent,
            duration(row.cpu_seconds),
            scaled(row.energy_joules, "J"),
            scaled(row.emissions_kg * 1e3, "g"),
        );
        for cell in columns.cells(row) {
            let _ = write!(page, "<td class=\"n\">{}</td>", Escaped(&cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></section><footer>");
    for note in notes(report) {
        let _ = write!(page, "<span>{}</span>", Escaped(&note));
    }
    page.push_str("</footer></body></html>\n");
    page
}
