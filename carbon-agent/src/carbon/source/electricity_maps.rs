//! Electricity Maps v3, `GET /v3/carbon-intensity/latest?zone=`: hourly average intensity over the life cycle of the
//! plants (g CO2e/kWh, flow-traced). <https://portal.electricitymaps.com/developer-hub/api/reference>

use super::{News, Poll, json, query_value};
use crate::carbon::fault::{Fault, FaultKind};
use crate::carbon::http::Http;
use crate::carbon::plausible;
use crate::carbon::series::Point;
use crate::carbon::token::Credential;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::time::Duration;

/// A value is of one hour; it is carried one more, two from its timestamp in all.
pub const GRACE: SignedDuration = SignedDuration::from_hours(1);

const PERIOD: SignedDuration = SignedDuration::from_hours(1);

pub struct ElectricityMaps {
    pub http: Http,
    pub base: String,
    pub zone: String,
    pub token: Credential,
}

impl Poll for ElectricityMaps {
    fn poll(&mut self, now: Timestamp) -> Result<News, Fault> {
        let token = self.token.read()?;
        // Without the second parameter the service may answer for where the caller seems to be.
        let url = format!(
            "{}/v3/carbon-intensity/latest?zone={}&shouldUseFallbackCallerLookup=false",
            self.base,
            query_value(&self.zone)
        );
        let answer = self.http.get(&url, &[("auth-token", token.reveal())])?;
        Ok(News::Points(vec![point(&answer, &self.zone, now)?]))
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(600)
    }
}

/// Only `carbonIntensity` (which may be null) and `datetime` are sure to be there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    carbon_intensity: Option<f64>,
    datetime: Timestamp,
    zone: Option<String>,
    is_estimated: Option<bool>,
}

fn point(answer: &str, zone: &str, now: Timestamp) -> Result<Point, Fault> {
    let answer: Answer = json::parse(answer)?;
    if answer.zone.is_some_and(|answered| !answered.eq_ignore_ascii_case(zone)) {
        return Err(Fault::new(FaultKind::WrongZone, format!("the answer is for another zone than {zone}")));
    }
    let Some(grams) = answer.carbon_intensity else {
        return Err(Fault::new(FaultKind::NoValue, "the provider has no value now"));
    };
    let valid_from = plausible::moment(answer.datetime, now)?;
    Ok(Point {
        valid_from,
        valid_until: valid_from.checked_add(PERIOD).ok(),
        grams_per_kwh: plausible::grams(grams)?,
        fetched_at: now,
        estimated: answer.is_estimated.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let now: Timestamp = "2026-03-01T12:40:00Z".parse().unwrap();
        let whole = r#"{"zone":"DE","carbonIntensity":302,"datetime":"2026-03-01T12:00:00.000Z","updatedAt":
            "2026-03-01T12:35:00Z","emissionFactorType":"lifecycle","isEstimated":true,"estimationMethod":"X"}"#;
        let read = point(whole, "DE", now).unwrap();
        assert_eq!((read.grams_per_kwh, read.estimated), (302.0, true));
        assert_eq!(read.valid_until.unwrap().to_string(), "2026-03-01T13:00:00Z");
        let bare = r#"{"carbonIntensity":302.5,"datetime":"2026-03-01T12:00:00Z"}"#;
        assert_eq!(point(bare, "DE", now).unwrap().grams_per_kwh, 302.5);

        for (text, kind) in [
            (r#"{"carbonIntensity":null,"datetime":"2026-03-01T12:00:00Z"}"#, FaultKind::NoValue),
            (r#"{"datetime":"2026-03-01T12:00:00Z"}"#, FaultKind::NoValue),
            (r#"{"carbonIntensity":302}"#, FaultKind::Malformed),
            (r#"{"carbonIntensity":"302","datetime":"2026-03-01T12:00:00Z"}"#, FaultKind::Malformed),
            (r#"{"carbonIntensity":NaN,"datetime":"2026-03-01T12:00:00Z"}"#, FaultKind::Malformed),
            (r#"{"carbonIntensity":-3,"datetime":"2026-03-01T12:00:00Z"}"#, FaultKind::Implausible),
            (r#"{"carbonIntensity":3.8e17,"datetime":"2026-03-01T12:00:00Z"}"#, FaultKind::Implausible),
            (r#"{"carbonIntensity":302,"datetime":"2025-03-01T12:00:00Z"}"#, FaultKind::Implausible),
            (r#"{"carbonIntensity":302,"datetime":"2026-03-02T12:00:00Z"}"#, FaultKind::Implausible),
            (r#"{"zone":"FR","carbonIntensity":30,"datetime":"2026-03-01T12:00:00Z"}"#, FaultKind::WrongZone),
            ("<!doctype html><title>Sign in</title>", FaultKind::Malformed),
            ("", FaultKind::Malformed),
            ("[]", FaultKind::Malformed),
        ] {
            assert_eq!(point(text, "DE", now).unwrap_err().kind, kind, "{text}");
        }
    }
}
