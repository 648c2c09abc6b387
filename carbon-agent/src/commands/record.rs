//! `carbon-agent record FILE`: measures as `exec` and `run` do, and writes every sample down for `replay`.

use super::Failure;
use super::exec::COMMAND;
use crate::agent::Agent;
use crate::cli::RecordArgs;
use crate::config::Config;
use crate::recording;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitStatus;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// Records until the command or the duration ends, or a signal comes; returns the report.
pub fn record(config: &Config, arguments: &RecordArgs) -> Result<String, Failure> {
    let name = arguments.file.display();
    // Names of processes are nobody else's business: private by default, as the emissions files are.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&arguments.file);
    let file = file.map_err(|error| Failure::usage(format!("cannot write {name}: {error}")))?;
    let mut agent = Agent::open(config)?;
    let header = agent.record(Box::new(file));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::job(format!("the runtime does not start: {error}")))?;
    let measured = runtime.block_on(measure(&mut agent, config, arguments));
    let status = measured.map_err(|error| Failure::job(format!("cannot run the command: {error}")))?;
    agent.end_recording().map_err(|error| Failure::job(format!("{name}: {error}")))?;
    if let Some(status) = status.filter(|status| !status.success()) {
        eprintln!("carbon-agent: the command ended with {status}");
    }
    let (ledger, division) = agent.books();
    Ok(recording::report::render(&header, header.idle, ledger, division))
}

async fn measure(agent: &mut Agent, config: &Config, arguments: &RecordArgs) -> std::io::Result<Option<ExitStatus>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut child = match arguments.command.split_first() {
        None => None,
        Some((command, rest)) => Some(Command::new(command).args(rest).kill_on_drop(true).spawn()?),
    };
    if let Some(pid) = child.as_ref().and_then(Child::id) {
        agent.adopt(pid, COMMAND);
    }
    let end = arguments.duration.map(|duration| tokio::time::Instant::now() + duration);
    let mut samples = tokio::time::interval(config.sample_interval);
    samples.set_missed_tick_behavior(MissedTickBehavior::Skip);
    samples.tick().await; // the first is immediate
    let status = loop {
        tokio::select! {
            status = ended(child.as_mut()) => break Some(status?),
            () = reached(end) => break None,
            _ = samples.tick() => agent.sample(),
            _ = interrupt.recv() => break None,
            _ = terminate.recv() => break None,
        }
    };
    agent.sample();
    Ok(status)
}

/// The end of the command; never where there is none.
async fn ended(child: Option<&mut Child>) -> std::io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

/// The end of the duration; never where there is none.
async fn reached(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
