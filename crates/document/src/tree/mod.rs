//! One marked tree for the three formats: every key and every value knows its place.
//!
//! Bounds: [`MAX_BYTES`] of text, [`MAX_DEPTH`] levels, and for YAML's aliases the bounds in `yaml`. A key that stands
//! twice in a map is refused here, with both places, whatever the format.

pub(crate) mod comments;
mod json;
mod toml;
mod yaml;

pub(crate) use yaml::reads_as_text;

use crate::diagnostic::Finding;
use crate::format::Format;
use crate::source::Place;
use std::collections::HashMap;

/// A document's greatest size in bytes: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;
/// A document's greatest depth in levels of lists and maps.
pub const MAX_DEPTH: usize = 64;

/// Keys that stand twice and are told.
const MOST_DOUBLES: usize = 1_000;

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// A date or time of TOML: nothing in a document is one.
    Date(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A number with its spelling, so that a text may be made of it as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub(crate) spelling: Box<str>,
    pub(crate) value: Value,
}

/// A number's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    Integer(i128),
    Float(f64),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Place,
    pub(crate) value: Node,
}

/// Reads `text` into a tree. What is not well-formed ends at the first fault, except for keys that stand twice.
pub(crate) fn read(text: &str, format: Format, file: u32) -> Result<Node, Vec<Finding>> {
    let start = Place { file, start: 0, end: 0 };
    if text.len() > MAX_BYTES {
        let message = format!(
            "the document has {} bytes; at most {MAX_BYTES} (64 MiB) are read",
            text.len()
        );
        return Err(vec![Finding::error("too_large", message).at(start)]);
    }
    let root = match format {
        Format::Yaml => yaml::read(text, file),
        Format::Json => json::read(text, file),
        Format::Toml => toml::read(text, file),
    }?;
    let mut twice = Vec::new();
    find_doubles(&root, &mut String::new(), &mut twice);
    if twice.is_empty() { Ok(root) } else { Err(twice) }
}

pub(crate) fn too_deep(at: Place) -> Finding {
    Finding::error(
        "too_deep",
        format!("lists and maps are nested deeper than {MAX_DEPTH} levels"),
    )
    .at(at)
}

fn find_doubles(node: &Node, path: &mut String, findings: &mut Vec<Finding>) {
    let kept = path.len();
    match &node.kind {
        Kind::List(items) => {
            for (i, item) in items.iter().enumerate() {
                push_index(path, i);
                find_doubles(item, path, findings);
                path.truncate(kept);
            }
        }
        Kind::Map(entries) => {
            let mut seen: HashMap<&str, (usize, Place)> = HashMap::with_capacity(entries.len());
            for (i, entry) in entries.iter().enumerate() {
                push_key(path, &entry.key);
                // By index: what an alias brings twice has one place.
                let (index, first) = *seen.entry(&entry.key).or_insert((i, entry.key_at));
                if index != i && findings.len() < MOST_DOUBLES {
                    findings.push(double(&entry.key, path, entry.key_at, first));
                }
                find_doubles(&entry.value, path, findings);
                path.truncate(kept);
            }
        }
        _ => {}
    }
}

/// The finding for a name that is declared twice.
pub(crate) fn double(key: &str, path: &str, second: Place, first: Place) -> Finding {
    Finding::error("duplicate", format!("`{key}` is declared twice"))
        .path(path)
        .at(second)
        .other(first)
        .found(format!("a second `{key}`"))
}

/// Appends `.key`, quoted where the key could be misread.
pub(crate) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    if plain {
        path.push_str(key);
    } else {
        path.push('"');
        path.extend(key.chars().take(100).flat_map(|c| c.escape_debug()));
        path.push('"');
    }
}

/// Appends `[index]`.
pub(crate) fn push_index(path: &mut String, index: usize) {
    path.push('[');
    path.push_str(&index.to_string());
    path.push(']');
}

/// A number of a spelling and of the digits that it stands for. `None`: too large to be told exactly (whole numbers
/// beyond 64 bits) or at all.
pub(crate) fn number(spelling: &str, digits: &str, whole: bool) -> Option<Number> {
    let value = if whole {
        let value: i128 = digits.parse().ok()?;
        (i128::from(i64::MIN) <= value && value <= i128::from(u64::MAX)).then_some(Value::Integer(value))?
    } else {
        Value::Float(digits.parse::<f64>().ok().filter(|f| f.is_finite())?)
    };
    Some(Number {
        spelling: spelling.into(),
        value,
    })
}

// === impl Node ===

impl Node {
    /// What stands there, for a message.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing (null)".to_owned(),
            Kind::Bool(b) => b.to_string(),
            Kind::Number(n) => format!("the number {}", shorten(&n.spelling)),
            Kind::Text(t) if t.is_empty() => "an empty text".to_owned(),
            Kind::Text(t) => format!("the text \"{}\"", shorten(t)),
            Kind::Date(t) => format!("the date {}", shorten(t)),
            Kind::List(items) if items.is_empty() => "an empty list".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(entries) if entries.is_empty() => "an empty map".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        }
    }
}

/// At most 60 characters, with what a terminal must not get escaped.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    let mut out: String = text
        .chars()
        .take(MOST)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}
