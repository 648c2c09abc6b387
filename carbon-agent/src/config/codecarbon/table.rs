//! CodeCarbon's settings (release 3.3.2, its tracker's and its command's), each with our equal, or why it has none.

/// Those with an equal: CodeCarbon's key and ours.
pub const EQUALS: &[(&str, &str)] = &[
    ("project_name", "carbon.project_name"),
    ("output_dir", "carbon.output_dir"),
    ("measure_power_secs", "carbon.measurement_interval"),
    ("pue", "carbon.pue"),
    (COUNTRY, super::ZONE),
    (REGION, super::ZONE),
    (FORCED, super::GRAMS),
    ("log_level", "carbon.log_level"),
];

pub const COUNTRY: &str = "country_iso_code";
pub const REGION: &str = "region";
pub const FORCED: &str = "force_carbon_intensity_g_co2e_kwh";

const SERVICE: &str = "nothing is sent to CodeCarbon's service";
const ALWAYS: &str = "JSON lines, emissions.csv and /metrics are always there, and nothing else";
const CLOUD: &str = "there are no figures of cloud regions here: set carbon.intensity.zone";
const MAPS: &str = "set carbon.intensity.provider: electricity_maps, its zone and a token_file";
const MODEL: &str =
    "the model is of the whole host: set carbon.energy.model_min_watts and carbon.energy.model_max_watts";

/// Those without, and why.
pub const OTHERS: &[(&str, &str)] = &[
    ("allow_multiple_runs", "a second agent with the same state_dir is always refused"),
    ("api_call_interval", SERVICE),
    ("api_endpoint", SERVICE),
    ("api_key", SERVICE),
    ("cloud_provider", CLOUD),
    ("cloud_region", CLOUD),
    ("co2_signal_api_token", MAPS),
    ("country_2letter_iso_code", MAPS),
    ("electricitymaps_api_token", MAPS),
    ("emissions_endpoint", SERVICE),
    ("experiment_id", SERVICE),
    ("experiment_name", SERVICE),
    ("force_cpu_power", MODEL),
    ("force_mode_cpu_load", "set carbon.energy.source: model"),
    ("force_ram_power", MODEL),
    ("gpu_ids", "every GPU is read"),
    ("logger_preamble", "log lines have a fixed shape"),
    ("logging_logger", ALWAYS),
    ("metadata", SERVICE),
    ("on_csv_write", "emissions.csv holds the row of the run, replaced each interval"),
    ("organization_id", SERVICE),
    ("output_file", "the file is always emissions.csv"),
    ("output_handlers", ALWAYS),
    ("output_methods", ALWAYS),
    ("project_id", SERVICE),
    ("prometheus_url", "metrics are served, not pushed: set carbon.listen"),
    ("rapl_include_dram", "dram is counted wherever it has a meter of its own"),
    ("rapl_prefer_psys", "psys is reported beside the total, never in its place"),
    ("save_to_api", ALWAYS),
    ("save_to_file", ALWAYS),
    ("save_to_logfire", ALWAYS),
    ("save_to_logger", ALWAYS),
    ("save_to_prometheus", ALWAYS),
    ("tracking_mode", "the whole machine is measured, and every process in it"),
    ("wue", "water is not accounted"),
];
