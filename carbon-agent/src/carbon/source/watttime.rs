//! WattTime v3: marginal operating emissions rate (`co2_moer`, lbs CO2/MWh) in steps of five minutes.
//! <https://docs.watttime.org>
//!
//! `GET /v3/forecast?horizon_hours=0` gives the value of the current five minutes; `/v3/historical` is made for looking
//! back and lags. Every plan has it for the region CAISO_NORTH, paid plans for their regions. (`/v3/signal-index`, which
//! every plan has everywhere, gives a percentile and no quantity: no emissions follow from it.)

use super::{News, Poll, json, query_value};
use crate::carbon::fault::{Fault, FaultKind};
use crate::carbon::http::Http;
use crate::carbon::plausible;
use crate::carbon::series::Point;
use crate::carbon::token::Credential;
use crate::config::model::Secret;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// A value is of five minutes; it is carried twenty-five more.
pub const GRACE: SignedDuration = SignedDuration::from_mins(25);

const PERIOD: SignedDuration = SignedDuration::from_mins(5);

/// Tokens last 30 minutes; a new one is fetched before that.
const SESSION: Duration = Duration::from_secs(25 * 60);

/// Kilograms in an international avoirdupois pound, exactly; lbs/MWh × this = kg/MWh = g/kWh.
const KILOGRAMS_PER_POUND: f64 = 0.453_592_37;

pub struct WattTime {
    pub http: Http,
    pub base: String,
    pub region: String,
    pub username: String,
    pub password: Credential,
    /// The bearer token and when it was given.
    pub session: Option<(Secret, Instant)>,
}

impl Poll for WattTime {
    fn poll(&mut self, now: Timestamp) -> Result<News, Fault> {
        let answer = match self.forecast() {
            // The token may have ended early: one new login, no more.
            Err(fault) if fault.kind == FaultKind::Unauthorised && self.session.is_some() => {
                self.session = None;
                self.forecast()?
            }
            answer => answer?,
        };
        Ok(News::Points(points(&answer, &self.region, now)?))
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(150)
    }
}

impl WattTime {
    fn forecast(&mut self) -> Result<String, Fault> {
        let token = self.token()?;
        let url = format!(
            "{}/v3/forecast?region={}&signal_type=co2_moer&horizon_hours=0",
            self.base,
            query_value(&self.region)
        );
        let bearer = Secret::new(format!("Bearer {}", token.reveal()));
        self.http.get(&url, &[("authorization", bearer.reveal())])
    }

    fn token(&mut self) -> Result<Secret, Fault> {
        if let Some((token, since)) = &self.session
            && since.elapsed() < SESSION
        {
            return Ok(token.clone());
        }
        self.session = None;
        let password = self.password.read()?;
        let basic = BASE64_STANDARD.encode(format!("{}:{}", self.username, password.reveal()));
        let basic = Secret::new(format!("Basic {basic}"));
        let answer = self.http.get(&format!("{}/login", self.base), &[("authorization", basic.reveal())])?;
        let Login { token } = json::parse(&answer)?;
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::new(FaultKind::Malformed, "the login gave something that is not a token"));
        }
        let token = Secret::new(token);
        self.session = Some((token.clone(), Instant::now()));
        Ok(token)
    }
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Value>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Value {
    point_time: Timestamp,
    value: Option<f64>,
}

#[derive(Deserialize)]
struct Meta {
    region: Option<String>,
    signal_type: Option<String>,
    units: Option<String>,
}

fn points(answer: &str, region: &str, now: Timestamp) -> Result<Vec<Point>, Fault> {
    let answer: Answer = json::parse(answer)?;
    if let Some(meta) = answer.meta {
        let other = |said: Option<String>, asked: &str| said.is_some_and(|said| !said.eq_ignore_ascii_case(asked));
        if other(meta.region, region) {
            return Err(Fault::new(FaultKind::WrongZone, format!("the answer is for another region than {region}")));
        }
        if other(meta.signal_type, "co2_moer") || other(meta.units, "lbs_co2_per_mwh") {
            return Err(Fault::new(FaultKind::Malformed, "the answer is not co2_moer in lbs_co2_per_mwh"));
        }
    }
    // What lies further ahead than the current five minutes is a forecast for planning, not for the books.
    let current = answer.data.into_iter().filter(|value| value.point_time <= now + PERIOD);
    let newest = current.max_by_key(|value| value.point_time);
    let Some((time, pounds)) = newest.and_then(|value| Some((value.point_time, value.value?))) else {
        return Err(Fault::new(FaultKind::NoValue, "the provider has no value now"));
    };
    let valid_from = plausible::moment(time, now)?;
    Ok(vec![Point {
        valid_from,
        valid_until: valid_from.checked_add(PERIOD).ok(),
        grams_per_kwh: plausible::grams(pounds * KILOGRAMS_PER_POUND)?,
        fetched_at: now,
        estimated: true,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let now: Timestamp = "2026-03-01T12:42:00Z".parse().unwrap();
        let text = r#"{"data":[{"point_time":"2026-03-01T12:40:00+00:00","value":870.0},
            {"point_time":"2026-03-01T13:40:00+00:00","value":1.0}],
            "meta":{"region":"CAISO_NORTH","signal_type":"co2_moer","units":"lbs_co2_per_mwh","warnings":[]}}"#;
        let read = points(text, "CAISO_NORTH", now).unwrap();
        assert_eq!(read.len(), 1);
        assert!((read[0].grams_per_kwh - 394.625_361_9).abs() < 1e-9, "{read:?}");
        assert_eq!(read[0].valid_until.unwrap().to_string(), "2026-03-01T12:45:00Z");
        assert_eq!(points(text, "ERCOT", now).unwrap_err().kind, FaultKind::WrongZone);
        for (text, kind) in [
            (r#"{"data":[]}"#, FaultKind::NoValue),
            (r#"{"data":[{"point_time":"2026-03-01T12:40:00Z","value":null}]}"#, FaultKind::NoValue),
            (r#"{"data":[{"point_time":"2026-03-01T12:40:00Z","value":-870}]}"#, FaultKind::Implausible),
            (r#"{"data":[],"meta":{"units":"percentile"}}"#, FaultKind::Malformed),
            (r#"{"error":"invalid scope"}"#, FaultKind::Malformed),
        ] {
            assert_eq!(points(text, "CAISO_NORTH", now).unwrap_err().kind, kind, "{text}");
        }
    }
}
