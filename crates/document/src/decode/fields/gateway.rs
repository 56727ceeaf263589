//! `gateways.NAME`.

use super::{Definition, Field, List, Shape, built, built_in, planned};

pub(super) const HOST: Shape = Shape::Filled("`shop.example.com`, `*.example.com`, or `*`");

const HOSTS: Shape = Shape::List(&List {
    of: HOST,
    least: 1,
    most: Some(10_000),
    repeats: false,
});

pub(crate) const GATEWAY: &[Field] = &[
    built("hosts").required(
        HOSTS,
        "For whom it stands; two gateways on one listener cannot have the same",
    ),
    built("routes").default(
        Shape::List(&List {
            of: Shape::Defined("Route"),
            least: 0,
            most: None,
            repeats: true,
        }),
        "[]",
        "What it does with requests; their order means nothing",
    ),
    built("listen").default(
        Shape::List(&List {
            of: Shape::Pattern("^[A-Za-z0-9][A-Za-z0-9_.-]*$", "a name of a listener"),
            least: 1,
            most: Some(16),
            repeats: false,
        }),
        "[\"public\"]",
        "The node's listeners where it stands; a node that lacks one cannot serve the document",
    ),
    built("expose").default(
        Shape::List(&List {
            of: Shape::Words(&["version", "node"]),
            least: 0,
            most: None,
            repeats: true,
        }),
        "[]",
        "What answers tell: the version that served them as Sluice-Version, the node's name as Sluice-Node",
    ),
    built("trusted_proxies").default(
        Shape::List(&List {
            of: Shape::Address,
            least: 0,
            most: None,
            repeats: true,
        }),
        "[]",
        "Whose X-Forwarded-\\*, Forwarded and X-Request-Id are believed",
    ),
    built_in("rate_limits", 3).default(
        super::limits::RATE_LIMITS,
        "[]",
        "How often its routes may be asked together; see [limits](guides/limits.md)",
    ),
    built_in("concurrency", 3).default(
        super::limits::CONCURRENCIES,
        "[]",
        "How many requests to its routes may be under way at once",
    ),
    planned("auth", "authentication"),
    planned("cors", "cross-origin rules"),
];

pub(super) const DEFINITIONS: &[Definition] = &[Definition {
    title: "Gateway",
    at: "gateways.NAME",
    doc: "A front for one kind of client, with its hosts and routes.",
    fields: GATEWAY,
    groups: &[],
    short: None,
}];
