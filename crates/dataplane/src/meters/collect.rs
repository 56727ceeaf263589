//! A scrape.

use super::tunnels::TunnelsSum;
use super::{Cells, Closed, Direction, Http2, TunnelEnd, routes};
use crate::crew::Crew;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sluice_http_semantics::problem::Code;
use sluice_telemetry::cells::DurationsSum;
use sluice_telemetry::log::Log;
use sluice_telemetry::names::{self, Kind, Name};
use sluice_upstream::{Health, Meters};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Reads the cells of all workers of a data plane.
#[derive(Debug)]
pub(crate) struct Collect {
    pub(crate) workers: Vec<Arc<Cells>>,
    /// By place, as in [`Cells::listeners`].
    pub(crate) listeners: Vec<Arc<str>>,
    pub(crate) upstreams: Meters,
    pub(crate) health: Health,
    pub(crate) crew: Arc<Crew>,
    pub(crate) log: Log,
}

/// Label values in the order of a [`Name`]'s labels.
type Labelled<'a, V> = (Vec<&'a str>, V);

// === impl Collect ===

impl Collector for Collect {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let out = &mut encoder;
        self.durations(out)?;
        self.splits(out)?;
        self.connections(out)?;
        self.tunnels(out)?;
        let sum = |count: &dyn Fn(&Cells) -> u64| self.workers.iter().map(|cells| count(cells)).sum::<u64>();
        let rejected = Code::ALL.iter().enumerate().filter_map(|(i, code)| {
            let count = sum(&|cells| cells.rejected[i].get());
            (count > 0).then(|| (vec![code.as_str()], count))
        });
        counters(out, &names::REJECTED, rejected)?;
        let refused = Closed::ALL.map(|why| (vec![why.as_str()], sum(&|cells| cells.refused[why as usize].get())));
        counters(out, &names::CONNECTIONS_REFUSED, refused)?;
        let ended = Http2::ALL.map(|why| (vec![why.as_str()], sum(&|cells| cells.http2[why as usize].get())));
        counters(out, &names::HTTP2_ENDED, ended)?;
        let handed = sum(&|cells| cells.handed.get());
        counters(out, &names::CONNECTIONS_HANDED, [(vec![], handed)])?;
        let levels = self.crew.room.levels();
        let levels = levels.map(|(resource, level)| (vec![resource.as_str()], level.into()));
        gauges(out, &names::OVERLOAD, levels)?;
        let dropped = self.log.dropped();
        let dropped = [(vec!["access"], dropped.lines), (vec!["events"], dropped.events)];
        counters(out, &names::LOG_DROPPED, dropped)?;
        let panics = [
            (vec!["request"], sum(&|cells| cells.panics.get())),
            (vec!["worker"], sum(&|cells| cells.deaths.get())),
        ];
        counters(out, &names::PANICS, panics)?;
        self.of_upstreams(out)?;
        self.of_targets(out)
    }
}

impl Collect {
    fn durations(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums: BTreeMap<(Arc<str>, Arc<str>), BTreeMap<routes::Labels, DurationsSum>> = BTreeMap::new();
        for route in self.workers.iter().flat_map(|cells| cells.routes()) {
            let key = (Arc::clone(&route.gateway), Arc::clone(&route.http_route));
            route.add_to(sums.entry(key).or_default());
        }
        let all = sums.iter().flat_map(|((gateway, route), pairs)| {
            pairs.iter().map(move |((method, status), sum)| {
                let labels = vec![
                    gateway.to_string(),
                    route.to_string(),
                    (*method).to_owned(),
                    told(*status),
                ];
                (labels, sum)
            })
        });
        histograms(out, &names::SERVER_DURATION, all)
    }

    fn splits(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums: BTreeMap<[Arc<str>; 3], u64> = BTreeMap::new();
        for route in self.workers.iter().flat_map(|cells| cells.routes()) {
            for arm in route.arms() {
                let key = [&route.gateway, &route.http_route, &arm.upstream].map(Arc::clone);
                *sums.entry(key).or_default() += arm.requests.get();
            }
        }
        let all = sums
            .iter()
            .map(|(key, count)| (key.iter().map(|label| &**label).collect(), *count));
        counters(out, &names::SPLIT_REQUESTS, all)
    }

    fn connections(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut levels: BTreeMap<&str, [i64; 5]> = BTreeMap::new();
        for cells in &self.workers {
            for (name, cells) in self.listeners.iter().zip(&cells.listeners) {
                let [open, active, tunnels, http2, streams] = levels.entry(name).or_default();
                *open += cells.open.get();
                *active += cells.active.get();
                *tunnels += cells.tunnels.get();
                *http2 += cells.http2.get();
                *streams += cells.streams.get();
            }
        }
        let all = levels.iter().flat_map(|(name, [open, active, tunnels, ..])| {
            [
                (vec![*name, "active"], *active),
                (vec![*name, "idle"], open - active - tunnels),
                (vec![*name, "tunnel"], *tunnels),
            ]
        });
        gauges(out, &names::CONNECTIONS, all)?;
        let http2 = levels.iter().map(|(name, [_, _, _, http2, _])| (vec![*name], *http2));
        gauges(out, &names::HTTP2_CONNECTIONS, http2)?;
        let streams = levels.iter().map(|(name, [.., streams])| (vec![*name], *streams));
        gauges(out, &names::HTTP2_STREAMS, streams)
    }

    fn tunnels(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums: BTreeMap<(Arc<str>, Arc<str>), TunnelsSum> = BTreeMap::new();
        for route in self.workers.iter().flat_map(|cells| cells.routes()) {
            if let Some(tunnels) = route.had_tunnels() {
                let key = (Arc::clone(&route.gateway), Arc::clone(&route.http_route));
                tunnels.add_to(sums.entry(key).or_default());
            }
        }
        let ended = sums.iter().flat_map(|((gateway, route), sum)| {
            let of = move |(end, count): (TunnelEnd, u64)| (vec![&**gateway, &**route, end.as_str()], count);
            TunnelEnd::ALL.into_iter().zip(sum.ended).map(of)
        });
        counters(out, &names::TUNNELS_ENDED, ended)?;
        let bytes = sums.iter().flat_map(|((gateway, route), sum)| {
            let of = move |(way, count): (Direction, u64)| (vec![&**gateway, &**route, way.as_str()], count);
            Direction::ALL.into_iter().zip(sum.bytes).map(of)
        });
        counters(out, &names::TUNNEL_BYTES, bytes)?;
        let mut family = open(out, &names::TUNNEL_SECONDS)?;
        for ((gateway, route), sum) in &sums {
            with(
                &mut family,
                &names::TUNNEL_SECONDS,
                &[&**gateway, &**route],
                |encoder| ConstCounter::new(sum.nanos as f64 / 1e9).encode(encoder),
            )?;
        }
        Ok(())
    }

    fn of_upstreams(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let readings = self.upstreams.read();
        let durations = readings.iter().flat_map(|reading| {
            let of = |(status, sum): &'_ (u16, DurationsSum)| {
                (vec![reading.upstream.to_string(), told(*status)], sum.clone())
            };
            reading.durations.iter().map(of).collect::<Vec<_>>()
        });
        histograms(out, &names::CLIENT_DURATION, durations)?;
        let connections = readings.iter().flat_map(|reading| {
            let of = |state, level| (vec![&*reading.upstream, state], level);
            [
                of("active", reading.active),
                of("connecting", reading.connecting),
                of("idle", reading.idle),
            ]
        });
        gauges(out, &names::UPSTREAM_CONNECTIONS, connections)?;
        let replaced = readings.iter().flat_map(|reading| {
            let of = move |(why, count): (&'static str, u64)| (vec![&*reading.upstream, why], count);
            reading.replaced.map(of)
        });
        counters(out, &names::UPSTREAM_REPLACED, replaced)?;
        let retries = readings.iter().flat_map(|reading| {
            let of = move |(why, count): (&'static str, u64)| (vec![&*reading.upstream, why], count);
            reading.retries.map(of)
        });
        counters(out, &names::UPSTREAM_RETRIES, retries)?;
        let skipped = readings.iter().flat_map(|reading| {
            let of = move |(why, count): (&'static str, u64)| (vec![&*reading.upstream, why], count);
            reading.skipped.map(of)
        });
        counters(out, &names::UPSTREAM_RETRIES_SKIPPED, skipped)?;
        let interim = readings.iter().map(|reading| reading.interim).sum();
        counters(out, &names::INTERIM_DROPPED, [(vec![], interim)])
    }
}

impl Collect {
    fn of_targets(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.health.read();
        let level = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let targets = all.iter().flat_map(|targets| {
            let of = |state, count| (vec![&*targets.upstream, state], level(count));
            [
                of("healthy", targets.healthy),
                of("ejected", targets.ejected),
                of("unhealthy", targets.unhealthy),
            ]
        });
        gauges(out, &names::UPSTREAM_TARGETS, targets)?;
        let ejections = all.iter().map(|targets| (vec![&*targets.upstream], targets.ejections));
        counters(out, &names::UPSTREAM_EJECTIONS, ejections)
    }
}

/// A status as a label: `none` where there was no answer.
fn told(status: u16) -> String {
    match status {
        super::OTHER_STATUS => "other".to_owned(),
        0 => "none".to_owned(),
        status => status.to_string(),
    }
}

fn counters<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &'static Name,
    all: impl IntoIterator<Item = Labelled<'a, u64>>,
) -> fmt::Result {
    let mut family = open(out, name)?;
    for (labels, count) in all {
        with(&mut family, name, &labels, |encoder| {
            ConstCounter::new(count).encode(encoder)
        })?;
    }
    Ok(())
}

fn gauges<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &'static Name,
    all: impl IntoIterator<Item = Labelled<'a, i64>>,
) -> fmt::Result {
    let mut family = open(out, name)?;
    for (labels, level) in all {
        with(&mut family, name, &labels, |encoder| {
            ConstGauge::new(level).encode(encoder)
        })?;
    }
    Ok(())
}

fn histograms<S: std::borrow::Borrow<DurationsSum>>(
    out: &mut DescriptorEncoder<'_>,
    name: &'static Name,
    all: impl IntoIterator<Item = (Vec<String>, S)>,
) -> fmt::Result {
    let mut family = open(out, name)?;
    for (labels, sum) in all {
        let sum = sum.borrow();
        with(&mut family, name, &labels, |mut encoder| {
            encoder.encode_histogram::<[(&str, &str); 0]>(sum.seconds(), sum.count(), &sum.buckets(), None)
        })?;
    }
    Ok(())
}

fn open<'s>(out: &'s mut DescriptorEncoder<'_>, name: &'static Name) -> Result<MetricEncoder<'s>, fmt::Error> {
    let kind = match name.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    out.encode_descriptor(name.stem(), name.help, None, kind)
}

fn with<L: AsRef<str>>(
    family: &mut MetricEncoder<'_>,
    name: &Name,
    values: &[L],
    write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    let labels: Vec<(&str, &str)> = name
        .labels
        .iter()
        .copied()
        .zip(values.iter().map(AsRef::as_ref))
        .collect();
    if labels.is_empty() {
        // No braces at all.
        return write(family.encode_family::<[(&str, &str); 0]>(&[])?);
    }
    write(family.encode_family(&labels)?)
}
