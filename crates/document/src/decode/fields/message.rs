//! What a route makes of messages: fixed answers, and changes on the way.

use super::{Definition, Field, Group, List, Names, Shape, built, planned};

const VALUE: Shape = Shape::Spelt("a text with values");

pub(crate) const REDIRECT: &[Field] = &[
    built("to").required(
        Shape::Text("a text with values"),
        "A path, or a URL with `http`, `https` or `${request.scheme}` and a host whose end is written out or is \
         `${request.host}`; the request's query goes along only where it is named",
    ),
    built("status").default(
        Shape::Numbers(&[301, 302, 303, 307, 308]),
        "308",
        "The status of the answer",
    ),
];

pub(crate) const RESPOND: &[Field] = &[
    built("status").default(
        Shape::Integer(200, 599),
        "200",
        "The status of the answer; 204, 205 and 304 have no body",
    ),
    built("text").optional(VALUE, "A body of `text/plain; charset=utf-8`"),
    built("json").optional(
        Shape::Json,
        "A body of `application/json`; texts inside of it may hold values",
    ),
    built("html").optional(
        Shape::Text("a text with values"),
        "A body of `text/html; charset=utf-8`; what is put into it is escaped",
    ),
    built("headers").optional(Shape::Map(Names::Headers, &VALUE), "Fields of the answer"),
];

pub(crate) const REWRITE: &[Field] = &[
    built("strip_prefix").optional(
        Shape::Filled("a path prefix like `/api`"),
        "Cut this off, in whole segments",
    ),
    built("path").optional(
        Shape::Filled("a text with values"),
        "The new path, which begins with a slash or `${request.path}`; a `?` in it begins a query, which takes the place of the \
         request's",
    ),
];

pub(crate) const REQUEST: &[Field] = &[
    built("headers").optional(Shape::Defined("Changes"), "Changes to header fields"),
    built("query").optional(Shape::Defined("Changes"), "Changes to parameters of the query"),
];

pub(crate) const RESPONSE: &[Field] = &[
    built("headers").optional(Shape::Defined("Changes"), "Changes to header fields"),
    planned("pick", "choosing members of an answer's JSON"),
];

pub(crate) const CHANGES: &[Field] = &[
    built("set").optional(Shape::Map(Names::Parameters, &VALUE), "Replaces all of a name"),
    built("add").optional(Shape::Map(Names::Parameters, &VALUE), "One more of a name"),
    built("remove").optional(
        Shape::List(&List {
            of: Shape::Filled("a name"),
            least: 1,
            most: Some(200),
            repeats: false,
        }),
        "Takes all of a name away; done before `set` and `add`",
    ),
];

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        title: "Redirect",
        at: "gateways.NAME.routes[].redirect",
        doc: "An answer that sends the client elsewhere.",
        fields: REDIRECT,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Respond",
        at: "gateways.NAME.routes[].respond",
        doc: "A fixed answer.",
        fields: RESPOND,
        groups: &[Group::AtMostOne(&["text", "json", "html"])],
        short: None,
    },
    Definition {
        title: "Rewrite",
        at: "gateways.NAME.routes[].rewrite",
        doc: "How the path changes on its way to the upstream.",
        fields: REWRITE,
        groups: &[Group::One(&["strip_prefix", "path"])],
        short: None,
    },
    Definition {
        title: "Request",
        at: "gateways.NAME.routes[].request",
        doc: "Changes to the request.",
        fields: REQUEST,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Response",
        at: "gateways.NAME.routes[].response",
        doc: "Changes to the answer.",
        fields: RESPONSE,
        groups: &[],
        short: None,
    },
    Definition {
        title: "Changes",
        at: "gateways.NAME.routes[].request.headers, …request.query, …response.headers",
        doc: "Changes by name, at most 200 names each; [some headers cannot be changed](document.md#values).",
        fields: CHANGES,
        groups: &[],
        short: None,
    },
];
