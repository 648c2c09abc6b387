//! What the agent promises to emit, written down a second time so that the code cannot change it silently.

/// The contract's table: name, type, labels.
pub const CONTRACT: &[(&str, &str, &[&str])] = &[
    ("carbon_emissions_kg", "gauge", &["project"]),
    ("carbon_component_emissions_kg", "gauge", &["project", "component"]),
    ("carbon_co2e_grams_total", "counter", &["scope"]),
    ("carbon_component_co2e_grams_total", "counter", &["component"]),
    ("carbon_host_energy_joules_total", "counter", &["domain", "socket"]),
    ("carbon_host_power_watts", "gauge", &["domain", "socket"]),
    ("carbon_host_idle_power_watts", "gauge", &["domain", "socket"]),
    ("carbon_component_energy_joules_total", "counter", &["component", "domain"]),
    ("carbon_component_power_watts", "gauge", &["component"]),
    ("carbon_component_cpu_seconds_total", "counter", &["component"]),
    ("carbon_process_energy_joules_total", "counter", &["pid", "comm", "component"]),
    ("carbon_process_cpu_seconds_total", "counter", &["pid", "comm", "component"]),
    ("carbon_energy_unattributed_joules_total", "counter", &["domain"]),
    ("carbon_attribution_residual_joules", "gauge", &["domain"]),
    ("carbon_emissions_threshold_kg", "gauge", &[]),
    ("carbon_intensity_grams_per_kwh", "gauge", &["zone", "provider", "kind"]),
    ("carbon_intensity_age_seconds", "gauge", &[]),
    ("carbon_stage_up", "gauge", &["stage"]),
    ("carbon_errors_total", "counter", &["stage", "kind"]),
    ("carbon_output_bytes", "gauge", &["kind"]),
    ("carbon_last_sample_timestamp_seconds", "gauge", &[]),
    ("carbon_last_write_timestamp_seconds", "gauge", &[]),
    ("carbon_probe_events_total", "counter", &[]),
    ("carbon_probe_run_seconds_total", "counter", &[]),
    ("carbon_probe_lost_cpu_seconds_total", "counter", &[]),
    ("carbon_build_info", "gauge", &["version", "probe_object"]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
];

/// Metrics that may be absent, and why. Everything else of the table must be there.
pub const MAY_BE_ABSENT: &[(&str, &str)] = &[
    ("carbon_host_idle_power_watts", "absent while the idle power is being learned"),
    ("carbon_probe_run_seconds_total", "absent while the kernel's BPF statistics are off"),
];
