//! Figures as people read them: three significant digits and a prefix.

/// A value with its unit scaled by thousands: `0.0123 g` reads `12.3 mg`.
pub fn scaled(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 7] =
        [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")];
    if value == 0.0 || !value.is_finite() {
        return format!("0 {unit}");
    }
    // 999.5 would be printed as 1000: it belongs to the next prefix.
    let fits = |(factor, _): &&(f64, &str)| value.abs() >= factor * 0.999_5;
    let (factor, prefix) = PREFIXES.iter().find(fits).unwrap_or(&PREFIXES[6]);
    format!("{} {prefix}{unit}", three_digits(value / factor))
}

/// CPU or wall time: seconds to the hundredth below a minute, then minutes or hours.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.2} s"),
        s if s < 3600.0 => format!("{}m {:02}s", (s / 60.0) as u64, (s % 60.0) as u64),
        s => format!("{}h {:02}m", (s / 3600.0) as u64, (s % 3600.0 / 60.0) as u64),
    }
}

/// A share in percent of `whole`; nothing has no share.
pub fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_prefix() {
        for (value, expected) in [
            (0.0, "0 J"),
            (1.0, "1.00 J"),
            (12.345, "12.3 J"),
            (999.4, "999 J"),
            (999.6, "1.00 kJ"),
            (123_456.0, "123 kJ"),
            (0.0123, "12.3 mJ"),
            (0.000_001, "1.00 µJ"),
            (1e-12, "0.00 nJ"),
            (3.6e12, "3600 GJ"),
            (-4.0, "-4.00 J"),
            (f64::NAN, "0 J"),
        ] {
            assert_eq!(scaled(value, "J"), expected, "{value}");
        }
    }

    #[test]
    fn durations_grow_with_their_unit() {
        for (seconds, expected) in [(0.5, "0.50 s"), (59.0, "59.00 s"), (61.0, "1m 01s"), (7265.0, "2h 01m")] {
            assert_eq!(duration(seconds), expected);
        }
    }
}
