//! The members of a line of the access log, in their order: a test holds docs/access-log.md against it.
//!
//! Those that the semantic conventions of OpenTelemetry know have their names from there; the others are named as in the
//! metrics and in the answers of the gateway's own.

macro_rules! members {
    ($($(#[doc = $doc:literal])+ $constant:ident = $name:literal;)+) => {
        $($(#[doc = $doc])+ pub const $constant: &str = $name;)+

        /// Every member, with what it says.
        pub const ALL: &[(&str, &str)] = &[$(($name, concat!($($doc),+))),+];
    };
}

members! {
    /// The node's name.
    NODE = "node";
    /// When the exchange ended (RFC 3339, UTC).
    TIMESTAMP = "timestamp";
    /// Always `INFO`: lines of the access log are chosen by the document, not by `SLUICE_LOG`.
    LEVEL = "level";
    /// Always `access`, which tells these lines from the log's others.
    TARGET = "target";
    /// `X-Request-Id` of request and answer: the gateway's own, or a trusted proxy's.
    REQUEST_ID = "request_id";
    /// Whoever connected: the client, a proxy or a balancer.
    PEER = "network.peer.address";
    /// The client's own `X-Request-Id`, where it is another.
    CLIENT_REQUEST_ID = "client.request_id";
    /// Who asked, by the PROXY protocol and the gateway's trusted proxies: `client.ip` of the document.
    CLIENT = "client.address";
    /// The gateway's name.
    GATEWAY = "gateway";
    /// The route's id.
    ROUTE = "route";
    /// The route's path as declared.
    HTTP_ROUTE = "http.route";
    /// The method.
    METHOD = "http.request.method";
    /// What the client speaks, as far as it is known here.
    SCHEME = "url.scheme";
    /// The host that was asked for, in lower case and without a port.
    HOST = "server.address";
    /// The path in its normal form, without the query; as it came where it has none.
    PATH = "url.path";
    /// `1.0`, `1.1` or `2`.
    PROTOCOL = "network.protocol.version";
    /// The client's `User-Agent`.
    USER_AGENT = "user_agent.original";
    /// Bytes of the request's body that were read.
    RECEIVED = "http.request.body.size";
    /// The status of the answer.
    STATUS = "http.response.status_code";
    /// How it ended: `ok`, `upstream_status`, `client_closed`, `partial`, or the code of the gateway's refusal.
    OUTCOME = "outcome";
    /// Whose answer it was: `gateway` or `upstream`.
    ANSWERED_BY = "answered_by";
    /// The limit that refused it.
    LIMIT = "limit";
    /// A limit that would have refused it, were it not a `dry_run`.
    LIMIT_ON_TRIAL = "limit.dry_run";
    /// The request whose failure opened the breaker that refused it, on this node or another.
    BREAKER = "breaker.request_id";
    /// Bytes of the answer's body that were sent.
    SENT = "http.response.body.size";
    /// How it ended, where the request became a tunnel: as the label `why` of `sluice_tunnels_ended_total`. Sizes and
    /// duration are then those of the tunnel.
    TUNNEL = "tunnel.end";
    /// From the request's head to the last byte of its answer, in milliseconds.
    DURATION = "duration_ms";
    /// The upstream's name, where the request was to go to one.
    UPSTREAM = "upstream";
    /// The target that was tried last.
    UPSTREAM_TARGET = "upstream.target";
    /// How often it was tried.
    TRIES = "upstream.tries";
    /// Why a dead kept connection was replaced: `unsent`, `closed`, `reset`.
    REPLACED = "upstream.replaced";
    /// From the request's head to the head of the service's answer, in milliseconds.
    FIRST_BYTE = "first_byte_ms";
    /// The upstream's share of that: from the choice of a target to the head of its answer.
    UPSTREAM_DURATION = "upstream_ms";
    /// The version of the configuration that served it.
    VERSION = "version";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_access_log_lists_every_member_as_it_stands_here() {
        let page = include_str!("../../../../docs/access-log.md");
        let rows: Vec<String> = ALL
            .iter()
            .map(|(name, what)| format!("| `{name}` | {} |\n", what.trim().trim_end_matches('.')))
            .collect();
        assert!(
            page.contains(&rows.concat()),
            "docs/access-log.md lacks\n{}",
            rows.concat()
        );
    }
}
