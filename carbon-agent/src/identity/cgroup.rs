//! What the path of a cgroup tells: systemd unit and slice, container, pod, virtual machine. Pure.
//!
//! A path is read from the outside in. The unit is the innermost one, as `systemctl status PID` would name it. The
//! container is the outermost one: that is what the host's engine started and can name; what runs inside a container
//! that is itself a host belongs to it.

/// Who made a container, as far as the path shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    Docker,
    Podman,
    Containerd,
    CriO,
    Lxc,
    Nspawn,
    /// A container's id without its engine: cgroupfs paths of pods, custom parents.
    Unknown,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
            Engine::Containerd => "containerd",
            Engine::CriO => "cri-o",
            Engine::Lxc => "lxc",
            Engine::Nspawn => "nspawn",
            Engine::Unknown => "unknown",
        }
    }

    /// Whether the id is the name.
    pub fn names_by_id(self) -> bool {
        matches!(self, Engine::Lxc | Engine::Nspawn)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    pub engine: Engine,
    /// 64 hexadecimal digits, or the name where that is the id ([`Engine::names_by_id`]).
    pub id: String,
}

impl Container {
    /// The id as engines print it: 12 digits; a name whole.
    pub fn short_id(&self) -> &str {
        if self.engine.names_by_id() { &self.id } else { self.id.get(..12).unwrap_or(&self.id) }
    }
}

/// Everything a path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The innermost systemd unit that holds processes: service, scope, and the rarer kinds.
    pub unit: Option<String>,
    /// The innermost slice.
    pub slice: Option<String>,
    pub container: Option<Container>,
    /// UID of the Kubernetes pod, with dashes.
    pub pod: Option<String>,
    /// Name of the virtual machine.
    pub machine: Option<String>,
}

/// Units that can hold processes of their own.
const UNITS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// Classifies one path of `/proc/<pid>/cgroup`.
pub fn classify(path: &str) -> Placement {
    let mut placement = Placement::default();
    let mut outer = "";
    for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != "..") {
        if segment.ends_with(".slice") {
            placement.slice = Some(segment.to_owned());
        } else if UNITS.iter().any(|kind| segment.len() > kind.len() && segment.ends_with(kind)) {
            placement.unit = Some(segment.to_owned());
        }
        if placement.pod.is_none() {
            placement.pod = pod(segment);
        }
        if placement.container.is_none() && placement.machine.is_none() {
            placement.machine = machine(segment, outer);
            placement.container = container(segment, outer, path);
        }
        outer = segment;
    }
    placement
}

/// Classifies a process by all hierarchies it is in: each thing from the first path that tells it.
pub fn classify_all<'a>(paths: impl IntoIterator<Item = &'a str>) -> Placement {
    let mut whole = Placement::default();
    for path in paths {
        let Placement { unit, slice, container, pod, machine } = classify(path);
        whole.unit = whole.unit.or(unit);
        whole.slice = whole.slice.or(slice);
        whole.container = whole.container.or(container);
        whole.pod = whole.pod.or(pod);
        whole.machine = whole.machine.or(machine);
    }
    whole
}

/// The paths of `/proc/<pid>/cgroup`, the hierarchy that tells most first: unified, then systemd's own, then the rest.
pub fn paths(proc_cgroup: &str) -> Vec<&str> {
    // "HIERARCHY:CONTROLLERS:PATH"; a path may hold colons.
    let mut lines: Vec<(u8, &str)> = proc_cgroup
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let rank = match controllers {
                "" => 0,
                "name=systemd" => 1,
                _ => 2,
            };
            // The kernel's mark on the path of a cgroup that was removed under its last, dying process.
            Some((rank, path.strip_suffix(" (deleted)").unwrap_or(path)))
        })
        .collect();
    lines.sort_by_key(|(rank, _)| *rank);
    let mut paths: Vec<&str> = Vec::with_capacity(lines.len());
    for (_, path) in lines {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

fn container(segment: &str, outer: &str, path: &str) -> Option<Container> {
    let found = |engine, id: &str| Some(Container { engine, id: id.to_owned() });
    let stem = segment.strip_suffix(".scope").unwrap_or(segment);
    // A runtime with the cgroupfs driver given a systemd parent: "PARENT.slice:ENGINE:ID".
    if let Some((rest, id)) = stem.rsplit_once(':') {
        let prefix = rest.rsplit(':').next().unwrap_or(rest);
        return is_id(id).then(|| engine_of_prefix(prefix)).and_then(|engine| found(engine, id));
    }
    if is_id(stem) {
        let engine = match outer {
            "docker" | "buildkit" => Engine::Docker,
            "default" | "k8s.io" | "moby" => Engine::Containerd,
            _ if path.starts_with("/ecs/") => Engine::Docker,
            _ => Engine::Unknown,
        };
        return found(engine, stem);
    }
    if let Some((prefix, id)) = stem.rsplit_once('-') {
        // What watches a container from outside (libpod-conmon-ID, crio-conmon-ID) is not in it.
        if is_id(id) && !prefix.ends_with("conmon") {
            return found(engine_of_prefix(prefix), id);
        }
        // Amazon's task ids: 32 digits and a number.
        if path.starts_with("/ecs/") && outer == prefix && is_hex(prefix, 32) {
            return found(Engine::Docker, stem);
        }
    }
    if let Some(name) = segment.strip_prefix("lxc.payload.") {
        return found(Engine::Lxc, name);
    }
    if matches!(outer, "lxc" | "lxc.payload") {
        return found(Engine::Lxc, segment);
    }
    if let Some(name) = segment.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service")) {
        return found(Engine::Nspawn, &unescape(name));
    }
    if let Some(name) = segment.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope")) {
        let name = unescape(name);
        return match libvirt_name(&name, "lxc-") {
            Some(name) => found(Engine::Lxc, name),
            None if libvirt_name(&name, "qemu-").is_some() => None,
            None => found(Engine::Nspawn, &name),
        };
    }
    None
}

fn engine_of_prefix(prefix: &str) -> Engine {
    match prefix {
        "docker" | "cri-dockerd" => Engine::Docker,
        "libpod" | "libpod-payload" => Engine::Podman,
        "cri-containerd" | "containerd" | "nerdctl" => Engine::Containerd,
        "crio" => Engine::CriO,
        _ => Engine::Unknown,
    }
}

fn machine(segment: &str, outer: &str) -> Option<String> {
    // systemd: machine-qemu\x2d1\x2dNAME.scope
    if let Some(escaped) = segment.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope")) {
        return libvirt_name(&unescape(escaped), "qemu-").map(str::to_owned);
    }
    // libvirt without systemd: /machine/qemu-1-NAME.libvirt-qemu
    if let Some(rest) = segment.strip_suffix(".libvirt-qemu") {
        return Some(libvirt_name(rest, "qemu-").unwrap_or(rest).to_owned());
    }
    // Proxmox: /qemu.slice/100.scope
    if outer == "qemu.slice" {
        return segment.strip_suffix(".scope").map(str::to_owned);
    }
    None
}

/// NAME of `qemu-1-NAME`.
fn libvirt_name<'a>(machine: &'a str, driver: &str) -> Option<&'a str> {
    let (number, name) = machine.strip_prefix(driver)?.split_once('-')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty()).then_some(name)
}

/// UID of `pod<uid>` (cgroupfs driver) or of `kubepods-burstable-pod<uid with underscores>.slice` (systemd driver).
fn pod(segment: &str) -> Option<String> {
    // The colon form of a container's cgroup names its pod's slice first.
    let segment = segment.split(':').next().unwrap_or(segment);
    let uid = match segment.strip_suffix(".slice") {
        Some(stem) if stem.contains("kubepods") => stem.rsplit_once("-pod")?.1.replace('_', "-"),
        Some(_) => return None,
        None => segment.strip_prefix("pod")?.to_owned(),
    };
    is_pod_uid(&uid).then_some(uid)
}

/// A UUID, or the 32 digits of a static pod's manifest.
fn is_pod_uid(uid: &str) -> bool {
    let groups: Vec<usize> = uid.split('-').map(str::len).collect();
    (groups == [8, 4, 4, 4, 12] || groups == [32]) && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn is_id(text: &str) -> bool {
    is_hex(text, 64)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Undoes systemd's escaping: `\x2d` is `-`.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.strip_prefix(b"x").and_then(|hex| hex.get(..2)).and_then(|hex| {
            let hex = std::str::from_utf8(hex).ok()?;
            u8::from_str_radix(hex, 16).ok()
        });
        match code {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
