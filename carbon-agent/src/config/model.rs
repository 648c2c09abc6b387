//! The configuration as the rest of the agent sees it: typed, complete, checked.

use crate::identity::rules::Rule;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// An enum whose values have names in the configuration; names are read without regard to case,
/// because the larger application is Python's, where `INFO` and `info` are both usual.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The names as documented, in order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub fn from_name(text: &str) -> Option<Self> {
                let text = text.to_ascii_lowercase();
                match text.as_str() {
                    $($text $(| $alias)* => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

choice!(
    /// Python's level names, as the application's logging section uses them.
    LogLevel {
        Trace = "trace",
        Debug = "debug",
        Info = "info",
        Warning = "warning" | "warn",
        Error = "error",
        Critical = "critical" | "fatal",
    }
);

impl LogLevel {
    /// `tracing` has no level above error: `critical` shows errors only.
    pub fn tracing(self) -> tracing::Level {
        match self {
            LogLevel::Trace => tracing::Level::TRACE,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Warning => tracing::Level::WARN,
            LogLevel::Error | LogLevel::Critical => tracing::Level::ERROR,
        }
    }
}

choice!(LogFormat { Text = "text", Json = "json" });
choice!(
    /// What `carbon_emissions_kg` counts since.
    AccountingPeriod { Day = "day", Week = "week", Month = "month", Run = "run" }
);
choice!(
    /// Who bears the energy of the idle machine.
    IdlePolicy {
        /// A row of its own.
        Separate = "separate",
        /// Shared out by what each one used.
        Proportional = "proportional",
        /// Shared out in equal parts among those that ran.
        Even = "even",
    }
);
choice!(
    /// What CPU time weighs when active energy is divided.
    WeightsChoice {
        /// `learned` where a meter measures; `time` where the energy is itself modelled from CPU time.
        Auto = "auto",
        /// A second of CPU time is a second.
        Time = "time",
        /// By watts per CPU of each component, learned from the meter.
        Learned = "learned",
        /// By cycles of the hardware's counters.
        Cycles = "cycles",
    }
);
choice!(ProbeChoice { Auto = "auto", Ebpf = "ebpf", Procfs = "procfs" });
choice!(
    /// Whether interrupt time is told apart from the interrupted process's time.
    Interrupts { Auto = "auto", On = "on" | "true" | "yes", Off = "off" | "false" | "no" }
);
choice!(EnergyChoice {
    Auto = "auto",
    Rapl = "rapl",
    Perf = "perf",
    Hwmon = "hwmon",
    Model = "model",
});
choice!(Provider {
    ElectricityMaps = "electricity_maps",
    WattTime = "watttime",
    UkCarbonIntensity = "uk_carbon_intensity",
});

impl Provider {
    /// Whether it answers only those who hold a token (or a password).
    pub fn needs_token(self) -> bool {
        self != Provider::UkCarbonIntensity
    }

    /// Whether it answers only for a named zone; a zone is never guessed.
    pub fn needs_zone(self) -> bool {
        self != Provider::UkCarbonIntensity
    }
}

/// A token or password: never printed, not by `Debug` either.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the request that needs it, and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Where a provider's token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    File(PathBuf),
    Value(Secret),
}

/// One source of grid carbon intensity; the configuration declares them in the order they are tried.
#[derive(Clone, Debug, PartialEq)]
pub enum IntensitySource {
    /// A zone of the embedded yearly averages (`DEU`).
    Zone(String),
    GramsPerKwh(f64),
    /// A file of `timestamp,grams_per_kwh`.
    File(PathBuf),
    Provider(ProviderSource),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSource {
    pub provider: Provider,
    /// The zone in the provider's own spelling; `None` only where the provider needs none.
    pub zone: Option<String>,
    pub username: Option<String>,
    pub token: Option<Token>,
    /// Another address for the provider's service (a proxy, a test).
    pub url: Option<String>,
}

/// Where to listen. The host may be a name: it is looked up when the port is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address or name, without the brackets of IPv6.
    pub host: String,
    /// 0 lets the kernel choose.
    pub port: u16,
}

impl Listen {
    /// Whether only this machine can reach it. A name other than `localhost` counts as reachable from elsewhere.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
    /// `None`: standard error.
    pub file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    pub source: ProbeChoice,
    /// Room per CPU in the kernel's map; 0 lets the probe choose by the host's size.
    pub cells_per_cpu: u32,
    pub interrupts: Interrupts,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EnergyConfig {
    pub source: EnergyChoice,
    /// A powercap tree elsewhere than under the host's sysfs.
    pub powercap: Option<PathBuf>,
    /// Of the whole host, for the estimation model.
    pub model_min_watts: Option<f64>,
    pub model_max_watts: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputConfig {
    /// Days that our own files are kept; 0 keeps them for ever.
    pub retain_days: u32,
    /// The oldest of our own files go when all of them together exceed this; 0 is no limit.
    pub max_bytes: u64,
}

/// Where the host's trees are mounted (other places inside a container).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    pub sysfs: PathBuf,
    pub procfs: PathBuf,
}

/// Emissions of making the machine, spread over its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embodied {
    pub total_kg: f64,
    pub lifetime_years: f64,
}

/// What a component's emissions are set against (R of ISO/IEC 21031), and where its count stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionalUnit {
    pub component: String,
    /// What one unit is: `request`.
    pub name: String,
    pub source: UnitSource,
}

/// Where the count of functional units stands. It only ever rises, but for restarts of who counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitSource {
    /// The sum of a metric's series that have all of these labels, on a page of Prometheus text.
    Prometheus { url: String, metric: String, labels: Vec<(String, String)> },
    /// A file that holds one number.
    File(PathBuf),
}

impl fmt::Display for UnitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnitSource::File(path) => write!(f, "file {}", path.display()),
            UnitSource::Prometheus { url, metric, labels } => {
                let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                write!(f, "{metric}{labels} at {url}")
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct AlertConfig {
    pub on_high_emissions: bool,
    /// `carbon_emissions_threshold_kg`, for the alert rule to compare with.
    pub threshold_kg: f64,
}

/// Everything that can be set, resolved and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub enabled: bool,
    pub project_name: String,
    /// `TTA_ENV`: the `environment` of every row.
    pub environment: Option<String>,
    pub output_dir: PathBuf,
    pub state_dir: PathBuf,
    pub log: LogConfig,
    /// What is exported; at least `sample_interval`.
    pub measurement_interval: Duration,
    pub sample_interval: Duration,
    pub track_components: bool,
    pub accounting_period: AccountingPeriod,
    pub idle: IdlePolicy,
    pub weights: WeightsChoice,
    /// First match wins; rules of the same name feed one component.
    pub components: Vec<Rule>,
    /// At most one a component.
    pub functional_units: Vec<FunctionalUnit>,
    /// In the order they are tried; empty: nothing is configured, the world average is used and said plainly.
    pub intensity: Vec<IntensitySource>,
    pub pue: f64,
    pub embodied: Option<Embodied>,
    pub process_top: usize,
    pub listen: Listen,
    pub alert: AlertConfig,
    pub probe: ProbeConfig,
    pub energy: EnergyConfig,
    pub output: OutputConfig,
    pub host: HostConfig,
}
