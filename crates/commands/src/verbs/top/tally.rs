//! From what the nodes answered to rows: differences, sums, shares, estimates.

use super::Routes;
use super::scrape::{Nodes, Round, Seen};
use crate::client::{Degraded, Member};
use crate::figures::{Answers, Figures, Upstream};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is told; `--json` prints it as it stands.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) cluster: String,
    pub(super) version: u64,
    pub(super) leader: Option<String>,
    /// The time that was counted for; null: since the start of each node.
    pub(super) seconds: Option<f64>,
    pub(super) routes: Vec<RouteRow>,
    pub(super) upstreams: Vec<UpstreamRow>,
    pub(super) refusals: Vec<Refusals>,
    pub(super) nodes: Vec<NodeRow>,
    /// Series of metrics beyond what is kept.
    pub(super) left_out: u64,
}

/// A route; gateway and route are empty for requests that found none.
#[derive(Debug, Serialize)]
pub(super) struct RouteRow {
    pub(super) gateway: String,
    pub(super) route: String,
    /// Where it leads, by the present document.
    pub(super) upstreams: Vec<String>,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    /// 5xx by the node that answered so.
    pub(super) errors_by_node: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct UpstreamRow {
    pub(super) upstream: String,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    pub(super) connections: BTreeMap<String, u64>,
    pub(super) replaced: u64,
}

/// Requests and their answers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Traffic {
    pub(super) requests: u64,
    pub(super) requests_per_second: Option<f64>,
    pub(super) statuses: BTreeMap<String, u64>,
    pub(super) share_4xx: f64,
    pub(super) share_5xx: f64,
    /// 5xx; of an upstream also what had no answer.
    pub(super) errors: u64,
    pub(super) p50_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
}

/// The gateway's own refusals with one code.
#[derive(Debug, Serialize)]
pub(super) struct Refusals {
    pub(super) code: String,
    pub(super) requests: u64,
    pub(super) by_node: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct NodeRow {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) reached: bool,
    /// Why it was not reached.
    pub(super) why: Option<String>,
    pub(super) ready: Option<bool>,
    pub(super) reason: Option<String>,
    pub(super) degraded: Vec<Degraded>,
    pub(super) version: Option<u64>,
    #[serde(flatten)]
    pub(super) load: Option<Load>,
}

/// What keeps a node busy.
#[derive(Debug, Serialize)]
pub(super) struct Load {
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    pub(super) connections: BTreeMap<String, u64>,
    /// Connections that speak HTTP/2, and the requests under way on them.
    pub(super) http2_connections: u64,
    pub(super) http2_streams: u64,
    pub(super) connections_refused: BTreeMap<String, u64>,
    /// By resource: 0 far from its limit, 1 requests are shed, 2 connections too.
    pub(super) overload: BTreeMap<String, u64>,
    pub(super) upstream_connections: u64,
    /// Cores' worth of CPU time.
    pub(super) cpu: Option<f64>,
    pub(super) memory_bytes: u64,
    pub(super) open_files: u64,
    pub(super) most_files: u64,
    pub(super) panics: u64,
}

/// One node's share of what is counted.
struct Span<'a> {
    node: &'a str,
    figures: Figures,
    seconds: Option<f64>,
}

/// Answers of several nodes, and how many came each second.
#[derive(Default)]
struct Sum {
    answers: Answers,
    per_second: Option<f64>,
}

/// Makes the rows; without `before` all since the start of each node counts.
pub(super) fn report(nodes: &Nodes, round: &Round, before: Option<&Round>, leads_to: &Routes) -> Report {
    let spans: Vec<Span<'_>> = round
        .iter()
        .filter_map(|(node, seen)| Some(span(node, seen.as_ref().ok()?, before)))
        .collect();
    let counted = spans.iter().filter_map(|span| span.seconds).fold(0.0, f64::max);
    Report {
        cluster: nodes.cluster.name.clone(),
        version: nodes.cluster.version,
        leader: nodes.cluster.leader.clone(),
        seconds: before.map(|_| rounded(counted, 3)),
        routes: routes(&spans, leads_to),
        upstreams: upstreams(&spans),
        refusals: refusals(&spans),
        nodes: nodes
            .cluster
            .nodes
            .iter()
            .map(|member| node_row(member, round, &spans))
            .collect(),
        left_out: spans.iter().map(|span| span.figures.left_out).sum(),
    }
}

/// Where each route of a document leads, by gateway and by `http_route` as the metrics write it.
pub(super) fn routes_of(document: &Value) -> Routes {
    let mut found = Routes::new();
    let gateways = document["gateways"].as_object();
    for (gateway, declared) in gateways.into_iter().flatten() {
        for route in declared["routes"].as_array().into_iter().flatten() {
            let paths = route["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
            let paths: Vec<_> = paths
                .iter()
                .chain(route.get("path"))
                .filter_map(Value::as_str)
                .collect();
            let arms = route["split"]["to"].as_array().map(Vec::as_slice).unwrap_or_default();
            let arms = arms.iter().filter_map(|arm| arm["upstream"].as_str());
            let upstreams = route["upstream"].as_str().into_iter().chain(arms);
            // Several routes may have one path and differ by method or conditions: the metric is one.
            let known = found.entry((gateway.clone(), paths.join(" "))).or_default();
            for upstream in upstreams {
                if !known.iter().any(|name| name == upstream) {
                    known.push(upstream.to_owned());
                }
            }
        }
    }
    found
}

fn span<'a>(node: &'a str, seen: &Seen, before: Option<&Round>) -> Span<'a> {
    let Some(round) = before else {
        return Span {
            node,
            figures: seen.figures.clone(),
            seconds: None,
        };
    };
    match round.get(node) {
        Some(Ok(before)) => Span {
            node,
            figures: seen.figures.since(&before.figures),
            seconds: Some((seen.at - before.at).as_secs_f64()),
        },
        // Seen for the first time: nothing to compare with, so it counts from now on.
        _ => Span {
            node,
            figures: seen.figures.since(&seen.figures),
            seconds: None,
        },
    }
}

fn routes(spans: &[Span<'_>], leads_to: &Routes) -> Vec<RouteRow> {
    let mut sums = BTreeMap::<&(String, String), (Sum, BTreeMap<String, u64>)>::new();
    for span in spans {
        for (key, answers) in span.figures.routes.iter().filter(|(_, answers)| answers.all() > 0.0) {
            let (sum, by_node) = sums.entry(key).or_default();
            sum.add(answers, span.seconds);
            let errors = whole(answers.count(is_5xx));
            if errors > 0 {
                by_node.insert(span.node.to_owned(), errors);
            }
        }
    }
    let rows = sums.into_iter().map(|(key, (sum, errors_by_node))| RouteRow {
        gateway: key.0.clone(),
        route: key.1.clone(),
        upstreams: leads_to.get(key).cloned().unwrap_or_default(),
        traffic: sum.traffic(is_5xx),
        errors_by_node,
    });
    worst_first(rows.collect(), |row| &row.traffic)
}

fn upstreams(spans: &[Span<'_>]) -> Vec<UpstreamRow> {
    let mut sums = BTreeMap::<&String, (Sum, Upstream)>::new();
    for span in spans {
        for (name, upstream) in &span.figures.upstreams {
            let (sum, all) = sums.entry(name).or_default();
            sum.add(&upstream.answers, span.seconds);
            all.replaced += upstream.replaced;
            for (state, count) in &upstream.connections {
                *all.connections.entry(state.clone()).or_default() += count;
            }
        }
    }
    let rows = sums.into_iter().map(|(name, (sum, all))| UpstreamRow {
        upstream: name.clone(),
        traffic: sum.traffic(|status| is_5xx(status) || status == "none"),
        connections: wholes(&all.connections),
        replaced: whole(all.replaced),
    });
    worst_first(rows.collect(), |row| &row.traffic)
}

fn refusals(spans: &[Span<'_>]) -> Vec<Refusals> {
    let mut sums = BTreeMap::<&String, BTreeMap<String, u64>>::new();
    for span in spans {
        for (code, count) in span.figures.refusals.iter().filter(|(_, count)| **count > 0.0) {
            sums.entry(code)
                .or_default()
                .insert(span.node.to_owned(), whole(*count));
        }
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|(code, by_node)| Refusals {
            code: code.clone(),
            requests: by_node.values().sum(),
            by_node,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
    rows
}

fn node_row(member: &Member, round: &Round, spans: &[Span<'_>]) -> NodeRow {
    let (seen, why) = match round.get(&member.name) {
        Some(Ok(seen)) => (Some(seen), None),
        Some(Err(why)) => (None, Some(why.clone())),
        None => (None, Some("it was not asked".to_owned())),
    };
    let ready = seen.map(|seen| &seen.ready);
    NodeRow {
        name: member.name.clone(),
        role: member.role.clone(),
        reached: seen.is_some(),
        why,
        ready: ready.map(|ready| ready.ready),
        reason: ready.and_then(|ready| ready.reason.clone()),
        degraded: ready.map(|ready| ready.degraded.clone()).unwrap_or_default(),
        version: ready.map(|ready| ready.version),
        load: spans.iter().find(|span| span.node == member.name).map(Load::of),
    }
}

/// Most errors first; where there are none, most requests.
fn worst_first<T>(mut rows: Vec<T>, traffic: impl Fn(&T) -> &Traffic) -> Vec<T> {
    rows.sort_by(|a, b| {
        let (a, b) = (traffic(a), traffic(b));
        let by_4xx = (b.share_4xx * b.requests as f64).total_cmp(&(a.share_4xx * a.requests as f64));
        b.errors.cmp(&a.errors).then(by_4xx).then(b.requests.cmp(&a.requests))
    });
    rows
}

// === impl Load ===

impl Load {
    fn of(span: &Span<'_>) -> Self {
        let figures = &span.figures;
        let mut sum = Sum::default();
        // A node without any request has a rate too.
        sum.add(&Answers::default(), span.seconds);
        for answers in figures.routes.values() {
            sum.add(answers, span.seconds);
        }
        let upstream_connections = figures.upstreams.values().flat_map(|one| one.connections.values());
        Self {
            traffic: sum.traffic(is_5xx),
            connections: wholes(&figures.connections),
            http2_connections: whole(figures.http2[0]),
            http2_streams: whole(figures.http2[1]),
            connections_refused: wholes(&figures.connections_refused),
            overload: wholes(&figures.overload),
            upstream_connections: whole(upstream_connections.sum()),
            cpu: span
                .seconds
                .filter(|seconds| *seconds > 0.0)
                .map(|seconds| rounded(figures.cpu / seconds, 2)),
            memory_bytes: whole(figures.memory),
            open_files: whole(figures.open_files),
            most_files: whole(figures.most_files),
            panics: whole(figures.panics),
        }
    }
}

// === impl Sum ===

impl Sum {
    fn add(&mut self, answers: &Answers, seconds: Option<f64>) {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
            *self.per_second.get_or_insert(0.0) += answers.all() / seconds;
        }
        self.answers.add(answers);
    }

    fn traffic(&self, is_error: impl Fn(&str) -> bool) -> Traffic {
        let all = self.answers.all();
        let share = |which: fn(&str) -> bool| {
            if all > 0.0 {
                rounded(self.answers.count(which) / all, 4)
            } else {
                0.0
            }
        };
        let quantile = |q| self.answers.durations.quantile(q).map(|seconds| rounded(seconds, 6));
        let mut statuses = wholes(&self.answers.statuses);
        statuses.retain(|_, count| *count > 0);
        Traffic {
            requests: whole(all),
            requests_per_second: self.per_second.map(|rate| rounded(rate, 1)),
            statuses,
            share_4xx: share(is_4xx),
            share_5xx: share(is_5xx),
            errors: whole(self.answers.count(is_error)),
            p50_seconds: quantile(0.5),
            p99_seconds: quantile(0.99),
        }
    }
}

fn is_4xx(status: &str) -> bool {
    status.starts_with('4')
}

fn is_5xx(status: &str) -> bool {
    status.starts_with('5')
}

fn whole(count: f64) -> u64 {
    // Counts are whole and never negative; one beyond u64 saturates.
    count.round() as u64
}

fn wholes(counts: &BTreeMap<String, f64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(key, count)| (key.clone(), whole(*count))).collect()
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_leads_to_its_upstream_or_to_all_arms_of_its_split() {
        let document = json!({"gateways": {"web": {"routes": [
            {"path": "/a", "upstream": "a"},
            {"path": "/a", "methods": ["PUT"], "upstream": "b"},
            {"paths": ["/b", "/c"], "split": {"to": [{"upstream": "c", "weight": 1}, {"upstream": "d"}]}},
            {"path": "/d", "respond": {"text": "d"}},
        ]}}});
        let routes = routes_of(&document);
        let of = |path: &str| routes[&("web".to_owned(), path.to_owned())].join(",");
        assert_eq!(
            (of("/a"), of("/b /c"), of("/d")),
            ("a,b".into(), "c,d".into(), String::new())
        );
        assert!(routes_of(&json!({})).is_empty());
    }
}
