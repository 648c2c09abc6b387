//! The recent past in memory, for `/api/v1/history`: bounded, host and components only.

use super::rfc3339;
use crate::snapshot::{Snapshot, Usage};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::collections::VecDeque;
use std::sync::Arc;

/// Six hours at the default interval of 15 s.
pub const DEFAULT_INTERVALS: usize = 1440;

/// One interval in short.
#[derive(Debug, Serialize)]
pub struct Entry {
    #[serde(serialize_with = "as_rfc3339")]
    pub timestamp: Timestamp,
    pub interval_seconds: f64,
    pub host: Figures,
    pub components: Vec<Component>,
}

#[derive(Debug, Serialize)]
pub struct Component {
    /// Shared with the entry before where the name is the same: names are most of an entry's size.
    #[serde(serialize_with = "as_text")]
    pub component: Arc<str>,
    #[serde(flatten)]
    pub figures: Figures,
}

#[derive(Debug, Serialize)]
pub struct Figures {
    pub cpu_seconds: f64,
    pub energy_joules: f64,
    pub power_watts: f64,
    /// Kilograms of CO2e.
    pub emissions: f64,
}

/// A ring of entries.
#[derive(Debug)]
pub struct History {
    capacity: usize,
    entries: VecDeque<Arc<Entry>>,
}

impl History {
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: VecDeque::new() }
    }

    pub fn push(&mut self, snapshot: &Snapshot) {
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        let before = self.entries.back().cloned();
        let name = |name: &str| -> Arc<str> {
            let known = before.iter().flat_map(|entry| &entry.components).find(|c| &*c.component == name);
            known.map_or_else(|| Arc::from(name), |c| c.component.clone())
        };
        let figures = |usage: &Usage| Figures {
            cpu_seconds: usage.cpu.seconds(),
            energy_joules: usage.energy.total().joules(),
            power_watts: usage.energy.total().watts_over(snapshot.duration),
            emissions: usage.emissions.kilograms(),
        };
        let components = snapshot
            .components
            .iter()
            .map(|row| Component { component: name(&row.component), figures: figures(&row.interval) })
            .collect();
        self.entries.push_back(Arc::new(Entry {
            timestamp: snapshot.timestamp,
            interval_seconds: snapshot.duration.seconds(),
            host: figures(&snapshot.host),
            components,
        }));
    }

    /// By each entry's own time, not by position: a clock may have jumped.
    pub fn since(&self, since: Timestamp) -> Vec<Arc<Entry>> {
        self.entries.iter().filter(|entry| entry.timestamp > since).cloned().collect()
    }
}

fn as_rfc3339<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*timestamp))
}

fn as_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;

    #[test]
    fn the_oldest_goes_when_it_is_full_and_names_are_shared() {
        let mut history = History::new(3);
        let mut snapshot = fixture::snapshot();
        let first = snapshot.timestamp;
        for _ in 0..5 {
            history.push(&snapshot);
            snapshot.timestamp += std::time::Duration::from_secs(15);
        }
        let kept = history.since(first);
        assert_eq!(kept.len(), 3);
        assert_eq!(kept[0].timestamp, first + std::time::Duration::from_secs(30));
        assert_eq!(history.since(first + std::time::Duration::from_secs(30)).len(), 2);
        assert!(Arc::ptr_eq(&kept[0].components[0].component, &kept[2].components[0].component));
        let json = serde_json::to_value(&*kept[0]).unwrap();
        assert_eq!(json["host"]["energy_joules"], snapshot.host.energy.total().joules());
        assert_eq!(json["components"][0]["component"], "model_management");
    }
}
