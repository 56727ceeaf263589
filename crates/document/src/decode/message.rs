//! Header names, changes to messages, and fixed answers.

use super::{Decoder, Step, fields};
use crate::declared::{HeaderChanges, MessageChanges, Payload, Redirect, Respond};
use crate::diagnostic::Finding;
use crate::source::Place;
use crate::tree::{Kind, Node, Value};
use std::collections::{BTreeMap, HashMap};

/// Entries of one map of headers or parameters.
const MOST_FIELDS: usize = 200;

/// A map of names to values; names of headers are the same in any case.
pub(super) fn named<'t, T>(
    d: &mut Decoder<'t>,
    node: &'t Node,
    headers: bool,
    mut f: impl FnMut(&mut Decoder<'t>, &'t Node) -> Option<T>,
) -> Option<Vec<(&'t str, T)>> {
    let entries = d.entries(node, "a map of names to values")?;
    if entries.len() > MOST_FIELDS {
        d.bad(
            node,
            format!("at most {MOST_FIELDS} names are taken"),
            "a map of names to values",
        );
        return None;
    }
    let mut seen: HashMap<String, Place> = HashMap::new();
    let mut found = Vec::new();
    for entry in entries {
        d.within(Step::Key(&entry.key), |d| {
            if headers {
                if !header_name(d, &entry.key, entry.key_at) {
                    return;
                }
                if let Some(first) = seen.insert(entry.key.to_ascii_lowercase(), entry.key_at) {
                    let message = format!("`{}` is named twice (header names are the same in any case)", entry.key);
                    d.report(
                        Finding::error("duplicate", message)
                            .at(entry.key_at)
                            .other(first)
                            .found(&*entry.key),
                    );
                    return;
                }
            } else if entry.key.is_empty() {
                d.report(Finding::error("bad_name", "the name is empty").at(entry.key_at));
                return;
            }
            if let Some(value) = f(d, &entry.value) {
                found.push((entry.key.as_str(), value));
            }
        });
    }
    Some(found)
}

fn header_name(d: &mut Decoder<'_>, name: &str, at: Place) -> bool {
    let fits = name.parse::<http::HeaderName>().is_ok();
    if !fits {
        let finding = Finding::error("bad_name", "this is no name of a header field (RFC 9110 §5.1)");
        d.report(
            finding
                .at(at)
                .found(crate::tree::shorten(name))
                .expected("a token like X-Tenant"),
        );
    }
    fits
}

fn values<'t>(d: &mut Decoder<'t>, node: &'t Node, headers: bool) -> Option<BTreeMap<String, String>> {
    let found = named(d, node, headers, |d, node| d.spelt(node, "a text"))?;
    Some(
        found
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn changes<'t>(d: &mut Decoder<'t>, node: &'t Node, headers: bool) -> Option<HeaderChanges> {
    let f = d.fields(node, fields::CHANGES, "a map with set, add, remove")?;
    Some(HeaderChanges {
        set: d
            .optional(&f, "set", |d, node| values(d, node, headers))
            .unwrap_or_default(),
        add: d
            .optional(&f, "add", |d, node| values(d, node, headers))
            .unwrap_or_default(),
        remove: d
            .optional(&f, "remove", |d, node| {
                d.set(node, "a list of names", MOST_FIELDS, |d, node| {
                    let name = d.text(node, "a name")?;
                    let fits = if headers {
                        header_name(d, name, node.at)
                    } else {
                        !name.is_empty()
                    };
                    fits.then(|| name.to_owned())
                })
            })
            .unwrap_or_default(),
    })
}

pub(super) fn request<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<MessageChanges> {
    let f = d.fields(node, fields::REQUEST, "a map with headers, query")?;
    Some(MessageChanges {
        headers: d
            .optional(&f, "headers", |d, node| changes(d, node, true))
            .unwrap_or_default(),
        query: d
            .optional(&f, "query", |d, node| changes(d, node, false))
            .unwrap_or_default(),
    })
}

pub(super) fn response<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<MessageChanges> {
    let f = d.fields(node, fields::RESPONSE, "a map with headers")?;
    Some(MessageChanges {
        headers: d
            .optional(&f, "headers", |d, node| changes(d, node, true))
            .unwrap_or_default(),
        query: HeaderChanges::default(),
    })
}

pub(super) fn redirect<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Redirect> {
    const STATUSES: &str = "301, 302, 303, 307 or 308";
    let f = d.fields(node, fields::REDIRECT, "a map with to, status")?;
    let status = d.optional(&f, "status", |d, node| {
        let status = d.integer(node, 300, 399)?;
        match status {
            301 | 302 | 303 | 307 | 308 => u16::try_from(status).ok(),
            _ => {
                d.bad(node, format!("a redirect's status is {STATUSES}"), STATUSES);
                None
            }
        }
    });
    let to = d.required(&f, "to", |d, node| {
        d.text(node, "a URL or path, a text with ${…}").map(str::to_owned)
    })?;
    Some(Redirect { to, status })
}

pub(super) fn respond<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Respond> {
    let f = d.fields(
        node,
        fields::RESPOND,
        "a map with status, one of text, json, html, and headers",
    )?;
    let status = d
        .optional(&f, "status", |d, node| d.integer(node, 200, 599))
        .and_then(|status| u16::try_from(status).ok());
    let given: Vec<_> = ["text", "json", "html"]
        .into_iter()
        .filter_map(|name| f.get(name))
        .collect();
    if let [_, second, ..] = given.as_slice() {
        let message = "an answer has one body: give one of text, json, html";
        d.report(Finding::error("one_of", message).at(second.key_at).found(&*second.key));
    }
    let text = d
        .optional(&f, "text", |d, node| d.spelt(node, "a text"))
        .map(Payload::Text);
    let html = d
        .optional(&f, "html", |d, node| d.text(node, "a text").map(str::to_owned))
        .map(Payload::Html);
    // `json: null` is a body, so it does not pass through `optional`.
    let json = f.get("json").map(|entry| Payload::Json(json(&entry.value)));
    let payload = text.or(html).or(json);
    if let (Some(status @ (204 | 205 | 304)), Some(entry)) = (status, given.first()) {
        let message = format!("an answer of status {status} has no body (RFC 9110 §15)");
        d.report(Finding::error("bad_value", message).at(entry.key_at).found(&*entry.key));
    }
    let headers = d
        .optional(&f, "headers", |d, node| values(d, node, true))
        .unwrap_or_default();
    Some(Respond {
        status,
        payload,
        headers,
    })
}

fn json(node: &Node) -> serde_json::Value {
    use serde_json::{Number, Value as Json};
    match &node.kind {
        Kind::Null => Json::Null,
        Kind::Bool(value) => Json::Bool(*value),
        Kind::Text(text) | Kind::Date(text) => Json::String(text.clone()),
        Kind::Number(number) => match number.value {
            Value::Integer(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => Json::Number(value.into()),
                (_, Ok(value)) => Json::Number(value.into()),
                _ => Json::Null,
            },
            Value::Float(value) => Number::from_f64(value).map_or(Json::Null, Json::Number),
        },
        Kind::List(items) => Json::Array(items.iter().map(json).collect()),
        Kind::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), json(&entry.value)))
            .collect(),
    }
}
