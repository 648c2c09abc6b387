//! `/`: the last interval for people. One self-contained page: no script, no font, nothing from elsewhere.

use crate::energy::Quality;
use crate::export::figures::{duration, percent, scaled};
use crate::export::html::{Escaped, STYLE};
use crate::export::published::Publication;
use crate::export::{RunInfo, codecarbon};
use crate::health::Health;
use crate::ledger::reserved;
use crate::probe::CpuMethod;
use crate::snapshot::{ComponentRow, ProcessRow, Snapshot, StageStatus};
use std::fmt::{self, Display, Write};

/// Nothing is loaded or run, whatever a process calls itself.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'";

/// Processes on the page; the API has all of them.
const SHOWN_PROCESSES: usize = 20;

pub fn render(latest: Option<&Publication>, health: &Health, run: &RunInfo) -> String {
    let mut page = String::with_capacity(16 << 10);
    write(&mut page, latest, health, run).expect("a string does not fail to be written");
    page
}

fn write(page: &mut String, latest: Option<&Publication>, health: &Health, run: &RunInfo) -> fmt::Result {
    let project = Escaped(&run.project_name);
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{}\"><title>{project} · carbon-agent</title>\
         <style>{STYLE}</style></head><body><header><h1>{project}</h1>",
        run.interval.as_secs().max(5)
    )?;
    if let Some(environment) = &run.environment {
        write!(page, "<span class=\"soft\">{}</span>", Escaped(environment))?;
    }
    write!(page, "{}", Badge(health.status))?;
    if let Some(publication) = latest {
        let snapshot = &publication.snapshot;
        write!(
            page,
            "<span class=\"soft\">{} s to {:.0}</span></header>",
            snapshot.duration.seconds().round(),
            snapshot.timestamp
        )?;
        cards(page, snapshot)?;
        components(page, snapshot)?;
        processes(page, snapshot)?;
    } else {
        page.push_str("</header><section>The first interval has not ended yet.</section>");
    }
    checks(page, health)?;
    writeln!(
        page,
        "<footer><span>{}</span><span>run {}</span><a href=\"/metrics\">metrics</a><a href=\"/health\">health</a>\
         <a href=\"/api/v1/snapshot\">snapshot</a><a href=\"/api/v1/history?since=1h\">history</a></footer></body></html>",
        codecarbon::PRODUCER,
        run.run_id
    )
}

fn cards(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let (interval, total) = (&snapshot.host, &snapshot.host_run);
    let idle = snapshot.components.iter().find(|row| row.component == reserved::IDLE);
    let idle_cpu = idle.map_or(0.0, |row| row.interval.cpu.seconds());
    let busy = percent(interval.cpu.seconds() - idle_cpu, interval.cpu.seconds());
    let quality = match snapshot.quality {
        Quality::Measured => "measured",
        Quality::Estimated => "estimated",
    };
    let cpu_time = match snapshot.method.cpu_time {
        CpuMethod::Ebpf => "eBPF",
        CpuMethod::Procfs => "procfs",
    };
    let intensity = &snapshot.intensity;
    let zone = if intensity.zone.is_empty() { &intensity.provider } else { &intensity.zone };
    page.push_str("<div class=\"cards\">");
    let source = format!("{quality}, {} ({})", snapshot.method.energy, domains(snapshot));
    card(page, "Power", &scaled(interval.energy.total().watts_over(snapshot.duration), "W"), &source)?;
    let kwh = scaled(total.energy.total().kwh() * 1e3, "Wh");
    card(page, "Energy, this run", &scaled(total.energy.total().joules(), "J"), &kwh)?;
    let mut since = format!("this period; {} this run", scaled(total.emissions.grams(), "g"));
    if snapshot.embodied {
        since += &format!(", and {} embodied", scaled(total.embodied.grams(), "g"));
    }
    card(page, "CO₂e", &scaled(snapshot.period_emissions.grams(), "g"), &since)?;
    card(page, "CPU busy", &format!("{busy:.1} %"), cpu_time)?;
    let kind = format!("g/kWh, {zone}, {}", intensity.kind);
    card(page, "Grid intensity", &format!("{:.0}", intensity.grams_per_kwh), &kind)?;
    page.push_str("</div>");
    Ok(())
}

fn domains(snapshot: &Snapshot) -> String {
    snapshot.domains.iter().map(|domain| domain.name()).collect::<Vec<_>>().join(", ")
}

fn card(page: &mut String, title: &str, value: &str, note: &str) -> fmt::Result {
    write!(page, "<div><span>{title}</span><b>{}</b><small>{}</small></div>", Escaped(value), Escaped(note))
}

fn components(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    page.push_str(
        "<section><h2>Components</h2><table><tr><th>component</th><th class=\"n\">power</th><th class=\"share\">share</th>\
         <th class=\"n\">CPU</th><th class=\"n\">energy, run</th><th class=\"n\">CO₂e, run</th></tr>",
    );
    let mut rows: Vec<&ComponentRow> = snapshot.components.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.interval.energy.total()));
    for row in rows {
        let class = if reserved::ALL.contains(&row.component.as_str()) { "name reserved" } else { "name" };
        let share = percent(row.interval.energy.total().joules(), snapshot.host.energy.total().joules());
        write!(
            page,
            "<tr><td class=\"{class}\">{}</td><td class=\"n\">{}</td>\
             <td><div class=\"bar\"><meter min=\"0\" max=\"100\" value=\"{share:.1}\"></meter><span>{share:.1} %</span></div></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            Escaped(&row.component),
            scaled(row.interval.energy.total().watts_over(snapshot.duration), "W"),
            duration(row.interval.cpu.seconds()),
            scaled(row.run.energy.total().joules(), "J"),
            scaled(row.run.emissions.grams(), "g"),
        )?;
    }
    page.push_str("</table></section>");
    Ok(())
}

fn processes(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    page.push_str(
        "<section><h2>Processes</h2><table><tr><th class=\"n\">pid</th><th>name</th><th>component</th><th>unit or container</th>\
         <th class=\"n\">power</th><th class=\"n\">CPU</th><th class=\"n\">energy</th><th class=\"n\">CO₂e</th></tr>",
    );
    for row in snapshot.processes.iter().take(SHOWN_PROCESSES) {
        let pid = row.identity.as_ref().map(|identity| identity.pid.to_string()).unwrap_or_default();
        write!(
            page,
            "<tr><td class=\"n\">{pid}</td><td class=\"name\">{}</td><td class=\"name\">{}</td><td class=\"name\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            Escaped(&row.comm),
            Escaped(&row.component),
            Escaped(home(row)),
            scaled(row.interval.energy.total().watts_over(snapshot.duration), "W"),
            duration(row.interval.cpu.seconds()),
            scaled(row.interval.energy.total().joules(), "J"),
            scaled(row.interval.emissions.grams(), "g"),
        )?;
    }
    page.push_str("</table></section>");
    Ok(())
}

fn home(row: &ProcessRow) -> &str {
    let identity = row.identity.as_ref();
    identity.and_then(|i| i.container.as_deref().or(i.unit.as_deref())).unwrap_or_default()
}

fn checks(page: &mut String, health: &Health) -> fmt::Result {
    page.push_str("<section><h2>Health</h2><table>");
    for check in &health.checks {
        write!(page, "<tr><td>{}</td><td class=\"why\">{}</td></tr>", Badge(check.status), Escaped(&check.text))?;
    }
    page.push_str("</table></section>");
    Ok(())
}

/// A status as a word in its colour; never by colour alone.
struct Badge(StageStatus);

impl Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.0 {
            StageStatus::Ok => "ok",
            StageStatus::Degraded => "degraded",
            StageStatus::Failed => "failed",
        };
        write!(f, "<span class=\"badge {word}\">{word}</span>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;
    use crate::export::published::Published;

    fn page(run: &RunInfo) -> String {
        let published = Published::default();
        published.publish(fixture::publication());
        render(Some(&fixture::publication()), &Health::of(&published, run), run)
    }

    #[test]
    fn totals_components_processes_and_stages_are_there() {
        let page = page(&fixture::run_info());
        for expected in [
            "TTA-Staging",
            "21.6 W",
            "380",
            "model_management",
            "4242",
            "ollama.service",
            "measured",
            "4.00 g embodied",
        ] {
            assert!(page.contains(expected), "{expected}\n{page}");
        }
        assert!(page.contains("no zone configured: &lt;world&gt; average"));
    }

    #[test]
    fn names_cannot_break_out() {
        let mut run = fixture::run_info();
        run.project_name = format!("</title>{}", fixture::HOSTILE);
        run.environment = Some("<script>".into());
        let page = page(&run);
        for forbidden in ["<b>\\x", "\u{1b}", "<script", "</title>\"", "src=", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden:?}");
        }
        assert_eq!(page.matches("</title>").count(), 1);
    }

    #[test]
    fn before_the_first_interval_it_says_so() {
        let run = fixture::run_info();
        let page = render(None, &Health::of(&Published::default(), &run), &run);
        assert!(page.contains("first interval has not ended yet"));
    }
}
