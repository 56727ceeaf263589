//! A document as text, so that reading it gives the same document again.

mod layout;
mod yaml;

pub use layout::{Layout, layout};

use crate::declared::Document;
use crate::format::Format;
use crate::parts::{CorruptPart, Part, PartKey};
use crate::tree::{self, Entry, Kind, Node, Value, push_index, push_key};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A document that a format cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{format} cannot say what stands at {path}: {why}; take YAML or JSON")]
pub struct PrintError {
    /// The format that was asked for.
    pub format: Format,
    /// The place in the document.
    pub path: String,
    /// What it cannot say.
    pub why: &'static str,
}

/// Writes a document. [`crate::parse()`] of the text gives the same document.
///
/// # Errors
/// TOML knows no `null` and no whole number beyond 63 bits; both can stand in a fixed JSON answer only.
pub fn print(document: &Document, format: Format) -> Result<String, PrintError> {
    // As for parts: nothing in declared types can fail to be JSON.
    let text = serde_json::to_string(document).unwrap_or_default();
    let mut root = ordered(&text);
    if let Kind::Map(entries) = &mut root.kind {
        let value = tree::number("1", "1", true).map_or(Kind::Null, Kind::Number);
        let value = Node {
            at: root.at,
            kind: value,
        };
        entries.insert(
            0,
            Entry {
                key: "format".to_owned(),
                key_at: root.at,
                value,
            },
        );
        for entry in entries {
            match entry.key.as_str() {
                "upstreams" => each(&mut entry.value, shorten_upstream),
                "gateways" => each(&mut entry.value, |gateway| {
                    if let Some(Kind::List(routes)) = field(gateway, "routes") {
                        routes.iter_mut().for_each(shorten_route);
                    }
                }),
                _ => {}
            }
        }
    }
    emit(&root, format)
}

/// Writes one part as an operator would, a gateway with its routes. `parts` are the stored ones: `key` itself and, for a
/// gateway, those under it.
///
/// # Errors
/// A part is missing or is none, or TOML cannot carry it (then the path in the error is within the part).
pub fn print_part<'a>(
    key: &PartKey,
    parts: impl Iterator<Item = (&'a PartKey, &'a str)>,
    format: Format,
) -> Result<String, PartPrintError> {
    let mut parts = parts.filter(|(other, _)| *other == key || under(key, other));
    let missing = || CorruptPart {
        key: key.clone(),
        why: "it is not there".to_owned(),
    };
    if let PartKey::Gateway(name) = key {
        let mut document = crate::parts::join(parts)?;
        let gateway = document.gateways.remove(name).ok_or_else(missing)?;
        let mut root = ordered(&crate::parts::encode_part(&Part::Gateway(gateway)));
        if let Some(Kind::List(routes)) = field(&mut root, "routes") {
            routes.iter_mut().for_each(shorten_route);
        }
        return Ok(emit(&root, format)?);
    }
    let (_, canonical) = parts.next().ok_or_else(missing)?;
    crate::parts::decode_part(key, canonical)?;
    Ok(print_canonical(canonical, format)?)
}

fn under(key: &PartKey, other: &PartKey) -> bool {
    matches!((key, other), (PartKey::Gateway(name), PartKey::Route { gateway, .. }) if gateway == name)
}

/// Why a part is not printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartPrintError {
    /// The stored part is damaged.
    #[error(transparent)]
    Corrupt(#[from] CorruptPart),
    /// The format cannot carry it.
    #[error(transparent)]
    Format(#[from] PrintError),
}

pub(crate) fn print_canonical(canonical: &str, format: Format) -> Result<String, PrintError> {
    let mut root = ordered(canonical);
    if field(&mut root, "targets").is_some() {
        shorten_upstream(&mut root);
    } else if field(&mut root, "paths").is_some() {
        shorten_route(&mut root);
    }
    emit(&root, format)
}

/// The tree of JSON that we wrote ourselves: fields stay in declared order.
fn ordered(text: &str) -> Node {
    let at = crate::source::Place {
        file: 0,
        start: 0,
        end: 0,
    };
    tree::read(text, Format::Json, 0).unwrap_or(Node {
        at,
        kind: Kind::Map(Vec::new()),
    })
}

fn emit(root: &Node, format: Format) -> Result<String, PrintError> {
    match format {
        Format::Yaml => Ok(yaml::emit(root, &mut layout::Notes::none())),
        Format::Json => Ok(serde_json::to_string_pretty(root).unwrap_or_default() + "\n"),
        Format::Toml => {
            refuse_for_toml(root, &mut String::new())?;
            toml::to_string_pretty(root).map_err(|_| PrintError {
                format,
                path: "the document".to_owned(),
                why: "it has no form for it",
            })
        }
    }
}

fn refuse_for_toml(node: &Node, path: &mut String) -> Result<(), PrintError> {
    let error = |path: &str, why| {
        Err(PrintError {
            format: Format::Toml,
            path: path.to_owned(),
            why,
        })
    };
    let kept = path.len();
    match &node.kind {
        Kind::Null => return error(path, "it has no null"),
        Kind::Number(number) => match number.value {
            Value::Integer(value) if i64::try_from(value).is_err() => {
                return error(path, "its whole numbers have 63 bits");
            }
            _ => {}
        },
        Kind::List(items) => {
            for (i, item) in items.iter().enumerate() {
                push_index(path, i);
                refuse_for_toml(item, path)?;
                path.truncate(kept);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                push_key(path, &entry.key);
                refuse_for_toml(&entry.value, path)?;
                path.truncate(kept);
            }
        }
        _ => {}
    }
    Ok(())
}

/// `{ url: X }` is written X.
fn shorten_upstream(upstream: &mut Node) {
    if let Some(Kind::List(targets)) = field(upstream, "targets") {
        targets.iter_mut().for_each(|target| unwrap_only(target, "url"));
    }
}

/// `paths` of one is written `path`, and `{ exact: X }` is written X.
fn shorten_route(route: &mut Node) {
    if let Kind::Map(entries) = &mut route.kind {
        for entry in entries {
            if entry.key == "paths"
                && let Kind::List(paths) = &mut entry.value.kind
                && paths.len() == 1
                && let Some(path) = paths.pop()
            {
                entry.key = "path".to_owned();
                entry.value = path;
            } else if entry.key == "match" {
                for kind in ["headers", "query"] {
                    if let Some(Kind::Map(conditions)) = field(&mut entry.value, kind) {
                        conditions
                            .iter_mut()
                            .for_each(|condition| unwrap_only(&mut condition.value, "exact"));
                    }
                }
            }
        }
    }
}

fn unwrap_only(node: &mut Node, key: &str) {
    if let Kind::Map(entries) = &mut node.kind
        && matches!(entries.as_slice(), [entry] if entry.key == key)
        && let Some(entry) = entries.pop()
    {
        *node = entry.value;
    }
}

fn field<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Kind> {
    match &mut node.kind {
        Kind::Map(entries) => entries
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.value.kind),
        _ => None,
    }
}

fn each(map: &mut Node, f: impl Fn(&mut Node)) {
    if let Kind::Map(entries) = &mut map.kind {
        entries.iter_mut().for_each(|entry| f(&mut entry.value));
    }
}

// === impl Node ===

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match &self.kind {
            Kind::Null => s.serialize_unit(),
            Kind::Bool(value) => s.serialize_bool(*value),
            Kind::Text(text) | Kind::Date(text) => s.serialize_str(text),
            Kind::Number(number) => match number.value {
                Value::Integer(value) => match i64::try_from(value) {
                    Ok(value) => s.serialize_i64(value),
                    // The tree holds whole numbers of 64 bits, signed or not.
                    Err(_) => s.serialize_u64(value as u64),
                },
                Value::Float(value) => s.serialize_f64(value),
            },
            Kind::List(items) => {
                let mut list = s.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Kind::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                entries
                    .iter()
                    .try_for_each(|entry| map.serialize_entry(&entry.key, &entry.value))?;
                map.end()
            }
        }
    }
}
