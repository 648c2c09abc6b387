//! The questions of the promotion checklist, answered from the files. What they cannot answer is said, with where to look.

use super::Report;
use super::observed::{Day, Observed, Span, Used};
use crate::agent::OWN_COMPONENT;
use crate::config::AccountingPeriod;
use crate::export::figures::{duration, percent, scaled};
use crate::export::rfc3339;
use crate::ledger::reserved;
use crate::period;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// The agent may use this much of a CPU, in percent. Its alert (`CarbonAgentCostly`) speaks at ten times that.
const OWN_CPU_PERCENT: f64 = 1.0;
/// Days whose mean power is within this part of the median day are alike.
const ALIKE: f64 = 0.5;
/// A component is unusual on a day when it draws this many times its median day, and this many watts more.
const UNUSUAL: (f64, f64) = (3.0, 2.0);
/// Shorter days are not compared.
const COMPARABLE_SECONDS: f64 = 3600.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    /// Not as it should be, and perhaps for a good reason: somebody has to look.
    Look,
    NotMet,
    /// The files do not tell.
    Unanswered,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Criterion {
    pub criterion: &'static str,
    pub verdict: Verdict,
    pub answer: String,
}

fn criterion(criterion: &'static str, verdict: Verdict, answer: impl Into<String>) -> Criterion {
    Criterion { criterion, verdict, answer: answer.into() }
}

/// All of them, in the order of the checklist.
pub fn judge(report: &Report) -> Vec<Criterion> {
    let observed = &report.sums.observed;
    vec![
        time_observed(report),
        interruptions(report),
        errors(report),
        books(observed),
        quality(report),
        emissions(report),
        stable(observed),
        own_cost(report),
        security(report),
        criterion(
            "100 % of the integration tests pass",
            Verdict::Unanswered,
            "Not in these files: cargo test on the deployed version, or its CI run.",
        ),
        criterion(
            "Health checks pass, dashboards configured",
            Verdict::Unanswered,
            "Not in these files: carbon-agent health now; Prometheus: min_over_time(carbon_stage_up[7d]) and \
             avg_over_time(up{job=\"tta-staging-carbon\"}[7d]).",
        ),
    ]
}

/// Stretches in which the agent did not measure, from its first row to the moment of the report.
pub fn gaps(report: &Report) -> Vec<Span> {
    let observed = &report.sums.observed;
    let spans = observed.spans();
    let mut gaps: Vec<Span> = spans.windows(2).map(|pair| Span { begin: pair[0].end, end: pair[1].begin }).collect();
    if let Some(last) = spans.last() {
        let measured: f64 = spans.iter().map(|span| span.seconds()).sum();
        let usual = measured / observed.intervals.max(1) as f64;
        let until_now = Span { begin: last.end, end: report.now };
        if until_now.seconds() > (5.0 * usual).max(60.0) {
            gaps.push(until_now);
        }
    }
    gaps
}

fn time_observed(report: &Report) -> Criterion {
    let observed = &report.sums.observed;
    let seconds: f64 = observed.spans().iter().map(|span| span.seconds()).sum();
    let asked = Span { begin: report.since, end: report.now }.seconds();
    let share = percent(seconds, asked);
    let verdict = if share >= 99.0 { Verdict::Met } else { Verdict::Look };
    let runs = observed.runs.len();
    let answer = format!(
        "{} of {} measured ({share:.2} %), in {} of {}.",
        days(seconds),
        days(asked),
        count(observed.intervals, "interval"),
        count(runs as u64, "run"),
    );
    criterion("Observed for the whole time", verdict, answer)
}

fn interruptions(report: &Report) -> Criterion {
    const NAME: &str = "Never down";
    let gaps = gaps(report);
    let Some(longest) = gaps.iter().max_by(|a, b| a.seconds().total_cmp(&b.seconds())) else {
        return criterion(NAME, Verdict::Met, "No gap between the first row and now.");
    };
    let sum: f64 = gaps.iter().map(|gap| gap.seconds()).sum();
    let answer = format!(
        "{}, {} in all, the longest {} from {}. Restarts that were meant are fine; energy that the meters counted \
         meanwhile is booked as unattributed.",
        count(gaps.len() as u64, "gap"),
        duration(sum),
        duration(longest.seconds()),
        rfc3339(longest.begin),
    );
    criterion(NAME, Verdict::Look, answer)
}

fn errors(report: &Report) -> Criterion {
    const NAME: &str = "Zero critical errors";
    let log = match &report.log {
        Some(Ok(log)) => log,
        Some(Err(why)) => return criterion(NAME, Verdict::Unanswered, format!("The log cannot be read: {why}.")),
        None => {
            let answer = "No log file is configured: journalctl -u tta-staging-carbon, or the container's log.";
            return criterion(NAME, Verdict::Unanswered, answer);
        }
    };
    let mut answer = format!("{} and {} in the log", count(log.errors, "error"), count(log.warnings, "warning"));
    let since = rfc3339(report.since);
    let verdict = match &log.first {
        _ if log.errors > 0 => Verdict::NotMet,
        Some(first) if *first > since && report.sums.first.as_ref().is_some_and(|row| row < first) => {
            answer += &format!(", which begins only at {first}");
            Verdict::Look
        }
        None => {
            answer += ", which is empty";
            Verdict::Look
        }
        _ if log.warnings > 0 || !log.skipped.is_empty() => Verdict::Look,
        _ => Verdict::Met,
    };
    criterion(NAME, verdict, answer + ".")
}

fn books(observed: &Observed) -> Criterion {
    const NAME: &str = "The books close";
    let checked = observed.closed + observed.not_closed;
    let mut answer = format!(
        "In {} of {checked} intervals the components sum to the host in every domain, to the microjoule",
        observed.closed
    );
    if observed.without_components > 0 {
        answer += &format!("; {} without component rows", observed.without_components);
    }
    let verdict = match (observed.not_closed, checked) {
        (0, 0) => Verdict::Unanswered,
        (0, _) => Verdict::Met,
        _ => {
            let first: Vec<&str> = observed.not_closed_at.iter().map(String::as_str).collect();
            answer += &format!("; not at {}", first.join(", "));
            Verdict::NotMet
        }
    };
    criterion(NAME, verdict, answer + ".")
}

fn quality(report: &Report) -> Criterion {
    let observed = &report.sums.observed;
    let estimated = percent(observed.estimated_seconds, report.sums.seconds);
    let owner = percent(observed.of(reserved::UNATTRIBUTED).microjoules as f64, report.sums.host.microjoules as f64);
    let verdict = if estimated == 0.0 && owner <= 5.0 { Verdict::Met } else { Verdict::Look };
    let answer = format!(
        "Energy was measured in {:.1} % of the time and estimated in {estimated:.1} %; {owner:.2} % of it is \
         unattributed.",
        if report.sums.seconds > 0.0 { 100.0 - estimated } else { 0.0 },
    );
    criterion("Energy tracking is accurate", verdict, answer)
}

fn emissions(report: &Report) -> Criterion {
    const NAME: &str = "Emissions within the threshold";
    let Some(threshold) = report.terms.threshold_kg else {
        return criterion(NAME, Verdict::Unanswered, "monitoring.carbon.alert_on_high_emissions is false.");
    };
    let kind = report.terms.period;
    if kind == AccountingPeriod::Run {
        let answer = "The accounting period is the run: Prometheus has max_over_time(carbon_emissions_kg[7d]).";
        return criterion(NAME, Verdict::Unanswered, answer);
    }
    let mut periods: BTreeMap<Timestamp, f64> = BTreeMap::new();
    for (day, figures) in &report.sums.observed.days {
        if let Ok(begin) = format!("{day}T00:00:00Z").parse() {
            *periods.entry(period::start_of(kind, begin)).or_default() += figures.host.emissions_kg;
        }
    }
    let Some((begin, most)) = periods.iter().max_by(|a, b| a.1.total_cmp(b.1)) else {
        return criterion(NAME, Verdict::Unanswered, "There are no rows.");
    };
    let over = periods.values().filter(|kg| **kg > threshold).count();
    let answer = format!(
        "At most {} in a {kind} (from {}), {:.1} % of the {}; over it in {over} of {}.",
        scaled(most * 1e3, "g"),
        begin.strftime("%Y-%m-%d"),
        percent(*most, threshold),
        scaled(threshold * 1e3, "g"),
        periods.len(),
    );
    criterion(NAME, if over == 0 { Verdict::Met } else { Verdict::NotMet }, answer)
}

/// Watts of each day that is long enough to be compared.
fn powers<'a>(
    observed: &'a Observed,
    of: impl Fn(&str, &Day) -> Option<Used> + 'a,
) -> impl Iterator<Item = (&'a str, f64)> {
    let comparable = observed.days.iter().filter(|(_, day)| day.covered_seconds >= COMPARABLE_SECONDS);
    comparable.filter_map(move |(name, day)| {
        Some((name.as_str(), of(name, day)?.microjoules as f64 / 1e6 / day.covered_seconds))
    })
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

fn stable(observed: &Observed) -> Criterion {
    const NAME: &str = "Metrics stable";
    let watts: Vec<(&str, f64)> = powers(observed, |_, day| Some(day.host)).collect();
    let Some(middle) = median(watts.iter().map(|(_, watts)| *watts).collect()).filter(|_| watts.len() > 1) else {
        return criterion(NAME, Verdict::Unanswered, "Fewer than two days of an hour or more to compare.");
    };
    let off = |watts: f64| if middle > 0.0 { (watts / middle - 1.0).abs() } else { 0.0 };
    let (day, furthest) = watts.iter().max_by(|a, b| off(a.1).total_cmp(&off(b.1))).copied().unwrap_or_default();
    let answer = format!(
        "The median day draws {}; the day furthest from it, {day}, {} ({:+.0} %).",
        scaled(middle, "W"),
        scaled(furthest, "W"),
        if middle > 0.0 { 100.0 * (furthest / middle - 1.0) } else { 0.0 },
    );
    criterion(NAME, if off(furthest) <= ALIKE { Verdict::Met } else { Verdict::Look }, answer)
}

fn own_cost(report: &Report) -> Criterion {
    const NAME: &str = "No performance degradation";
    let observed = &report.sums.observed;
    let own = observed.of(OWN_COMPONENT);
    let measured: f64 = observed.days.values().map(|day| day.seconds).sum();
    if own == Used::default() || measured == 0.0 {
        return criterion(NAME, Verdict::Unanswered, format!("There are no rows of the component {OWN_COMPONENT}."));
    }
    let cpu = percent(own.cpu_seconds, measured);
    let day = |day: Option<&Day>| day.map_or(0.0, |day| percent(day.own.cpu_seconds, day.seconds));
    let answer = format!(
        "The agent used {cpu:.2} % of a CPU (first day {:.2} %, last day {:.2} %) and {:.2} % of the host's energy, {}. \
         Its memory: Prometheus, process_resident_memory_bytes.",
        day(observed.days.values().next()),
        day(observed.days.values().next_back()),
        percent(own.microjoules as f64, report.sums.host.microjoules as f64),
        scaled(own.emissions_kg * 1e3, "g CO₂e"),
    );
    criterion(NAME, if cpu <= OWN_CPU_PERCENT { Verdict::Met } else { Verdict::Look }, answer)
}

/// Only hints: a foreign process shows as energy that nobody expected.
fn security(report: &Report) -> Criterion {
    let observed = &report.sums.observed;
    let first_day = observed.days.keys().next();
    let mut findings = Vec::new();
    let ordinary = |name: &str| name != reserved::IDLE && name != reserved::UNATTRIBUTED;
    for (name, of_days) in observed.components.iter().filter(|(name, _)| ordinary(name)) {
        let watts: Vec<(&str, f64)> =
            powers(observed, |day, _| Some(of_days.get(day).copied().unwrap_or_default())).collect();
        let middle = median(watts.iter().map(|(_, watts)| *watts).collect()).filter(|_| watts.len() > 1);
        let most = watts.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let share = percent(observed.of(name).microjoules as f64, report.sums.host.microjoules as f64);
        if let (Some(middle), Some((day, watts))) = (middle, most)
            && *watts > UNUSUAL.0 * middle
            && *watts > UNUSUAL.1 + middle
        {
            let (much, usual) = (scaled(*watts, "W"), scaled(middle, "W"));
            findings.push(format!("{name} drew {much} on {day}, {usual} on its median day"));
        } else if of_days.keys().next() > first_day && share >= 1.0 {
            let since = of_days.keys().next().map_or("", String::as_str);
            findings.push(format!("{name} is new since {since} ({share:.1} % of the energy)"));
        }
    }
    let nobody = percent(observed.of(reserved::UNASSIGNED).microjoules as f64, report.sums.host.microjoules as f64);
    let (verdict, said) = if findings.is_empty() {
        (Verdict::Met, "No component is new or beyond its own history".to_owned())
    } else {
        (Verdict::Look, findings.join("; "))
    };
    let answer = format!("{said}; {nobody:.1} % of the energy went to processes of no component.");
    criterion("No security incident", verdict, answer)
}

fn count(number: u64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

/// Long times as people say them.
fn days(seconds: f64) -> String {
    if seconds < 172_800.0 { duration(seconds) } else { format!("{:.2} days", seconds / 86_400.0) }
}
