//! `retry`, `health` and `breaker`: what is done when targets fail.

use super::{Definition, Field, Group, List, Shape, built, built_in};

/// Statuses that may be tried again.
const FAILED: Shape = Shape::Either(&[Shape::Words(&["connect", "reset", "timeout"]), Shape::Integer(400, 599)]);
/// Statuses that may count as a failure.
const COUNTED: Shape = Shape::Either(&[
    Shape::Words(&["connect", "reset", "timeout"]),
    Shape::Integer(429, 429),
    Shape::Integer(500, 599),
]);
const COUNT: Shape = Shape::Integer(1, 1_000_000);

/// The level of `retry`'s newer fields, and of more than one attempt, whose field is older.
pub(crate) const RETRY_LEVEL: u32 = 3;

pub(crate) const RETRY: &[Field] = &[
    built("attempts").default(
        Shape::Integer(1, 10),
        "1",
        "Tries in all, never the same target twice while there is another; more than one since level 3",
    ),
    built_in("on", RETRY_LEVEL).otherwise(
        Shape::List(&List {
            of: FAILED,
            least: 1,
            most: Some(100),
            repeats: false,
        }),
        "`[connect, reset, timeout, 502, 503, 504]`",
        "What is tried again, where the method is idempotent (RFC 9110 §9.2.2) or the target has not seen the request",
    ),
    built_in("budget", RETRY_LEVEL).default(
        Shape::Share,
        "20%",
        "Repeated tries for each request that comes, of one worker; one a second, and ten at once, are always there",
    ),
    built_in("backoff", RETRY_LEVEL).default(
        Shape::Pattern("^.+\\.\\..+$", "a range like `25ms..250ms`"),
        "25ms..250ms",
        "The pause before another try is drawn from nothing to this; what is drawn from doubles with each try, up to the second",
    ),
];

pub(crate) const HEALTH: &[Field] = &[
    built_in("active", 3).otherwise(Shape::Defined("Active"), "off", "Targets are asked how they are"),
    built_in("passive", 3).otherwise(
        Shape::Defined("Passive"),
        "on, with its defaults",
        "Targets are judged by what requests meet there",
    ),
];

pub(crate) const ACTIVE: &[Field] = &[
    built_in("path", 3).required(
        Shape::Pattern("^/", "a path like `/healthz`, with or without a query"),
        "What each node asks each target for, by GET, below the target's base path; 2xx and 3xx are good",
    ),
    built_in("every", 3).default(
        Shape::Duration,
        "5s",
        "From one check to the next, 100ms to 1h; a check without an answer in that time, or in 5s, is a failed one",
    ),
    built_in("unhealthy_after", 3).default(
        COUNT,
        "3",
        "Failed checks in a row after which a target gets no requests",
    ),
    built_in("healthy_after", 3).default(
        COUNT,
        "2",
        "Good checks in a row after which it gets some again, also where `passive` had thrown it out",
    ),
];

pub(crate) const PASSIVE: &[Field] = &[
    built_in("errors", 3).default(
        COUNT,
        "5",
        "Failures in a row, of all workers of a node, after which a target is ejected: gets no requests of that node. What \
         is a failure says `failures` of the upstream's breaker",
    ),
    built_in("eject_for", 3).default(
        Shape::Duration,
        "10s",
        "How long; twice as long each time that it is ejected again soon, at most ten times as long",
    ),
    built_in("max_ejected", 3).default(
        Shape::Share,
        "50%",
        "The most of the targets that are ejected at once, rounded down: of one none; 0% ejects none at all",
    ),
    built_in("panic", 3).default(
        Shape::Share,
        "50%",
        "Where fewer of the targets than this are neither ejected nor unhealthy, all are used",
    ),
];

pub(crate) const BREAKER: &[Field] = &[
    built_in("failure_rate", 3).default(Shape::Share, "50%", "Failed tries of all from which it opens"),
    built_in("slow_rate", 3).otherwise(
        Shape::Share,
        "off",
        "Slow tries of all from which it opens; goes with `slow_after`",
    ),
    built_in("slow_after", 3).optional(Shape::Duration, "From when on a try is slow: until its answer begins"),
    built_in("consecutive", 3).otherwise(
        COUNT,
        "off",
        "Failures in a row from which it opens, however few requests there are",
    ),
    built_in("failures", 3).otherwise(
        Shape::List(&List {
            of: COUNTED,
            least: 1,
            most: Some(100),
            repeats: false,
        }),
        "`[connect, reset, timeout, 500, 502, 503, 504]`",
        "What is a failure; what the client did never is one",
    ),
    built_in("window", 3).default(Shape::Duration, "10s", "How long a try counts, 100ms to 1h"),
    built_in("min_requests", 3).default(
        COUNT,
        "20",
        "Tries within the window, of all nodes, below which no rate counts",
    ),
    built_in("open_for", 3).default(
        Shape::Duration,
        "5s",
        "How long it is open before it lets a probe through; twice as long each time that the probe fails",
    ),
    built_in("max_open_for", 3).otherwise(
        Shape::Duration,
        "ten times `open_for`",
        "The longest that it is open before a probe",
    ),
    built_in("probes", 3).default(
        COUNT,
        "1",
        "Tries that must succeed, one after the other, before it closes",
    ),
    built_in("observers", 3).default(
        COUNT,
        "2",
        "Nodes that must see it before it opens for all; as many as are there where these are fewer",
    ),
    built_in("fallback", 3).otherwise(
        Shape::Defined("Fallback"),
        "503 `breaker_open`",
        "What is done with requests while it is open",
    ),
];

pub(crate) const FALLBACK_UPSTREAM: &[Field] = &[built_in("upstream", 3).optional(
    Shape::Spelt("the name of an upstream"),
    "Requests go there instead, which may have a breaker itself",
)];

/// As the decoder reads it: an upstream alone, or what `respond` has.
const FALLBACK: &[Field] = &[
    FALLBACK_UPSTREAM[0],
    super::message::RESPOND[0],
    super::message::RESPOND[1],
    super::message::RESPOND[2],
    super::message::RESPOND[3],
    super::message::RESPOND[4],
];

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        title: "Retry",
        at: "upstreams.NAME.retry, gateways.NAME.routes[].retry",
        doc: "What is tried again, and how often; a route's over its upstream's, field by field. See \
              [the guide](guides/when-services-fail.md#retries).",
        fields: RETRY,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Health",
        at: "upstreams.NAME.health",
        doc: "Which targets are left out; see [the guide](guides/when-services-fail.md#health-of-targets).",
        fields: HEALTH,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Active",
        at: "upstreams.NAME.health.active",
        doc: "Checks of targets, by each node for itself.",
        fields: ACTIVE,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Passive",
        at: "upstreams.NAME.health.passive",
        doc: "Targets that fail requests are ejected for a while, by each node for itself.",
        fields: PASSIVE,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Breaker",
        at: "upstreams.NAME.breaker, gateways.NAME.routes[].breaker",
        doc: "Leaves an upstream alone that fails, by all nodes together; a route's stands in place of its upstream's, and \
              counts that route's requests alone. See [the guide](guides/when-services-fail.md#breakers).",
        fields: BREAKER,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Fallback",
        at: "upstreams.NAME.breaker.fallback, gateways.NAME.routes[].breaker.fallback",
        doc: "Another upstream alone, or a fixed answer as [Respond](#respond) has it. An upstream's own answer knows no `params`.",
        fields: FALLBACK,
        groups: &[
            Group::AtMostOne(&["upstream", "status"]),
            Group::AtMostOne(&["upstream", "headers"]),
            Group::AtMostOne(&["upstream", "text", "json", "html"]),
        ],
        short: None,
    },
];
