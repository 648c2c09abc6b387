//! Components without rules: what the host itself calls things.
//!
//! In this order: the virtual machine; the container (`namespace/container` in a pod, so that the replicas of a workload
//! are one component); the systemd unit; the name of the executable. Units that get a new name each time they start
//! (sessions, `systemd-run`) say nothing and are passed over.

use super::Facts;
use super::cgroup::Placement;
use super::label::label;
use super::names::{Answer, Names};
use crate::ledger::reserved;

/// What a process is called; `None` while its container's name is on its way.
pub fn discover(facts: &Facts) -> Option<String> {
    if let Some(cgroup) = &facts.cgroup {
        let placement = &cgroup.placement;
        if let Some(machine) = &placement.machine {
            return Some(own(machine));
        }
        if placement.container.is_some() {
            let Answer::Names(names) = facts.names() else { return None };
            return container(placement, &names).map(|name| own(&name));
        }
        if let Some(name) = placement.unit.as_deref().and_then(lasting_unit) {
            return Some(own(&name));
        }
    }
    let comm = || String::from_utf8_lossy(facts.comm.bytes()).into_owned();
    Some(own(&facts.exe().and_then(program).map_or_else(comm, str::to_owned)))
}

/// What an executable is called; those in memory have names made up at run time.
fn program(exe: &str) -> Option<&str> {
    let name = exe.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some(if exe.starts_with("/memfd:") { "memfd" } else { name })
}

/// The container as people call it.
pub fn container(placement: &Placement, names: &Names) -> Option<String> {
    let container = placement.container.as_ref()?;
    let name = names.container.as_deref().unwrap_or_else(|| container.short_id());
    match &names.namespace {
        Some(namespace) => Some(format!("{namespace}/{name}")),
        None => Some(name.to_owned()),
    }
}

/// Safe as a label, and never one of the reserved names: a process may call itself `idle`.
fn own(name: &str) -> String {
    let name = label(name.as_bytes());
    if name.is_empty() || reserved::ALL.contains(&name.as_str()) { format!("process:{name}") } else { name }
}

/// The unit's name without what changes from start to start; `None` where nothing lasting is left.
fn lasting_unit(unit: &str) -> Option<String> {
    let (stem, kind) = unit.rsplit_once('.')?;
    if kind == "scope" {
        // Scopes are made at run time; desktops name them app-LAUNCHER-APPLICATION-RANDOM.
        return match stem {
            "init" => Some(unit.to_owned()),
            _ => stem.starts_with("app-").then(|| stem.rsplit_once('-')).flatten().map(|(name, _)| name.to_owned()),
        };
    }
    // systemd-run: run-u12.service, run-r3f….service
    if stem.starts_with("run-") {
        return None;
    }
    // D-Bus activation: dbus-:1.2-NAME@0.service
    let stem = stem.strip_prefix("dbus-:").and_then(|rest| rest.split_once('-')).map_or(stem, |(_, name)| name);
    match stem.split_once('@') {
        Some((template, _)) if stem.starts_with("app-") => Some(format!("{template}.{kind}")),
        // One for each connection or crash: sshd@12-192.0.2.1:22-….service, systemd-coredump@3-991-0.service
        Some((template, instance)) if is_counted(instance) => Some(format!("{template}.{kind}")),
        _ => Some(format!("{stem}.{kind}")),
    }
}

/// Whether an instance is a serial number with addresses or ids behind it, or nothing but `0`.
fn is_counted(instance: &str) -> bool {
    let addresses = |rest: &str| rest.bytes().all(|b| b.is_ascii_hexdigit() || b".:-_[]%".contains(&b));
    match instance.split_once('-') {
        Some((number, rest)) => !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && addresses(rest),
        None => instance == "0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::cgroup::classify;

    #[test]
    fn units_keep_what_lasts() {
        let check = |unit: &str, expected: Option<&str>| {
            assert_eq!(lasting_unit(unit).as_deref(), expected, "{unit}");
        };
        check("nginx.service", Some("nginx.service"));
        check("postgresql@15-main.service", Some("postgresql@15-main.service"));
        check("getty@tty1.service", Some("getty@tty1.service"));
        check("user@1000.service", Some("user@1000.service"));
        check("init.scope", Some("init.scope"));
        check("session-3.scope", None);
        check("run-u31.service", None);
        check("run-r0f3c.scope", None);
        check("sshd@12-192.0.2.1:22-192.0.2.9:51234.service", Some("sshd.service"));
        check("systemd-coredump@3-991-0.service", Some("systemd-coredump.service"));
        check("app-gnome-firefox-2211.scope", Some("app-gnome-firefox"));
        check("app-firefox@9f21c0.service", Some("app-firefox.service"));
        check("dbus-:1.2-org.gnome.Shell.Screencast@0.service", Some("org.gnome.Shell.Screencast.service"));
        check("vte-spawn-6bd2a4d3-3f43-4a5b-9c0f-0d8c1d2e3f40.scope", None);
        check("libpod-conmon-f3c1.scope", None);
    }

    #[test]
    fn containers_are_called_what_people_call_them() {
        let id = "f3c1b6c1c0b9a8d7e6f5049382716050f3c1b6c1c0b9a8d7e6f5049382716050";
        let place = classify(&format!("/docker/{id}"));
        let named = |container: Option<&str>, namespace: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            container_name(&place, text(container), text(namespace))
        };
        fn container_name(place: &Placement, container: Option<String>, namespace: Option<String>) -> String {
            super::container(place, &Names { container, pod: None, namespace }).unwrap()
        }
        assert_eq!(named(Some("neo4j"), None), "neo4j");
        assert_eq!(named(Some("app"), Some("prod")), "prod/app");
        assert_eq!(named(None, None), "f3c1b6c1c0b9");
        assert_eq!(container(&classify("/lxc.payload.web"), &Names::default()).as_deref(), Some("web"));
        assert_eq!(container(&classify("/system.slice/a.service"), &Names::default()), None);
    }

    #[test]
    fn programs_are_called_after_their_file() {
        assert_eq!(program("/usr/bin/python3.11"), Some("python3.11"));
        assert_eq!(program("/memfd:sealed-91173221a7ea"), Some("memfd"));
        assert_eq!(program("/"), None);
    }

    #[test]
    fn reserved_names_are_not_taken() {
        assert_eq!(own("idle"), "process:idle");
        assert_eq!(own(""), "process:");
        assert_eq!(own("a\nb"), "a\u{fffd}b");
    }
}
