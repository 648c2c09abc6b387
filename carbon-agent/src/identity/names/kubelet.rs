//! Names from the directories in which the kubelet keeps logs: their names hold pod, namespace and container.

use super::{NameSource, Names};
use crate::identity::cgroup::Container;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Logs {
    pods: PathBuf,
    containers: PathBuf,
}

impl Logs {
    pub fn new(root: &Path) -> Self {
        Self { pods: root.join("var/log/pods"), containers: root.join("var/log/containers") }
    }

    /// `NAMESPACE_POD_UID/`
    fn pod(&self, uid: &str) -> Option<Names> {
        entry(&self.pods, |name| {
            let (namespace, pod) = name.strip_suffix(uid)?.strip_suffix('_')?.split_once('_')?;
            Some(Names { container: None, pod: Some(pod.to_owned()), namespace: Some(namespace.to_owned()) })
        })
    }

    /// `POD_NAMESPACE_CONTAINER-ID.log`
    fn container(&self, id: &str) -> Option<Names> {
        entry(&self.containers, |name| {
            let mut parts = name.strip_suffix(".log")?.strip_suffix(id)?.strip_suffix('-')?.splitn(3, '_');
            let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Names {
                container: Some(container.to_owned()),
                pod: Some(pod.to_owned()),
                namespace: Some(namespace.to_owned()),
            })
        })
    }
}

/// What `read` makes of the first entry that it can read.
fn entry(directory: &Path, read: impl Fn(&str) -> Option<Names>) -> Option<Names> {
    fs::read_dir(directory).ok()?.flatten().find_map(|entry| read(entry.file_name().to_str()?))
}

impl NameSource for Logs {
    fn names(&self, container: Option<&Container>, pod: Option<&str>) -> Names {
        // The names of a container are its pod's, unless the path shows another pod.
        let mut names = container.and_then(|container| self.container(&container.id)).unwrap_or_default();
        names.complete(pod.and_then(|uid| self.pod(uid)).unwrap_or_default());
        names
    }
}
