//! Deploying and rolling back on a staging host: idempotent, healthy before and after, back by itself when it fails.

use carbon_tests::agent::repository;
use carbon_tests::deploy::machine::Machine;
use carbon_tests::deploy::packages;
use carbon_tests::need;
use std::process::{Command, Output};

/// Tells systemd that it is ready, and does nothing.
const IDLE: &str = "#!/usr/bin/perl
use Socket;
exit 1 if $ARGV[0] ne 'run';
socket(S, AF_UNIX, SOCK_DGRAM, 0);
send(S, 'READY=1', 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET}));
sleep 1000;
";

/// A host to deploy to, with versions 1.0.0, 2.0.0 (good), 3.0.0 (ends at once) and 4.0.0 (runs but never measures).
fn host() -> Option<Machine> {
    let deb = packages::deb()?;
    let folder = tempfile::tempdir().unwrap();
    let broken = [("1.0.0", None), ("2.0.0", None), ("3.0.0", Some("#!/bin/sh\nexit 1\n")), ("4.0.0", Some(IDLE))];
    let machine = Machine::boot()?;
    for (version, agent) in broken {
        let package = packages::variant(&deb, version, folder.path(), |tree| {
            if let Some(script) = agent {
                packages::replace_agent(tree, script);
            }
        });
        machine.put_file(&package, "/srv/packages");
    }
    for script in ["deploy-staging.sh", "rollback-staging.sh", "staging-lib.sh"] {
        machine.put_file(&repository().join("deploy/scripts").join(script), "/opt/tta/staging/scripts");
    }
    machine.run("cd /srv/packages && sha256sum *.deb >SHA256SUMS && chmod +x /opt/tta/staging/scripts/*.sh");
    machine.put_environment("");
    Some(machine)
}

fn script(machine: &Machine, command: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        machine.try_run(&format!("cd /opt/tta/staging && TTA_PATIENCE=12 ./scripts/{command} 2>&1"));
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    println!("$ {command}\n{text}");
    (status.code(), text)
}

fn running(machine: &Machine) -> String {
    machine.run("carbon-agent health >/dev/null && dpkg-query -W -f '${Version}' carbon-agent")
}

#[test]
fn shellcheck_finds_nothing() {
    if !need::program("shellcheck") {
        return;
    }
    let files = ["deploy/scripts/*.sh", "deploy/deb/*", ".ci/run"].join(" ");
    let output = Command::new("sh")
        .args(["-c", &format!("shellcheck --external-sources {files}")])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn deploy_again_fail_and_roll_back() {
    let Some(machine) = host() else { return };
    let deploy = "deploy-staging.sh --component carbon --from /srv/packages";

    let (code, text) = script(&machine, &format!("{deploy} --version 1.0.0"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("health before (not installed)") && text.contains("last interval ended"), "{text}");
    assert_eq!(running(&machine), "1.0.0");

    // Again: nothing happens.
    let pid = machine.run("systemctl show -P MainPID tta-staging-carbon");
    let (code, text) = script(&machine, &format!("{deploy} --version 1.0.0"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("nothing to do"), "{text}");
    assert_eq!(machine.run("systemctl show -P MainPID tta-staging-carbon"), pid);

    assert_eq!(script(&machine, &format!("{deploy} --version 2.0.0")).0, Some(0));
    assert_eq!(running(&machine), "2.0.0");

    // A version that dies, and one that systemd thinks well of while it measures nothing.
    for bad in ["3.0.0", "4.0.0"] {
        let (code, text) = script(&machine, &format!("{deploy} --version {bad}"));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("{bad} was not healthy; 2.0.0 is running again")), "{text}");
        assert_eq!(running(&machine), "2.0.0");
    }

    let (code, text) = script(&machine, "rollback-staging.sh --component carbon");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(running(&machine), "1.0.0");
    // Rolling back to what is bad ends where it began.
    let (code, text) = script(&machine, "rollback-staging.sh --component carbon --version 3.0.0");
    assert_eq!((code, running(&machine).as_str()), (Some(1), "1.0.0"), "{text}");
    // The last ones are kept, and only root may change them.
    let kept = machine.run("cd /var/lib/tta-staging/releases && stat -c '%U %a' . && ls *.deb");
    assert!(kept.starts_with("root 755") && kept.contains("_1.0.0_") && kept.contains("_2.0.0_"), "{kept}");
}

#[test]
fn what_cannot_be_deployed_is_said_before_anything_changes() {
    let Some(machine) = host() else { return };
    for (command, code, words) in [
        ("deploy-staging.sh", 2, "usage"),
        ("deploy-staging.sh --component neo4j --from /srv/packages", 2, "neo4j"),
        ("deploy-staging.sh --component carbon --from /srv/packages --version 9.9", 2, "4.0.0 3.0.0 2.0.0 1.0.0"),
        ("deploy-staging.sh --component carbon --from /nowhere", 2, "/nowhere"),
        ("rollback-staging.sh --component carbon", 1, "no earlier version"),
        ("rollback-staging.sh --component carbon --version 1.0.0", 2, "not kept"),
    ] {
        let (status, text) = script(&machine, command);
        assert_eq!(status, Some(code), "{command}: {text}");
        assert!(text.contains(words), "{command}: {text}");
    }
    machine.run("cd /srv/packages && echo damage >>$(ls carbon-agent_1.0.0_*.deb)");
    let (status, text) = script(&machine, "deploy-staging.sh --component carbon --from /srv/packages --version 1.0.0");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("does not match"), "{text}");
    // As a first deployment, a bad version leaves nothing running.
    let (status, text) = script(&machine, "deploy-staging.sh --component carbon --from /srv/packages --version 3.0.0");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("no earlier version is kept: stopped"), "{text}");
    assert!(!machine.try_run("systemctl is-active tta-staging-carbon").status.success());
}
