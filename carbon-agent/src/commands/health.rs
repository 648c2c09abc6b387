//! `carbon-agent health`: asks the running agent; one line a check, exit status 0 or 1.

use crate::cli::HealthArgs;
use crate::config::model::Listen;
use crate::health::client::{self, Outcome};

/// `listen` is where the configuration says that the agent listens, or why the configuration is not usable; it is not
/// needed where the operator names the address.
pub fn health(arguments: &HealthArgs, listen: Result<&Listen, &str>) -> Outcome {
    match (&arguments.url, listen) {
        (Some(url), _) => client::check(url),
        (None, Ok(listen)) => client::check(&url_of(listen)),
        (None, Err(why)) => client::invalid_configuration(why),
    }
}

/// An agent that listens on every address also listens on loopback, and that is the one that is surely this host's.
fn url_of(listen: &Listen) -> String {
    let host = match listen.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        other => other,
    };
    format!("http://{}", Listen { host: host.to_owned(), port: listen.port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_that_can_be_connected_to() {
        for (host, expected) in [
            ("127.0.0.1", "http://127.0.0.1:9090"),
            ("0.0.0.0", "http://127.0.0.1:9090"),
            ("::", "http://[::1]:9090"),
            ("fe80::1", "http://[fe80::1]:9090"),
            ("localhost", "http://localhost:9090"),
        ] {
            assert_eq!(url_of(&Listen { host: host.into(), port: 9090 }), expected);
        }
    }

    #[test]
    fn an_unusable_configuration_is_a_failed_check_unless_the_address_is_named() {
        let outcome = health(&HealthArgs { url: None }, Err("config.yaml:3: carbon.pue: expected a number"));
        assert_eq!(outcome.text, "❌ Configuration: config.yaml:3: carbon.pue: expected a number\n");
        assert!(!outcome.healthy);
        let named = health(&HealthArgs { url: Some("http://127.0.0.1:1".into()) }, Err("broken"));
        assert!(named.text.contains("no answer from http://127.0.0.1:1/health/carbon"), "{}", named.text);
    }
}
