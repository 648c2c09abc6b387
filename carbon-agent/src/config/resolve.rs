//! Lays the layers over each other (flag over environment over file over CodeCarbon's settings over default) and checks
//! the whole. Pure.

use crate::config::codecarbon;
use crate::config::environment::Environment;
use crate::config::file::FileLayer;
use crate::config::model::*;
use crate::config::settings::{Draft, Given, IntensityDraft, SETTINGS, Setting};
use crate::config::{ConfigError, Loaded, Origin, intensity, quoted};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Draft {
    /// Before the table's defaults are applied; none of these values is meant to last.
    pub fn blank() -> Self {
        Self {
            config: Config {
                enabled: true,
                project_name: String::new(),
                environment: None,
                output_dir: PathBuf::new(),
                state_dir: PathBuf::new(),
                log: LogConfig { level: LogLevel::Info, format: LogFormat::Text, file: None },
                measurement_interval: Duration::ZERO,
                sample_interval: Duration::ZERO,
                track_components: true,
                accounting_period: AccountingPeriod::Day,
                idle: IdlePolicy::Separate,
                weights: WeightsChoice::Auto,
                components: Vec::new(),
                functional_units: Vec::new(),
                intensity: Vec::new(),
                pue: 1.0,
                embodied: None,
                process_top: 0,
                listen: Listen { host: String::new(), port: 0 },
                alert: AlertConfig { on_high_emissions: true, threshold_kg: 0.0 },
                probe: ProbeConfig { source: ProbeChoice::Auto, cells_per_cpu: 0, interrupts: Interrupts::Auto },
                energy: EnergyConfig {
                    source: EnergyChoice::Auto,
                    powercap: None,
                    model_min_watts: None,
                    model_max_watts: None,
                },
                output: OutputConfig { retain_days: 0, max_bytes: 0 },
                host: HostConfig { sysfs: PathBuf::new(), procfs: PathBuf::new(), root: None },
                kubernetes: KubernetesConfig {
                    source: KubernetesSource::Off,
                    url: None,
                    node: None,
                    token_file: None,
                    ca_file: None,
                },
            },
            listen_host: None,
            listen_port: None,
            metrics_port: 0,
            intensity: IntensityDraft::default(),
            embodied_kg: None,
            embodied_years: 0.0,
        }
    }
}

struct Resolver<'a> {
    file: Option<&'a Path>,
    draft: Draft,
    origins: BTreeMap<&'static str, Origin>,
    errors: Vec<ConfigError>,
}

pub fn resolve(
    file: Option<PathBuf>,
    layer: FileLayer,
    codecarbon: codecarbon::Layer,
    environment: &Environment,
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Loaded, Vec<ConfigError>> {
    let errors = layer.errors.iter().chain(&codecarbon.errors).cloned().collect();
    let mut resolver = Resolver { file: file.as_deref(), draft: Draft::blank(), origins: BTreeMap::new(), errors };
    let intensity_named = intensity::named(&layer, environment);
    // Weakest first: each value that is valid hides the one before, and each that is not is told, hidden or not.
    for setting in SETTINGS {
        if let Some(text) = setting.default {
            resolver.apply(setting, setting.key(), text, Origin::Default);
        }
        for value in codecarbon.of(setting.key()) {
            // A source of ours, whichever, stands in the place of CodeCarbon's.
            if intensity_named.is_some() && intensity::KINDS.contains(&setting.key()) {
                resolver.judge(setting, &value.text, &value.origin);
            } else {
                resolver.apply(setting, setting.key(), &value.text, value.origin.clone());
            }
        }
        for key in setting.keys.iter().rev() {
            for value in layer.values.iter().filter(|value| value.key == *key) {
                resolver.apply(value.setting, key, &value.text, Origin::File(value.line));
            }
        }
        for name in setting.env().into_iter().rev() {
            if let Some(text) = environment.get(&name) {
                resolver.apply(setting, setting.key(), text, Origin::Env(name));
            }
        }
        for (flag, key, text) in flags {
            if setting.keys.contains(key) {
                resolver.apply(setting, setting.key(), text, Origin::Flag(flag));
            }
        }
    }
    resolver.combine();
    let sources = intensity::resolve(
        std::mem::take(&mut resolver.draft.intensity),
        layer.intensity,
        &resolver.origins,
        resolver.file,
        &mut resolver.errors,
    );
    let codecarbon_notes = codecarbon.notes(|key| match &intensity_named {
        Some(origin) if intensity::KINDS.contains(&key) => origin.clone(),
        _ => resolver.origin(key),
    });
    let Resolver { draft, origins, mut errors, .. } = resolver;
    errors.sort_by_key(|error| error.line);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut config = draft.config;
    config.components = layer.components;
    let (intensity, intensity_origins): (_, Vec<Origin>) = sources.into_iter().unzip();
    config.intensity = intensity;
    let mut warnings = layer.warnings;
    if let (Some((_, line)), Some(file)) = (layer.functional_units.first(), &file) {
        let mut warn = |message: &str| warnings.push(format!("{}:{line}: functional_unit: {message}", file.display()));
        if config.embodied.is_none() {
            warn("`carbon.embodied` is not set, so SCI will lack its M and be of operational emissions only");
        }
        if !config.track_components {
            warn("there is no SCI without `carbon.track_components`");
        }
    }
    config.functional_units = layer.functional_units.into_iter().map(|(unit, _)| unit).collect();
    warnings.extend(environment.unknown());
    warnings.extend(codecarbon.warnings);
    warnings.extend(intensity::never_used(&config.intensity, &intensity_origins, file.as_deref()));
    Ok(Loaded { config, file, origins, intensity_origins, codecarbon: codecarbon_notes, warnings })
}

impl Resolver<'_> {
    fn apply(&mut self, setting: &'static Setting, key: &str, text: &str, origin: Origin) {
        let beside = match origin {
            Origin::File(_) => self.file.and_then(Path::parent),
            _ => None,
        };
        match (setting.set)(&mut self.draft, Given { text, beside }) {
            Ok(()) => {
                self.origins.insert(setting.key(), origin);
            }
            Err(problem) => {
                let message = if setting.secret { problem } else { format!("{}: {problem}", quoted(text)) };
                self.errors.push(ConfigError::at(&origin, self.file, key, message));
            }
        }
    }

    /// Complains of a value that is hidden.
    fn judge(&mut self, setting: &'static Setting, text: &str, origin: &Origin) {
        if let Err(problem) = (setting.set)(&mut Draft::blank(), Given { text, beside: None }) {
            let message = format!("{}: {problem}", quoted(text));
            self.errors.push(ConfigError::at(origin, self.file, setting.key(), message));
        }
    }

    fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// What several settings say together.
    fn combine(&mut self) {
        let (samples, interval) = ("carbon.sample_interval", "carbon.measurement_interval");
        let config = &mut self.draft.config;
        if config.sample_interval > config.measurement_interval {
            let of_samples = self.origins.get(samples).cloned().unwrap_or(Origin::Default);
            if of_samples == Origin::Default {
                // Who asks for a row each half second has asked for samples as often.
                config.sample_interval = config.measurement_interval;
                let of_interval = self.origins.get(interval).cloned().unwrap_or(Origin::Default);
                self.origins.insert(samples, of_interval);
            } else {
                let message = format!(
                    "`{}` is longer than measurement_interval ({}, {}); expected at most that",
                    config.sample_interval.as_secs_f64(),
                    config.measurement_interval.as_secs_f64(),
                    self.origins.get(interval).unwrap_or(&Origin::Default)
                );
                self.errors.push(ConfigError::at(&of_samples, self.file, samples, message));
            }
        }

        let min = "carbon.energy.model_min_watts";
        let energy = &self.draft.config.energy;
        if let (Some(least), Some(most)) = (energy.model_min_watts, energy.model_max_watts)
            && least > most
        {
            let message = format!("`{least}` is more than model_max_watts (`{most}`); expected at most that");
            self.errors.push(ConfigError::at(&self.origin(min), self.file, min, message));
        }

        self.host_trees();
        self.kubernetes();

        if let Some(total_kg) = self.draft.embodied_kg {
            self.draft.config.embodied = Some(Embodied { total_kg, lifetime_years: self.draft.embodied_years });
        }

        let port = match self.draft.listen_port {
            Some(port) => port,
            None => {
                // The port is then what is left to be told of, unless the address was given as well.
                let of_port = self.origin("monitoring.metrics_port");
                if self.origin("carbon.listen") == Origin::Default {
                    self.origins.insert("carbon.listen", of_port);
                }
                self.draft.metrics_port
            }
        };
        let host = self.draft.listen_host.take().unwrap_or_default();
        self.draft.config.listen = Listen { host, port };
    }

    /// A root that is named holds the trees that are not.
    fn host_trees(&mut self) {
        let of_root = self.origin("carbon.host.root");
        let host = &mut self.draft.config.host;
        let Some(root) = &host.root else { return };
        for (key, tree, name) in
            [("carbon.host.sysfs", &mut host.sysfs, "sys"), ("carbon.host.procfs", &mut host.procfs, "proc")]
        {
            if self.origins.get(key).is_none_or(|origin| *origin == Origin::Default) {
                *tree = root.join(name);
                self.origins.insert(key, of_root.clone());
            }
        }
    }

    fn kubernetes(&mut self) {
        let kubernetes = &self.draft.config.kubernetes;
        if kubernetes.source == KubernetesSource::ApiServer && kubernetes.node.is_none() {
            let message = "`api_server` needs `carbon.kubernetes.node` (CARBON_KUBERNETES__NODE), the name of this \
                           node: the pods of the whole cluster are never asked for";
            let key = "carbon.kubernetes.source";
            self.errors.push(ConfigError::at(&self.origin(key), self.file, key, message));
        }
    }
}
