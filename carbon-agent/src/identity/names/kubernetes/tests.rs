//! A kubelet and an API server on loopback. `pods.json` is made by hand after the reference of the API (v1 PodList).

use super::*;
use crate::carbon::loopback::{Loopback, Reply};
use crate::identity::cgroup::Engine;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

const PODS: &str = include_str!("pods.json");
const ID: &str = "f3c1b6c1c0b9a8d7e6f5049382716050f3c1b6c1c0b9a8d7e6f5049382716050";
const UID: &str = "6bd2a4d3-3f43-4a5b-9c0f-0d8c1d2e3f40";
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.secret.signature";

fn config(source: KubernetesSource, url: &str) -> KubernetesConfig {
    let url = Some(url.to_owned());
    KubernetesConfig { source, url, node: None, token_file: None, ca_file: None }
}

fn ask(pods: &Pods, id: &str, uid: Option<&str>) -> String {
    let container = Container { engine: Engine::Containerd, id: id.to_owned() };
    let Names { container, pod, namespace } = pods.names(Some(&container), uid);
    let shown = |name: Option<String>| name.unwrap_or("-".to_owned());
    format!("{} {} {}", shown(container), shown(pod), shown(namespace))
}

/// Lets the next question through at once.
fn at_once(pods: &Pods) {
    pods.state.borrow_mut().wait = Duration::ZERO;
}

#[test]
fn the_kubelet_tells_pods_and_containers_and_is_asked_once() {
    let server = Loopback::start(|_| Reply::ok(PODS));
    let pods = Pods::new(&config(KubernetesSource::Kubelet, &server.url)).unwrap();
    // A container that is in no pod is no business of Kubernetes.
    assert_eq!(ask(&pods, ID, None), "- - -");
    assert!(server.requests().is_empty());
    assert_eq!(ask(&pods, ID, Some(UID)), "api player-api-7c9f5d6b8-x2kqp tta-staging");
    assert_eq!(ask(&pods, &"1".repeat(64), Some(UID)), "migrate player-api-7c9f5d6b8-x2kqp tta-staging");
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].path.as_str(), requests[0].header("authorization")), ("/pods", None));

    // A container without a status yet: the pod is known; asked again only after a while.
    let hash = "5f0c7d1e2b3a49586776859403122130";
    assert_eq!(ask(&pods, &"2".repeat(64), Some(UID)), "- player-api-7c9f5d6b8-x2kqp tta-staging");
    assert_eq!(ask(&pods, &"3".repeat(64), Some(hash)), "- etcd-staging-1 kube-system");
    assert_eq!(server.requests().len(), 1);
    at_once(&pods);
    server.now_does(|_| Reply::ok(r#"{"kind":"PodList","items":null}"#));
    assert_eq!(ask(&pods, &"3".repeat(64), Some(hash)), "- - -", "gone");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn the_api_server_is_asked_for_this_node_with_the_token_of_the_moment() {
    let server = Loopback::start(|request| match request.header("authorization") {
        Some(bearer) if bearer == format!("Bearer {TOKEN}") => Reply::ok(PODS),
        _ => Reply::status(401),
    });
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let pods = Pods::new(&KubernetesConfig {
        node: Some("staging-1&x".to_owned()),
        token_file: Some(token.clone()),
        ..config(KubernetesSource::ApiServer, &server.url)
    })
    .unwrap();
    let fault = |pods: &Pods| pods.state.borrow().fault.clone().map(|fault| fault.to_string()).unwrap_or_default();
    assert_eq!(ask(&pods, ID, Some(UID)), "- - -");
    assert!(fault(&pods).contains(token.to_str().unwrap()), "{}", fault(&pods));
    fs::write(&token, "expired-secret\n").unwrap();
    at_once(&pods);
    assert_eq!(ask(&pods, ID, Some(UID)), "- - -");
    assert!(fault(&pods).contains("not accepted") && !fault(&pods).contains("secret"), "{}", fault(&pods));
    // Rotated.
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    at_once(&pods);
    assert_eq!(ask(&pods, ID, Some(UID)), "api player-api-7c9f5d6b8-x2kqp tta-staging");
    assert_eq!(fault(&pods), "");
    let path = "/api/v1/pods?fieldSelector=spec.nodeName%3Dstaging-1%26x";
    assert!(server.requests().iter().all(|request| request.path == path), "{:?}", server.requests());
}

#[test]
fn faults_are_spaced_out_and_what_was_known_stays() {
    let server = Loopback::start(|_| Reply::ok(PODS));
    let pods = Pods::new(&config(KubernetesSource::Kubelet, &server.url)).unwrap();
    ask(&pods, ID, Some(UID));
    let mut waits = Vec::new();
    for reply in [
        Reply::status(500),
        Reply::ok("<html>"),
        Reply::ok(r#"{"kind":"Status","items":[]}"#),
        Reply::Drop,
        Reply::status(302),
    ] {
        server.now_does(move |_| reply.clone());
        pods.state.borrow_mut().asked = None;
        assert_eq!(ask(&pods, &"9".repeat(64), Some("no such pod")), "- - -");
        assert!(pods.state.borrow().fault.is_some());
        waits.push(pods.state.borrow().wait.as_secs());
    }
    assert_eq!(waits, [4, 8, 16, 32, 64]);
    assert_eq!(ask(&pods, ID, Some(UID)), "api player-api-7c9f5d6b8-x2kqp tta-staging");
    let before = server.requests().len();
    ask(&pods, ID, Some("no such pod"));
    assert_eq!(server.requests().len(), before, "not before the wait is over");
}

#[test]
fn a_token_goes_over_tls_or_nowhere_else() {
    for (url, may) in [
        ("https://kubernetes.default.svc", true),
        ("http://127.0.0.1:10255", true),
        ("http://[::1]:8001/prefix", true),
        ("http://localhost:8001", true),
        ("http://10.0.0.1:8080", false),
        ("http://kubernetes.default.svc", false),
        ("http://[fe80::1]:8080", false),
    ] {
        assert_eq!(may_carry_token(url), may, "{url}");
    }
    let directory = tempfile::tempdir().unwrap();
    let token_file = Some(directory.path().join("token"));
    let open = KubernetesConfig { token_file, ..config(KubernetesSource::Kubelet, "http://10.0.0.1:10255") };
    assert!(Pods::new(&open).unwrap().token.is_none());
}

#[test]
fn off_is_off() {
    assert!(Pods::new(&config(KubernetesSource::Off, "http://127.0.0.1:1")).is_none());
}

/// Serves `PODS` over TLS with a certificate for `localhost` that signs itself; its address and the certificate in PEM.
fn secure_server() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = Arc::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(server.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(session, stream));
            let mut line = String::new();
            // A client that refuses the certificate is gone by now.
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PODS}", PODS.len());
            let _ = stream.get_mut().write_all(answer.as_bytes());
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
    });
    (url, made.cert.pem())
}

#[test]
fn over_tls_only_the_named_authority_is_trusted() {
    let (url, pem) = secure_server();
    let (_, another) = secure_server();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.crt");
    let secure = || KubernetesConfig { ca_file: Some(ca.clone()), ..config(KubernetesSource::Kubelet, &url) };
    for (text, why) in
        [(None, "ca.crt"), (Some("no certificate"), "no certificate in PEM"), (Some(&another), "certificate")]
    {
        if let Some(text) = text {
            fs::write(&ca, text).unwrap();
        }
        let pods = Pods::new(&secure()).unwrap();
        assert_eq!(ask(&pods, ID, Some(UID)), "- - -", "{why}");
        let fault = pods.state.borrow().fault.clone().unwrap();
        assert_eq!(fault.kind, FaultKind::Tls, "{fault}");
        assert!(fault.to_string().contains(why), "{fault}");
    }
    fs::write(&ca, pem).unwrap();
    let pods = Pods::new(&secure()).unwrap();
    assert_eq!(ask(&pods, ID, Some(UID)), "api player-api-7c9f5d6b8-x2kqp tta-staging");
}
