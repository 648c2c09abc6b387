//! Names from Kubernetes itself: the kubelet of this node, or the API server asked for this node's pods only. Off unless
//! configured. The list is asked for when a pod turns up that the last one did not hold, and not more often than
//! allowed; nothing else is ever asked for.

use super::{NameSource, Names};
use crate::carbon::http::Http;
use crate::carbon::token::Credential;
use crate::carbon::{Fault, FaultKind};
use crate::config::{KubernetesConfig, KubernetesSource, Listen, Token};
use crate::identity::cgroup::Container;
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where a pod finds what it may call itself with.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// No whole answer in this time is no answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A node runs some hundred pods, whose descriptions are 5 to 20 kB long.
const LONGEST: u64 = 64 << 20;
/// Pods and containers remembered of one answer.
const KEPT: usize = 16_384;
/// Between two requests after an answer; after failures twice as long each time, up to the last.
const BETWEEN: Duration = Duration::from_secs(2);
const BETWEEN_FAILURES: Duration = Duration::from_secs(300);

/// The pods of this node as Kubernetes lists them.
pub struct Pods {
    url: String,
    token: Option<RefCell<Credential>>,
    ca_file: Option<PathBuf>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    known: Known,
    /// When the last request was made, and how long no other is.
    asked: Option<Instant>,
    wait: Duration,
    /// The fault that was logged.
    fault: Option<Fault>,
}

/// What an answer told.
#[derive(Default)]
struct Known {
    /// Name and namespace by the UID that the cgroup's path shows.
    pods: HashMap<String, (String, String)>,
    /// Name by id.
    containers: HashMap<String, String>,
}

impl Pods {
    /// `None` where it is off.
    pub fn new(config: &KubernetesConfig) -> Option<Self> {
        let (base, path) = match config.source {
            KubernetesSource::Off => return None,
            KubernetesSource::Kubelet => ("https://127.0.0.1:10250", "/pods".to_owned()),
            KubernetesSource::ApiServer => {
                let node = escaped(config.node.as_deref().unwrap_or_default());
                ("https://kubernetes.default.svc", format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"))
            }
        };
        let base = config.url.as_deref().unwrap_or(base);
        let account = |name: &str| Some(Path::new(SERVICE_ACCOUNT).join(name)).filter(|file| file.exists());
        let token = config.token_file.clone().or_else(|| account("token")).filter(|_| may_carry_token(base));
        Some(Self {
            url: format!("{base}{path}"),
            token: token.map(|file| RefCell::new(Credential::new(Token::File(file)))),
            ca_file: config.ca_file.clone().or_else(|| account("ca.crt")),
            state: RefCell::default(),
        })
    }

    /// Asks, if it may, and keeps the answer.
    fn refresh(&self, state: &mut State) {
        if state.asked.is_some_and(|asked| asked.elapsed() < state.wait) {
            return;
        }
        let answer = self.fetch();
        state.asked = Some(Instant::now());
        match answer {
            Ok(known) => {
                (state.known, state.wait) = (known, BETWEEN);
                if state.fault.take().is_some() {
                    tracing::info!("Kubernetes tells the names of pods again");
                }
            }
            Err(fault) => {
                state.wait = (state.wait * 2).clamp(BETWEEN, BETWEEN_FAILURES);
                if state.fault.as_ref() != Some(&fault) {
                    tracing::warn!(
                        "carbon.kubernetes: {} does not tell the names of pods: {fault}; those that no file of this \
                         node tells are missing until it does",
                        self.url
                    );
                    state.fault = Some(fault);
                }
            }
        }
    }

    fn fetch(&self) -> Result<Known, Fault> {
        // Certificates and tokens are replaced while they are in use: both are read for each request.
        let http = match &self.ca_file {
            None => Http::direct(TIMEOUT, LONGEST, None)?,
            Some(file) => {
                let named = |fault: Fault| Fault { message: format!("{}: {}", file.display(), fault.message), ..fault };
                let pem =
                    fs::read(file).map_err(|error| named(Fault::new(FaultKind::Tls, error.kind().to_string())))?;
                Http::direct(TIMEOUT, LONGEST, Some(&pem)).map_err(named)?
            }
        };
        let token = self.token.as_ref().map(|token| token.borrow_mut().read()).transpose()?;
        let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let answer = http.get(&self.url, &headers)?;
        Known::parse(&answer).ok_or_else(|| Fault::new(FaultKind::Malformed, "the answer is no list of pods"))
    }
}

impl NameSource for Pods {
    fn names(&self, container: Option<&Container>, pod: Option<&str>) -> Names {
        // What no pod's path shows is no business of Kubernetes.
        let Some(uid) = pod else { return Names::default() };
        let state = &mut *self.state.borrow_mut();
        let names = state.known.names(container, uid);
        if names.pod.is_some() && (container.is_none() || names.container.is_some()) {
            return names;
        }
        self.refresh(state);
        state.known.names(container, uid)
    }

    /// A container's id is in its pod's status only when the kubelet has reported it.
    fn learns_late(&self) -> bool {
        true
    }
}

#[derive(Deserialize)]
struct PodList {
    kind: String,
    /// A kubelet that is starting may leave gaps.
    items: Option<Vec<Option<Pod>>>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    annotations: Option<HashMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    /// `containerd://ID`; empty before the container runs.
    #[serde(rename = "containerID", default)]
    id: String,
}

impl Known {
    fn parse(answer: &str) -> Option<Self> {
        let list: PodList = serde_json::from_str(answer).ok()?;
        if list.kind != "PodList" {
            return None;
        }
        let mut known = Self::default();
        for Pod { metadata, status } in list.items.unwrap_or_default().into_iter().flatten().take(KEPT) {
            let name = (metadata.name, metadata.namespace);
            // The path of a static pod shows the hash of its manifest; the API server knows it by another UID.
            if let Some(hash) = metadata.annotations.and_then(|mut notes| notes.remove("kubernetes.io/config.hash")) {
                known.pods.insert(hash, name.clone());
            }
            known.pods.insert(metadata.uid, name);
            let statuses =
                [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
            for ContainerStatus { name, id } in statuses.into_iter().flatten().flatten() {
                if let Some((_, id)) = id.split_once("://").filter(|_| known.containers.len() < KEPT) {
                    known.containers.insert(id.to_owned(), name);
                }
            }
        }
        Some(known)
    }

    fn names(&self, container: Option<&Container>, uid: &str) -> Names {
        let (pod, namespace) = self.pods.get(uid).cloned().unzip();
        Names { container: container.and_then(|container| self.containers.get(&container.id).cloned()), pod, namespace }
    }
}

/// A token goes over TLS, or to this machine itself.
fn may_carry_token(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return true };
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    Listen { host: host.to_owned(), port: 0 }.is_loopback()
}

/// Fit for the value of a query: a node's name holds no more than letters, digits, `-` and `.`.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests;
