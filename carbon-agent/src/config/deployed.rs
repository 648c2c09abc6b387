//! The files under `deploy/tta` against the table of processes they are meant for.

use super::*;
use crate::identity::rules::{Field, RuleSet, Subject};

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/tta").join(name)
}

fn load_deployed(environment: &Environment) -> Loaded {
    let globals = Globals { config: Some(deployed("config.yaml")), ..Globals::default() };
    Config::load(&globals, environment).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

struct Process<'a>(&'a [(Field, &'a str)]);

impl Subject for Process<'_> {
    fn values(&self, field: Field, visit: &mut dyn FnMut(&[u8])) {
        for (_, value) in self.0.iter().filter(|(known, _)| *known == field) {
            visit(value.as_bytes());
        }
    }
}

#[test]
fn the_deployed_file_is_read_without_a_word() {
    let loaded = load_deployed(&Environment::default());
    assert_eq!(loaded.warnings, [""; 0]);
    let config = loaded.config;
    assert_eq!(config.project_name, "TTA-Staging");
    assert_eq!(config.output_dir, Path::new("/var/log/tta/staging/codecarbon"));
    assert_eq!(config.log.file.as_deref(), Some(Path::new("/var/log/tta/staging/carbon.log")));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.intensity, [IntensitySource::Zone("WORLD".to_owned())]);
}

#[test]
fn every_part_of_the_application_is_its_own_component() {
    use Field::*;
    let rules = RuleSet::compile(&load_deployed(&Environment::default()).config.components).unwrap();
    for (process, expected) in [
        (&[(Comm, "carbon-agent"), (Exe, "/usr/bin/carbon-agent")][..], Some("carbon-agent")),
        (&[(Container, "tta-staging-carbon-1"), (Comm, "carbon-agent")], Some("carbon-agent")),
        (&[(Container, "tta-staging-player-api"), (Comm, "uvicorn")], Some("player_experience_api")),
        (&[(Container, "/tta-staging-player-api-1"), (Comm, "python3")], Some("player_experience_api")),
        (
            &[
                (Exe, "/usr/bin/python3.12"),
                (Cmdline, "python -m uvicorn src.player_experience.api.app:app --port 8080"),
            ],
            Some("player_experience_api"),
        ),
        (&[(Container, "tta-staging-player-frontend"), (Comm, "node")], Some("player_experience_frontend")),
        (
            &[(Exe, "/usr/bin/node"), (Cmdline, "node /opt/tta/staging/src/player_experience/frontend/server.js")],
            Some("player_experience_frontend"),
        ),
        (&[(Container, "tta-staging-nginx"), (Comm, "nginx")], Some("player_experience_frontend")),
        (&[(Cmdline, "uv run python -m src.agent_orchestration.service")], Some("agent_orchestration")),
        (&[(Cmdline, "python src/orchestration/orchestrator.py")], Some("agent_orchestration")),
        (&[(Cmdline, "python src/components/gameplay_loop_component.py")], Some("gameplay_loop")),
        (&[(Cmdline, "python -m src.components.narrative_arc_orchestrator")], Some("narrative_arc_orchestrator")),
        (&[(Container, "tta-staging-narrative-arc-orchestrator")], Some("narrative_arc_orchestrator")),
        (&[(Cmdline, "python -m src.components.narrative_coherence")], Some("narrative_coherence")),
        (&[(Cmdline, "python -m src.components.character_arc_manager")], Some("character_arc")),
        (&[(Comm, "python3"), (Env, "TTA_COMPONENT=character_arc_manager")], Some("character_arc")),
        (&[(Unit, "ollama.service"), (Comm, "ollama")], Some("model_management")),
        (&[(Comm, "ollama_llama_se"), (Exe, "/tmp/ollama123/runners/ollama_llama_server")], Some("model_management")),
        (&[(Cmdline, "python -m vllm.entrypoints.openai.api_server --model x")], Some("model_management")),
        (&[(Container, "tta-staging-neo4j"), (Comm, "java")], Some("neo4j")),
        (&[(Comm, "java"), (Cmdline, "/usr/bin/java -cp /x org.neo4j.server.Neo4jCommunity")], Some("neo4j")),
        (&[(Container, "tta-staging-redis"), (Comm, "redis-server")], Some("redis")),
        (&[(Comm, "redis-server")], Some("redis")),
        (&[(Exe, "/usr/lib/postgresql/15/bin/postgres"), (Comm, "postgres")], Some("postgresql")),
        (&[(Container, "tta-staging-redis-exporter"), (Comm, "redis_exporter")], Some("monitoring")),
        (&[(Container, "tta-staging-prometheus"), (Comm, "prometheus")], Some("monitoring")),
        (&[(Comm, "grafana"), (Unit, "grafana-server.service")], Some("monitoring")),
        (&[(Container, "tta-staging-health-check"), (Comm, "python3")], Some("monitoring")),
        // Not the application's.
        (&[(Comm, "sshd"), (Exe, "/usr/sbin/sshd"), (Unit, "ssh.service"), (Cmdline, "sshd: tta-user")], None),
        (&[(Comm, "node"), (Exe, "/usr/bin/node"), (Cmdline, "node /srv/other/server.js")], None),
        (&[(Comm, "bash"), (Container, "other-redis")], None),
    ] {
        let decided = rules.decide(&Process(process)).map(|it| rules.components()[it.component].as_str());
        assert_eq!(decided, expected, "{process:?}");
    }
}

#[test]
fn the_documented_environment_works_as_it_is() {
    let command = format!(". '{}' && env", deployed("environment").display());
    let output = std::process::Command::new("sh").args(["-c", &command]).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let environment: Environment = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(environment.get("TTA_CONFIG"), Some("/etc/tta/staging/config.yaml"));
    let loaded = load_deployed(&environment);
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(loaded.config.environment.as_deref(), Some("staging"));
    assert_eq!(loaded.origin("carbon.output_dir"), &Origin::Env("CARBON_OUTPUT_DIR".to_owned()));
    assert_eq!(loaded.origin("carbon.measurement_interval"), &Origin::Env("CARBON_MEASUREMENT_INTERVAL".to_owned()));
}
