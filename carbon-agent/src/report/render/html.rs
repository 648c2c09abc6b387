//! The page: the promotion checklist's answers first, then what they rest on. It needs nothing from elsewhere.

use super::{Columns, SHOWN, notes, rows, summary, title};
use crate::export::figures::{duration, percent, scaled};
use crate::export::html::{Escaped, STYLE};
use crate::export::rfc3339;
use crate::report::Report;
use crate::report::criteria::{Verdict, gaps};
use std::fmt::{self, Display, Write};

/// Interruptions and messages on the page; JSON has all of them.
const LISTED: usize = 20;

pub fn page(report: &Report) -> String {
    let mut page = String::new();
    write(&mut page, report).expect("a string does not fail to be written");
    page
}

fn write(page: &mut String, report: &Report) -> fmt::Result {
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Energy and carbon by {0}</title><style>{STYLE}</style></head><body>\
         <header><h1>Energy and carbon by {0}</h1></header><p>{1}</p>",
        title(report),
        Escaped(&summary(report)),
    )?;
    criteria(page, report)?;
    by_name(page, report)?;
    days(page, report)?;
    methods(page, report)?;
    interruptions(page, report)?;
    log(page, report)?;
    page.push_str("<footer>");
    for note in notes(report) {
        write!(page, "<span>{}</span>", Escaped(&note))?;
    }
    writeln!(page, "<span>Made {:.0}; days are UTC's.</span></footer></body></html>", report.now)
}

/// A word, so that it is told without colour.
struct Badge(Verdict);

impl Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, word) = match self.0 {
            Verdict::Met => ("ok", "yes"),
            Verdict::Look => ("degraded", "look"),
            Verdict::NotMet => ("failed", "no"),
            Verdict::Unanswered => ("soft", "not here"),
        };
        write!(f, "<span class=\"badge {class}\">{word}</span>")
    }
}

fn criteria(page: &mut String, report: &Report) -> fmt::Result {
    let criteria = report.criteria();
    if criteria.is_empty() {
        return Ok(());
    }
    page.push_str("<section><h2>Success criteria</h2><table>");
    for one in criteria {
        let (badge, name, answer) = (Badge(one.verdict), Escaped(one.criterion), Escaped(&one.answer));
        write!(page, "<tr><td>{badge}</td><td>{name}</td><td class=\"why\">{answer}</td></tr>")?;
    }
    page.push_str("</table></section>");
    Ok(())
}

fn by_name(page: &mut String, report: &Report) -> fmt::Result {
    write!(
        page,
        "<section><h2>By {0}</h2><table><tr><th>{0}</th><th class=\"n\">mean power</th><th class=\"share\">share</th>\
         <th class=\"n\">CPU</th><th class=\"n\">energy</th><th class=\"n\">CO₂e</th>",
        title(report)
    )?;
    let columns = Columns::of(report);
    for title in columns.titles() {
        write!(page, "<th class=\"n\">{title}</th>")?;
    }
    page.push_str("</tr>");
    for row in rows(report).iter().take(SHOWN) {
        write!(
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
        )?;
        for cell in columns.cells(row) {
            write!(page, "<td class=\"n\">{}</td>", Escaped(&cell))?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></section>");
    Ok(())
}

/// The days against one another, each with what the agent itself took.
fn days(page: &mut String, report: &Report) -> fmt::Result {
    let days = &report.sums.observed.days;
    if days.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<section><h2>Days</h2><table><tr><th>day</th><th class=\"n\">measured</th><th class=\"n\">mean power</th>\
         <th class=\"n\">energy</th><th class=\"n\">CO₂e</th><th class=\"n\">of the threshold</th>\
         <th class=\"n\">agent's CPU</th><th class=\"n\">agent's energy</th></tr>",
    );
    for (name, day) in days {
        let joules = day.host.microjoules as f64 / 1e6;
        let watts = if day.covered_seconds > 0.0 { joules / day.covered_seconds } else { 0.0 };
        let threshold = report.terms.threshold_kg;
        let part = threshold.map_or_else(String::new, |kg| format!("{:.1} %", percent(day.host.emissions_kg, kg)));
        write!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{part}</td><td class=\"n\">{:.2} %</td><td class=\"n\">{:.2} %</td></tr>",
            Escaped(name),
            duration(day.seconds),
            scaled(watts, "W"),
            scaled(joules, "J"),
            scaled(day.host.emissions_kg * 1e3, "g"),
            percent(day.own.cpu_seconds, day.seconds),
            percent(day.own.microjoules as f64, day.host.microjoules as f64),
        )?;
    }
    page.push_str("</table></section>");
    Ok(())
}

fn methods(page: &mut String, report: &Report) -> fmt::Result {
    let methods = &report.sums.observed.methods;
    if methods.is_empty() {
        return Ok(());
    }
    page.push_str("<section><h2>How it was measured</h2><table>");
    for (method, seconds) in methods {
        let share = percent(*seconds, report.sums.seconds);
        write!(
            page,
            "<tr><td class=\"why\">{}</td><td class=\"n\">{share:.1} % of the time</td></tr>",
            Escaped(method)
        )?;
    }
    page.push_str("</table></section>");
    Ok(())
}

fn interruptions(page: &mut String, report: &Report) -> fmt::Result {
    let gaps = gaps(report);
    if gaps.is_empty() {
        return Ok(());
    }
    page.push_str("<section><h2>Not measured</h2><table><tr><th>from</th><th>until</th><th class=\"n\">for</th></tr>");
    for gap in gaps.iter().take(LISTED) {
        let (begin, end) = (rfc3339(gap.begin), rfc3339(gap.end));
        write!(page, "<tr><td>{begin}</td><td>{end}</td><td class=\"n\">{}</td></tr>", duration(gap.seconds()))?;
    }
    more(page, gaps.len())
}

fn log(page: &mut String, report: &Report) -> fmt::Result {
    let Some(Ok(log)) = report.log.as_ref().filter(|log| log.as_ref().is_ok_and(|log| !log.said.is_empty())) else {
        return Ok(());
    };
    page.push_str(
        "<section><h2>Errors and warnings in the log</h2><table><tr><th>level</th><th class=\"n\">times</th><th>last</th>\
         <th>message</th></tr>",
    );
    for said in log.said.iter().take(LISTED) {
        let (last, message) = (Escaped(&said.last), Escaped(&said.message));
        let (level, times) = (said.level, said.times);
        write!(
            page,
            "<tr><td>{level}</td><td class=\"n\">{times}</td><td>{last}</td><td class=\"why\">{message}</td></tr>"
        )?;
    }
    more(page, log.said.len())
}

fn more(page: &mut String, all: usize) -> fmt::Result {
    page.push_str("</table>");
    if all > LISTED {
        write!(page, "<p class=\"soft\">{} more; --format json has all of them.</p>", all - LISTED)?;
    }
    page.push_str("</section>");
    Ok(())
}
