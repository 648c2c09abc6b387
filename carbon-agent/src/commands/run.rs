//! `carbon-agent run`: the daemon. One thread samples, one writes, one serves; none waits for another.

mod reload;
mod source;
mod writer;

use super::Failure;
use crate::agent::{Agent, Resume};
use crate::config::{Config, Loaded};
use crate::export::RunInfo;
use crate::export::files::{EmissionsFile, Settings};
use crate::export::http::{self, Shared};
use crate::export::published::{Published, Running};
use crate::logging::Log;
use crate::snapshot::Stage;
use crate::state::{self, Store};
use crate::supervision;
use reload::{Load, Reloader};
use source::{Order, Source};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread::{self, JoinHandle};
use tokio::signal::unix::{SignalKind, signal};
use writer::Writer;

/// Intervals that may wait for the writer: an hour at the default interval. Each holds its rows.
const WAITING_INTERVALS: usize = 240;

/// Runs until SIGTERM or SIGINT; everything is written before it returns. `load` reads the configuration again (SIGHUP).
pub fn run(loaded: &Loaded, log: &Log, load: &Load<'_>) -> Result<u8, Failure> {
    let config = &loaded.config;
    if !config.enabled {
        tracing::info!("carbon.enabled is false: nothing to do");
        return Ok(0);
    }
    let listener = bind(config)?;
    let mut files = EmissionsFile::new(Settings {
        retention: writer::retention(&config.output),
        ..Settings::new(&config.output_dir)
    })
    .map_err(|fault| Failure::usage(format!("carbon.output_dir: {fault}")))?;
    let (store, checkpoint) = Store::open(&state::directory(loaded));
    let earlier = checkpoint
        .map(|checkpoint| Resume { redone: state::redo(&checkpoint, &mut files, &config.output_dir), checkpoint });
    let mut agent = Agent::open_from(config, earlier.as_ref())?;
    agent.stages.opened(Stage::Config, "in force".to_owned(), None);

    let mut run = RunInfo { probe_object: agent.probe_object(), ..super::run_info(loaded) };
    if let Some(goes_on) = earlier.as_ref().and_then(Resume::run) {
        run.run_id = goes_on.id;
    }
    let run = Arc::new(run);
    let running = Arc::new(Running::new(run.clone()));
    let published = Arc::new(Published::default());
    let (orders, ordered) = channel();
    let (records, recorded) = sync_channel(WAITING_INTERVALS);
    let writer = start("writer", {
        let (run, published, log) = (running.clone(), published.clone(), log.clone());
        let writer = Writer { store, files, run, published, log };
        move || writer.write_all(&recorded)
    })?;
    let sampler = start("sampler", {
        let records = records.clone();
        let (every, interval) = (config.sample_interval, config.measurement_interval);
        let mut source = Source { agent, records, run_id: run.run_id, every, interval, reloads: 0 };
        move || source.sample_all(&ordered)
    })?;

    if let Ok(address) = listener.local_addr() {
        tracing::info!("listening on http://{address}");
    }
    tracing::info!(
        project = config.project_name,
        run_id = %run.run_id,
        output_dir = %config.output_dir.display(),
        "measuring every {:?}, exporting every {:?}", config.sample_interval, config.measurement_interval
    );
    let shared = Arc::new(Shared { published, run: running });
    let reloader = Reloader { load, config: config.clone(), run, orders, records, log: log.clone() };
    // Sampling ends with one last interval; the writer ends when nobody can send to it any more.
    let served = serve(listener, shared, reloader);
    join(sampler);
    join(writer);
    served.map(|()| 0)
}

fn bind(config: &Config) -> Result<TcpListener, Failure> {
    let named = config.listen.to_string();
    let unusable = |message: String| Failure::usage(format!("carbon.listen: {message}"));
    let addresses: Vec<SocketAddr> = named
        .to_socket_addrs()
        .map_err(|error| unusable(format!("{named} cannot be looked up: {error}; use an address with --listen")))?
        .collect();
    let address = *addresses.first().ok_or_else(|| unusable(format!("{named} has no address")))?;
    let listener = http::bind(address).map_err(|error| unusable(error.to_string()))?;
    if let Some(warning) = http::exposure_warning(address) {
        tracing::warn!("{warning}");
    }
    Ok(listener)
}

/// Serves HTTP and waits for signals; returns when the agent is to end.
fn serve(listener: TcpListener, shared: Arc<Shared>, mut reloader: Reloader<'_>) -> Result<(), Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::job(format!("{what}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("the runtime does not start", error))?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| failed("SIGINT", e))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| failed("SIGTERM", e))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(|e| failed("SIGHUP", e))?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(http::serve(listener, shared, async {
            let _ = stopped.await;
        }));
        let signal = loop {
            tokio::select! {
                _ = interrupt.recv() => break "SIGINT",
                _ = terminate.recv() => break "SIGTERM",
                _ = hangup.recv() => reloader.hangup(),
            }
        };
        supervision::stopping();
        tracing::info!("{signal}: writing what is left and ending");
        let _ = reloader.orders.send(Order::Stop);
        let _ = stop.send(());
        match server.await {
            Ok(result) => result.map_err(|error| failed("the HTTP server", error)),
            Err(error) => Err(Failure::job(format!("the HTTP server: {error}"))),
        }
    })
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| Failure::job(format!("the {name} thread does not start: {error}")))
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread ended by a panic");
    }
}
