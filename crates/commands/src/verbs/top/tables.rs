//! The report for people.

use super::tally::{NodeRow, Report, RouteRow, Traffic, UpstreamRow};
use crate::arguments::View;
use crate::table::{shown, table};
use std::collections::BTreeMap;

/// The chosen table with what stands around it; at most `limit` rows.
pub(super) fn text(report: &Report, view: View, limit: usize) -> String {
    let mut text = head(report);
    text.push('\n');
    match view {
        View::Routes => {
            text.push_str(&routes(report, limit));
            text.push_str(&around(report));
        }
        View::Upstreams => text.push_str(&upstreams(report, limit)),
        View::Nodes => text.push_str(&nodes(report, limit)),
    }
    for node in report.nodes.iter().filter(|node| !node.reached) {
        let why = node.why.as_deref().unwrap_or_default();
        text.push_str(&format!("\n{} is not reached: {}\n", shown(&node.name), shown(why)));
    }
    if view == View::Nodes {
        text.push_str(&ailments(report));
    } else if report.routes.iter().any(|row| row.traffic.p50_seconds.is_some()) {
        text.push_str("\nP50 and P99 are estimates from buckets.\n");
    }
    if report.left_out > 0 {
        text.push_str(&format!("\n{} series of metrics were left out\n", report.left_out));
    }
    text
}

fn head(report: &Report) -> String {
    let reached = report.nodes.iter().filter(|node| node.reached).count();
    let leader = report
        .leader
        .as_deref()
        .map_or_else(|| "no leader".to_owned(), |leader| format!("leader {}", shown(leader)));
    let time = match report.seconds {
        Some(seconds) => format!("the last {seconds:.1} s"),
        None => "since the start of each node".to_owned(),
    };
    format!(
        "cluster {}, version {}, {leader}; {reached} of {} nodes, {time}\n",
        shown(&report.cluster),
        report.version,
        report.nodes.len()
    )
}

fn routes(report: &Report, limit: usize) -> String {
    if report.routes.is_empty() {
        return "no requests\n".to_owned();
    }
    let rows = report.routes.iter().take(limit).map(|row: &RouteRow| {
        let [rate, share_4xx, share_5xx, p50, p99] = traffic(&row.traffic, row.traffic.share_5xx);
        let route = if row.route.is_empty() { "(none)" } else { &row.route };
        let upstreams = row.upstreams.join(",");
        [
            row.gateway.clone(),
            route.to_owned(),
            upstreams,
            rate,
            share_4xx,
            share_5xx,
            p50,
            p99,
        ]
    });
    let mut text = table(
        [
            "GATEWAY",
            "ROUTE",
            "UPSTREAM",
            rate_head(report),
            "4XX",
            "5XX",
            "P50",
            "P99",
        ],
        rows,
    );
    text.push_str(&more(report.routes.len(), limit));
    text
}

fn upstreams(report: &Report, limit: usize) -> String {
    if report.upstreams.is_empty() {
        return "no upstreams\n".to_owned();
    }
    let rows = report.upstreams.iter().take(limit).map(|row: &UpstreamRow| {
        let [rate, _, failed, p50, p99] = traffic(&row.traffic, failed(&row.traffic));
        let state = |name| row.connections.get(name).copied().unwrap_or(0).to_string();
        [
            row.upstream.clone(),
            rate,
            failed,
            counts(&bad(&row.traffic.statuses)),
            p50,
            p99,
            state("active"),
            state("idle"),
            row.replaced.to_string(),
        ]
    });
    let heads = [
        "UPSTREAM",
        rate_head(report),
        "FAILED",
        "HOW",
        "P50",
        "P99",
        "ACTIVE",
        "IDLE",
        "REPLACED",
    ];
    let mut text = table(heads, rows);
    text.push_str(&more(report.upstreams.len(), limit));
    text
}

fn nodes(report: &Report, limit: usize) -> String {
    let rows = report.nodes.iter().take(limit).map(|node: &NodeRow| {
        let mark = if report.leader.as_ref() == Some(&node.name) {
            " *"
        } else {
            ""
        };
        let version = node.version.map(|version| version.to_string()).unwrap_or_default();
        let name = format!("{}{mark}", node.name);
        let Some(load) = &node.load else {
            let [rate, share, connections, streams, closed, cpu, memory, files] = Default::default();
            return [
                name,
                state(node),
                version,
                rate,
                share,
                connections,
                streams,
                closed,
                cpu,
                memory,
                files,
            ];
        };
        let [rate, _, share_5xx, _, _] = traffic(&load.traffic, load.traffic.share_5xx);
        let refused: u64 = load.connections_refused.values().sum();
        [
            name,
            state(node),
            version,
            rate,
            share_5xx,
            counts(&load.connections),
            load.http2_streams.to_string(),
            refused.to_string(),
            load.cpu.map(|cpu| format!("{cpu:.2}")).unwrap_or_default(),
            format!("{} MiB", load.memory_bytes >> 20),
            format!("{} of {}", load.open_files, load.most_files),
        ]
    });
    let heads = [
        "NODE",
        "STATE",
        "VERSION",
        rate_head(report),
        "5XX",
        "CONNECTIONS",
        "STREAMS",
        "CLOSED",
        "CPU",
        "MEMORY",
        "FILES",
    ];
    table(heads, rows) + &more(report.nodes.len(), limit)
}

fn state(node: &NodeRow) -> String {
    let overload = node.load.iter().flat_map(|load| &load.overload);
    let short: Vec<_> = overload
        .filter(|(_, level)| **level > 0)
        .map(|(what, _)| what.as_str())
        .collect();
    match (node.ready, node.degraded.as_slice()) {
        (Some(true), _) if !short.is_empty() => format!("overloaded: {}", short.join(", ")),
        (None, _) => "not reached".to_owned(),
        (Some(false), _) => node.reason.clone().unwrap_or_else(|| "not ready".to_owned()),
        (Some(true), []) => "ready".to_owned(),
        (Some(true), degraded) => {
            let what: Vec<_> = degraded.iter().map(|one| one.what.as_str()).collect();
            format!("degraded: {}", what.join(", "))
        }
    }
}

/// What stands around the table of routes: refusals and upstreams that fail.
fn around(report: &Report) -> String {
    let mut text = String::new();
    if !report.refusals.is_empty() {
        let refused: Vec<_> = report
            .refusals
            .iter()
            .map(|row| format!("{} {}", shown(&row.code), row.requests))
            .collect();
        text.push_str(&format!("\nrefused by the gateway itself: {}\n", refused.join(", ")));
    }
    let failing = report.upstreams.iter().filter(|row| row.traffic.errors > 0);
    for row in failing {
        text.push_str(&format!(
            "\nupstream {} fails: {} ({})\n",
            shown(&row.upstream),
            percent(failed(&row.traffic)),
            counts(&bad(&row.traffic.statuses))
        ));
    }
    text
}

/// Since when each node is degraded, and why.
fn ailments(report: &Report) -> String {
    let mut text = String::new();
    for node in &report.nodes {
        for degraded in &node.degraded {
            text.push_str(&format!(
                "\n{} is degraded since {}: {}: {}\n",
                shown(&node.name),
                shown(&degraded.since),
                shown(&degraded.what),
                shown(&degraded.why)
            ));
        }
    }
    text
}

fn rate_head(report: &Report) -> &'static str {
    if report.seconds.is_some() { "REQ/S" } else { "REQUESTS" }
}

/// Rate (or count), share of 4xx, share of what failed, p50, p99.
fn traffic(traffic: &Traffic, failed: f64) -> [String; 5] {
    let time = |seconds: Option<f64>| match seconds {
        None => String::new(),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1000.0),
        Some(seconds) => format!("{seconds:.1} s"),
    };
    let rate = match traffic.requests_per_second {
        Some(rate) => format!("{rate:.1}"),
        None => traffic.requests.to_string(),
    };
    [
        rate,
        percent(traffic.share_4xx),
        percent(failed),
        time(traffic.p50_seconds),
        time(traffic.p99_seconds),
    ]
}

fn failed(traffic: &Traffic) -> f64 {
    if traffic.requests == 0 {
        0.0
    } else {
        traffic.errors as f64 / traffic.requests as f64
    }
}

fn bad(statuses: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let bad = statuses
        .iter()
        .filter(|(status, _)| status.starts_with('5') || *status == "none");
    bad.map(|(status, count)| (status.clone(), *count)).collect()
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    counts.join(", ")
}

fn percent(share: f64) -> String {
    if share == 0.0 {
        String::new()
    } else {
        format!("{:.1} %", share * 100.0)
    }
}

fn more(rows: usize, limit: usize) -> String {
    match rows.saturating_sub(limit) {
        0 => String::new(),
        more => format!("and {more} more (--limit)\n"),
    }
}
