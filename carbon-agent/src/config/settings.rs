//! Every setting with a single value, in one table: where it is set, what it may hold, what it is for.
//!
//! File, environment and flags all pass through here, so a value is judged the same wherever it comes from, and
//! `docs/configuration.md` is printed from the same lines.

use crate::config::model::{
    AccountingPeriod, Config, EnergyChoice, IdlePolicy, Interrupts, KubernetesSource, LogFormat, LogLevel, ProbeChoice,
    Provider, Secret, WeightsChoice,
};
use crate::config::value;
use crate::identity::Host;
use std::path::PathBuf;

/// A value on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    pub text: &'a str,
    /// Folder of the configuration file, for values that come from it: what is read lies beside the file.
    pub beside: Option<&'a std::path::Path>,
}

/// What a setting goes into: the configuration, and beside it what only makes sense once all is known.
#[derive(Clone, Debug)]
pub struct Draft {
    pub config: Config,
    pub listen_host: Option<String>,
    pub listen_port: Option<u16>,
    pub metrics_port: u16,
    pub intensity: IntensityDraft,
    pub embodied_kg: Option<f64>,
    pub embodied_years: f64,
}

/// The keys of one intensity source.
#[derive(Clone, Debug, Default)]
pub struct IntensityDraft {
    pub zone: Option<String>,
    pub grams_per_kwh: Option<f64>,
    pub file: Option<PathBuf>,
    pub provider: Option<Provider>,
    pub username: Option<String>,
    pub token_file: Option<PathBuf>,
    pub token: Option<Secret>,
    pub url: Option<String>,
}

type Set = fn(&mut Draft, Given<'_>) -> Result<(), String>;
type Show = fn(&Config) -> String;

/// One line of the table.
pub struct Setting {
    /// Paths in the file, the one that wins first. Ours begin with `carbon.`, those of the application do not.
    pub keys: &'static [&'static str],
    /// Environment variables beside those derived from the keys.
    pub also_env: &'static [&'static str],
    pub flag: Option<&'static str>,
    /// As written; `None` where nothing is set by default.
    pub default: Option<&'static str>,
    pub allowed: &'static str,
    pub about: &'static str,
    /// Never printed and never taken from the file.
    pub secret: bool,
    pub set: Set,
    /// The value as resolved; `None` where something else prints it.
    pub show: Option<Show>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key())
    }
}

impl Setting {
    /// The name by which the setting is known throughout.
    pub fn key(&self) -> &'static str {
        self.keys[0]
    }

    /// Environment variables, the one that wins first: `carbon.intensity.zone` is `CARBON_INTENSITY__ZONE`.
    pub fn env(&self) -> Vec<String> {
        let derived = self.keys.iter().map(|key| env_name(key));
        derived.chain(self.also_env.iter().map(|name| (*name).to_owned())).collect()
    }
}

/// The environment variable of a key.
pub fn env_name(key: &str) -> String {
    let path = key.strip_prefix("carbon.").unwrap_or(key);
    format!("CARBON_{}", path.replace('.', "__").to_ascii_uppercase())
}

pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.keys.contains(&key))
}

/// The fields that most settings leave as they are.
const PLAIN: Setting = Setting {
    keys: &[],
    also_env: &[],
    flag: None,
    default: None,
    allowed: "",
    about: "",
    secret: false,
    set: |_, _| Ok(()),
    show: None,
};

const BOOLEAN: &str = "true, false";
const NAME: &str = "text of 1 to 128 bytes without control characters";
const PATH: &str = "path";
const WATTS: &str = "number from 0 to 100000";

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn path(value: &std::path::Path) -> String {
    value.display().to_string()
}

pub const SETTINGS: &[Setting] = &[
    Setting {
        keys: &["carbon.enabled"],
        default: Some("true"),
        allowed: BOOLEAN,
        about: "With `false`, `run` says so and ends with exit status 0.",
        set: |draft, given| value::boolean(given.text).map(|it| draft.config.enabled = it),
        show: Some(|config| config.enabled.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.project_name"],
        flag: Some("--project-name"),
        default: Some("codecarbon"),
        allowed: NAME,
        about: "The `project_name` of every row and the `project` label. The default is CodeCarbon's.",
        set: |draft, given| value::name(given.text).map(|it| draft.config.project_name = it),
        show: Some(|config| config.project_name.clone()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.environment"],
        also_env: &["TTA_ENV"],
        allowed: NAME,
        about: "The `environment` of every row.",
        set: |draft, given| value::name(given.text).map(|it| draft.config.environment = Some(it)),
        show: Some(|config| optional(config.environment.as_ref())),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.output_dir"],
        flag: Some("--output-dir"),
        default: Some("."),
        allowed: PATH,
        about: "Folder of `emissions_YYYYMMDD.json` and `emissions.csv`. Unset, it is the folder that the agent \
                was started in, as with CodeCarbon.",
        set: |draft, given| value::path(given.text).map(|it| draft.config.output_dir = it),
        show: Some(|config| path(&config.output_dir)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.state_dir"],
        default: Some("/var/lib/carbon-agent"),
        allowed: PATH,
        about: "Counters that survive a restart.",
        set: |draft, given| value::path(given.text).map(|it| draft.config.state_dir = it),
        show: Some(|config| path(&config.state_dir)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.log_level", "logging.components.carbon.level"],
        flag: Some("--log-level"),
        default: Some("info"),
        allowed: "trace, debug, info, warning, error, critical (any case)",
        about: "How much is logged. `critical` shows what `error` shows.",
        set: |draft, given| {
            value::one_of(LogLevel::from_name(given.text), LogLevel::NAMES).map(|it| draft.config.log.level = it)
        },
        show: Some(|config| config.log.level.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.log_format", "logging.format"],
        flag: Some("--log-format"),
        default: Some("text"),
        allowed: "text, json",
        about: "How log lines look. Any other text in `logging.format` (Python's format strings) is passed over \
                with a warning.",
        set: |draft, given| {
            value::one_of(LogFormat::from_name(given.text), LogFormat::NAMES).map(|it| draft.config.log.format = it)
        },
        show: Some(|config| config.log.format.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.log_file", "logging.components.carbon.file"],
        allowed: PATH,
        about: "Log file; unset, the log goes to standard error.",
        set: |draft, given| value::path(given.text).map(|it| draft.config.log.file = Some(it)),
        show: Some(|config| optional(config.log.file.as_deref().map(path))),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.measurement_interval"],
        flag: Some("--interval"),
        default: Some("15"),
        allowed: "seconds from 0.01 to 86400, at least `sample_interval`",
        about: "What is exported.",
        set: |draft, given| value::seconds(given.text).map(|it| draft.config.measurement_interval = it),
        show: Some(|config| config.measurement_interval.as_secs_f64().to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.sample_interval"],
        flag: Some("--sample-interval"),
        default: Some("1"),
        allowed: "seconds from 0.01 to 86400, fractions allowed",
        about: "How often CPU time and energy are read. Unset, it is no longer than `measurement_interval`.",
        set: |draft, given| value::seconds(given.text).map(|it| draft.config.sample_interval = it),
        show: Some(|config| config.sample_interval.as_secs_f64().to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.track_components"],
        default: Some("true"),
        allowed: BOOLEAN,
        about: "With `false` there are host and process rows only.",
        set: |draft, given| value::boolean(given.text).map(|it| draft.config.track_components = it),
        show: Some(|config| config.track_components.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.accounting_period"],
        default: Some("day"),
        allowed: "day, week, month, run",
        about: "What `carbon_emissions_kg` counts since (UTC; weeks begin on Monday).",
        set: |draft, given| {
            value::one_of(AccountingPeriod::from_name(given.text), AccountingPeriod::NAMES)
                .map(|it| draft.config.accounting_period = it)
        },
        show: Some(|config| config.accounting_period.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.idle"],
        flag: Some("--idle"),
        default: Some("separate"),
        allowed: "separate, proportional, even",
        about: "Who bears the energy of the idle machine: a row of its own, each by what it used, or each an \
                equal part.",
        set: |draft, given| {
            value::one_of(IdlePolicy::from_name(given.text), IdlePolicy::NAMES).map(|it| draft.config.idle = it)
        },
        show: Some(|config| config.idle.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.weights"],
        flag: Some("--weights"),
        default: Some("auto"),
        allowed: "auto, time, learned, cycles",
        about: "What CPU time weighs when active energy is divided. `auto` is `learned` where a meter measures, and \
                `time` where the energy is itself modelled from CPU time.",
        set: |draft, given| {
            value::one_of(WeightsChoice::from_name(given.text), WeightsChoice::NAMES)
                .map(|it| draft.config.weights = it)
        },
        show: Some(|config| config.weights.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.process_top"],
        default: Some("50"),
        allowed: "whole number from 0 to 100000",
        about: "Process rows and series; the rest is summed as `other`.",
        set: |draft, given| value::whole(given.text, 0, 100_000).map(|it| draft.config.process_top = it as usize),
        show: Some(|config| config.process_top.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.zone"],
        allowed: "a zone of the embedded table (`DEU`); beside a provider, a zone of its own (`DE`)",
        about: "Yearly average of a country or US state, or the provider's zone.",
        set: |draft, given| value::name(given.text).map(|it| draft.intensity.zone = Some(it)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.grams_per_kwh"],
        allowed: "number from 0 to 5000",
        about: "A fixed carbon intensity, g CO2e per kWh.",
        set: |draft, given| value::number(given.text, 0.0, 5000.0).map(|it| draft.intensity.grams_per_kwh = Some(it)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.file"],
        allowed: "path, beside the configuration file if relative",
        about: "A file of `timestamp,grams_per_kwh`, which may be replaced while the agent runs.",
        set: |draft, given| value::beside(given).map(|it| draft.intensity.file = Some(it)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.provider"],
        allowed: "electricity_maps, watttime, uk_carbon_intensity",
        about: "A service that is asked for the current intensity. The first two need a zone and a token.",
        set: |draft, given| {
            value::one_of(Provider::from_name(given.text), Provider::NAMES)
                .map(|it| draft.intensity.provider = Some(it))
        },
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.username"],
        allowed: NAME,
        about: "The provider's user name (WattTime); the token is then the password.",
        set: |draft, given| value::name(given.text).map(|it| draft.intensity.username = Some(it)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.token_file"],
        allowed: "path, beside the configuration file if relative",
        about: "The file that holds the provider's token, alone.",
        set: |draft, given| value::beside(given).map(|it| draft.intensity.token_file = Some(it)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.token"],
        allowed: "text; environment only",
        about: "The provider's token itself. Never printed; refused in the file, which many can read.",
        secret: true,
        set: |draft, given| value::name(given.text).map(|it| draft.intensity.token = Some(Secret::new(it))),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.intensity.url"],
        allowed: "address that begins with http:// or https://",
        about: "Another address for the provider's service (a proxy, a test).",
        set: |draft, given| value::url(given.text).map(|it| draft.intensity.url = Some(it)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.pue"],
        default: Some("1"),
        allowed: "number from 1 to 10",
        about: "Power usage effectiveness of the data centre: multiplies operational carbon, once.",
        set: |draft, given| value::number(given.text, 1.0, 10.0).map(|it| draft.config.pue = it),
        show: Some(|config| config.pue.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.embodied.total_kg"],
        allowed: "number from 0 to 1000000",
        about: "Emissions of making the machine, kg CO2e. Unset, none are accounted.",
        set: |draft, given| value::number(given.text, 0.0, 1e6).map(|it| draft.embodied_kg = Some(it)),
        show: Some(|config| optional(config.embodied.map(|it| it.total_kg))),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.embodied.lifetime_years"],
        default: Some("4"),
        allowed: "number from 0.1 to 100",
        about: "The years over which they are spread.",
        set: |draft, given| value::number(given.text, 0.1, 100.0).map(|it| draft.embodied_years = it),
        show: Some(|config| optional(config.embodied.map(|it| it.lifetime_years))),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.listen"],
        flag: Some("--listen"),
        default: Some("127.0.0.1"),
        allowed: "address or name, `:` and a port; the port may be left out, 0 takes any free one",
        about: "Where `/metrics` and `/health/carbon` are served. A port given here wins over `metrics_port`.",
        set: |draft, given| {
            value::listen(given.text).map(|(host, port)| {
                draft.listen_host = Some(host);
                draft.listen_port = port;
            })
        },
        show: Some(|config| config.listen.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["monitoring.metrics_port"],
        default: Some("9090"),
        allowed: "whole number from 1 to 65535",
        about: "The port of `listen`, unless that names one.",
        set: |draft, given| value::whole(given.text, 1, 65535).map(|it| draft.metrics_port = it as u16),
        ..PLAIN
    },
    Setting {
        keys: &["monitoring.carbon.alert_on_high_emissions"],
        default: Some("true"),
        allowed: BOOLEAN,
        about: "Whether the threshold is exported.",
        set: |draft, given| value::boolean(given.text).map(|it| draft.config.alert.on_high_emissions = it),
        show: Some(|config| config.alert.on_high_emissions.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["monitoring.carbon.emissions_threshold_kg"],
        default: Some("1"),
        allowed: "number from 0 to 1000000000",
        about: "`carbon_emissions_threshold_kg`, for the alert to compare `carbon_emissions_kg` with. The default \
                is the documented alert's.",
        set: |draft, given| value::number(given.text, 0.0, 1e9).map(|it| draft.config.alert.threshold_kg = it),
        show: Some(|config| config.alert.threshold_kg.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.probe.source"],
        flag: Some("--probe"),
        default: Some("auto"),
        allowed: "auto, ebpf, procfs",
        about: "Where CPU time comes from. `auto` falls back and says so; a named one that cannot work is an error.",
        set: |draft, given| {
            value::one_of(ProbeChoice::from_name(given.text), ProbeChoice::NAMES)
                .map(|it| draft.config.probe.source = it)
        },
        show: Some(|config| config.probe.source.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.probe.cells_per_cpu"],
        default: Some("0"),
        allowed: "whole number from 0 to 1048576",
        about: "Room per CPU in the kernel's map; 0 chooses by the host's size. What finds no room is `unattributed`.",
        set: |draft, given| value::whole(given.text, 0, 1 << 20).map(|it| draft.config.probe.cells_per_cpu = it as u32),
        show: Some(|config| config.probe.cells_per_cpu.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.probe.interrupts"],
        default: Some("auto"),
        allowed: "auto, on, off",
        about: "Whether interrupt time is told apart from that of the process it interrupted.",
        set: |draft, given| {
            value::one_of(Interrupts::from_name(given.text), Interrupts::NAMES)
                .map(|it| draft.config.probe.interrupts = it)
        },
        show: Some(|config| config.probe.interrupts.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.energy.source"],
        flag: Some("--energy"),
        default: Some("auto"),
        allowed: "auto, rapl, perf, hwmon, model",
        about: "Where energy comes from. `auto` takes the first that works, in this order.",
        set: |draft, given| {
            value::one_of(EnergyChoice::from_name(given.text), EnergyChoice::NAMES)
                .map(|it| draft.config.energy.source = it)
        },
        show: Some(|config| config.energy.source.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.energy.powercap"],
        flag: Some("--powercap"),
        allowed: PATH,
        about: "A powercap tree elsewhere than under the host's sysfs, such as a guest's share from its hypervisor.",
        set: |draft, given| value::path(given.text).map(|it| draft.config.energy.powercap = Some(it)),
        show: Some(|config| optional(config.energy.powercap.as_deref().map(path))),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.energy.model_min_watts"],
        flag: Some("--model-min-watts"),
        allowed: WATTS,
        about: "Watts of the idle host, for the estimation model; unset, by its processor.",
        set: |draft, given| {
            value::number(given.text, 0.0, 1e5).map(|it| draft.config.energy.model_min_watts = Some(it))
        },
        show: Some(|config| optional(config.energy.model_min_watts)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.energy.model_max_watts"],
        flag: Some("--model-max-watts"),
        allowed: WATTS,
        about: "Watts of the fully busy host, for the estimation model; unset, by its processor.",
        set: |draft, given| {
            value::number(given.text, 0.0, 1e5).map(|it| draft.config.energy.model_max_watts = Some(it))
        },
        show: Some(|config| optional(config.energy.model_max_watts)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.output.retain_days"],
        default: Some("84"),
        allowed: "whole number from 0 to 36500",
        about: "Days that files of our own name are kept; 0 keeps them for ever. The default is twelve weeks of \
                rotation.",
        set: |draft, given| value::whole(given.text, 0, 36_500).map(|it| draft.config.output.retain_days = it as u32),
        show: Some(|config| config.output.retain_days.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.output.max_bytes"],
        default: Some("0"),
        allowed: "whole number, with K, M, G or T for powers of 1024; 0 is no limit",
        about: "The oldest files of our own name go when all of them together exceed this.",
        set: |draft, given| value::bytes(given.text).map(|it| draft.config.output.max_bytes = it),
        show: Some(|config| config.output.max_bytes.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.host.sysfs"],
        flag: Some("--host-sysfs"),
        default: Some("/sys"),
        allowed: PATH,
        about: "Where the host's sysfs is mounted.",
        set: |draft, given| value::path(given.text).map(|it| draft.config.host.sysfs = it),
        show: Some(|config| path(&config.host.sysfs)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.host.procfs"],
        flag: Some("--host-procfs"),
        default: Some("/proc"),
        allowed: PATH,
        about: "Where the host's procfs is mounted.",
        set: |draft, given| value::path(given.text).map(|it| draft.config.host.procfs = it),
        show: Some(|config| path(&config.host.procfs)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.host.root"],
        flag: Some("--host-root"),
        allowed: PATH,
        about: "Where the host's root directory is mounted: container engines' files and sockets, the kubelet's files \
                and the list of users are looked up below it, and sysfs and procfs where they are not named. Unset, it \
                is `/`, or with a procfs elsewhere `PROCFS/1/root`.",
        set: |draft, given| value::path(given.text).map(|it| draft.config.host.root = Some(it)),
        show: Some(|config| path(&Host::of(&config.host).root)),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.kubernetes.source"],
        default: Some("off"),
        allowed: "off, kubelet, api_server",
        about: "Who is asked what pods and containers are called where the node's files do not tell.",
        set: |draft, given| {
            value::one_of(KubernetesSource::from_name(given.text), KubernetesSource::NAMES)
                .map(|it| draft.config.kubernetes.source = it)
        },
        show: Some(|config| config.kubernetes.source.to_string()),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.kubernetes.url"],
        allowed: "address that begins with http:// or https://",
        about: "Unset, `https://127.0.0.1:10250` for the kubelet, `https://kubernetes.default.svc` for the API server.",
        set: |draft, given| value::url(given.text).map(|it| draft.config.kubernetes.url = Some(it)),
        show: Some(|config| optional(config.kubernetes.url.as_ref())),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.kubernetes.node"],
        allowed: NAME,
        about: "Name of this node, whose pods the API server is asked for (`spec.nodeName` of the Downward API).",
        set: |draft, given| value::name(given.text).map(|it| draft.config.kubernetes.node = Some(it)),
        show: Some(|config| optional(config.kubernetes.node.as_ref())),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.kubernetes.token_file"],
        allowed: "path, beside the configuration file if relative",
        about: "The file that holds the bearer token, alone; read anew for each request. Unset, the service account's.",
        set: |draft, given| value::beside(given).map(|it| draft.config.kubernetes.token_file = Some(it)),
        show: Some(|config| optional(config.kubernetes.token_file.as_deref().map(path))),
        ..PLAIN
    },
    Setting {
        keys: &["carbon.kubernetes.ca_file"],
        allowed: "path, beside the configuration file if relative",
        about: "PEM certificates of the authorities that the server's certificate must come from. Unset, the service \
                account's, else the public ones.",
        set: |draft, given| value::beside(given).map(|it| draft.config.kubernetes.ca_file = Some(it)),
        show: Some(|config| optional(config.kubernetes.ca_file.as_deref().map(path))),
        ..PLAIN
    },
];
