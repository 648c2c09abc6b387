//! Paths as real systems show them.

use super::*;

const ID: &str = "f3c1b6c1c0b9a8d7e6f5049382716050f3c1b6c1c0b9a8d7e6f5049382716050";
const OTHER_ID: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";
const UID: &str = "6bd2a4d3-3f43-4a5b-9c0f-0d8c1d2e3f40";

/// `expected` is "unit=… slice=… ENGINE=id pod=… vm=…", what is absent left out. `ID`, `ID2`, `UID` and `UID_` in either
/// stand for the real thing.
#[track_caller]
fn check(path: &str, expected: &str) {
    assert_eq!(shown(&classify(&filled(path))), filled(expected), "{path}");
}

fn filled(text: &str) -> String {
    text.replace("ID2", OTHER_ID).replace("UID_", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID)
}

fn shown(placement: &Placement) -> String {
    let Placement { unit, slice, container, pod, machine } = placement;
    let container = container.as_ref().map(|c| (c.engine.name(), c.id.clone()));
    let parts = [
        unit.clone().map(|v| ("unit", v)),
        slice.clone().map(|v| ("slice", v)),
        container,
        pod.clone().map(|v| ("pod", v)),
        machine.clone().map(|v| ("vm", v)),
    ];
    parts.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn systemd() {
    check("/", "");
    check("/init.scope", "unit=init.scope");
    check("/system.slice/ssh.service", "unit=ssh.service slice=system.slice");
    check("/system.slice/system-getty.slice/getty@tty1.service", "unit=getty@tty1.service slice=system-getty.slice");
    check(
        "/system.slice/system-postgresql.slice/postgresql@15-main.service",
        "unit=postgresql@15-main.service slice=system-postgresql.slice",
    );
    check("/system.slice/foo.service/worker/7", "unit=foo.service slice=system.slice");
    check("/user.slice/user-1000.slice/session-3.scope", "unit=session-3.scope slice=user-1000.slice");
    check("/user.slice/user-1000.slice/user@1000.service/init.scope", "unit=init.scope slice=user-1000.slice");
    check("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "unit=x.service slice=app.slice");
    check(
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-2211.scope",
        "unit=app-gnome-firefox-2211.scope slice=app.slice",
    );
    check("/system.slice/boot-efi.mount", "unit=boot-efi.mount slice=system.slice");
    check("/system.slice/docker.service", "unit=docker.service slice=system.slice");
    // As seen from a cgroup namespace of the agent's own.
    check("/../../system.slice/cron.service", "unit=cron.service slice=system.slice");
    check("/.service/.scope", "");
}

#[test]
fn docker() {
    check("/docker/ID", "docker=ID");
    check("/system.slice/docker-ID.scope", "unit=docker-ID.scope slice=system.slice docker=ID");
    check(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
        "unit=docker-ID.scope slice=user.slice docker=ID",
    );
    check("/docker/ID/init", "docker=ID");
    check("/actions_job/ID", "unknown=ID");
    check("/docker/buildx/docker/ID", "docker=ID");
    // Docker in Docker: the container that the host started.
    check("/docker/ID/docker/ID2", "docker=ID");
    // systemd in a container.
    check("/docker/ID/system.slice/nginx.service", "unit=nginx.service slice=system.slice docker=ID");
    check(
        "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-3049472",
        "docker=0123456789abcdef0123456789abcdef-3049472",
    );
    check("/ecs/task-definition/ID", "docker=ID");
    check("/docker/not-an-id", "");
}

#[test]
fn podman() {
    check("/machine.slice/libpod-ID.scope", "unit=libpod-ID.scope slice=machine.slice podman=ID");
    check("/machine.slice/libpod-ID.scope/container", "unit=libpod-ID.scope slice=machine.slice podman=ID");
    check("/libpod_parent/libpod-ID", "podman=ID");
    check(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        "unit=libpod-ID.scope slice=user.slice podman=ID",
    );
    check("/system.slice/web.service/libpod-payload-ID", "unit=web.service slice=system.slice podman=ID");
    check("/machine.slice/libpod-conmon-ID.scope", "unit=libpod-conmon-ID.scope slice=machine.slice");
}

#[test]
fn kubernetes() {
    check("/kubepods/burstable/podUID/ID", "unknown=ID pod=UID");
    check("/kubepods/podUID/ID", "unknown=ID pod=UID");
    check("/kubepods/besteffort/podUID/crio-ID", "cri-o=ID pod=UID");
    check(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
        "unit=cri-containerd-ID.scope slice=kubepods-burstable-podUID_.slice containerd=ID pod=UID",
    );
    check(
        "/kubepods.slice/kubepods-podUID_.slice/crio-ID.scope",
        "unit=crio-ID.scope slice=kubepods-podUID_.slice cri-o=ID pod=UID",
    );
    check(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/docker-ID.scope",
        "unit=docker-ID.scope slice=kubepods-besteffort-podUID_.slice docker=ID pod=UID",
    );
    check(
        "/kubepods.slice/kubepods-podUID_.slice/crio-conmon-ID.scope",
        "unit=crio-conmon-ID.scope slice=kubepods-podUID_.slice pod=UID",
    );
    check(
        "/system.slice/containerd.service/kubepods-burstable-podUID_.slice:cri-containerd:ID",
        "unit=containerd.service slice=system.slice containerd=ID pod=UID",
    );
    // A static pod: the digest of its manifest.
    check(
        "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/ID",
        "unknown=ID pod=0123456789abcdef0123456789abcdef",
    );
    check(
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID_.slice/cri-containerd-ID.scope",
        "unit=cri-containerd-ID.scope slice=kubelet-kubepods-podUID_.slice containerd=ID pod=UID",
    );
    check("/podman/poder", "");
}

#[test]
fn containerd_alone() {
    check("/default/ID", "containerd=ID");
    check("/system.slice/nerdctl-ID.scope", "unit=nerdctl-ID.scope slice=system.slice containerd=ID");
}

#[test]
fn system_containers() {
    check("/lxc/web", "lxc=web");
    check("/lxc/101/ns/system.slice/cron.service", "unit=cron.service slice=system.slice lxc=101");
    check("/lxc.payload.web/system.slice/nginx.service", "unit=nginx.service slice=system.slice lxc=web");
    check("/lxc.payload/web", "lxc=web");
    check("/lxc.monitor.web", "");
    check("/lxc.payload.web/docker/ID", "lxc=web");
    check(
        "/machine.slice/systemd-nspawn@build\\x2dbox.service/payload/system.slice/cron.service",
        "unit=cron.service slice=system.slice nspawn=build-box",
    );
    check("/machine.slice/machine-deb12.scope/payload", "unit=machine-deb12.scope slice=machine.slice nspawn=deb12");
    check(
        "/machine.slice/machine-lxc\\x2d9173\\x2dweb.scope",
        "unit=machine-lxc\\x2d9173\\x2dweb.scope slice=machine.slice lxc=web",
    );
}

#[test]
fn virtual_machines() {
    check(
        "/machine.slice/machine-qemu\\x2d1\\x2ddebian12\\x2dtest.scope/libvirt/emulator",
        "unit=machine-qemu\\x2d1\\x2ddebian12\\x2dtest.scope slice=machine.slice vm=debian12-test",
    );
    check("/machine/qemu-14-win11.libvirt-qemu/vcpu0", "vm=win11");
    check("/qemu.slice/100.scope", "unit=100.scope slice=qemu.slice vm=100");
}

#[test]
fn the_hierarchy_that_tells_comes_first() {
    let hybrid = "9:name=systemd:/system.slice/a.service\n8:pids:/system.slice/a.service\n1:cpu:/\n0::/x:y\n";
    assert_eq!(paths(hybrid), ["/x:y", "/system.slice/a.service", "/"]);
    assert_eq!(paths("0::/system.slice/a.service (deleted)\n"), ["/system.slice/a.service"]);
    assert_eq!(paths("nonsense\n0:\n"), Vec::<&str>::new());
    // cgroup v1 alone: the engine's own parent in each hierarchy, nothing in systemd's.
    let legacy = format!("5:memory:/docker/{ID}\n1:name=systemd:/\n");
    assert_eq!(shown(&classify_all(paths(&legacy))), format!("docker={ID}"));
}

#[test]
fn escapes() {
    assert_eq!(unescape(r"a\x2db\x5cc"), r"a-b\c");
    assert_eq!(unescape(r"\x\x2\xzz\"), r"\x\x2\xzz\");
    assert_eq!(unescape("\\x\u{e9}"), "\\x\u{e9}");
}

proptest::proptest! {
    #[test]
    fn any_path_is_classified(path in ".{0,200}", deep in "(/[a-z0-9.:@\\\\-]{0,12}(pod|\\.scope|\\.slice|:)?){0,8}") {
        classify(&path);
        classify(&deep);
        unescape(&path);
        paths(&path);
    }
}
