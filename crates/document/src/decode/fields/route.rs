//! `gateways.NAME.routes[…]`: what it matches and where it sends.

use super::gateway::HOST;
use super::{Definition, Field, Group, List, Names, Shape, built, built_in, planned};

const PATH: Shape = Shape::Filled("`/orders/{id}`, `/files/**`, or `regex:^/v[0-9]+/`");
const UPSTREAM: Shape = Shape::Spelt("the name of an upstream");

pub(crate) const ROUTE: &[Field] = &[
    built("path").optional(
        PATH,
        "The path that it takes: `{id}` is one segment, `/orders/**` takes `/orders`, `/orders/` and all below; at most \
         4 KiB and 64 segments",
    ),
    built("paths").optional(
        Shape::List(&List {
            of: PATH,
            least: 1,
            most: Some(100),
            repeats: false,
        }),
        "Several paths",
    ),
    built("id").otherwise(
        Shape::Spelt("`[a-z0-9-]+`"),
        "derived from methods and path",
        "Unique in its gateway; stands in URLs of the admin API",
    ),
    built("methods").otherwise(
        Shape::List(&List {
            of: Shape::Pattern("^[!#$%&'*+.^_`|~0-9A-Z-]+$", "a method in upper case"),
            least: 1,
            most: Some(100),
            repeats: false,
        }),
        "all",
        "A route with GET takes HEAD unless HEAD is declared elsewhere",
    ),
    built("hosts").otherwise(
        Shape::List(&List {
            of: HOST,
            least: 1,
            most: Some(10_000),
            repeats: false,
        }),
        "the gateway's",
        "Some of the gateway's, or narrower ones",
    ),
    built("match").optional(Shape::Defined("Match"), "Conditions beyond host, path and method"),
    built("priority").default(
        Shape::Integer(i32::MIN as i64, i32::MAX as i64),
        "0",
        "The greater first",
    ),
    built("upstream").optional(UPSTREAM, "Forward to this upstream"),
    built_in("split", 2).optional(Shape::Defined("Split"), "Forward to one of several upstreams"),
    built("redirect").optional(Shape::Defined("Redirect"), "Answer with a redirect"),
    built("respond").optional(Shape::Defined("Respond"), "Answer with a fixed message"),
    built("rewrite").optional(Shape::Defined("Rewrite"), "How the path changes on its way to the upstream"),
    built("request").optional(Shape::Defined("Request"), "Changes to the request on its way to the upstream"),
    built("response").optional(Shape::Defined("Response"), "Changes to the answer on its way to the client"),
    built("timeout").otherwise(Shape::Defined("Timeout"), "the upstream's", "Over the upstream's, field by field"),
    built("retry").otherwise(Shape::Defined("Retry"), "the upstream's", "Over the upstream's, field by field"),
    built_in("breaker", 3).otherwise(Shape::Defined("Breaker"), "the upstream's", "In place of the upstream's"),
    built("max_body").default(
        Shape::Either(&[Shape::Words(&["none"]), Shape::Size]),
        "10MiB",
        "The greatest body of a request; `none`: bodies stream without a bound",
    ),
    built("encoded_slash").default(
        Shape::Words(&["pass", "refuse"]),
        "pass",
        "What `%2F` in a path is: never a separator, and 400 where it hides a dot segment; or 400 always",
    ),
    built_in("upgrade", 2).default(
        Shape::List(&List {
            of: Shape::Filled("a protocol like `websocket` or `SPDY/3.1`"),
            least: 0,
            most: Some(16),
            repeats: false,
        }),
        "[\"websocket\"]",
        "What a request may switch to; without a version all of its versions, `[]` none, and never `h2c`, `h2`, `HTTP` or `TLS`",
    ),
    built_in("rate_limits", 3).default(super::limits::RATE_LIMITS, "[]", "How often it may be asked, beside the limits of the gateway; see [limits](guides/limits.md)"),
    built_in("concurrency", 3).default(super::limits::CONCURRENCIES, "[]", "How many of its requests may be under way at once, beside the limits of the gateway"),
    planned("aggregate", "composing an answer of several calls"),
    planned("auth", "authentication"),
    planned("require", "scopes and groups that a caller must have"),
    planned("allow", "conditions that a request must meet"),
    planned("cors", "cross-origin rules"),
    planned("cache", "caching"),
];

pub(crate) const SPLIT: &[Field] = &[
    built_in("to", 2).required(
        Shape::List(&List {
            of: Shape::Defined("Arm"),
            least: 1,
            most: Some(100),
            repeats: false,
        }),
        "The arms, each upstream once, at least one with a weight above 0",
    ),
    built_in("sticky", 2).optional(
        Shape::Defined("Sticky"),
        "Keeps a client with the arm that it got by weight",
    ),
];

pub(crate) const ARM: &[Field] = &[
    built_in("upstream", 2).required(UPSTREAM, "Where its requests go"),
    built_in("weight", 2).otherwise(
        Shape::Integer(0, u16::MAX as i64),
        "1, or 0 with a `when`",
        "Its part among the weights of all arms",
    ),
    built_in("when", 2).optional(
        Shape::Filled("a [condition](document.md#conditions)"),
        "The first arm in the list whose condition holds takes the request",
    ),
];

pub(crate) const STICKY: &[Field] = &[built_in("cookie", 2).required(
    Shape::Pattern("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "a name of at most 100 bytes"),
    "The cookie that holds the arm",
)];

pub(crate) const MATCH: &[Field] = &[
    built("headers").optional(
        Shape::Map(Names::Headers, &Shape::Defined("Condition")),
        "What header fields must be; their names are the same in any case",
    ),
    built("query").optional(
        Shape::Map(Names::Parameters, &Shape::Defined("Condition")),
        "What parameters of the query must be",
    ),
    built("client").optional(
        Shape::List(&List {
            of: Shape::Address,
            least: 1,
            most: Some(1_000),
            repeats: false,
        }),
        "The client's address is in one of these",
    ),
];

pub(crate) const FIELD_MATCH: &[Field] = &[
    built("exact").optional(Shape::Spelt("a text"), "It is equal, byte for byte"),
    built("prefix").optional(Shape::Spelt("a text"), "It begins with this"),
    built("regex").optional(
        Shape::Filled("a regular expression"),
        "It matches somewhere, unless `^` and `$` tie it to the ends",
    ),
    built("present").optional(Shape::Truth, "It is there, or it is not"),
    built("not").default(
        Shape::Defined("Condition"),
        "false",
        "Turns the condition around: `true` beside it, or written around it",
    ),
];

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        title: "Route",
        at: "gateways.NAME.routes[]",
        doc: "What to match and what to do; [routing.md](routing.md) says which route takes a request.",
        fields: ROUTE,
        groups: &[
            Group::One(&["path", "paths"]),
            Group::One(&["upstream", "split", "redirect", "respond"]),
        ],
        short: None,
    },
    Definition {
        title: "Match",
        at: "gateways.NAME.routes[].match",
        doc: "Conditions beyond host, path and method. All must hold.",
        fields: MATCH,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Condition",
        at: "gateways.NAME.routes[].match.headers.NAME, gateways.NAME.routes[].match.query.NAME",
        doc: "What a header field or parameter must be: a text that it is equal to, or a map. Of several values of one name \
              one that is right is enough; with `not`, none may be.",
        fields: FIELD_MATCH,
        groups: &[Group::OneOrAlone("not", &["exact", "prefix", "regex", "present"])],
        short: Some(Shape::Spelt("a text")),
    },
    Definition {
        title: "Split",
        at: "gateways.NAME.routes[].split",
        doc: "One of several upstreams, by condition, cookie and weight; see [document.md](document.md#split).",
        fields: SPLIT,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Arm",
        at: "gateways.NAME.routes[].split.to[]",
        doc: "One way out of a split.",
        fields: ARM,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Sticky",
        at: "gateways.NAME.routes[].split.sticky",
        doc: "How a client comes back to its arm.",
        fields: STICKY,
        groups: &[],
        short: None,
    },
];
