//! What is measured of the configuration's way.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use sluice_consensus::Consensus;
use sluice_snapshot::Published;
use sluice_telemetry::{Metrics, names};
use std::time::{Duration, Instant};

/// Bounds of the buckets for the time from a version's arrival to its publishing, in seconds.
const APPLY: [f64; 10] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 5.0];

/// What this room counts itself; the rest is read when it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    apply: Histogram,
}

/// Read at each scrape.
#[derive(Debug)]
struct Read {
    consensus: Consensus,
    published: Published,
    /// This node's.
    name: String,
    started: Instant,
}

// === impl Figures ===

impl Figures {
    pub(crate) fn register(metrics: &Metrics, consensus: &Consensus, published: &Published, name: &str) -> Self {
        let apply = Histogram::new(APPLY);
        let read = Read {
            consensus: consensus.clone(),
            published: published.clone(),
            name: name.to_owned(),
            started: Instant::now(),
        };
        metrics.register(|registry| {
            registry.register(names::APPLY_SECONDS.stem(), names::APPLY_SECONDS.help, apply.clone());
            registry.register_collector(Box::new(read));
        });
        Self { apply }
    }

    /// A version that was heard of so long ago is live.
    pub(crate) fn applied(&self, took: Duration) {
        self.apply.observe(took.as_secs_f64());
    }
}

// === impl Read ===

impl Collector for Read {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let head = self.consensus.head();
        let raft = self.consensus.raft();
        let age = match raft.is_leader() {
            true if raft.votes_alone() => Some(Duration::ZERO),
            true => raft.quorum_acked.map(|at| at.elapsed()),
            false => raft.leader_heard.map(|at| at.elapsed()),
        };
        let age = age.unwrap_or_else(|| self.started.elapsed()).as_secs_f64();
        let figures = [
            (&names::COMMITTED_VERSION, head.version as f64),
            (&names::WANTED_VERSION, head.live_on(&self.name) as f64),
            (&names::TRIAL_VERSION, head.trial.map_or(0, |open| open.version) as f64),
            (&names::LIVE_VERSION, self.published.live().version as f64),
            (&names::SNAPSHOTS_LIVE, self.published.snapshots_live() as f64),
            (&names::CONFIG_AGE, age),
        ];
        for (name, value) in figures {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name.stem(), name.help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
