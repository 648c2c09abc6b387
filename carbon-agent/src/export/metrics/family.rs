//! The one table of metric families: names and types are the contract's, help texts and `docs/metrics.md` come from it.

use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// What a value spans: when it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// A counter that survives a restart of the agent.
    Ever,
    /// A counter that begins with the agent.
    Run,
    /// A counter that begins and ends with its process.
    Process,
    Period,
    Interval,
    Now,
    Start,
}

impl Since {
    /// As the page says it.
    fn words(self) -> &'static str {
        match self {
            Since::Ever => "never: kept in `carbon.state_dir`",
            Since::Run => "when the agent starts",
            Since::Process => "with the process; the series ends with it",
            Since::Period => "when an accounting period begins",
            Since::Interval => "each interval: it is of the last one",
            Since::Now => "is of the moment",
            Since::Start => "set when the agent starts",
        }
    }
}

/// A metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// As queries write it, `_total` included.
    pub name: &'static str,
    pub kind: Kind,
    /// The last part of the name (before `_total`) where it is a unit.
    pub unit: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub since: Since,
    /// A query that an operator would ask.
    pub example: &'static str,
}

impl Family {
    /// The name without `_total`: what OpenMetrics calls the family.
    pub fn base(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge => self.name,
        }
    }

    /// The base name without the unit, to which the encoder adds it again.
    pub fn stem(&self) -> &'static str {
        self.base().strip_suffix(self.unit).map_or(self.base(), |stem| stem.trim_end_matches('_'))
    }
}

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal [$unit:literal] ($($label:literal),*) $help:literal
        $since:ident $example:literal)*) => {
        $(pub const $constant: Family = Family {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
            since: Since::$since,
            example: $example,
        };)*
        /// Every family, in the order of exposition.
        pub const ALL: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    EMISSIONS: Gauge "carbon_emissions_kg" ["kg"] ("project")
        "Kilograms of CO2e of the host since the accounting period began"
        Period "carbon_emissions_kg > on (job, instance) group_left () carbon_emissions_threshold_kg"
    COMPONENT_EMISSIONS: Gauge "carbon_component_emissions_kg" ["kg"] ("project", "component")
        "Kilograms of CO2e of a component since the accounting period began"
        Period "topk(5, carbon_component_emissions_kg)"
    CO2E: Counter "carbon_co2e_grams_total" ["grams"] ("scope")
        "Grams of CO2e of the host: operational (energy) and embodied (its share of manufacture)"
        Ever "sum by (instance) (increase(carbon_co2e_grams_total[1d])) / 1000"
    COMPONENT_CO2E: Counter "carbon_component_co2e_grams_total" ["grams"] ("component")
        "Grams of operational CO2e of a component"
        Ever "sum by (component) (rate(carbon_component_co2e_grams_total[5m])) * 3600"
    COMPONENT_EMBODIED: Counter "carbon_component_embodied_co2e_grams_total" ["grams"] ("component")
        "Grams of embodied CO2e of a component: its part of the machine's manufacture, by its share of the energy"
        Ever "sum by (component) (increase(carbon_component_embodied_co2e_grams_total[1d]))"
    FUNCTIONAL_UNITS: Counter "carbon_component_functional_units_total" [""] ("component", "functional_unit")
        "Functional units of a component that were counted; absent until its count was read"
        Ever "sum by (component, functional_unit) (increase(carbon_component_functional_units_total[1d]))"
    SCI_CO2E: Counter "carbon_component_sci_co2e_grams_total" ["grams"] ("component", "functional_unit")
        "Grams of CO2e, operational and embodied, of the time whose functional units were counted; per unit it is SCI"
        Ever "increase(carbon_component_sci_co2e_grams_total[1d]) / increase(carbon_component_functional_units_total[1d])"
    SCI: Gauge "carbon_component_sci_grams_per_unit" ["grams_per_unit"] ("component", "functional_unit")
        "Software Carbon Intensity between the last two counts; absent where there were no units or no count"
        Interval "topk(5, carbon_component_sci_grams_per_unit)"
    HOST_ENERGY: Counter "carbon_host_energy_joules_total" ["joules"] ("domain", "socket")
        "Energy that a meter counted; core and uncore are parts of package, psys holds all"
        Ever "sum by (instance) (increase(carbon_host_energy_joules_total{domain=~\"package|dram|gpu\"}[1d])) / 3.6e6"
    HOST_POWER: Gauge "carbon_host_power_watts" ["watts"] ("domain", "socket")
        "Mean power of a meter over the last interval"
        Interval "sum by (instance) (carbon_host_power_watts{domain=~\"package|dram|gpu\"})"
    HOST_IDLE_POWER: Gauge "carbon_host_idle_power_watts" ["watts"] ("domain", "socket")
        "Learned power of the meter with nothing running; absent while it is being learned"
        Now "carbon_host_idle_power_watts / carbon_host_power_watts"
    COMPONENT_ENERGY: Counter "carbon_component_energy_joules_total" ["joules"] ("component", "domain")
        "Energy of a component; the components of a domain sum to its meters"
        Ever "sum by (component) (rate(carbon_component_energy_joules_total{domain=~\"package|dram|gpu\"}[5m]))"
    COMPONENT_POWER: Gauge "carbon_component_power_watts" ["watts"] ("component")
        "Mean power of a component over the last interval (package, dram and gpu)"
        Interval "sum by (component) (carbon_component_power_watts)"
    COMPONENT_CPU: Counter "carbon_component_cpu_seconds_total" ["seconds"] ("component")
        "CPU time of a component; for idle, time in which a CPU ran nothing"
        Ever "sum by (component) (rate(carbon_component_cpu_seconds_total{component!=\"idle\"}[5m]))"
    RETIRED_ENERGY: Counter "carbon_retired_components_energy_joules_total" ["joules"] ("domain")
        "Energy of components whose series have ended, because too many come and go"
        Ever "sum by (domain) (carbon_component_energy_joules_total) + on (domain) carbon_retired_components_energy_joules_total"
    RETIRED_CO2E: Counter "carbon_retired_components_co2e_grams_total" ["grams"] ()
        "Grams of operational CO2e of components whose series have ended"
        Ever "carbon_retired_components_co2e_grams_total / 1000"
    RETIRED_CPU: Counter "carbon_retired_components_cpu_seconds_total" ["seconds"] ()
        "CPU time of components whose series have ended"
        Ever "carbon_retired_components_cpu_seconds_total"
    PROCESS_ENERGY: Counter "carbon_process_energy_joules_total" ["joules"] ("pid", "comm", "component")
        "Energy of one of the top processes since it was first seen (package, dram and gpu)"
        Process "topk(10, rate(carbon_process_energy_joules_total[5m]))"
    PROCESS_CPU: Counter "carbon_process_cpu_seconds_total" ["seconds"] ("pid", "comm", "component")
        "CPU time of one of the top processes since it was first seen"
        Process "topk(10, rate(carbon_process_cpu_seconds_total[5m]))"
    UNATTRIBUTED: Counter "carbon_energy_unattributed_joules_total" ["joules"] ("domain")
        "Energy that could be assigned to nobody, such as what was spent while the agent was down"
        Ever "rate(carbon_energy_unattributed_joules_total[5m])"
    RESIDUAL: Gauge "carbon_attribution_residual_joules" ["joules"] ("domain")
        "Rows minus meter in the last interval; anything but 0 is a defect of the agent"
        Interval "carbon_attribution_residual_joules != bool 0"
    THRESHOLD: Gauge "carbon_emissions_threshold_kg" ["kg"] ()
        "Configured threshold for carbon_emissions_kg"
        Start "carbon_emissions_kg / on (job, instance) group_left () carbon_emissions_threshold_kg"
    INTENSITY: Gauge "carbon_intensity_grams_per_kwh" ["grams_per_kwh"] ("zone", "provider", "kind")
        "Carbon intensity of the grid in force"
        Now "avg_over_time(carbon_intensity_grams_per_kwh[1d])"
    INTENSITY_AGE: Gauge "carbon_intensity_age_seconds" ["seconds"] ()
        "Age of the carbon intensity in force"
        Now "carbon_intensity_age_seconds / 3600"
    STAGE_UP: Gauge "carbon_stage_up" [""] ("stage")
        "1 when the stage is in order, 0 when it is degraded or failed"
        Now "min by (stage) (carbon_stage_up)"
    ERRORS: Counter "carbon_errors_total" [""] ("stage", "kind")
        "Errors since the start of the agent; every kind is there from the start"
        Run "sum by (stage, kind) (increase(carbon_errors_total[15m]))"
    OUTPUT_BYTES: Gauge "carbon_output_bytes" ["bytes"] ("kind")
        "Bytes on disk of emissions files and of the log"
        Now "sum by (instance) (carbon_output_bytes)"
    OUTPUT_WAITING: Gauge "carbon_output_waiting_intervals" ["intervals"] ()
        "Intervals that wait in memory because the disk does not take them"
        Now "max_over_time(carbon_output_waiting_intervals[1h])"
    LAST_SAMPLE: Gauge "carbon_last_sample_timestamp_seconds" ["seconds"] ()
        "End of the last interval, Unix time"
        Now "time() - carbon_last_sample_timestamp_seconds"
    LAST_WRITE: Gauge "carbon_last_write_timestamp_seconds" ["seconds"] ()
        "When lines last reached the emissions file, Unix time"
        Now "time() - carbon_last_write_timestamp_seconds"
    PROBE_EVENTS: Counter "carbon_probe_events_total" [""] ()
        "Context switches and lifecycle events that the probe handled"
        Run "rate(carbon_probe_events_total[5m])"
    PROBE_RUN: Counter "carbon_probe_run_seconds_total" ["seconds"] ()
        "Time spent in the probe's programs; absent while the kernel's BPF statistics are off"
        Run "rate(carbon_probe_run_seconds_total[5m]) / rate(carbon_probe_events_total[5m])"
    PROBE_LOST: Counter "carbon_probe_lost_cpu_seconds_total" ["seconds"] ()
        "CPU time that found no room in the probe's maps; it is booked as unattributed"
        Run "rate(carbon_probe_lost_cpu_seconds_total[5m])"
    BUILD_INFO: Gauge "carbon_build_info" [""] ("version", "probe_object")
        "Version of the agent and identity of its eBPF object; always 1"
        Start "count by (version, probe_object) (carbon_build_info)"
    SELF_CPU: Counter "process_cpu_seconds_total" ["seconds"] ()
        "User and system CPU time of the agent itself"
        Run "rate(process_cpu_seconds_total[5m])"
    SELF_OPEN_FDS: Gauge "process_open_fds" [""] ()
        "File descriptors that the agent has open"
        Now "process_open_fds / process_max_fds"
    SELF_MAX_FDS: Gauge "process_max_fds" [""] ()
        "File descriptors that the agent may have open"
        Start "process_max_fds"
    SELF_VIRTUAL: Gauge "process_virtual_memory_bytes" ["bytes"] ()
        "Virtual memory of the agent itself"
        Now "process_virtual_memory_bytes"
    SELF_RESIDENT: Gauge "process_resident_memory_bytes" ["bytes"] ()
        "Resident memory of the agent itself"
        Now "max_over_time(process_resident_memory_bytes[1d])"
    SELF_START: Gauge "process_start_time_seconds" ["seconds"] ()
        "Start of the agent, Unix time"
        Start "time() - process_start_time_seconds"
}

/// `docs/metrics.md`.
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for family in ALL {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, unit, labels) = (family.name, unit(family), labels.join(", "));
        let _ =
            writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {} | {} |", family.help, family.since.words());
    }
    page.push_str(QUERIES);
    for family in ALL {
        // A bar would end the cell.
        let _ = writeln!(page, "| `{}` | `{}` |", family.name, family.example.replace('|', "\\|"));
    }
    page
}

/// The unit as a person writes it.
fn unit(family: &Family) -> &'static str {
    match family.unit {
        "joules" => "J",
        "watts" => "W",
        "kg" => "kg CO2e",
        "grams" => "g CO2e",
        "grams_per_kwh" => "g CO2e/kWh",
        "grams_per_unit" => "g CO2e/unit",
        "seconds" => "s",
        "bytes" => "B",
        "intervals" => "intervals",
        _ => "",
    }
}

const INTRODUCTION: &str = "# Metrics

<!-- Generated from carbon-agent/src/export/metrics/family.rs; \
`UPDATE_DOCS=1 cargo test -p carbon-agent metrics_page` writes it anew. -->

`GET /metrics` serves these as Prometheus text, or as OpenMetrics where `Accept` asks for it. A scrape changes nothing: \
the figures are those of the last interval (`carbon.measurement_interval`, 15 s), except `process_*`, which are read at \
the scrape. A scrape interval of 15 s to a minute loses nothing that counters hold; windows of `rate()` should span at \
least two intervals and two scrapes.

The components `unassigned` (matched no rule), `kernel`, `idle` and `unattributed` are reserved and always there; with \
them the components of a domain sum to its meters exactly. Beyond 750 components that nobody configured, the series of \
those that were unused for longest end, and what they used goes to `carbon_retired_components_*`, which is then part of \
the sum (and no rate: it grows by whole components). Domains overlap: `core` and `uncore` are parts of `package`, \
`psys` holds everything. For a host's total add `package`, `dram` and `gpu` only.

A counter that begins anew does so at 0, which `rate()` and `increase()` take into account.

| name | type | unit | labels | meaning | begins anew |
|---|---|---|---|---|---|
";

const QUERIES: &str = "
## Queries

One question an operator would ask of each. Recording and alert rules are in `deploy/prometheus/`, dashboards in \
`deploy/grafana/`.

| metric | query |
|---|---|
";
