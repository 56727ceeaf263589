//! The root of a document, and `cluster`.

use super::{Definition, Field, Names, Shape, built, built_in, planned};

pub(crate) const ROOT: &[Field] = &[
    built("format").default(Shape::Numbers(&[1]), "1", "The format of the document"),
    built("upstreams").optional(
        Shape::Map(Names::Parts, &Shape::Defined("Upstream")),
        "Named sets of targets",
    ),
    built("gateways").optional(
        Shape::Map(Names::Parts, &Shape::Defined("Gateway")),
        "Fronts, each for one kind of client",
    ),
    built("cluster").optional(Shape::Defined("Cluster"), "What the nodes do as a cluster"),
    planned("consumers", "consumers with their keys and groups"),
    built_in("telemetry", 2).optional(Shape::Defined("Telemetry"), "What the nodes tell of the traffic"),
];

pub(crate) const CLUSTER: &[Field] = &[built("stale").optional(
    Shape::Defined("Stale"),
    "What a node does that no longer hears of changes",
)];

pub(crate) const STALE: &[Field] = &[
    built("warn").default(Shape::Duration, "1m", "Say so after this long without news"),
    built("unready_after").default(
        Shape::Either(&[Shape::Words(&["never"]), Shape::Duration]),
        "never",
        "Turn `/readyz` to 503 after this long",
    ),
];

pub(crate) const TELEMETRY: &[Field] = &[
    built_in("access_log", 2).optional(Shape::Defined("AccessLog"), "The [access log](access-log.md)"),
    planned("traces", "export of traces"),
];

pub(crate) const ACCESS_LOG: &[Field] = &[built_in("on", 2).default(
    Shape::Words(&["off", "errors", "all"]),
    "errors",
    "Which exchanges have a line: none; those that the gateway refused or failed, that were broken off, or that a service \
     answered with 5xx; or every one",
)];

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        title: "Document",
        at: "",
        doc: "The root. At least one field must be there.",
        fields: ROOT,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Cluster",
        at: "cluster",
        doc: "What the nodes do as a cluster.",
        fields: CLUSTER,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Stale",
        at: "cluster.stale",
        doc: "What a node does that no longer hears of changes, as when it is cut off from the majority.",
        fields: STALE,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Telemetry",
        at: "telemetry",
        doc: "What the nodes tell of the traffic.",
        fields: TELEMETRY,
        groups: &[],
        short: None,
    },
    Definition {
        title: "AccessLog",
        at: "telemetry.access_log",
        doc: "A line for each exchange.",
        fields: ACCESS_LOG,
        groups: &[],
        short: None,
    },
];
