//! `upstreams.NAME`.

use super::{Definition, Field, List, Shape, built, built_in, planned};

pub(crate) const UPSTREAM: &[Field] = &[
    built("targets").required(
        Shape::List(&List {
            of: Shape::Defined("Target"),
            least: 1,
            most: Some(1_000),
            repeats: false,
        }),
        "Where requests go; no URL twice",
    ),
    built("host").default(
        Shape::Filled("`preserve`, `target`, or a literal `host[:port]`"),
        "preserve",
        "The Host that a target gets: the client's, the target's own, or this one",
    ),
    built("balance").default(
        Shape::Words(&["least_request", "round_robin"]),
        "least_request",
        "Which target: the less busy of two random ones, or in turn; both by weight",
    ),
    built("timeout").optional(Shape::Defined("Timeout"), "Time-outs"),
    built("pool").optional(Shape::Defined("Pool"), "Kept connections"),
    built("protocol").default(
        Shape::Words(&["h1", "h2c"]),
        "h1",
        "What is spoken with the targets: HTTP/1.1, or HTTP/2 in clear text by prior knowledge (`h2c` since level 2); see \
         [forwarding.md](forwarding.md#http2-to-services)",
    ),
    built("retry").optional(Shape::Defined("Retry"), "What is tried again, and how often"),
    built_in("health", 3).optional(Shape::Defined("Health"), "Which targets are left out"),
    built_in("breaker", 3).optional(Shape::Defined("Breaker"), "When the upstream is left alone for a while, by all nodes"),
    planned("tls", "TLS to targets"),
];

pub(crate) const TARGET: &[Field] = &[
    built("url").required(
        Shape::Filled("`http://host[:port][/base]`"),
        "Its address; the base path is put in front of the request's, a host name is resolved by the system, again every 30 s",
    ),
    built("weight").default(
        Shape::Integer(0, u16::MAX as i64),
        "1",
        "Its part among the weights of all; 0 gets nothing",
    ),
];

pub(crate) const TIMEOUT: &[Field] = &[
    built("connect").default(Shape::Duration, "1s", "To a connection"),
    built("try").otherwise(Shape::Duration, "off", "One attempt to the head of its answer"),
    built("first_byte").default(Shape::Duration, "30s", "All attempts to the head of the answer"),
    built("idle").default(
        Shape::Duration,
        "60s",
        "Between bytes, of the request and of the answer",
    ),
    built("total").otherwise(Shape::Duration, "off", "To the last byte"),
    built_in("tunnel", 2).default(
        Shape::Duration,
        "1h",
        "Without a byte either way once the protocol was switched; see [forwarding.md](forwarding.md#upgrades)",
    ),
];

pub(crate) const POOL: &[Field] = &[
    built("idle").default(Shape::Duration, "15s", "A connection is closed after this long unused"),
    built("max_idle").default(
        Shape::Integer(0, 100_000),
        "64",
        "Kept connections of one worker to one target",
    ),
    built("max_age").default(Shape::Duration, "5m", "No connection is used again after this long"),
];

/// Values that are planned beside those that are taken.
pub(crate) const BALANCE_PLANNED: &[&str] = &["ewma", "random", "consistent_hash"];

/// The level of `protocol: h2c`, whose field is older.
pub(crate) const H2C_LEVEL: u32 = 2;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        title: "Upstream",
        at: "upstreams.NAME",
        doc: "A named set of targets with its balancing, pool and time-outs, and what is done when they fail.",
        fields: UPSTREAM,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Target",
        at: "upstreams.NAME.targets[]",
        doc: "A place where requests go: a URL, or a map.",
        fields: TARGET,
        groups: &[],
        short: Some(Shape::Filled("`http://host[:port][/base]`")),
    },
    Definition {
        title: "Timeout",
        at: "upstreams.NAME.timeout, gateways.NAME.routes[].timeout",
        doc: "How long things may take; a route's over its upstream's, field by field.",
        fields: TIMEOUT,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Pool",
        at: "upstreams.NAME.pool",
        doc: "Connections that are kept for the next request.",
        fields: POOL,
        groups: &[],
        short: None,
    },
];
