//! What each path answers.

use super::{accept, page};
use crate::export::json;
use crate::export::metrics::{self, SelfStats};
use crate::export::published::{Published, Running};
use crate::health::Health;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use jiff::{SpanRelativeTo, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What handlers read.
#[derive(Debug)]
pub struct Shared {
    pub published: Arc<Published>,
    pub run: Arc<Running>,
}

type Facts = State<Arc<Shared>>;

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(exposition))
        .route("/health", get(health))
        .route("/health/carbon", get(health))
        .route("/ready", get(ready))
        .route("/api/v1/snapshot", get(snapshot))
        .route("/api/v1/history", get(history))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; see / for what is here\n"))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "only GET and HEAD are answered\n")
        })
        .with_state(shared)
}

/// Sent with everything: answers are of the moment, and a browser must not guess what they are.
const ALWAYS: [(HeaderName, &str); 2] =
    [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

async fn index(State(shared): Facts) -> Response {
    let health = Health::of(&shared.published, &shared.run.get());
    let latest = shared.published.latest();
    let text = page::render(latest.as_ref().map(|latest| &*latest.publication), &health, &shared.run.get());
    (ALWAYS, [(header::CONTENT_SECURITY_POLICY, page::POLICY)], Html(text)).into_response()
}

async fn exposition(State(shared): Facts, headers: HeaderMap) -> Response {
    let latest = shared.published.latest();
    let publication = latest.as_ref().map(|latest| &*latest.publication);
    let series = metrics::collect(publication, &shared.run.get(), SelfStats::read().as_ref());
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let (content_type, text) = if accept::prefers_openmetrics(&accept.join(",")) {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics::openmetrics(series))
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics::classic(series))
    };
    (ALWAYS, [(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn health(State(shared): Facts) -> Response {
    let health = Health::of(&shared.published, &shared.run.get());
    let status = if health.is_up() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, ALWAYS, Json(health)).into_response()
}

async fn ready(State(shared): Facts) -> Response {
    match shared.published.latest() {
        Some(_) => (ALWAYS, "ready\n").into_response(),
        None => not_yet(),
    }
}

fn not_yet() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, ALWAYS, "the first interval has not ended yet\n").into_response()
}

async fn snapshot(State(shared): Facts) -> Response {
    let Some(latest) = shared.published.latest() else { return not_yet() };
    let (snapshot, run) = (&latest.publication.snapshot, &*shared.run.get());
    let components: Vec<_> = snapshot.components.iter().map(|row| json::component(snapshot, run, row)).collect();
    let processes: Vec<_> = snapshot.processes.iter().map(|row| json::process(snapshot, run, row)).collect();
    let meters: Vec<Value> = snapshot
        .meters
        .iter()
        .map(|row| {
            json!({
                "domain": row.meter.domain, "socket": row.meter.socket,
                "interval_energy_joules": row.interval.joules(), "total_energy_joules": row.total.joules(),
                "idle_watts": row.idle_watts,
            })
        })
        .collect();
    let body = json!({
        "schema": json::SCHEMA,
        "host": json::host(snapshot, run),
        "components": components,
        "processes": processes,
        "meters": meters,
        "intensity": snapshot.intensity,
        "stages": latest.publication.stages(),
    });
    (ALWAYS, Json(body)).into_response()
}

#[derive(Deserialize)]
struct HistoryQuery {
    since: Option<String>,
}

async fn history(State(shared): Facts, Query(query): Query<HistoryQuery>) -> Response {
    let wanted = query.since.as_deref().unwrap_or("1h");
    match since(wanted, Timestamp::now()) {
        Some(since) => {
            let intervals = shared.published.history(since);
            let body =
                json!({ "schema": json::SCHEMA, "intervals": intervals.iter().map(|e| &**e).collect::<Vec<_>>() });
            (ALWAYS, Json(body)).into_response()
        }
        None => {
            let text = "since: expected a duration such as 15m, 1h or 2d, or an RFC 3339 time\n";
            (StatusCode::BAD_REQUEST, ALWAYS, text).into_response()
        }
    }
}

/// A moment given as such, or as a duration before `now`.
fn since(wanted: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(moment) = wanted.parse::<Timestamp>() {
        return Some(moment);
    }
    let span: jiff::Span = wanted.parse().ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    // Further back than time reaches means everything.
    (!length.is_negative()).then(|| now.checked_sub(length).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_durations_and_moments() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (wanted, expected) in [
            ("1h", Some("2026-03-01T11:00:00Z")),
            ("90s", Some("2026-03-01T11:58:30Z")),
            ("1h30m", Some("2026-03-01T10:30:00Z")),
            ("2d", Some("2026-02-27T12:00:00Z")),
            ("2026-03-01T10:00:00Z", Some("2026-03-01T10:00:00Z")),
            ("-1h", None),
            ("", None),
            ("an hour", None),
            ("1h; drop table", None),
        ] {
            assert_eq!(since(wanted, now), expected.map(|e| e.parse().unwrap()), "{wanted}");
        }
        assert_eq!(since("150000000h", now), Some(Timestamp::MIN));
    }
}
