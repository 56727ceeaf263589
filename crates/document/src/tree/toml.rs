//! TOML, by the table with byte ranges that the `toml` crate reads.

use super::{Entry, Kind, MAX_DEPTH, Node, number, too_deep};
use crate::diagnostic::Finding;
use crate::source::Place;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The parser goes on after a fault; each of those told costs a look through the text.
const MOST_FAULTS: usize = 20;

pub(super) fn read(text: &str, file: u32) -> Result<Node, Vec<Finding>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors
            .iter()
            .take(MOST_FAULTS)
            .map(|error| fault(error, text, file))
            .collect());
    }
    let at = Place { file, start: 0, end: 0 };
    let kind = map(table.get_ref(), file, 0).map_err(|finding| vec![*finding])?;
    Ok(Node { at, kind })
}

fn map(table: &DeTable<'_>, file: u32, depth: usize) -> Result<Kind, Box<Finding>> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let key_at = place(file, key.span());
        entries.push(Entry {
            key: key.get_ref().to_string(),
            key_at,
            value: node(value, file, depth + 1)?,
        });
    }
    entries.sort_by_key(|entry| entry.key_at.start);
    Ok(Kind::Map(entries))
}

fn node(value: &Spanned<DeValue<'_>>, file: u32, depth: usize) -> Result<Node, Box<Finding>> {
    let at = place(file, value.span());
    if depth > MAX_DEPTH {
        return Err(too_deep(at).into());
    }
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Datetime(date) => Kind::Date(date.to_string()),
        DeValue::Integer(integer) => {
            let decimal = i128::from_str_radix(integer.as_str(), integer.radix()).map(|i| i.to_string());
            let read = decimal.ok().and_then(|digits| number(&digits, &digits, true));
            Kind::Number(read.ok_or_else(|| Finding::error("syntax", "the number is too large").at(at))?)
        }
        DeValue::Float(float) => {
            let read = number(float.as_str(), float.as_str(), false);
            Kind::Number(read.ok_or_else(|| Finding::error("syntax", "the number is too large or none").at(at))?)
        }
        DeValue::Array(items) => Kind::List(
            items
                .iter()
                .map(|item| node(item, file, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => map(table, file, depth)?,
    };
    Ok(Node { at, kind })
}

fn place(file: u32, span: std::ops::Range<usize>) -> Place {
    Place {
        file,
        start: span.start as u32,
        end: span.end as u32,
    }
}

fn fault(error: &toml::de::Error, text: &str, file: u32) -> Finding {
    let message = error.message().lines().next().unwrap_or_default();
    let Some(span) = error.span() else {
        return Finding::error("syntax", format!("not TOML: {message}")).at(place(file, 0..0));
    };
    let at = place(file, span.clone());
    if message.contains("duplicate key") {
        return double(text, span, file);
    }
    Finding::error("syntax", format!("not TOML: {message}")).at(at)
}

/// The parser tells of the second place alone. The first is sought among the lines before: the same table head, or the
/// same key since the last table head.
fn double(text: &str, span: std::ops::Range<usize>, file: u32) -> Finding {
    let key = text.get(span.clone()).unwrap_or_default();
    let before = text.get(..span.start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default().trim();
    let head = line
        .starts_with('[')
        .then(|| line.split('#').next().unwrap_or_default().trim());
    let mut first = None;
    let mut start = 0;
    for earlier in text[..line_start].split_inclusive('\n') {
        let content = earlier.trim();
        match head {
            Some(head) => {
                if first.is_none() && content.split('#').next().unwrap_or_default().trim() == head {
                    first = Some(start);
                }
            }
            None if content.starts_with('[') => first = None,
            None => {
                let same = content
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.trim_start().starts_with('='));
                first = first.or(same.then_some(start));
            }
        }
        start += earlier.len();
    }
    let path = head.map_or(key, |head| head.trim_matches(['[', ']']).trim());
    let finding = super::double(key, path, place(file, span), place(file, 0..0));
    Finding {
        other: first.map(|start| place(file, start..start)),
        ..finding
    }
}
