//! Every metric's name, kind, labels and help, in one place: a test holds docs/metrics.md against it.

pub mod access;

/// What a metric counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Observations in buckets, with their sum and count.
    Histogram,
}

/// One metric as others see it.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The name as scraped, `_total` included.
    pub name: &'static str,
    /// What it counts by.
    pub kind: Kind,
    /// The names of its labels, in the order in which they are written.
    pub labels: &'static [&'static str],
    /// One line for people, without a full stop (the encoder adds it).
    pub help: &'static str,
}

impl Name {
    /// The name to register by: the encoder adds `_total` to a counter itself.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

const fn name(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Name {
    Name {
        name,
        kind,
        labels,
        help,
    }
}

use Kind::{Counter, Gauge, Histogram};

// === Traffic ===

/// Requests by the route that they matched.
pub const SERVER_DURATION: Name = name(
    "http_server_request_duration_seconds",
    Histogram,
    &[
        "gateway",
        "http_route",
        "http_request_method",
        "http_response_status_code",
    ],
    "Time from a request's head to the last byte of its answer",
);
/// Requests by the arm of a split that took them.
pub const SPLIT_REQUESTS: Name = name(
    "sluice_split_requests_total",
    Counter,
    &["gateway", "http_route", "upstream"],
    "Requests that a split sent to an upstream, by condition, cookie or weight",
);
/// Attempts by the upstream that they went to.
pub const CLIENT_DURATION: Name = name(
    "http_client_request_duration_seconds",
    Histogram,
    &["upstream", "http_response_status_code"],
    "Time from sending a request to a target to the head of its answer",
);
/// Requests that the gateway answered itself.
pub const REJECTED: Name = name(
    "sluice_requests_rejected_total",
    Counter,
    &["code"],
    "Requests that the gateway refused or failed itself, by problem code",
);
/// Connections of clients.
pub const CONNECTIONS: Name = name(
    "sluice_connections",
    Gauge,
    &["listener", "state"],
    "Open client connections: active has a request on its way, idle waits for one, tunnel has switched protocols",
);
/// Tunnels by how they ended.
pub const TUNNELS_ENDED: Name = name(
    "sluice_tunnels_ended_total",
    Counter,
    &["gateway", "http_route", "why"],
    "Connections with switched protocols that ended, by how",
);
/// How long tunnels lived.
pub const TUNNEL_SECONDS: Name = name(
    "sluice_tunnel_seconds_total",
    Counter,
    &["gateway", "http_route"],
    "Lives of all ended tunnels together, in seconds",
);
/// What went through tunnels.
pub const TUNNEL_BYTES: Name = name(
    "sluice_tunnel_bytes_total",
    Counter,
    &["gateway", "http_route", "direction"],
    "Bytes through tunnels: to_upstream, to_client",
);
/// Connections of clients that speak HTTP/2.
pub const HTTP2_CONNECTIONS: Name = name(
    "sluice_http2_connections",
    Gauge,
    &["listener"],
    "Open client connections that speak HTTP/2",
);
/// Requests under way over HTTP/2.
pub const HTTP2_STREAMS: Name = name(
    "sluice_http2_streams",
    Gauge,
    &["listener"],
    "Requests under way on connections that speak HTTP/2",
);
/// What the gateway ended of HTTP/2.
pub const HTTP2_ENDED: Name = name(
    "sluice_http2_ended_total",
    Counter,
    &["why"],
    "Ended by the gateway: streams that were refused or stalled, connections for a flood, too many cancels, or a slow frame",
);
/// Connections to targets.
pub const UPSTREAM_CONNECTIONS: Name = name(
    "sluice_upstream_connections",
    Gauge,
    &["upstream", "state"],
    "Open connections to targets: active carries a request, connecting is being made, idle waits in the pool",
);
/// Dead pooled connections that were replaced.
pub const UPSTREAM_REPLACED: Name = name(
    "sluice_upstream_replaced_total",
    Counter,
    &["upstream", "why"],
    "Requests sent again over another connection, because the first one had died or the target would not look at them there",
);
/// Requests that were tried again.
pub const UPSTREAM_RETRIES: Name = name(
    "sluice_upstream_retries_total",
    Counter,
    &["upstream", "why"],
    "Requests tried again by `retry`, by what the try before had met: connect, reset, timeout, status",
);
/// Requests that were not tried again, though they failed so that they would be.
pub const UPSTREAM_RETRIES_SKIPPED: Name = name(
    "sluice_upstream_retries_skipped_total",
    Counter,
    &["upstream", "why"],
    "Failed tries that `retry` names and that were the last all the same: method, body, time, budget, breaker",
);
/// Targets of the present configuration.
pub const UPSTREAM_TARGETS: Name = name(
    "sluice_upstream_targets",
    Gauge,
    &["upstream", "state"],
    "Targets as this node sees them: healthy, ejected because requests fail there, unhealthy because checks do",
);
/// Ejections of targets.
pub const UPSTREAM_EJECTIONS: Name = name(
    "sluice_upstream_ejections_total",
    Counter,
    &["upstream"],
    "How often this node ejected a target because requests failed there",
);
/// Interim answers of upstreams that were not passed on.
pub const INTERIM_DROPPED: Name = name(
    "sluice_interim_dropped_total",
    Counter,
    &[],
    "Interim answers (1xx) of targets that were dropped",
);
/// Connections refused before a request was read.
pub const CONNECTIONS_REFUSED: Name = name(
    "sluice_connections_refused_total",
    Counter,
    &["why"],
    "Client connections closed before a request: limit (of the listener), address (of one client), overload, descriptors (none left), proxy (no PROXY header from a peer that sends it), error (accept failed)",
);
/// Connections that a busy worker gave to another.
pub const CONNECTIONS_HANDED: Name = name(
    "sluice_connections_handed_total",
    Counter,
    &[],
    "Client connections handed to a less busy worker",
);
/// Panics that were survived.
pub const PANICS: Name = name(
    "sluice_panics_total",
    Counter,
    &["where"],
    "Panics survived: request (answered 500), worker (its thread was started again)",
);

/// What is near its limit.
pub const OVERLOAD: Name = name(
    "sluice_overload_level",
    Gauge,
    &["resource"],
    "How near a resource is to its limit: 0 far, 1 new requests are answered 503, 2 new connections are closed too",
);
/// Lines that were not written.
pub const LOG_DROPPED: Name = name(
    "sluice_log_dropped_total",
    Counter,
    &["log"],
    "Lines dropped because nobody read the log in time: access (of exchanges), events (all others)",
);

// === Configuration ===

/// The version that a majority has on disk.
pub const COMMITTED_VERSION: Name = name(
    "sluice_config_committed_version",
    Gauge,
    &[],
    "The newest configuration version that this node knows to be committed",
);
/// The version by which this node serves.
pub const LIVE_VERSION: Name = name(
    "sluice_config_live_version",
    Gauge,
    &[],
    "The configuration version by which every worker of this node serves",
);
/// The version by which this node should serve.
pub const WANTED_VERSION: Name = name(
    "sluice_config_wanted_version",
    Gauge,
    &[],
    "The configuration version by which this node should serve: another than the committed one where that is on trial elsewhere",
);
/// The version that is on trial.
pub const TRIAL_VERSION: Name = name(
    "sluice_config_trial_version",
    Gauge,
    &[],
    "The configuration version that is on trial, on whichever nodes; 0 where none is",
);
/// From committed to live.
pub const APPLY_SECONDS: Name = name(
    "sluice_config_apply_seconds",
    Histogram,
    &[],
    "Time from learning that a version is committed to serving by it on every worker",
);
/// Compiled versions in memory.
pub const SNAPSHOTS_LIVE: Name = name("sluice_snapshots_live", Gauge, &[], "Compiled configurations in memory");
/// How old the node's knowledge is.
pub const CONFIG_AGE: Name = name(
    "sluice_config_age_seconds",
    Gauge,
    &[],
    "Time since this node last knew that its configuration was the cluster's",
);

// === Cluster ===

/// Raft's term.
pub const RAFT_TERM: Name = name("sluice_raft_term", Gauge, &[], "The Raft term");
/// Whether this node leads.
pub const RAFT_IS_LEADER: Name = name(
    "sluice_raft_is_leader",
    Gauge,
    &[],
    "1 where this node is the leader, else 0",
);
/// The end of the log.
pub const RAFT_LAST_LOG_INDEX: Name = name(
    "sluice_raft_last_log_index",
    Gauge,
    &[],
    "Index of the last entry of this node's log",
);
/// What the state machine has taken.
pub const RAFT_APPLIED_INDEX: Name = name(
    "sluice_raft_applied_index",
    Gauge,
    &[],
    "Index of the last entry that this node applied",
);
/// How often the leader changed.
pub const RAFT_LEADER_CHANGES: Name = name(
    "sluice_raft_leader_changes_total",
    Counter,
    &[],
    "Changes of leader that this node saw",
);
/// How long the disk takes.
pub const RAFT_FSYNC: Name = name(
    "sluice_raft_fsync_seconds",
    Histogram,
    &[],
    "Time of one synced write of the log",
);
/// Who is heard.
pub const PEER_UP: Name = name(
    "sluice_peer_up",
    Gauge,
    &["peer"],
    "1 where the peer's status was heard lately, else 0",
);

// === Shared state ===

/// Decisions of limits.
pub const LIMIT_DECISIONS: Name = name(
    "sluice_limit_decisions_total",
    Counter,
    &["limit", "scope", "outcome", "source"],
    "Decisions of limits of this node, by what was decided and who decided",
);
/// Keys that the node holds.
pub const LIMIT_KEYS: Name = name("sluice_limit_keys", Gauge, &[], "Keys of limits that this node holds");
/// Keys that were not asked for.
pub const LIMIT_NEW_KEYS_SHED: Name = name(
    "sluice_limit_new_keys_shed_total",
    Counter,
    &[],
    "Requests whose key was new to this node when too many were, judged without asking the store",
);
/// How long requests waited for their limits.
pub const LIMIT_WAIT: Name = name(
    "sluice_limit_wait_seconds",
    Histogram,
    &[],
    "Time that requests waited for their limits, of those that did: for the store, or for a token where a delay is allowed",
);
/// What breakers do.
pub const BREAKER_STATE: Name = name(
    "sluice_breaker_state",
    Gauge,
    &["upstream", "route"],
    "What a breaker does on this node: 0 all attempts pass, 1 they pass and some nodes suspect, 2 one node probes, 3 none passes",
);
/// Attempts that breakers refused.
pub const BREAKER_REFUSED: Name = name(
    "sluice_breaker_refused_total",
    Counter,
    &["upstream", "route"],
    "Attempts that a breaker refused on this node",
);
/// Changes of breakers.
pub const BREAKER_TRANSITIONS: Name = name(
    "sluice_breaker_transitions_total",
    Counter,
    &["from", "to"],
    "Changes of breakers as this node acted on them",
);
/// Whether the store is asked.
pub const STORE_UP: Name = name(
    "sluice_store_up",
    Gauge,
    &[],
    "1 where the store of shared state is in use, else 0",
);
/// What is asked of it.
pub const STORE_CALLS: Name = name(
    "sluice_store_calls_total",
    Counter,
    &["kind", "result"],
    "Calls to the store by what they were about and how they ended",
);
/// How long it takes.
pub const STORE_CALL_SECONDS: Name = name(
    "sluice_store_call_seconds",
    Histogram,
    &[],
    "Time of one call to the store, given up ones included",
);
/// How steady the connection is.
pub const STORE_RECONNECTS: Name = name(
    "sluice_store_reconnects_total",
    Counter,
    &[],
    "Connections to the store beyond the first to each of its primaries",
);
/// How often it lost its state.
pub const STORE_EPOCH: Name = name(
    "sluice_store_epoch",
    Gauge,
    &[],
    "The store's epoch as last heard: it rises when the store lost its state or was away",
);

// === Process ===

/// The facts of the process, under the names that all Prometheus clients use.
pub const PROCESS: [Name; 7] = [
    name(
        "process_cpu_seconds_total",
        Counter,
        &[],
        "User and system CPU time spent",
    ),
    name("process_resident_memory_bytes", Gauge, &[], "Resident memory size"),
    name("process_virtual_memory_bytes", Gauge, &[], "Virtual memory size"),
    name("process_open_fds", Gauge, &[], "Open file descriptors"),
    name(
        "process_max_fds",
        Gauge,
        &[],
        "Greatest number of open file descriptors",
    ),
    name("process_threads", Gauge, &[], "Operating system threads"),
    name(
        "process_start_time_seconds",
        Gauge,
        &[],
        "Start time since the Unix epoch",
    ),
];

/// Every metric, for documentation and tests.
pub const ALL: &[&[Name]] = &[
    &[
        SERVER_DURATION,
        SPLIT_REQUESTS,
        CLIENT_DURATION,
        REJECTED,
        CONNECTIONS,
        HTTP2_CONNECTIONS,
        HTTP2_STREAMS,
        HTTP2_ENDED,
        TUNNELS_ENDED,
        TUNNEL_SECONDS,
        TUNNEL_BYTES,
        UPSTREAM_CONNECTIONS,
        UPSTREAM_REPLACED,
        INTERIM_DROPPED,
        CONNECTIONS_REFUSED,
        CONNECTIONS_HANDED,
        OVERLOAD,
        LOG_DROPPED,
        PANICS,
    ],
    &[
        COMMITTED_VERSION,
        WANTED_VERSION,
        LIVE_VERSION,
        TRIAL_VERSION,
        APPLY_SECONDS,
        SNAPSHOTS_LIVE,
        CONFIG_AGE,
    ],
    &[
        RAFT_TERM,
        RAFT_IS_LEADER,
        RAFT_LAST_LOG_INDEX,
        RAFT_APPLIED_INDEX,
        RAFT_LEADER_CHANGES,
        RAFT_FSYNC,
        PEER_UP,
        STORE_UP,
        STORE_CALLS,
        STORE_CALL_SECONDS,
        STORE_RECONNECTS,
        STORE_EPOCH,
    ],
    &[LIMIT_DECISIONS, LIMIT_KEYS, LIMIT_NEW_KEYS_SHED, LIMIT_WAIT],
    &[BREAKER_STATE, BREAKER_REFUSED, BREAKER_TRANSITIONS],
    &PROCESS,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for name in ALL.iter().copied().flatten() {
            assert!(seen.insert(name.name), "{} twice", name.name);
            assert!(
                name.name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{}",
                name.name
            );
            assert_eq!(
                name.name.ends_with("_total"),
                name.kind == Kind::Counter,
                "{}",
                name.name
            );
            assert!(!name.help.is_empty() && !name.help.ends_with('.'));
        }
    }

    #[test]
    fn the_page_of_metrics_lists_every_one_as_it_stands_here() {
        let page = include_str!("../../../docs/metrics.md");
        for name in ALL.iter().copied().flatten() {
            let kind = match name.kind {
                Counter => "counter",
                Gauge => "gauge",
                Histogram => "histogram",
            };
            let labels: Vec<String> = name.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = match labels.is_empty() {
                true => "–".to_owned(),
                false => labels.join(", "),
            };
            let row = format!("| `{}` | {kind} | {labels} | {} |\n", name.name, name.help);
            assert!(page.contains(&row), "docs/metrics.md lacks {row}");
        }
    }
}
