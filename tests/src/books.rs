//! The promise of every interval: component lines sum to the host line, exactly, in every domain.

use serde_json::Value;
use std::collections::BTreeMap;

/// Joules as the whole microjoules that were written.
pub fn microjoules(value: &Value) -> i128 {
    (value.as_f64().expect("joules are a number") * 1e6).round() as i128
}

/// Asserts, for each interval (timestamp) in `rows`, that its component lines sum to its host line in every domain and
/// that nothing is negative. Returns the number of intervals.
pub fn assert_closed(rows: &[Value]) -> usize {
    let mut intervals: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in rows {
        intervals.entry(row["timestamp"].to_string()).or_default().push(row);
    }
    for (timestamp, rows) in &intervals {
        let host = rows.iter().find(|row| row["record"] == "host").unwrap_or_else(|| panic!("no host at {timestamp}"));
        let domains = host["interval_energy_joules"].as_object().expect("energy by domain");
        for (domain, joules) in domains {
            let components = rows.iter().filter(|row| row["record"] == "component");
            let parts: Vec<i128> =
                components.map(|row| microjoules(&row["interval_energy_joules"][domain.as_str()])).collect();
            assert!(parts.iter().all(|part| *part >= 0), "a negative share of {domain} at {timestamp}");
            assert_eq!(parts.iter().sum::<i128>(), microjoules(joules), "{domain} at {timestamp}");
        }
    }
    intervals.len()
}
