//! What no honest source says. One place, so that a file, a provider and the disk cache are held to the same.

use super::fault::{Fault, FaultKind};
use jiff::{SignedDuration, Timestamp};

/// The dirtiest grids burn lignite or oil at some 1,000 to 1,500 g/kWh, marginal values included; more than this is
/// another unit.
pub const MAX_GRAMS_PER_KWH: f64 = 5000.0;

/// How far a provider's clock may be ahead of ours; WattTime also rounds up to the next five minutes.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// A live service whose newest value is older than this has stopped being one.
const MAX_BEHIND: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Grams of CO2e per kWh that can be true: finite, not negative, at most [`MAX_GRAMS_PER_KWH`].
pub fn grams(value: f64) -> Result<f64, Fault> {
    if (0.0..=MAX_GRAMS_PER_KWH).contains(&value) {
        return Ok(value);
    }
    let message = format!("{value:e} g/kWh cannot be true: expected 0 to {MAX_GRAMS_PER_KWH}");
    Err(Fault::new(FaultKind::Implausible, message))
}

/// When a live value can have begun: neither in the future nor long ago.
pub fn moment(time: Timestamp, now: Timestamp) -> Result<Timestamp, Fault> {
    let behind = now.duration_since(time);
    if behind < -MAX_AHEAD {
        return Err(Fault::new(FaultKind::Implausible, format!("a live value cannot be of {time}: that is to come")));
    }
    if behind > MAX_BEHIND {
        return Err(Fault::new(FaultKind::Implausible, format!("a live value cannot be of {time}: that is long past")));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_can_be_true_pass() {
        for good in [0.0, 12.5, 1500.0, 5000.0] {
            assert_eq!(grams(good), Ok(good));
        }
        for bad in [-0.1, 5000.1, 3.8e17, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(grams(bad).unwrap_err().kind, FaultKind::Implausible, "{bad}");
        }
    }

    #[test]
    fn only_moments_that_can_be_now_pass() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (time, good) in [
            ("2026-03-01T12:05:00Z", true),
            ("2026-03-01T09:00:00Z", true),
            ("2026-03-01T12:11:00Z", false),
            ("2025-03-01T12:00:00Z", false),
        ] {
            assert_eq!(moment(time.parse().unwrap(), now).is_ok(), good, "{time}");
        }
    }
}
