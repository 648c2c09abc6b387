//! The command line, as clap reads it. Values of settings stay text here: the configuration checks flags,
//! environment and file by the same rules and knows where each value came from.

use crate::config::model::{EnergyChoice, IdlePolicy, LogFormat, LogLevel, ProbeChoice, WeightsChoice};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Energy and carbon by process: CPU time from the kernel, energy from the host's meters, books that close.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "carbon-agent",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  carbon-agent exec -- make -j4            where did this command's joules go?
  carbon-agent run --config config.yaml    the daemon: JSON rows, /metrics, /health/carbon
  carbon-agent doctor                      what this host can measure, and how to get the rest

A flag wins over the environment (CARBON_…), the environment over the file, the file over the default.
Exit status: 0 good, 1 the job failed, 2 unusable arguments or configuration."
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every subcommand takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings (every subcommand)")]
pub struct Globals {
    /// The application's YAML file that holds our `carbon:` section [env: TTA_CONFIG] [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Folder for emissions_YYYYMMDD.json and emissions.csv
    #[arg(long, global = true, value_name = "DIR")]
    pub output_dir: Option<String>,

    /// Where to serve /metrics and /health/carbon; port 0 takes any free one
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub listen: Option<String>,

    /// What is exported, each so many seconds
    #[arg(long, global = true, value_name = "SECS")]
    pub interval: Option<String>,

    /// How often CPU time and energy are read; fractions allowed
    #[arg(long, global = true, value_name = "SECS")]
    pub sample_interval: Option<String>,

    /// Name of the project in rows and metrics
    #[arg(long, global = true, value_name = "NAME")]
    pub project_name: Option<String>,

    /// Where CPU time comes from
    #[arg(long, global = true, value_name = "PROBE", value_parser = PossibleValuesParser::new(ProbeChoice::NAMES))]
    pub probe: Option<String>,

    /// Where energy comes from
    #[arg(long, global = true, value_name = "SOURCE", value_parser = PossibleValuesParser::new(EnergyChoice::NAMES))]
    pub energy: Option<String>,

    /// Who bears the energy of the idle machine
    #[arg(long, global = true, value_name = "POLICY", value_parser = PossibleValuesParser::new(IdlePolicy::NAMES))]
    pub idle: Option<String>,

    /// What CPU time weighs
    #[arg(long, global = true, value_name = "POLICY", value_parser = PossibleValuesParser::new(WeightsChoice::NAMES))]
    pub weights: Option<String>,

    /// A powercap tree elsewhere, such as a guest's share from its hypervisor
    #[arg(long, global = true, value_name = "DIR")]
    pub powercap: Option<String>,

    /// Watts of the idle host, for `--energy model`
    #[arg(long, global = true, value_name = "WATTS")]
    pub model_min_watts: Option<String>,

    /// Watts of the fully busy host, for `--energy model`
    #[arg(long, global = true, value_name = "WATTS")]
    pub model_max_watts: Option<String>,

    /// Where the host's sysfs is mounted [default: /sys]
    #[arg(long, global = true, value_name = "DIR")]
    pub host_sysfs: Option<String>,

    /// Where the host's procfs is mounted [default: /proc]
    #[arg(long, global = true, value_name = "DIR")]
    pub host_procfs: Option<String>,

    /// Where the host's root directory is mounted [default: /]
    #[arg(long, global = true, value_name = "DIR")]
    pub host_root: Option<String>,

    /// How much is logged
    #[arg(long, global = true, value_name = "LEVEL", ignore_case = true, value_parser = PossibleValuesParser::new(log_levels()))]
    pub log_level: Option<String>,

    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", value_parser = PossibleValuesParser::new(LogFormat::NAMES))]
    pub log_format: Option<String>,
}

impl Globals {
    /// Each flag that was given: its name, the key of the setting it sets, its text.
    pub fn given(&self) -> Vec<(&'static str, &'static str, &str)> {
        [
            ("--output-dir", "carbon.output_dir", &self.output_dir),
            ("--listen", "carbon.listen", &self.listen),
            ("--interval", "carbon.measurement_interval", &self.interval),
            ("--sample-interval", "carbon.sample_interval", &self.sample_interval),
            ("--project-name", "carbon.project_name", &self.project_name),
            ("--probe", "carbon.probe.source", &self.probe),
            ("--energy", "carbon.energy.source", &self.energy),
            ("--idle", "carbon.idle", &self.idle),
            ("--weights", "carbon.weights", &self.weights),
            ("--powercap", "carbon.energy.powercap", &self.powercap),
            ("--model-min-watts", "carbon.energy.model_min_watts", &self.model_min_watts),
            ("--model-max-watts", "carbon.energy.model_max_watts", &self.model_max_watts),
            ("--host-sysfs", "carbon.host.sysfs", &self.host_sysfs),
            ("--host-procfs", "carbon.host.procfs", &self.host_procfs),
            ("--host-root", "carbon.host.root", &self.host_root),
            ("--log-level", "carbon.log_level", &self.log_level),
            ("--log-format", "carbon.log_format", &self.log_format),
        ]
        .into_iter()
        .filter_map(|(flag, key, value)| Some((flag, key, value.as_deref()?)))
        .collect()
    }
}

/// The levels, with the short names that many type instead.
fn log_levels() -> Vec<PossibleValue> {
    let level = |name: &'static str| match name {
        "warning" => PossibleValue::new(name).alias("warn"),
        "critical" => PossibleValue::new(name).alias("fatal"),
        _ => PossibleValue::new(name),
    };
    LogLevel::NAMES.iter().map(|name| level(name)).collect()
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Measure until SIGTERM or SIGINT: write JSON rows, serve metrics and health
    #[command(after_help = "\
Examples:
  carbon-agent run --output-dir /var/log/carbon --listen 127.0.0.1:9090
  TTA_CONFIG=/etc/tta/staging/config.yaml carbon-agent run

SIGHUP reloads the configuration and reopens the files.")]
    Run,

    /// Run a command, measure it and all its descendants, report on standard error
    #[command(after_help = "\
Examples:
  carbon-agent exec -- cargo build --release
  carbon-agent exec --json build.json -- sh -c 'make && make test'

The exit status is the command's own (128+n for a signal).")]
    Exec(ExecArgs),

    /// Live table: components, processes, watts, grams
    Top,

    /// Sum up what was written
    #[command(after_help = "\
Examples:
  carbon-agent report --since 24h
  carbon-agent report --since 7d --by day --format csv --output-dir /var/log/tta/staging/codecarbon")]
    Report(ReportArgs),

    /// Ask a running agent how it is: one line a check, exit status 0 (healthy) or 1
    #[command(after_help = "\
Examples:
  carbon-agent health
  carbon-agent health --url http://127.0.0.1:9090/health/carbon
  carbon-agent health --config /etc/tta/staging/config.yaml")]
    Health(HealthArgs),

    /// Check the configuration and print every setting with where it came from
    #[command(after_help = "\
Examples:
  carbon-agent check --config /etc/tta/staging/config.yaml
  CARBON_PUE=1.2 carbon-agent check

Exit status 0 (usable) or 2; all errors are printed, one a line.")]
    Check,

    /// What this host can measure, what it cannot, and the remedy
    Doctor,

    /// Write down samples of CPU time and energy, for `replay`; no command lines, no environments
    #[command(after_help = "\
Examples:
  carbon-agent record load.jsonl --duration 2m
  carbon-agent record build.jsonl -- make -j4

Ends with the command, after the duration, or at SIGINT; then it prints, on standard error, what `replay` will print.")]
    Record(RecordArgs),

    /// Send a recording through attribution again: the same figures, or what another policy would have said
    #[command(after_help = "\
Examples:
  carbon-agent replay load.jsonl
  carbon-agent replay load.jsonl --weights time --idle proportional")]
    Replay(ReplayArgs),

    /// Why a process belongs to its component, step by step
    #[command(after_help = "\
Example:
  carbon-agent explain 4711 --config /etc/tta/staging/config.yaml")]
    Explain(ExplainArgs),
}

#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// Also write the rows as JSON lines
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Also write CodeCarbon's row
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportBy {
    Component,
    Process,
    Unit,
    Container,
    Day,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Table,
    Json,
    Csv,
    Html,
}

#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// How far back: 90s, 30m, 24h, 7d, 2w
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = span)]
    pub since: Duration,

    /// What the rows are
    #[arg(long, value_name = "BY", default_value = "component")]
    pub by: ReportBy,

    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ReportFormat,
}

#[derive(Clone, Debug, Args)]
pub struct HealthArgs {
    /// Address of the running agent [default: where the configuration says that it listens]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// The recording, JSON lines; an existing file is replaced
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// How long: 90s, 30m, 24h, … [default: until the command ends, or SIGINT]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub duration: Option<Duration>,

    /// A command to run meanwhile: it and its descendants are the component `command`
    #[arg(value_name = "CMD", last = true)]
    pub command: Vec<OsString>,
}

#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The process
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: u32,
}

/// A span of time as people write it: a whole number and one of s, m, h, d, w.
fn span(text: &str) -> Result<Duration, String> {
    let expected = || "a span such as 90s, 30m, 24h, 7d or 2w".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(expected()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    if count == 0 {
        return Err(expected());
    }
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_finds_the_definition_sound() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("carbon-agent").chain(line.split_whitespace()))
    }

    #[test]
    fn usage_errors_exit_2() {
        for line in [
            "",
            "fly",
            "run --frequency 3",
            "run extra",
            "exec",
            "exec --",
            "run --probe psychic",
            "run --energy sun",
            "report --since yesterday",
            "report --since 0h",
            "report --by moon",
            "explain",
            "explain zero",
            "explain 0",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn help_and_version_are_not_errors() {
        for line in ["--help", "--version", "run --help", "exec --help", "help report"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
        }
    }

    #[test]
    fn global_flags_stand_before_or_after_the_subcommand() {
        for line in ["--interval 5 --probe ebpf run", "run --interval 5 --probe ebpf"] {
            let globals = parse(line).unwrap().globals;
            assert_eq!(
                globals.given(),
                [("--interval", "carbon.measurement_interval", "5"), ("--probe", "carbon.probe.source", "ebpf")],
                "{line}"
            );
        }
    }

    #[test]
    fn levels_are_taken_in_any_case_and_by_their_short_names() {
        for level in ["info", "WARNING", "warn", "Fatal", "critical"] {
            let globals = parse(&format!("run --log-level {level}")).expect(level).globals;
            let [(_, _, text)] = globals.given()[..] else { panic!("{level}") };
            assert!(LogLevel::from_name(text).is_some(), "{level}: {text}");
        }
    }

    #[test]
    fn what_follows_the_command_of_exec_is_its_own() {
        for (line, expected) in [
            ("exec -- sh -c --json", vec!["sh", "-c", "--json"]),
            ("exec make --interval 3 --help", vec!["make", "--interval", "3", "--help"]),
            ("exec --json f -- make --", vec!["make", "--"]),
        ] {
            let Command::Exec(args) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(args.command, expected, "{line}");
        }
    }

    #[test]
    fn spans_are_read() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "24", "-1h", "1.5h", "24 h", "1ö", "99999999999999999999w", "9999999999999999999w"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
