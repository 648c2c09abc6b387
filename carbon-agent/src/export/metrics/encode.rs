//! Text expositions. `prometheus-client` writes OpenMetrics; Prometheus' older text format differs from it only in
//! the lines that describe a family, so the one is made from the other and labels are escaped in one place.

use super::family::{self, Family, Kind};
use super::samples::Series;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// OpenMetrics text 1.0.0.
pub fn openmetrics(series: Vec<Series>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(series)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string does not fail to be written");
    text
}

/// Prometheus text 0.0.4: a counter's family is named with its `_total`, units and the end are not said.
pub fn classic(series: Vec<Series>) -> String {
    let openmetrics = openmetrics(series);
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            push_line(&mut text, &[line]);
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        if let (Some(keyword @ ("HELP" | "TYPE")), Some(base), Some(rest)) = (words.next(), words.next(), words.next())
        {
            let name = family::ALL.iter().find(|f| f.base() == base).map_or(base, |f| f.name);
            push_line(&mut text, &["# ", keyword, " ", name, " ", rest]);
        }
    }
    text
}

fn push_line(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
    text.push('\n');
}

#[derive(Debug)]
struct Collected(Vec<Series>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for Series { family, samples } in &self.0 {
            let unit = (!family.unit.is_empty()).then(|| Unit::Other(family.unit.to_owned()));
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(family.stem(), family.help, unit.as_ref(), kind)?;
            for sample in samples {
                if sample.labels.is_empty() {
                    value(&mut metric, family, sample.value)?;
                } else {
                    value(&mut metric.encode_family(&sample.labels)?, family, sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn value(encoder: &mut MetricEncoder, family: &Family, value: f64) -> fmt::Result {
    match family.kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        Kind::Gauge => encoder.encode_gauge(&value),
    }
}
