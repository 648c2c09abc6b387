//! Where intensities are learnt from: one file a source, each turning an answer into points or a fault.

mod electricity_maps;
pub mod file;
mod json;
mod uk_carbon_intensity;
mod watttime;

use super::fault::Fault;
use super::http::Http;
use super::series::{Kind, Label, Point, Series};
use super::sources;
use super::token::Credential;
use crate::config::model::{IntensitySource, Provider, ProviderSource};
use file::FileSource;
use jiff::Timestamp;
use std::time::Duration;

/// What a source had to say.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Nothing since the last time; how the source stands does not change either.
    None,
    /// Values that stand beside the known ones and replace those of the same moment.
    Points(Vec<Point>),
    /// All there is to know from the first of them on.
    Whole(Vec<Point>),
}

/// A source that is asked again and again. It may take as long as its timeout: it runs in a thread of its own.
pub trait Poll: Send {
    fn poll(&mut self, now: Timestamp) -> Result<News, Fault>;

    /// How long to wait after an answer, before the next question.
    fn pace(&self) -> Duration;
}

/// The series that a declared source fills, before anything is heard of it; `Err` is a complaint about the
/// configuration.
pub fn series(source: &IntensitySource, now: Timestamp) -> Result<Series, String> {
    Ok(match source {
        IntensitySource::GramsPerKwh(grams) => sources::fixed(*grams, now),
        IntensitySource::Zone(code) => {
            let average = crate::carbon::zone(code).ok_or_else(|| format!("`{code}` is no embedded zone"))?;
            sources::yearly_average(average, now)
        }
        IntensitySource::File(path) => FileSource::new(path.clone()).series(),
        IntensitySource::Provider(source) => {
            let grace = match source.provider {
                Provider::ElectricityMaps => electricity_maps::GRACE,
                Provider::WattTime => watttime::GRACE,
                Provider::UkCarbonIntensity => uk_carbon_intensity::GRACE,
            };
            Series::empty(label(source), grace)
        }
    })
}

/// How a provider's values are named.
fn label(source: &ProviderSource) -> Label {
    let provider = source.provider.name();
    let (zone, kind) = match source.provider {
        Provider::ElectricityMaps => (source.zone.clone().unwrap_or_default(), Kind::Average),
        Provider::WattTime => (source.zone.clone().unwrap_or_default(), Kind::Marginal),
        // It knows Great Britain as a whole only.
        Provider::UkCarbonIntensity => ("GB".to_owned(), Kind::Average),
    };
    Label { provider: provider.to_owned(), method: format!("{provider}:{zone}"), zone, kind }
}

/// What the service needs to know of a provider before it says anything.
pub struct Opened {
    pub poll: Box<dyn Poll>,
    /// Name under which its last values are kept in the state directory.
    pub cache: String,
}

/// Opens a provider; `Err` is a complaint about the configuration.
pub fn provider(source: &ProviderSource, timeout: Duration) -> Result<Opened, String> {
    let name = source.provider.name();
    let token = |what: &str| source.token.clone().map(Credential::new).ok_or(format!("`{name}` needs {what}"));
    let zone = |what: &str| source.zone.clone().ok_or(format!("`{name}` needs {what}"));
    let base = |default: &str| {
        let url = source.url.as_deref().unwrap_or(default).trim_end_matches('/').to_owned();
        if source.token.is_some() && is_plain_and_remote(&url) {
            tracing::warn!(provider = name, "url is not https: the token travels in the clear");
        }
        url
    };
    let http = Http::new(timeout);
    let poll: Box<dyn Poll> = match source.provider {
        Provider::ElectricityMaps => {
            let zone = zone("a zone (DE, US-CAL-CISO)")?;
            let (base, token) = (base("https://api.electricitymaps.com"), token("a token")?);
            Box::new(electricity_maps::ElectricityMaps { http, base, zone, token })
        }
        Provider::WattTime => {
            let region = zone("a zone: the grid region (CAISO_NORTH)")?;
            let username = source.username.clone().ok_or(format!("`{name}` needs a username"))?;
            let (base, password) = (base("https://api.watttime.org"), token("a password as its token")?);
            Box::new(watttime::WattTime { http, base, region, username, password, session: None })
        }
        Provider::UkCarbonIntensity => {
            let zone = source.zone.clone().unwrap_or_else(|| "GB".to_owned());
            if !["GB", "GBR", "UK"].contains(&zone.as_str()) {
                return Err(format!("`{name}` knows Great Britain as a whole only: leave `zone` out, or write GB"));
            }
            let base = base("https://api.carbonintensity.org.uk");
            Box::new(uk_carbon_intensity::UkCarbonIntensity { http, base })
        }
    };
    Ok(Opened { poll, cache: cache_name(&label(source)) })
}

/// `intensity-electricity_maps-DE.json`: nothing of a zone that means something in a path survives.
fn cache_name(label: &Label) -> String {
    let zone: String =
        label.zone.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(64).collect();
    format!("intensity-{}-{zone}.json", label.provider)
}

fn is_plain_and_remote(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    host != "localhost" && host != "127.0.0.1" && !rest.starts_with("[::1]")
}

/// Percent-encodes a query value (RFC 3986, 2.3: everything but unreserved characters).
fn query_value(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_cannot_leave_its_parameter_or_the_folder() {
        assert_eq!(query_value("US-CAL-CISO"), "US-CAL-CISO");
        assert_eq!(query_value("DE&x=1 ü"), "DE%26x%3D1%20%C3%BC");
        let label =
            Label { provider: "p".into(), zone: "../../etc/x".into(), kind: Kind::Average, method: String::new() };
        assert_eq!(cache_name(&label), "intensity-p-______etc_x.json");
    }

    #[test]
    fn a_plain_address_is_fine_on_this_host_only() {
        for (url, expected) in [
            ("https://api.example", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://localhost/x", false),
            ("http://proxy.example", true),
            ("http://localhost.example", true),
        ] {
            assert_eq!(is_plain_and_remote(url), expected, "{url}");
        }
    }
}
