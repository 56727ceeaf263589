//! What a scrape sees of the link.

use std::fmt::{Error, Write};
use std::sync::Weak;
use std::time::{Duration, Instant};

use sluice_telemetry::{Metrics, names, prometheus_client as prometheus};

use prometheus::collector::Collector;
use prometheus::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelSetEncoder};
use prometheus::metrics::gauge::ConstGauge;

use crate::shared::{Shared, lock};

/// A peer whose status is younger than this is up.
const LATELY: Duration = Duration::from_millis(500);

/// Which peers are up, read from what was heard when a scrape asks.
#[derive(Debug)]
struct Peers(Weak<Shared>);

#[derive(Debug)]
struct PeerLabel(String);

/// Registers the link's metrics.
pub(crate) fn register(metrics: &Metrics, shared: Weak<Shared>) {
    metrics.register(|registry| registry.register_collector(Box::new(Peers(shared))));
}

impl Collector for Peers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let now = Instant::now();
        // Two incarnations of one name are one peer to people: the one heard last.
        let mut up = std::collections::BTreeMap::new();
        for heard in lock(&shared.board).all() {
            let lately = now.saturating_duration_since(heard.at) < LATELY;
            *up.entry(heard.identity.name.clone()).or_insert(false) |= lately;
        }
        let name = names::PEER_UP;
        let mut family =
            encoder.encode_descriptor(name.stem(), name.help, None, ConstGauge::new(0i64).metric_type())?;
        for (peer, up) in up {
            let label = PeerLabel(peer);
            ConstGauge::new(i64::from(up)).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

impl EncodeLabelSet for PeerLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        let mut label = encoder.encode_label();
        let mut key = label.encode_label_key()?;
        key.write_str(names::PEER_UP.labels[0])?;
        let mut value = key.encode_label_value()?;
        EncodeLabelValue::encode(&self.0.as_str(), &mut value)?;
        value.finish()
    }
}
