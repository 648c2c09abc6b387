//! Text to value. A message says what is wrong and what is allowed; who calls adds where.

use crate::config::settings::Given;
use std::path::PathBuf;
use std::time::Duration;

pub fn boolean(text: &str) -> Result<bool, String> {
    // The application's own reader (YAML 1.1) takes all of these as booleans.
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

pub fn number(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let expected = || format!("expected a number from {min} to {max}");
    let number: f64 = text.trim().parse().map_err(|_| expected())?;
    // NaN is in no range.
    if (min..=max).contains(&number) { Ok(number) } else { Err(expected()) }
}

pub fn whole(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let expected = || format!("expected a whole number from {min} to {max}");
    let number: u64 = text.trim().parse().map_err(|_| expected())?;
    if (min..=max).contains(&number) { Ok(number) } else { Err(expected()) }
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    number(text, 0.01, 86_400.0)
        .map(Duration::from_secs_f64)
        .map_err(|_| "expected seconds, a number from 0.01 to 86400".to_owned())
}

pub fn bytes(text: &str) -> Result<u64, String> {
    let expected = || "expected a whole number of bytes, with K, M, G or T for powers of 1024".to_owned();
    let text = text.trim();
    let (digits, shift) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 10),
        Some('m' | 'M') => (&text[..text.len() - 1], 20),
        Some('g' | 'G') => (&text[..text.len() - 1], 30),
        Some('t' | 'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.trim_end().parse().map_err(|_| expected())?;
    number.checked_mul(1 << shift).ok_or_else(expected)
}

/// Text that goes into rows and labels.
pub fn name(text: &str) -> Result<String, String> {
    plain(text)?;
    match text.len() {
        0 => Err("expected a text, not an empty one".to_owned()),
        1..=128 => Ok(text.to_owned()),
        length => Err(format!("expected at most 128 bytes, these are {length}")),
    }
}

pub fn path(text: &str) -> Result<PathBuf, String> {
    plain(text)?;
    if text.is_empty() {
        return Err("expected a path, not an empty text".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// A path of something that is read: relative to the file that names it.
pub fn beside(given: Given<'_>) -> Result<PathBuf, String> {
    let path = path(given.text)?;
    Ok(given.beside.map_or_else(|| path.clone(), |folder| folder.join(&path)))
}

pub fn url(text: &str) -> Result<String, String> {
    plain(text)?;
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("expected an address that begins with http:// or https://".to_owned()),
    }
}

/// `HOST:PORT`, `[V6]:PORT`, or either without the port.
pub fn listen(text: &str) -> Result<(String, Option<u16>), String> {
    let expected = || "expected ADDR:PORT, such as 127.0.0.1:9090 or [::1]:9090".to_owned();
    plain(text).map_err(|_| expected())?;
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(expected)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| expected())?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(expected)?) })
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if port.is_none() && host.bytes().all(|b| b.is_ascii_digit()) {
        // A port alone: which address it was to be is not ours to guess.
        return Err(expected());
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'%');
    if host.is_empty() || !host.bytes().all(name) {
        return Err(expected());
    }
    let dotted = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if dotted && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err(expected());
    }
    let port = port.map(|port| port.parse::<u16>().map_err(|_| expected())).transpose()?;
    Ok((host.to_owned(), port))
}

pub fn one_of<T>(found: Option<T>, names: &[&str]) -> Result<T, String> {
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

/// Refuses what would be taken literally although it was not meant so.
fn plain(text: &str) -> Result<(), String> {
    if text.contains("${") {
        return Err("placeholders are not filled in here; write the value, or set the environment variable".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("control characters are not allowed".to_owned());
    }
    Ok(())
}
