//! The Carbon Intensity API of NESO for Great Britain, `GET /intensity`: half-hourly average intensity of generation
//! (g CO2/kWh), no key. <https://carbon-intensity.github.io/api-definitions/>

use super::{News, Poll, json};
use crate::carbon::fault::{Fault, FaultKind};
use crate::carbon::http::Http;
use crate::carbon::plausible;
use crate::carbon::series::Point;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::time::Duration;

/// A value is of one half-hour; it is carried an hour more.
pub const GRACE: SignedDuration = SignedDuration::from_hours(1);

pub struct UkCarbonIntensity {
    pub http: Http,
    pub base: String,
}

impl Poll for UkCarbonIntensity {
    fn poll(&mut self, now: Timestamp) -> Result<News, Fault> {
        let answer = self.http.get(&format!("{}/intensity", self.base), &[])?;
        Ok(News::Points(points(&answer, now)?))
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(300)
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<HalfHour>,
}

#[derive(Deserialize)]
struct HalfHour {
    from: Timestamp,
    to: Timestamp,
    intensity: Intensity,
}

/// `actual` is null until the half-hour is over, and longer when the measurement is late.
#[derive(Deserialize)]
struct Intensity {
    forecast: Option<f64>,
    actual: Option<f64>,
}

fn points(answer: &str, now: Timestamp) -> Result<Vec<Point>, Fault> {
    let answer: Answer = json::parse(answer)?;
    let mut points = Vec::new();
    for half_hour in answer.data {
        let Some(grams) = half_hour.intensity.actual.or(half_hour.intensity.forecast) else {
            continue;
        };
        if half_hour.to <= half_hour.from {
            return Err(Fault::new(FaultKind::Malformed, "a half-hour ends before it begins"));
        }
        points.push(Point {
            valid_from: plausible::moment(half_hour.from, now)?,
            valid_until: Some(half_hour.to),
            grams_per_kwh: plausible::grams(grams)?,
            fetched_at: now,
            estimated: half_hour.intensity.actual.is_none(),
        });
    }
    if points.is_empty() {
        return Err(Fault::new(FaultKind::NoValue, "the provider has no value now"));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(forecast: &str, actual: &str) -> String {
        format!(
            r#"{{"data":[{{"from":"2026-03-01T12:30Z","to":"2026-03-01T13:00Z","intensity":{{"forecast":{forecast},
            "actual":{actual},"index":"moderate"}}}}]}}"#
        )
    }

    #[test]
    fn answers() {
        let now: Timestamp = "2026-03-01T12:40:00Z".parse().unwrap();
        for (forecast, actual, grams, estimated) in [("266", "263", 263.0, false), ("266", "null", 266.0, true)] {
            let points = points(&answer(forecast, actual), now).unwrap();
            assert_eq!((points.len(), points[0].grams_per_kwh, points[0].estimated), (1, grams, estimated));
            assert_eq!(points[0].valid_until.unwrap().to_string(), "2026-03-01T13:00:00Z");
        }
        for (text, kind) in [
            (answer("null", "null"), FaultKind::NoValue),
            (answer("266", "-1"), FaultKind::Implausible),
            (r#"{"data":[]}"#.to_owned(), FaultKind::NoValue),
            (r#"{"error":{"code":"400"}}"#.to_owned(), FaultKind::Malformed),
        ] {
            assert_eq!(points(&text, now).unwrap_err().kind, kind, "{text}");
        }
    }
}
