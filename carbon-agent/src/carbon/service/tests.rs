use super::*;
use crate::carbon::loopback::{Loopback, Reply, Request};
use crate::carbon::source::provider;
use crate::config::model::{Provider, ProviderSource, Secret, Token};
use jiff::SignedDuration;
use std::path::PathBuf;

const TOKEN: &str = "s3cret-tOken";

type Behaviour = Box<dyn Fn() -> Reply + Send>;

const QUICK: Pace = Pace {
    timeout: Duration::from_millis(400),
    retry_min: Duration::from_millis(20),
    retry_max: Duration::from_millis(60),
    poll: Some(Duration::from_millis(20)),
};

fn source(provider: Provider, zone: Option<&str>, url: &str) -> ProviderSource {
    ProviderSource {
        provider,
        zone: zone.map(str::to_owned),
        username: (provider == Provider::WattTime).then(|| "user".to_owned()),
        token: provider.needs_token().then(|| Token::Value(Secret::new(TOKEN))),
        url: Some(url.to_owned()),
    }
}

fn german(url: &str) -> Vec<IntensitySource> {
    vec![IntensitySource::Provider(source(Provider::ElectricityMaps, Some("DE"), url))]
}

fn electricity_maps(grams: &str) -> Reply {
    Reply::ok(format!(r#"{{"carbonIntensity":{grams},"datetime":"{}"}}"#, Timestamp::now()))
}

/// Waits, with patience for a busy machine, until `holds`.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn grams(service: &Service) -> f64 {
    service.sources().at(Timestamp::now()).grams_per_kwh
}

fn count(service: &Service, kind: &str) -> u64 {
    service.errors().iter().find(|(known, _)| known == kind).map_or(0, |(_, count)| *count)
}

#[test]
fn whatever_a_provider_does_is_told_apart_and_healed_from() {
    let dir = tempfile::tempdir().unwrap();
    let server = Loopback::start(|_| Reply::Hang);
    let service = Service::start(&german(&server.url), dir.path(), QUICK).unwrap();
    assert_eq!(grams(&service), 380.9, "the country's yearly average stands in");

    let long_ago = "2020-01-01T00:00:00Z";
    let html = || Reply::ok("<html><body>Please sign in, s3cret-tOken</body></html>");
    let stale = || {
        let then = Timestamp::now() - SignedDuration::from_hours(5);
        Reply::ok(format!(r#"{{"carbonIntensity":1,"datetime":"{then}"}}"#))
    };
    let moved = Reply::Answer { status: 302, headers: vec![("location", server.url.clone())], body: String::new() };
    let cases: Vec<(&str, Behaviour)> = vec![
        ("timeout", Box::new(|| Reply::Hang)),
        ("timeout", Box::new(|| Reply::Drip)),
        ("dropped", Box::new(|| Reply::Drop)),
        ("too_large", Box::new(|| Reply::Flood)),
        ("malformed", Box::new(html)),
        ("malformed", Box::new(|| electricity_maps("NaN"))),
        ("no_value", Box::new(|| electricity_maps("null"))),
        ("implausible", Box::new(|| electricity_maps("-300"))),
        ("implausible", Box::new(|| electricity_maps("300e15"))),
        ("implausible", Box::new(move || Reply::ok(format!(r#"{{"carbonIntensity":1,"datetime":"{long_ago}"}}"#)))),
        ("stale", Box::new(stale)),
        ("unauthorised", Box::new(|| Reply::status(401))),
        ("http_500", Box::new(|| Reply::status(500))),
        ("http_302", Box::new(move || moved.clone())),
        ("http_429", Box::new(|| Reply::status(429))),
    ];
    for (kind, reply) in cases {
        let before = count(&service, kind);
        server.now_does(move |_| reply());
        until(kind, || count(&service, kind) > before);
        until(kind, || service.stage(Timestamp::now()).reason.contains(&format!("({kind})")));
        let stage = service.stage(Timestamp::now());
        assert_eq!(stage.status, StageStatus::Degraded);
        assert!(stage.reason.ends_with("static:DEU:2023 is used instead"), "{}", stage.reason);
        assert_eq!(grams(&service), 380.9, "{kind}");
    }

    let generation = service.generation();
    server.now_does(|_| electricity_maps("311.5"));
    until("recovery", || grams(&service) == 311.5);
    until("recovery", || service.stage(Timestamp::now()).status == StageStatus::Ok);
    assert!(service.generation() > generation);
    let in_force = service.sources().at(Timestamp::now());
    assert_eq!((in_force.method.as_str(), in_force.zone.as_str()), ("electricity_maps:DE", "DE"));

    server.now_does(|_| Reply::status(503));
    until("failing again", || count(&service, "http_503") > 0);
    assert_eq!(grams(&service), 311.5, "the last value is carried while it is not stale");
    let stage = service.stage(Timestamp::now());
    assert_eq!(stage.status, StageStatus::Ok);
    assert!(stage.reason.contains("since then: answered with status 503"), "{}", stage.reason);
}

#[test]
fn nobody_waits_for_a_provider_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Loopback::start(|_| Reply::Hang);
    let begin = Instant::now();
    let patient = Pace { timeout: Duration::from_secs(60), ..QUICK };
    let service = Service::start(&german(&server.url), dir.path(), patient).unwrap();
    until("a request under way", || !server.requests().is_empty());
    for _ in 0..1000 {
        let now = Timestamp::now();
        assert_eq!(service.sources().weighted(now, now).grams_per_kwh, 380.9);
    }
    assert_eq!(service.stage(Timestamp::now()).status, StageStatus::Degraded);
    assert!(!service.wait_for_first_answers(Duration::from_millis(10)));
    drop(service);
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[test]
fn a_server_that_is_down_and_comes_up() {
    let dir = tempfile::tempdir().unwrap();
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let service = Service::start(&german(&url), dir.path(), QUICK).unwrap();
    assert!(service.wait_for_first_answers(Duration::from_secs(20)));
    assert!(count(&service, "unreachable") > 0, "{:?}", service.errors());
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let service = Service::start(&german(&url), dir.path(), QUICK).unwrap();
    assert!(service.wait_for_first_answers(Duration::from_secs(20)));
    assert!(count(&service, "tls") > 0, "{:?}", service.errors());
}

#[test]
fn retry_after_is_honoured() {
    let dir = tempfile::tempdir().unwrap();
    let server = Loopback::start(|_| Reply::Answer {
        status: 429,
        headers: vec![("retry-after", "3600".to_owned())],
        body: String::new(),
    });
    let service = Service::start(&german(&server.url), dir.path(), QUICK).unwrap();
    until("the first refusal", || count(&service, "http_429") == 1);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_restart_begins_with_the_last_value_and_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let then = Timestamp::now() - SignedDuration::from_mins(40);
    let server = Loopback::start(move |_| Reply::ok(format!(r#"{{"carbonIntensity":298,"datetime":"{then}"}}"#)));
    let service = Service::start(&german(&server.url), dir.path(), QUICK).unwrap();
    let cache = dir.path().join("intensity-electricity_maps-DE.json");
    until("a value on disk", || cache.exists());
    drop(service);

    server.now_does(|_| Reply::Hang);
    let service = Service::start(&german(&server.url), dir.path(), QUICK).unwrap();
    let in_force = service.sources().at(Timestamp::now());
    assert_eq!((in_force.grams_per_kwh, in_force.degraded), (298.0, None));
    assert!((2400.0..2500.0).contains(&in_force.age_seconds), "{}", in_force.age_seconds);

    let blocked = dir.path().join("a file");
    std::fs::write(&blocked, "").unwrap();
    server.now_does(|_| electricity_maps("5"));
    let service = Service::start(&german(&server.url), &blocked, QUICK).unwrap();
    until("a value without a place on disk", || grams(&service) == 5.0 && count(&service, "cache") > 0);
}

#[test]
fn watttime_logs_in_and_again_when_its_token_ends() {
    let dir = tempfile::tempdir().unwrap();
    let valid = Arc::new(Mutex::new(1));
    let counter = valid.clone();
    let server = Loopback::start(move |request: &Request| {
        let basic = "Basic dXNlcjpzM2NyZXQtdE9rZW4=";
        let current = *counter.lock().unwrap();
        match (request.path.as_str(), request.header("authorization")) {
            ("/login", Some(given)) if given == basic => Reply::ok(format!(r#"{{"token":"bearer-{current}"}}"#)),
            ("/v3/forecast?region=CAISO_NORTH&signal_type=co2_moer&horizon_hours=0", Some(given))
                if given == format!("Bearer bearer-{current}") =>
            {
                let now = Timestamp::now();
                Reply::ok(format!(r#"{{"data":[{{"point_time":"{now}","value":1000}}]}}"#))
            }
            _ => Reply::status(401),
        }
    });
    let declared = [IntensitySource::Provider(source(Provider::WattTime, Some("CAISO_NORTH"), &server.url))];
    let service = Service::start(&declared, dir.path(), QUICK).unwrap();
    until("a marginal value", || (grams(&service) - 453.592_37).abs() < 1e-9);
    assert_eq!(service.sources().at(Timestamp::now()).kind.name(), "marginal");
    let logins = || server.requests().iter().filter(|request| request.path == "/login").count();
    assert_eq!(logins(), 1, "one login serves many questions");
    *valid.lock().unwrap() = 2;
    until("a second login", || logins() == 2);
    assert_eq!(service.errors(), [], "an ended token is no error");
}

#[test]
fn great_britain_needs_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let server = Loopback::start(|_| {
        let (from, to) = (Timestamp::now(), Timestamp::now() + SignedDuration::from_mins(30));
        Reply::ok(format!(
            r#"{{"data":[{{"from":"{from}","to":"{to}","intensity":{{"forecast":120,"actual":null}}}}]}}"#
        ))
    });
    let declared = [IntensitySource::Provider(source(Provider::UkCarbonIntensity, None, &server.url))];
    let service = Service::start(&declared, dir.path(), QUICK).unwrap();
    until("a value", || grams(&service) == 120.0);
    let in_force = service.sources().at(Timestamp::now());
    assert_eq!((in_force.method.as_str(), in_force.estimated), ("uk_carbon_intensity:GB", true));
    assert_eq!(server.requests()[0].path, "/intensity");
    assert_eq!(server.requests()[0].header("auth-token"), None);
}

#[test]
fn a_file_is_known_at_once_and_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i.csv");
    let now = Timestamp::now();
    std::fs::write(&path, format!("{now},100\n")).unwrap();
    let declared = [IntensitySource::File(path.clone()), IntensitySource::GramsPerKwh(7.0)];
    let service = Service::start(&declared, dir.path(), QUICK).unwrap();
    assert_eq!(grams(&service), 100.0);
    assert_eq!(service.sources().at(Timestamp::now()).method, "file:i.csv");
}

#[test]
fn what_cannot_be_opened_is_a_complaint() {
    let dir = tempfile::tempdir().unwrap();
    let start = |source| Service::start(&[source], dir.path(), QUICK).map(|_| ()).unwrap_err();
    assert_eq!(start(IntensitySource::Zone("XXX".into())), "`XXX` is no embedded zone");
    let scotland = source(Provider::UkCarbonIntensity, Some("Scotland"), "http://127.0.0.1:1");
    assert!(start(IntensitySource::Provider(scotland)).contains("Great Britain as a whole"));
}

/// A tracing subscriber's writer into memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_token_leaves_by_no_door() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&token_file, PermissionsExt::from_mode(0o644)).unwrap();

    // The worst server: it echoes what it was sent, wherever text is expected.
    let secrets = [TOKEN, "dXNlcjpzM2NyZXQtdE9rZW4=", "b34rer"];
    let echo = || {
        let all = format!("{TOKEN} dXNlcjpzM2NyZXQtdE9rZW4= b34rer");
        let bodies = [
            format!("<html>{all}</html>"),
            all.clone(),
            format!(r#"{{"carbonIntensity":"{all}","datetime":"{all}"}}"#),
            format!(r#"{{"carbonIntensity":1,"datetime":"{}","zone":"{all}"}}"#, Timestamp::now()),
            format!(r#"{{"data":[{{"from":"{all}","point_time":"{all}"}}]}}"#),
            format!(r#"{{"data":[],"meta":{{"region":"{all}","units":"{all}"}}}}"#),
        ];
        let mut next = 0;
        move |request: &Request| {
            if request.path == "/login" {
                return Reply::ok(r#"{"token":"b34rer"}"#);
            }
            next += 1;
            match next % 8 {
                6 => Reply::Answer { status: 401, headers: vec![("x-token", all.clone())], body: all.clone() },
                7 => Reply::Answer { status: 302, headers: vec![("location", all.clone())], body: all.clone() },
                n => Reply::ok(bodies[n].clone()),
            }
        }
    };
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let mut seen = String::new();
    tracing::subscriber::with_default(subscriber, || {
        for kind in [Provider::ElectricityMaps, Provider::WattTime, Provider::UkCarbonIntensity] {
            let server = Loopback::start(echo());
            let mut configured = source(kind, kind.needs_zone().then_some("DE"), &server.url);
            configured.token = configured.token.map(|_| Token::File(PathBuf::from(&token_file)));
            let declared = [IntensitySource::Provider(configured.clone())];
            let mut opened = provider(&configured, QUICK.timeout).unwrap();
            for _ in 0..16 {
                if let Err(fault) = opened.poll.poll(Timestamp::now()) {
                    seen += &format!("{fault} {fault:?}\n");
                }
            }
            let service = Service::start(&declared, dir.path(), QUICK).unwrap();
            until("some faults", || service.errors().iter().map(|(_, count)| count).sum::<u64>() > 16);
            let now = Timestamp::now();
            seen += &format!("{service:?} {:?} {:?} {:?}\n", service.stage(now), service.errors(), declared);
            seen += &format!("{:?}", service.sources().at(now));
        }
    });
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten().filter(|entry| entry.path() != token_file) {
        seen += &std::fs::read_to_string(entry.path()).unwrap_or_default();
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("chmod o-r"), "an open token file is complained of: {logged}");
    assert!(seen.contains("malformed"), "{seen}");
    for secret in secrets {
        assert!(!seen.contains(secret), "{seen}");
        assert!(!logged.contains(secret), "{logged}");
    }
}
