//! What is counted of the store.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use sluice_telemetry::{Metrics, names};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What is counted of the store. Counted on the control runtime, never on a worker.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    up: Gauge,
    calls: Family<Call, Counter>,
    seconds: Histogram,
    reconnects: Counter,
    epoch: Gauge<u64, AtomicU64>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Answered,
    /// Given up after 20 ms.
    Late,
    /// Its connection ended.
    Lost,
    /// The store answered that it did not do it.
    Refused,
    /// Not made: the store is known to be away.
    Away,
}

/// The labels of a call.
type Call = [(&'static str, &'static str); 2];

/// Upper bounds in seconds: a call takes some tenths of a millisecond, and never more than 20 ms.
const BOUNDS: [f64; 9] = [0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05];

// === impl StoreMetrics ===

impl StoreMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            up: Gauge::default(),
            calls: Family::default(),
            seconds: Histogram::new(BOUNDS),
            reconnects: Counter::default(),
            epoch: Gauge::default(),
        };
        metrics.register(|registry| {
            let name = names::STORE_UP;
            registry.register(name.stem(), name.help, this.up.clone());
            let name = names::STORE_CALLS;
            registry.register(name.stem(), name.help, this.calls.clone());
            let name = names::STORE_CALL_SECONDS;
            registry.register(name.stem(), name.help, this.seconds.clone());
            let name = names::STORE_RECONNECTS;
            registry.register(name.stem(), name.help, this.reconnects.clone());
            let name = names::STORE_EPOCH;
            registry.register(name.stem(), name.help, this.epoch.clone());
        });
        this
    }

    pub(crate) fn up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// `kind` is the script's name, or what it is about.
    pub(crate) fn called(&self, kind: &'static str, result: Outcome, took: Option<Duration>) {
        let [kind_label, result_label] = [names::STORE_CALLS.labels[0], names::STORE_CALLS.labels[1]];
        let call = [(kind_label, kind), (result_label, result.name())];
        self.calls.get_or_create(&call).inc();
        if let Some(took) = took {
            self.seconds.observe(took.as_secs_f64());
        }
    }

    pub(crate) fn reconnected(&self) {
        self.reconnects.inc();
    }

    pub(crate) fn epoch(&self, epoch: u64) {
        self.epoch.set(epoch);
    }
}

// === impl Outcome ===

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Away => "away",
        }
    }
}
