//! The container: built and run by a real engine from the compose file, on a read-only root.

use anyhow::{Context, Result, ensure};
use carbon_tests::agent::{repository, rows};
use carbon_tests::debian::{run, wait_for};
use carbon_tests::deploy::packages;
use carbon_tests::engine::{self, Engine};
use carbon_tests::need;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The project of the compose file, taken down when dropped.
struct Project<'a> {
    engine: &'a Engine,
    logs: PathBuf,
}

impl Project<'_> {
    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker-compose");
        command
            .arg("--file")
            .arg(repository().join("deploy/docker/docker-compose.staging.yml"))
            .args(["--project-name", "carbon-compose-test"])
            .args(arguments)
            .env("DOCKER_HOST", format!("unix://{}", self.engine.socket().display()))
            .env("CARBON_CONTEXT", packages::dist().join("stage"))
            .env("CARBON_BASE", engine::IMAGE)
            .env("CARBON_LOGS", &self.logs)
            .env("CARBON_MEASUREMENT_INTERVAL", "2")
            // Any free port: the tests of others use 9090.
            .env("CARBON_PORT", "0");
        if old(self.engine) {
            command.env("CARBON_CAP_BPF", "SYS_ADMIN").env("CARBON_CAP_PERFMON", "CAP_SYS_ADMIN");
        }
        command
    }

    fn inspect(&self, format: &str) -> Result<String> {
        self.engine.docker(["inspect", "--format", format, "tta-staging-carbon"])
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = run(&mut self.compose(&["down", "--volumes", "--timeout", "5"]));
    }
}

/// Engines before 23 do not know CAP_BPF and CAP_PERFMON by name.
fn old(engine: &Engine) -> bool {
    let version = engine.docker(["version", "--format", "{{.Server.Version}}"]).unwrap_or_default();
    version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < 23)
}

#[test]
fn the_container_measures_the_host_and_is_healthy() -> Result<()> {
    if !engine::possible() || !need::program("docker-compose") {
        return Ok(());
    }
    if packages::deb().is_none() {
        return Ok(());
    }
    // An engine of the machine's own at the usual address does not know our containers' names.
    // The agent finds the engine below the root directory of process 1, which some machines let nobody see: then
    // containers go by their ids.
    let named = !Path::new(engine::USUAL_SOCKET).exists() && Path::new("/proc/1/root/run").exists();
    let engine = Engine::start_as_on_a_host()?;
    let folder = tempfile::tempdir()?;
    let project = Project { engine: &engine, logs: folder.path().join("logs") };
    let other = engine.run("tta-staging-neo4j", &["sh", "-c", "while :; do :; done"])?;
    run(&mut project.compose(&["up", "--build", "--detach", "carbon"]))?;
    let output = project.logs.join("codecarbon");

    let health = wait_for("a healthy agent", 40, || {
        let health = engine.docker(["exec", "tta-staging-carbon", "carbon-agent", "health"]).ok()?;
        health.contains("last interval ended").then_some(health)
    });
    let health = health.with_context(|| run(&mut project.compose(&["logs"])).unwrap_or_default())?;
    println!("{health}");
    ensure!(health.contains("✅ Probe: eBPF"), "the probe is attached inside: {health}");

    // On the volume: the host's processes, among them the other container's. Its name may arrive after its first row.
    let of_other = |row: &serde_json::Value| {
        let known = if named {
            row["container"] == "tta-staging-neo4j" && row["component"] == "neo4j"
        } else {
            row["container"].as_str().is_some_and(|container| other.id.starts_with(container))
        };
        row["record"] == "process" && row["pid"] == u64::from(other.pid) && known
    };
    let busy = wait_for("rows of the other container", 30, || rows(&output).into_iter().find(of_other))?;
    println!("{busy}");
    ensure!(project.logs.join("carbon.log").is_file(), "the log lies on the volume");

    // The root is read-only, nothing but the volumes can be written, no capability more than asked for.
    let touch = engine.docker(["exec", "tta-staging-carbon", "touch", "/usr/bin/x"]);
    ensure!(touch.is_err(), "the root can be written");
    ensure!(project.inspect("{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}")? == "true false");
    ensure!(project.inspect("{{.HostConfig.CapDrop}}")? == "[ALL]");

    // The port of the mapping answers, and the engine's own check passes: it is run here instead of awaited.
    let check = project.inspect("{{json .Config.Healthcheck.Test}}")?;
    ensure!(check.contains("carbon-agent"), "{check}");
    let port = engine.docker(["port", "tta-staging-carbon", "9090/tcp"])?;
    let address = port.lines().next().context("a port")?.to_owned();
    let asked = carbon_agent::health::client::check(&format!("http://{address}"));
    ensure!(asked.healthy, "{}", asked.text);
    let ps = run(&mut project.compose(&["ps", "carbon"]))?;
    ensure!(ps.contains("Up"), "{ps}");

    // An orderly end writes what is left.
    let before = lines(&output);
    run(&mut project.compose(&["stop", "carbon"]))?;
    ensure!(lines(&output) > before, "the last interval is written");
    ensure!(project.inspect("{{.State.ExitCode}}")? == "0");
    Ok(())
}

fn lines(output: &Path) -> usize {
    rows(output).len()
}
