//! The sampling thread: samples on a fixed beat, closes an interval when it is full, never waits for the writer.

use super::writer::{Closed, Reconfigured, Record};
use crate::agent::Agent;
use crate::config::Config;
use crate::snapshot::Stage;
use crate::state::Run;
use crate::supervision::{self, Watchdog};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What the sampling thread is told.
pub enum Order {
    Stop,
    /// Another configuration, and what the writer is to hear of it if it can be taken over.
    Reconfigure(Box<(Config, Reconfigured)>),
    /// The configuration could not be read again, and why.
    Refused(String),
}

/// The sampling thread's own.
pub struct Source {
    pub agent: Agent,
    pub records: SyncSender<Record>,
    pub run_id: Uuid,
    pub every: Duration,
    pub interval: Duration,
    /// Configurations taken over since the start.
    pub reloads: u32,
}

/// The beat: when the next sample is due, and the end of the interval.
struct Beat {
    started: Instant,
    beats: u32,
    interval_end: Instant,
}

impl Beat {
    fn new(interval: Duration) -> Self {
        let started = Instant::now();
        Self { started, beats: 1, interval_end: started + interval }
    }
}

impl Source {
    /// Samples until it is told to stop.
    pub fn sample_all(&mut self, orders: &Receiver<Order>) {
        if self.agent.opened_with_gap() {
            self.send(false);
        }
        let mut beat = Beat::new(self.interval);
        let watchdog = Watchdog::of_environment();
        // `Agent::open` took the first reading: the books are open.
        supervision::ready();
        loop {
            watchdog.alive();
            let next = beat.started + self.every * beat.beats;
            let wait = next.saturating_duration_since(Instant::now());
            match orders.recv_timeout(watchdog.slice(wait)) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < next => continue,
                Err(RecvTimeoutError::Timeout) => self.agent.sample(),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.agent.sample();
                    self.send(true);
                    return;
                }
                Ok(Order::Refused(why)) => {
                    self.agent.refuse(&why);
                    continue;
                }
                Ok(Order::Reconfigure(order)) => {
                    if self.reconfigure(*order) {
                        beat = Beat::new(self.interval);
                    }
                    continue;
                }
            }
            // Beats that were missed (a suspended or starved host) are skipped: one sample speaks for all of them.
            let passed = beat.started.elapsed().as_nanos() / self.every.as_nanos();
            beat.beats = u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1;
            // The beat that reaches the end of the interval closes it, also when it comes a little early.
            if Instant::now() + self.every / 2 >= beat.interval_end {
                self.send(false);
                while beat.interval_end <= Instant::now() + self.every / 2 {
                    beat.interval_end += self.interval;
                }
            }
        }
    }

    /// Takes over another configuration; true when the beat is another one.
    fn reconfigure(&mut self, (config, writer): (Config, Reconfigured)) -> bool {
        // What ran until now is the old rules', and the rows so far are the old terms'.
        self.agent.sample();
        self.send(false);
        if let Err(error) = self.agent.reconfigure(&config) {
            self.agent.refuse(&error.to_string());
            return false;
        }
        // Its number makes each a line of its own: an operator waits for it.
        self.reloads += 1;
        tracing::info!(reload = self.reloads, "SIGHUP: files opened anew, configuration taken over");
        // The channel holds what it held: better to wait for a place than to lose this.
        let _ = self.records.send(Record::Reconfigured(writer));
        let beat = (self.every, self.interval);
        (self.every, self.interval) = (config.sample_interval, config.measurement_interval);
        beat != (self.every, self.interval)
    }

    /// Closes the interval and hands it to the writer; `ended`: it is the last of the run.
    fn send(&mut self, ended: bool) {
        let snapshot = self.agent.close_interval();
        let checkpoint = self.agent.checkpoint(&snapshot, Run { id: self.run_id, ended });
        let record = Record::Interval(Box::new(Closed { snapshot, checkpoint }));
        if ended {
            // There is nothing left to sample: now it may take as long as the disk takes.
            let _ = self.records.send(record);
            return;
        }
        match self.records.try_send(record) {
            Err(TrySendError::Full(_)) => {
                let reason = "the output directory does not keep up; an interval was dropped";
                self.agent.stages.degraded(Stage::Files, "dropped", reason.to_owned());
            }
            _ => self.agent.stages.works(Stage::Files),
        }
    }
}
