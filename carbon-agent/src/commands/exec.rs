//! `carbon-agent exec -- CMD…`: runs a command, measures it and all its descendants, reports on standard error.

use super::Failure;
use crate::agent::Agent;
use crate::cli::ExecArgs;
use crate::config::{Config, Loaded};
use crate::export::{csv, json, terminal};
use crate::probe::CpuMethod;
use crate::snapshot::{Snapshot, StageStatus};
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// Component of the measured command and its descendants.
pub const COMMAND: &str = "command";

/// How often `/proc` is looked at where the kernel's own count is not to be had.
const PROCFS_INTERVAL: Duration = Duration::from_millis(50);

/// How long a short command's report waits for a provider's first answer.
const INTENSITY_PATIENCE: Duration = Duration::from_secs(3);

/// Runs the command to its end and returns its exit status.
pub fn exec(loaded: &Loaded, arguments: &ExecArgs) -> Result<u8, Failure> {
    let config = &loaded.config;
    let mut agent = Agent::open(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::job(format!("the runtime does not start: {error}")))?;
    let status = match runtime.block_on(measure(&mut agent, config, arguments)) {
        Ok(status) => status,
        Err(error) => return not_started(&arguments.command[0].to_string_lossy(), &error),
    };
    agent.wait_for_intensity(INTENSITY_PATIENCE);
    let snapshot = agent.close_interval();

    let run = super::run_info(loaded);
    let colour = std::io::stderr().is_terminal();
    eprint!("{}", terminal::command_report(&snapshot, COMMAND, colour));
    for note in notes(&snapshot) {
        eprintln!("Note: {note}");
    }
    if let Some(path) = &arguments.json {
        write(path, &json::lines(&snapshot, &run))?;
    }
    if let Some(path) = &arguments.csv {
        write(path, &csv::render(&snapshot, &run))?;
    }
    Ok(exit_code(status))
}

/// Samples while the command runs, and once more when it has ended.
async fn measure(agent: &mut Agent, config: &Config, arguments: &ExecArgs) -> std::io::Result<ExitStatus> {
    // The terminal sends SIGINT and SIGQUIT to the command as well: whether to end is its decision. SIGTERM and SIGHUP
    // reach only this process and are passed on.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let mut child = Command::new(&arguments.command[0]).args(&arguments.command[1..]).spawn()?;
    if let Some(pid) = child.id() {
        agent.adopt(pid, COMMAND);
    }
    let every = match agent.cpu_method() {
        CpuMethod::Ebpf => config.sample_interval,
        // Whoever ends between two looks at /proc is missed: look more often.
        CpuMethod::Procfs => config.sample_interval.min(PROCFS_INTERVAL),
    };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await; // the first is immediate
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = ticks.tick() => agent.sample(),
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            _ = terminate.recv() => pass_on(&child, libc::SIGTERM),
            _ = hangup.recv() => pass_on(&child, libc::SIGHUP),
        }
    };
    agent.sample();
    Ok(status)
}

/// What the figures lack: stages that fell back, with the reason, and CPU time of the command that was missed.
fn notes(snapshot: &Snapshot) -> Vec<String> {
    let fell_back = snapshot.stages.iter().filter(|stage| stage.status != StageStatus::Ok);
    let mut notes: Vec<String> = fell_back.map(|stage| format!("{}: {}", stage.stage.name(), stage.reason)).collect();
    let command = snapshot.components.iter().find(|row| row.component == COMMAND);
    let seen = command.map_or(0.0, |row| row.run.cpu.seconds());
    let used = children_cpu_seconds();
    // A few ticks are rounding.
    if snapshot.method.cpu_time == CpuMethod::Procfs && used - seen > 0.05 {
        notes.push(format!(
            "the command used {used:.2} s of CPU time by the kernel's account, of which {:.2} s were missed: in processes \
             that ended between two looks at /proc. That time and its energy are under `unattributed`",
            used - seen
        ));
    }
    notes
}

/// User and system time of the command and those of its descendants that were waited for.
fn children_cpu_seconds() -> f64 {
    // SAFETY: all zeroes are a valid rusage.
    let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: `usage` is a valid rusage for the kernel to write to.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn pass_on(child: &Child, signal: libc::c_int) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // SAFETY: kill takes plain integers; the child has not been waited for, so the pid is still its own.
        unsafe { libc::kill(pid, signal) };
    }
}

/// What a shell would return for a command that cannot be started.
fn not_started(command: &str, error: &std::io::Error) -> Result<u8, Failure> {
    let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
    Err(Failure { message: format!("cannot run {command:?}: {error}"), code })
}

/// The status a shell would report: the command's own, or 128 + the signal that ended it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    std::fs::File::create(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|error| Failure::job(format!("cannot write {}: {error}", path.display())))
}
