//! What containers and pods are called: asked of the engines' files and APIs, once a container, never while a sample
//! waits for long. A container that is renamed while it runs keeps the name it was first known by.

mod bundle;
mod engine_api;
mod engine_files;
mod kubelet;
mod kubernetes;
#[cfg(test)]
mod tests;

use super::cgroup::{Container, Placement};
use super::label::label;
use crate::config::KubernetesConfig;
use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a container and its pod are called; `None` where nobody could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub container: Option<String>,
    pub pod: Option<String>,
    pub namespace: Option<String>,
}

impl Names {
    /// Takes from `other` what is not known yet.
    fn complete(&mut self, other: Names) {
        self.container = self.container.take().or(other.container);
        self.pod = self.pod.take().or(other.pod);
        self.namespace = self.namespace.take().or(other.namespace);
    }

    /// From the labels or annotations under which runtimes and the kubelet note whom a container belongs to.
    fn from_notes<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let first = |keys: &[&str]| keys.iter().find_map(|key| get(key)).filter(|v| !v.is_empty()).map(str::to_owned);
        Self {
            container: first(&[
                "io.kubernetes.container.name",
                "io.kubernetes.cri.container-name",
                "io.kubernetes.cri-o.ContainerName",
                "nerdctl/name",
            ]),
            pod: first(&["io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri-o.KubeName"]),
            namespace: first(&[
                "io.kubernetes.pod.namespace",
                "io.kubernetes.cri.sandbox-namespace",
                "io.kubernetes.cri-o.Namespace",
            ]),
        }
    }

    /// From the name that the kubelet gives to a Docker or CRI-O container:
    /// `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`. Any other name is a container's own.
    fn from_engine_name(name: &str) -> Self {
        let name = name.trim_start_matches('/');
        let parts: Vec<&str> = name.split('_').collect();
        match parts[..] {
            ["k8s", container, pod, namespace, _, _] => Self {
                container: Some(container.to_owned()),
                pod: Some(pod.to_owned()),
                namespace: Some(namespace.to_owned()),
            },
            _ => Self { container: Some(name.to_owned()).filter(|name| !name.is_empty()), ..Self::default() },
        }
    }

    /// Whether nothing of what was asked is missing.
    fn answer(&self, question: &Question) -> bool {
        (question.container.is_none() || self.container.is_some())
            && (question.pod.is_none() || (self.pod.is_some() && self.namespace.is_some()))
    }

    fn made_safe(self) -> Self {
        let safe = |name: Option<String>| name.map(|name| label(name.as_bytes()));
        Self { container: safe(self.container), pod: safe(self.pod), namespace: safe(self.namespace) }
    }
}

/// Somebody who may know names. A source that is absent or unreadable knows nothing; that is no error.
pub trait NameSource: Send {
    /// What it knows of a container, and of a pod by its UID.
    fn names(&self, container: Option<&Container>, pod: Option<&str>) -> Names;

    /// Whether it may know some seconds later of a pod's container that it does not know of now.
    fn learns_late(&self) -> bool {
        false
    }
}

/// The sources of a host whose root directory is `root`, cheap ones first.
pub fn sources(root: &Path) -> Vec<Box<dyn NameSource>> {
    vec![
        Box::new(engine_files::Docker::new(root)),
        Box::new(engine_files::ContainersStorage::new(root)),
        Box::new(bundle::Bundles::new(root)),
        Box::new(kubelet::Logs::new(root)),
        // Last, because asking wakes the engine (Podman's is started by the question).
        Box::new(engine_api::Sockets::new(root)),
    ]
}

/// The same, and Kubernetes where the configuration says so.
pub fn configured(root: &Path, kubernetes: &KubernetesConfig) -> Vec<Box<dyn NameSource>> {
    let mut sources = sources(root);
    if let Some(pods) = kubernetes::Pods::new(kubernetes) {
        // Files tell at once, and engines do not know of pods what Kubernetes does.
        sources.insert(sources.len() - 1, Box::new(pods));
    }
    sources
}

/// How long all questions of one sample together may hold it up. The kernel counts on meanwhile.
const PATIENCE: Duration = Duration::from_millis(20);
/// When a container that nobody could name is asked about again, if somebody wants to know.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// When a source that learns late is asked again. Until the last time there is no answer.
const LATER: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];
/// A sample waits for an answer only so long after the question; then it looks whether there is one.
const FRESH: Duration = Duration::from_secs(1);
/// Names kept, and questions that can wait.
const KEPT: usize = 65_536;
const QUEUED: usize = 1024;

/// What to ask: the container's id, and the pod's where the path shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    container: Option<Container>,
    pod: Option<String>,
}

/// An answer, if there is one yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Names(Arc<Names>),
    /// Asked; ask again at the next sample.
    Pending,
}

struct Known {
    names: Option<Arc<Names>>,
    asked: Instant,
    /// Asked for since the last [`Resolver::prune`].
    used: bool,
}

#[derive(Default)]
struct Answers {
    known: Mutex<HashMap<Question, Known>>,
    arrived: Condvar,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Known>> {
        // A map is whole whatever panicked while it was held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the sources in a thread of its own, which starts with the first container.
pub struct Resolver {
    sources: Option<Vec<Box<dyn NameSource>>>,
    questions: Option<SyncSender<Question>>,
    answers: Arc<Answers>,
    patience: Duration,
}

impl Resolver {
    pub fn new(sources: Vec<Box<dyn NameSource>>) -> Self {
        Self { sources: Some(sources), questions: None, answers: Arc::default(), patience: PATIENCE }
    }

    /// A new sample may wait for [`PATIENCE`] again.
    pub fn begin_sample(&mut self) {
        self.patience = PATIENCE;
    }

    /// What the container and the pod at this place are called.
    pub fn names(&mut self, placement: &Placement) -> Answer {
        let Some(question) = question(placement) else { return Answer::Names(Arc::default()) };
        let mut known = self.answers.lock();
        match known.get_mut(&question) {
            Some(Known { names: Some(names), asked, used }) => {
                *used = true;
                if **names != Names::default() || asked.elapsed() < ASK_AGAIN {
                    return Answer::Names(names.clone());
                }
                // Nobody knew. The old answer holds until there is a better one.
                *asked = Instant::now();
                let names = names.clone();
                drop(known);
                self.ask(question);
                return Answer::Names(names);
            }
            Some(Known { names: None, asked, used }) => {
                *used = true;
                if asked.elapsed() > FRESH {
                    return Answer::Pending;
                }
                drop(known);
            }
            None => {
                if known.len() >= KEPT {
                    return Answer::Names(Arc::default());
                }
                known.insert(question.clone(), Known { names: None, asked: Instant::now(), used: true });
                drop(known);
                if !self.ask(question.clone()) {
                    self.answers.lock().remove(&question);
                    return Answer::Names(Arc::default());
                }
            }
        }
        self.wait(&question)
    }

    fn ask(&mut self, question: Question) -> bool {
        if let Some(sources) = self.sources.take() {
            let (sender, receiver) = sync_channel(QUEUED);
            let answers = self.answers.clone();
            let thread = std::thread::Builder::new().name("container-names".to_owned());
            if thread.spawn(move || answer_all(&receiver, &sources, &answers)).is_ok() {
                self.questions = Some(sender);
            }
        }
        self.questions.as_ref().is_some_and(|questions| questions.try_send(question).is_ok())
    }

    fn wait(&mut self, question: &Question) -> Answer {
        let begun = Instant::now();
        let pending = |known: &mut HashMap<Question, Known>| known.get(question).is_some_and(|k| k.names.is_none());
        let known = self.answers.lock();
        let waited = self.answers.arrived.wait_timeout_while(known, self.patience, pending);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.patience = self.patience.saturating_sub(begun.elapsed());
        match known.get(question) {
            Some(Known { names: Some(names), .. }) => Answer::Names(names.clone()),
            _ => Answer::Pending,
        }
    }

    /// Forgets the containers that nobody asked about since the last call, except those `in_use`.
    pub fn prune<'a>(&mut self, in_use: impl Iterator<Item = &'a Placement>) {
        let mut known = self.answers.lock();
        if known.is_empty() {
            return;
        }
        for question in in_use.filter_map(question) {
            if let Some(known) = known.get_mut(&question) {
                known.used = true;
            }
        }
        known.retain(|_, known| std::mem::take(&mut known.used) || known.names.is_none());
    }
}

/// None where the path tells of neither container nor pod, or the id is the name.
fn question(placement: &Placement) -> Option<Question> {
    let container = placement.container.clone().filter(|container| !container.engine.names_by_id());
    let pod = placement.pod.clone();
    (container.is_some() || pod.is_some()).then_some(Question { container, pod })
}

/// A question that some source may be able to answer later.
struct Later {
    due: Instant,
    question: Question,
    /// Times it was asked.
    tries: usize,
}

/// The thread: ends when the resolver is gone.
fn answer_all(questions: &Receiver<Question>, sources: &[Box<dyn NameSource>], answers: &Answers) {
    let mut later: Vec<Later> = Vec::new();
    while let Some((question, tries)) = next(questions, &mut later) {
        let mut names = Names::default();
        for source in sources {
            if names.answer(&question) {
                break;
            }
            names.complete(source.names(question.container.as_ref(), question.pod.as_deref()));
        }
        let in_vain = !names.answer(&question) && question.pod.is_some();
        if in_vain && tries < LATER.len() && later.len() < QUEUED && sources.iter().any(|source| source.learns_late()) {
            later.push(Later { due: Instant::now() + LATER[tries], question, tries: tries + 1 });
            continue;
        }
        if let Some(known) = answers.lock().get_mut(&question) {
            known.names = Some(Arc::new(names.made_safe()));
            known.asked = Instant::now();
        }
        answers.arrived.notify_all();
    }
}

/// The next question, and how often it was asked before; `None` when nobody will ask again.
fn next(questions: &Receiver<Question>, later: &mut Vec<Later>) -> Option<(Question, usize)> {
    let first = later.iter().enumerate().min_by_key(|(_, later)| later.due).map(|(place, later)| (place, later.due));
    let Some((place, due)) = first else { return questions.recv().ok().map(|question| (question, 0)) };
    match questions.recv_timeout(due.saturating_duration_since(Instant::now())) {
        Ok(question) => Some((question, 0)),
        Err(RecvTimeoutError::Timeout) => {
            let later = later.swap_remove(place);
            Some((later.question, later.tries))
        }
        Err(RecvTimeoutError::Disconnected) => None,
    }
}
