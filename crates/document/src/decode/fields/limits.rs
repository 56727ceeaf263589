//! `rate_limits` and `concurrency`, of a gateway or a route.

use super::{Definition, Field, List, Shape, built_in, planned};
use crate::declared::RateLimit;

const NAME: Shape = Shape::Pattern("^[A-Za-z0-9][A-Za-z0-9_.-]*$", "a name of at most 100 characters");
const KEY: Shape = Shape::Filled("a [value](guides/limits.md#what-is-counted-apart)");
const KEY_DOC: &str =
    "What is counted apart; a request that has no such value is counted with all others that have none";
const GREATEST: i64 = RateLimit::GREATEST as i64;

/// `rate_limits` of a gateway or a route.
pub(super) const RATE_LIMITS: Shape = Shape::List(&List {
    of: Shape::Defined("RateLimit"),
    least: 0,
    most: Some(16),
    repeats: true,
});

/// `concurrency` of a gateway or a route.
pub(super) const CONCURRENCIES: Shape = Shape::List(&List {
    of: Shape::Defined("Concurrency"),
    least: 0,
    most: Some(16),
    repeats: true,
});

pub(crate) const RATE_LIMIT: &[Field] = &[
    built_in("name", 3).required(
        NAME,
        "Unique among the limits of its gateway and its route; stands in answers, metrics and URLs",
    ),
    built_in("limit", 3).required(
        Shape::Integer(1, RateLimit::GREATEST_COUNT as i64),
        "Requests in the time of `per`, or what they cost; at most 1000000000 unless it is a `fixed_window`",
    ),
    built_in("per", 3).required(
        Shape::Either(&[Shape::Words(&["minute", "hour", "day", "month"]), Shape::Duration]),
        "The time: a duration from 10ms to 31d, any interval of which is meant, or a word, a window of the calendar",
    ),
    built_in("zone", 3).default(
        Shape::Filled("`UTC`, `+02:00`, `Europe/Berlin`"),
        "UTC",
        "Where an hour, a day or a month begins",
    ),
    built_in("key", 3).default(KEY, "client.ip", KEY_DOC),
    built_in("algorithm", 3).otherwise(
        Shape::Words(&["sliding_window", "token_bucket", "fixed_window"]),
        "`token_bucket` with a `burst`, `fixed_window` with a word of the calendar, else `sliding_window`",
        "How it is counted; see [limits](guides/limits.md#how-it-is-counted)",
    ),
    built_in("burst", 3).otherwise(
        Shape::Integer(1, GREATEST),
        "the limit, of a `token_bucket`",
        "What a token bucket holds: so many may come at once after a rest",
    ),
    built_in("mode", 3).default(
        Shape::Words(&["exact", "fast"]),
        "exact",
        "Never more than the limit, or for a moment a little more so that no request waits for the store",
    ),
    built_in("on_failure", 3).otherwise(
        Shape::Words(&["local", "open", "closed"]),
        "`local` for windows under an hour, else `open`",
        "While the store is away: each node has its share, or all are let through, or all are refused",
    ),
    built_in("cost", 3).default(
        Shape::Integer(1, 1_000_000),
        "1",
        "What one request counts; at most the limit, and the burst",
    ),
    built_in("delay", 3).otherwise(
        Shape::Duration,
        "off",
        "How long a request is held back, up to 30s, before it is refused",
    ),
    built_in("dry_run", 3).default(
        Shape::Truth,
        "false",
        "Counted and told in metrics and log, and nobody is refused",
    ),
    planned("groups", "limits by the group of a consumer"),
];

pub(crate) const CONCURRENCY: &[Field] = &[
    built_in("name", 3).required(
        NAME,
        "Unique among the limits of its gateway and its route; stands in answers, metrics and URLs",
    ),
    built_in("limit", 3).required(Shape::Integer(1, GREATEST), "Requests that may be under way at once"),
    built_in("key", 3).default(KEY, "client.ip", KEY_DOC),
];

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        title: "RateLimit",
        at: "gateways.NAME.rate_limits[], gateways.NAME.routes[].rate_limits[]",
        doc: "How often something may be asked for, over all nodes together; a gateway's for all of its routes \
              together. [limits](guides/limits.md) says more.",
        fields: RATE_LIMIT,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Concurrency",
        at: "gateways.NAME.concurrency[], gateways.NAME.routes[].concurrency[]",
        doc: "How many requests may be under way at once, over all nodes together.",
        fields: CONCURRENCY,
        groups: &[],
        short: None,
    },
];
