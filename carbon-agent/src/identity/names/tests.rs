//! The sources on trees as engines leave them, and the resolver under sources that are slow.

use super::*;
use crate::identity::cgroup::{Engine, classify};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const ID: &str = "f3c1b6c1c0b9a8d7e6f5049382716050f3c1b6c1c0b9a8d7e6f5049382716050";
const UID: &str = "6bd2a4d3-3f43-4a5b-9c0f-0d8c1d2e3f40";

fn host(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path.replace("UID", UID).replace("ID", ID));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("UID", UID).replace("ID", ID)).unwrap();
    }
    root
}

fn found(root: &TempDir, engine: Engine, pod: Option<&str>) -> Names {
    let container = Container { engine, id: ID.to_owned() };
    let mut names = Names::default();
    for source in sources(root.path()) {
        names.complete(source.names(Some(&container), pod));
    }
    names
}

/// "container pod namespace", `-` for what is not known.
#[track_caller]
fn check(files: &[(&str, &str)], engine: Engine, pod: Option<&str>, expected: &str) {
    let Names { container, pod, namespace } = found(&host(files), engine, pod);
    let shown = |name: Option<String>| name.unwrap_or("-".to_owned());
    assert_eq!(format!("{} {} {}", shown(container), shown(pod), shown(namespace)), expected);
}

#[test]
fn docker_keeps_a_file_a_container() {
    let file = "var/lib/docker/containers/ID/config.v2.json";
    check(&[(file, r#"{"ID":"ID","Name":"/neo4j","Config":{"Labels":null}}"#)], Engine::Docker, None, "neo4j - -");
    check(&[(file, r#"{"Name":"/neo4j"}"#)], Engine::Unknown, None, "neo4j - -");
    check(&[(file, r#"{"Name":"/neo4j"}"#)], Engine::Podman, None, "- - -");
    check(&[(file, r#"{"Name":"/k8s_app_web-0_prod_UID_3"}"#)], Engine::Docker, None, "app web-0 prod");
    let labels = r#"{"Name":"/x","Config":{"Labels":{"io.kubernetes.container.name":"app",
        "io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"prod"}}}"#;
    check(&[(file, labels)], Engine::Docker, None, "app web-0 prod");
    check(&[(file, "{ torn")], Engine::Docker, None, "- - -");
}

#[test]
fn podman_and_crio_keep_a_list() {
    let list = "var/lib/containers/storage/overlay-containers/containers.json";
    let volatile = "var/lib/containers/storage/overlay-containers/volatile-containers.json";
    let text = r#"[{"id":"00","names":["other"]},{"id":"ID","names":["redis"],"image":"x"}]"#;
    check(&[(list, text)], Engine::Podman, None, "redis - -");
    check(&[(list, "[]"), (volatile, text)], Engine::Podman, None, "redis - -");
    check(&[(list, text)], Engine::Docker, None, "- - -");
    let text = r#"[{"id":"ID","names":["k8s_app_web-0_prod_UID_0"],"metadata":"{}"}]"#;
    check(&[(list, text)], Engine::CriO, Some(UID), "app web-0 prod");
}

#[test]
fn containerd_and_crio_annotate_their_bundles() {
    let bundle = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
    let notes = |text: &str| format!(r#"{{"ociVersion":"1.0.2","annotations":{{{text}}}}}"#);
    let app = notes(
        r#""io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"app",
        "io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"prod""#,
    );
    check(&[(bundle, &app)], Engine::Containerd, Some(UID), "app web-0 prod");
    check(&[(bundle, &app)], Engine::Unknown, Some(UID), "app web-0 prod");
    let sandbox = notes(
        r#""io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-name":"web-0",
        "io.kubernetes.cri.sandbox-namespace":"prod""#,
    );
    check(&[(bundle, &sandbox)], Engine::Containerd, Some(UID), "pause web-0 prod");
    let nerdctl = "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json";
    check(&[(nerdctl, &notes(r#""nerdctl/name":"db""#))], Engine::Containerd, None, "db - -");
    let crio = "run/containers/storage/overlay-containers/ID/userdata/config.json";
    let app = notes(
        r#""io.kubernetes.container.name":"app","io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"prod""#,
    );
    check(&[(crio, &app)], Engine::CriO, Some(UID), "app web-0 prod");
}

#[test]
fn the_kubelet_names_its_logs() {
    check(&[("var/log/pods/prod_web-0_UID/app/0.log", "")], Engine::Containerd, Some(UID), "- web-0 prod");
    check(&[("var/log/containers/web-0_prod_app-ID.log", "")], Engine::Containerd, Some(UID), "app web-0 prod");
    check(&[("var/log/pods/prod_web-0_0000/app/0.log", "")], Engine::Containerd, Some(UID), "- - -");
}

#[test]
fn absent_sources_are_no_errors() {
    check(&[], Engine::Unknown, Some(UID), "- - -");
}

/// An engine's API on a socket: every connection gets the answer.
fn engine(root: &TempDir, socket: &str, answer: &'static str) {
    let path = root.path().join(socket);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 1024];
            let length = connection.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert_eq!(request.lines().next().unwrap(), format!("GET /containers/{ID}/json HTTP/1.0"));
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
}

#[test]
fn engines_answer_on_their_sockets() {
    let root = host(&[]);
    engine(&root, "run/docker.sock", "HTTP/1.0 404 Not Found\r\n\r\n{}");
    engine(&root, "run/user/1000/docker.sock", "HTTP/1.0 200 OK\r\n\r\n{\"Name\":\"/mine\",\"Config\":{}}");
    assert_eq!(found(&root, Engine::Docker, None).container.as_deref(), Some("mine"));
    assert_eq!(found(&root, Engine::Podman, None), Names::default());
    engine(&root, "run/podman/podman.sock", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"Name\":\"pod\"}");
    assert_eq!(found(&root, Engine::Podman, None).container.as_deref(), Some("pod"));
}

#[test]
fn an_engine_that_hangs_is_left() {
    let root = host(&[]);
    std::fs::create_dir_all(root.path().join("run")).unwrap();
    // Listens and never accepts.
    let _listener = UnixListener::bind(root.path().join("run/docker.sock")).unwrap();
    let begun = Instant::now();
    assert_eq!(found(&root, Engine::Docker, None), Names::default());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// Takes its time, and counts the questions.
struct Slow {
    delay: Duration,
    asked: Arc<AtomicUsize>,
    knows: bool,
}

impl NameSource for Slow {
    fn names(&self, _: Option<&Container>, _: Option<&str>) -> Names {
        std::thread::sleep(self.delay);
        self.asked.fetch_add(1, Ordering::SeqCst);
        Names { container: self.knows.then(|| "na\nme".to_owned()), ..Names::default() }
    }
}

fn slow(delay: Duration, knows: bool) -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    (Resolver::new(vec![Box::new(Slow { delay, asked: asked.clone(), knows })]), asked)
}

#[test]
fn a_sample_waits_for_names_only_so_long() {
    let (mut resolver, asked) = slow(Duration::from_millis(200), true);
    let place = classify(&format!("/docker/{ID}"));
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(resolver.names(&place), Answer::Pending);
    }
    assert!(begun.elapsed() < Duration::from_millis(150), "{:?}", begun.elapsed());
    std::thread::sleep(Duration::from_millis(400));
    resolver.begin_sample();
    let Answer::Names(names) = resolver.names(&place) else { panic!("answered by now") };
    assert_eq!(names.container.as_deref(), Some("na\u{fffd}me"));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn names_are_kept_while_somebody_wants_them() {
    let (mut resolver, asked) = slow(Duration::ZERO, false);
    let place = classify(&format!("/docker/{ID}"));
    let ask = |resolver: &mut Resolver| {
        resolver.begin_sample();
        while resolver.names(&place) == Answer::Pending {
            std::thread::sleep(Duration::from_millis(1));
            resolver.begin_sample();
        }
        asked.load(Ordering::SeqCst)
    };
    assert_eq!(ask(&mut resolver), 1);
    assert_eq!(ask(&mut resolver), 1);
    resolver.prune(std::iter::once(&place));
    resolver.prune(std::iter::once(&place));
    assert_eq!(ask(&mut resolver), 1);
    resolver.prune(std::iter::empty());
    resolver.prune(std::iter::empty());
    assert_eq!(ask(&mut resolver), 2);
}

#[test]
fn nothing_is_asked_of_a_process_on_the_host() {
    let (mut resolver, asked) = slow(Duration::ZERO, true);
    for path in ["/system.slice/a.service", "/lxc.payload.web", "/"] {
        assert_eq!(resolver.names(&classify(path)), Answer::Names(Arc::default()));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert!(resolver.questions.is_none(), "no thread");
}

/// Knows a container only when asked the second time, as Kubernetes does of one that has just started.
struct Late(AtomicUsize);

impl NameSource for Late {
    fn names(&self, _: Option<&Container>, _: Option<&str>) -> Names {
        let known = self.0.fetch_add(1, Ordering::SeqCst) > 0;
        let name = |text: &str| Some(text.to_owned());
        Names { container: known.then(|| "app".to_owned()), pod: name("web-0"), namespace: name("prod") }
    }

    fn learns_late(&self) -> bool {
        true
    }
}

#[test]
fn what_is_learnt_late_is_waited_for_without_holding_up_samples() {
    let mut resolver = Resolver::new(vec![Box::new(Late(AtomicUsize::new(0)))]);
    let place = classify(&format!("/kubepods/besteffort/pod{UID}/{ID}"));
    let begun = Instant::now();
    let mut waited = Duration::ZERO;
    let names = loop {
        resolver.begin_sample();
        let asked = Instant::now();
        let answer = resolver.names(&place);
        waited = if begun.elapsed() > FRESH { waited + asked.elapsed() } else { Duration::ZERO };
        match answer {
            Answer::Names(names) => break names,
            Answer::Pending => assert!(begun.elapsed() < Duration::from_secs(20)),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(names.container.as_deref(), Some("app"));
    assert!(begun.elapsed() >= LATER[0]);
    assert!(waited < Duration::from_millis(100), "an old question holds up no sample: {waited:?}");
}
