//! Names from the OCI bundles that containerd and CRI-O lay out for the runtime: the annotations in `config.json`.

use super::{NameSource, Names};
use crate::identity::cgroup::{Container, Engine};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Bundles {
    /// A directory a namespace of containerd (`k8s.io`, `default`, `moby`), in it one a container.
    containerd: [PathBuf; 2],
    crio: [PathBuf; 2],
}

/// No host has more namespaces than a few.
const NAMESPACES: usize = 64;

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

impl Bundles {
    pub fn new(root: &Path) -> Self {
        let tasks = "io.containerd.runtime.v2.task";
        Self {
            containerd: [
                root.join("run/containerd").join(tasks),
                // k3s and rke2 bring their own.
                root.join("run/k3s/containerd").join(tasks),
            ],
            crio: ["run", "var/lib"].map(|base| root.join(base).join("containers/storage/overlay-containers")),
        }
    }

    fn specs(&self, container: &Container) -> Vec<PathBuf> {
        let mut specs = Vec::new();
        if matches!(container.engine, Engine::CriO | Engine::Unknown) {
            specs.extend(self.crio.iter().map(|base| base.join(&container.id).join("userdata/config.json")));
        }
        if matches!(container.engine, Engine::Containerd | Engine::Unknown) {
            for base in &self.containerd {
                let namespaces = fs::read_dir(base).into_iter().flatten().flatten().take(NAMESPACES);
                specs.extend(namespaces.map(|namespace| namespace.path().join(&container.id).join("config.json")));
            }
        }
        specs
    }
}

impl NameSource for Bundles {
    fn names(&self, container: Option<&Container>, _pod: Option<&str>) -> Names {
        let Some(container) = container else { return Names::default() };
        let annotations = self
            .specs(container)
            .into_iter()
            .find_map(|spec| serde_json::from_slice::<Spec>(&fs::read(spec).ok()?).ok()?.annotations);
        let Some(notes) = annotations else { return Names::default() };
        let mut names = Names::from_notes(|key| notes.get(key).map(String::as_str));
        // The container that only holds the pod's namespaces has no name.
        if names.container.is_none() && notes.get("io.kubernetes.cri.container-type").is_some_and(|t| t == "sandbox") {
            names.container = Some("pause".to_owned());
        }
        names
    }
}
