//! A scrape of limits.

use super::handle::Common;
use super::{Outcome, Source};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sluice_shared_state::Scope;
use sluice_telemetry::Metrics;
use sluice_telemetry::cells::DurationsSum;
use sluice_telemetry::names::{self, Kind, Name};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads what is counted of limits.
#[derive(Debug)]
struct Collect(Arc<Common>);

/// Once for each node.
pub(super) fn register(metrics: &Metrics, common: &Arc<Common>) {
    let collect = Box::new(Collect(Arc::clone(common)));
    metrics.register(|registry| registry.register_collector(collect));
}

// === impl Collect ===

impl Collector for Collect {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (out, book) = (&mut encoder, &self.0.book);
        let mut rules = book.rules();
        rules.sort_by(|a, b| (&a.rule.scope, &a.rule.name).cmp(&(&b.rule.scope, &b.rule.name)));
        let mut family = open(out, &names::LIMIT_DECISIONS)?;
        for rule in rules.iter().map(|entry| &entry.rule) {
            let (sums, scope) = (book.sums(rule.id), scope(&rule.scope));
            for (outcome, source) in Outcome::ALL
                .iter()
                .flat_map(|outcome| Source::ALL.map(|source| (*outcome, source)))
            {
                let count = sums[outcome as usize][source as usize];
                if count > 0 {
                    let labels = names::LIMIT_DECISIONS.labels.iter().copied();
                    let labels: Vec<_> = labels
                        .zip([&*rule.name, &*scope, outcome.as_str(), source.as_str()])
                        .collect();
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let keys = i64::try_from(self.0.keys.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        ConstGauge::new(keys).encode(open(out, &names::LIMIT_KEYS)?)?;
        let shed = book.shed.load(Ordering::Relaxed);
        ConstCounter::new(shed).encode(open(out, &names::LIMIT_NEW_KEYS_SHED)?)?;
        let mut waits = DurationsSum::default();
        book.all().iter().for_each(|counts| counts.waits.add_to(&mut waits));
        open(out, &names::LIMIT_WAIT)?.encode_histogram::<[(&str, &str); 0]>(
            waits.seconds(),
            waits.count(),
            &waits.buckets(),
            None,
        )
    }
}

/// A scope as a label.
fn scope(scope: &Scope) -> Cow<'_, str> {
    match scope {
        Scope::Gateway(gateway) => Cow::Borrowed(gateway),
        Scope::Route(gateway, route) => Cow::Owned(format!("{gateway}/{route}")),
    }
}

fn open<'s>(out: &'s mut DescriptorEncoder<'_>, name: &'static Name) -> Result<MetricEncoder<'s>, fmt::Error> {
    let kind = match name.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    out.encode_descriptor(name.stem(), name.help, None, kind)
}
