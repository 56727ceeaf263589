//! A scrape of breakers.

use super::Inner;
use super::views::route;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sluice_shared_state::breaker::Kind;
use sluice_telemetry::Metrics;
use sluice_telemetry::names::{self, Name};
use std::fmt;
use std::sync::{Arc, Weak};

/// Reads what is counted of breakers.
#[derive(Debug)]
struct Collect(Weak<Inner>);

/// Once for each node.
pub(super) fn register(metrics: &Metrics, inner: &Arc<Inner>) {
    let collect = Box::new(Collect(Arc::downgrade(inner)));
    metrics.register(|registry| registry.register_collector(collect));
}

// === impl Collect ===

impl Collector for Collect {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(inner) = self.0.upgrade() else { return Ok(()) };
        let (seen, mut counts) = {
            let table = inner.table();
            let counts: Vec<_> = table.counts.iter().map(|(which, count)| (*which, *count)).collect();
            (table.desk.seen(), counts)
        };
        counts.sort_unstable();
        let mut family = open(&mut encoder, &names::BREAKER_STATE, MetricType::Gauge)?;
        for seen in &seen {
            let route = route(&seen.key);
            let labels = labels(&names::BREAKER_STATE, [&seen.key.upstream, &route]);
            ConstGauge::new(level(seen.kind)).encode(family.encode_family(&labels)?)?;
        }
        let mut family = open(&mut encoder, &names::BREAKER_REFUSED, MetricType::Counter)?;
        for seen in &seen {
            let route = route(&seen.key);
            let labels = labels(&names::BREAKER_REFUSED, [&seen.key.upstream, &route]);
            ConstCounter::new(seen.refused).encode(family.encode_family(&labels)?)?;
        }
        let mut family = open(&mut encoder, &names::BREAKER_TRANSITIONS, MetricType::Counter)?;
        for ((from, to), count) in counts {
            let labels = labels(&names::BREAKER_TRANSITIONS, [from.name(), to.name()]);
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The greater, the less passes.
fn level(kind: Kind) -> i64 {
    match kind {
        Kind::Closed | Kind::ForcedClosed => 0,
        Kind::Suspect => 1,
        Kind::HalfOpen => 2,
        Kind::Open | Kind::ForcedOpen => 3,
    }
}

fn labels<'v>(name: &'static Name, values: [&'v str; 2]) -> Vec<(&'static str, &'v str)> {
    name.labels.iter().copied().zip(values).collect()
}

fn open<'s>(
    out: &'s mut DescriptorEncoder<'_>,
    name: &'static Name,
    kind: MetricType,
) -> Result<MetricEncoder<'s>, fmt::Error> {
    out.encode_descriptor(name.stem(), name.help, None, kind)
}
