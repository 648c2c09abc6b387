//! SIGHUP: files are opened anew and the configuration is read again. A bad one changes nothing; of a good one what can
//! change while running does, and what cannot is named in a warning.

use super::source::Order;
use super::writer::{Reconfigured, Record};
use crate::commands::run_info;
use crate::config::{Config, ConfigError, Loaded};
use crate::export::RunInfo;
use crate::logging::Log;
use crate::supervision;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};

/// Reads the configuration again, from where it came.
pub type Load<'a> = dyn Fn() -> Result<Loaded, Vec<ConfigError>> + 'a;

/// What a SIGHUP needs.
pub struct Reloader<'a> {
    pub load: &'a Load<'a>,
    /// In force since the start or the last reload.
    pub config: Config,
    pub run: Arc<RunInfo>,
    pub orders: Sender<Order>,
    pub records: SyncSender<Record>,
    pub log: Log,
}

impl Reloader<'_> {
    pub fn hangup(&mut self) {
        supervision::reloading();
        self.reload();
        supervision::ready();
    }

    fn reload(&mut self) {
        if let Err(error) = self.log.reopen() {
            tracing::error!("the log file cannot be opened anew: {error}");
        }
        let _ = self.records.try_send(Record::Reopen);
        let loaded = match (self.load)() {
            Ok(loaded) => loaded,
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let _ = self.orders.send(Order::Refused(errors.join("; ")));
                return;
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let fresh = run_info(&loaded);
        let mut config = loaded.config;
        let fixed = keep_fixed(&self.config, &mut config);
        if !fixed.is_empty() {
            tracing::warn!("SIGHUP: only a restart changes {}; what was in force stays", fixed.join(", "));
        }
        let run = Arc::new(RunInfo {
            location: fresh.location,
            pue: fresh.pue,
            interval: fresh.interval,
            emissions_threshold_kg: fresh.emissions_threshold_kg,
            config_file: fresh.config_file,
            ..(*self.run).clone()
        });
        let writer = Reconfigured { run: run.clone(), output: config.output.clone() };
        let _ = self.orders.send(Order::Reconfigure(Box::new((config.clone(), writer))));
        (self.config, self.run) = (config, run);
    }
}

/// Gives `new` the values of `old` where only a restart may change them, and names those that were to change.
fn keep_fixed(old: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut changed = Vec::new();
    macro_rules! keep {
        ($($key:literal: $field:ident),+ $(,)?) => {$(
            if new.$field != old.$field {
                changed.push($key);
                new.$field = old.$field.clone();
            }
        )+};
    }
    keep! {
        "carbon.enabled": enabled,
        "carbon.project_name": project_name,
        "carbon.environment": environment,
        "carbon.output_dir": output_dir,
        "carbon.state_dir": state_dir,
        "the log (level, format, file)": log,
        "carbon.listen": listen,
        "carbon.probe": probe,
        "carbon.energy": energy,
        "carbon.host": host,
        "carbon.kubernetes": kubernetes,
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_stays_and_is_named() {
        let old = Config::default();
        let mut new = Config { project_name: "other".to_owned(), pue: 1.5, ..old.clone() };
        new.listen.port = 1;
        assert_eq!(keep_fixed(&old, &mut new), ["carbon.project_name", "carbon.listen"]);
        assert_eq!(new, Config { pue: 1.5, ..old });
    }
}
