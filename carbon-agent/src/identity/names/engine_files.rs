//! Names from the files in which engines keep their containers; readable to root.

use super::{NameSource, Names};
use crate::identity::cgroup::{Container, Engine};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `/var/lib/docker/containers/ID/config.v2.json`
pub struct Docker {
    containers: PathBuf,
}

#[derive(Deserialize)]
struct DockerContainer {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Config", default)]
    config: DockerConfig,
}

#[derive(Default, Deserialize)]
struct DockerConfig {
    #[serde(rename = "Labels", default)]
    labels: Option<HashMap<String, String>>,
}

impl Docker {
    pub fn new(root: &Path) -> Self {
        Self { containers: root.join("var/lib/docker/containers") }
    }
}

/// Docker's own description of a container: the same in its file and in the answer of its API.
pub fn docker_names(json: &[u8]) -> Option<Names> {
    let container: DockerContainer = serde_json::from_slice(json).ok()?;
    let labels = container.config.labels.unwrap_or_default();
    let mut names = Names::from_notes(|key| labels.get(key).map(String::as_str));
    names.complete(Names::from_engine_name(&container.name));
    Some(names)
}

impl NameSource for Docker {
    fn names(&self, container: Option<&Container>, _pod: Option<&str>) -> Names {
        let Some(container) = container.filter(|c| matches!(c.engine, Engine::Docker | Engine::Unknown)) else {
            return Names::default();
        };
        let file = self.containers.join(&container.id).join("config.v2.json");
        fs::read(file).ok().and_then(|json| docker_names(&json)).unwrap_or_default()
    }
}

/// The list that Podman and CRI-O keep with their storage library: `overlay-containers/containers.json`.
pub struct ContainersStorage {
    lists: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct StoredContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

impl ContainersStorage {
    pub fn new(root: &Path) -> Self {
        let lists = ["overlay-containers", "vfs-containers", "btrfs-containers"].into_iter().flat_map(|driver| {
            // Containers started with --rm are in the second list.
            ["containers.json", "volatile-containers.json"]
                .map(|list| root.join("var/lib/containers/storage").join(driver).join(list))
        });
        Self { lists: lists.collect() }
    }
}

impl NameSource for ContainersStorage {
    fn names(&self, container: Option<&Container>, _pod: Option<&str>) -> Names {
        let Some(container) = container.filter(|c| matches!(c.engine, Engine::Podman | Engine::CriO | Engine::Unknown))
        else {
            return Names::default();
        };
        let name = self.lists.iter().find_map(|list| {
            let stored: Vec<StoredContainer> = serde_json::from_slice(&fs::read(list).ok()?).ok()?;
            stored.into_iter().find(|stored| stored.id == container.id)?.names.into_iter().next()
        });
        name.map(|name| Names::from_engine_name(&name)).unwrap_or_default()
    }
}
