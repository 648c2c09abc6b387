//! The command line: parse, load the configuration, hand over to the subcommand.

use carbon_agent::cli::{Cli, Command, HealthArgs};
use carbon_agent::commands::{self, Failure};
use carbon_agent::config::{self, Environment, Listen, Loaded};
use carbon_agent::logging;
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let loaded = match config::load(&cli.globals, &Environment::of_process()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            // Health says so in its own manner: an unusable configuration is a finding, not a usage error.
            if let Command::Health(arguments) = &cli.command {
                let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
                return ExitCode::from(health(arguments, Err(&why.join("; "))));
            }
            for error in errors {
                eprintln!("carbon-agent: {error}");
            }
            return ExitCode::from(config::EXIT_UNUSABLE);
        }
    };
    match dispatch(&cli, &loaded) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("carbon-agent: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: &Cli, loaded: &Loaded) -> Result<u8, Failure> {
    match &cli.command {
        Command::Run => {
            let log = logging::start(&loaded.config.log)
                .map_err(|error| Failure::usage(format!("the log file cannot be opened: {error}")))?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            let ended = commands::run::run(loaded, &log, &|| config::load(&cli.globals, &Environment::of_process()));
            log.end();
            ended
        }
        Command::Exec(arguments) => commands::exec::exec(loaded, arguments),
        Command::Check => {
            say(&config::show::render(loaded));
            Ok(0)
        }
        Command::Doctor => {
            let (report, code) = commands::doctor::doctor(&loaded.config);
            say(&report);
            Ok(code)
        }
        Command::Health(arguments) => Ok(health(arguments, Ok(&loaded.config.listen))),
        Command::Report(arguments) => {
            say(&commands::report::report(&loaded.config, arguments)?);
            Ok(0)
        }
        Command::Record(arguments) => {
            // Standard output belongs to the command, as with `exec`.
            eprint!("{}", commands::record::record(&loaded.config, arguments)?);
            Ok(0)
        }
        Command::Replay(arguments) => {
            say(&commands::replay::replay(loaded, arguments)?);
            Ok(0)
        }
        Command::Explain(arguments) => {
            say(&commands::explain::explain(&loaded.config, arguments.pid)?);
            Ok(0)
        }
        Command::Top => commands::top::top(&loaded.config),
    }
}

fn health(arguments: &HealthArgs, listen: Result<&Listen, &str>) -> u8 {
    let outcome = commands::health::health(arguments, listen);
    say(&outcome.text);
    u8::from(!outcome.healthy)
}

/// Prints to standard output. A reader that went away (`| head`) is no failure of ours.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
