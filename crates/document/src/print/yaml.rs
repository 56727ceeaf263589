//! YAML as people like to read it: blocks, short lists in one line, quotes only where something would be misread.

use crate::tree::{Entry, Kind, Node, Value, reads_as_text};

/// Lists of plain values stand in one line up to this width.
const WIDTH: usize = 100;

pub(super) fn emit(root: &Node) -> String {
    let mut out = String::new();
    match &root.kind {
        Kind::Map(entries) if !entries.is_empty() => map(&mut out, entries, 0, false),
        _ => {
            value(&mut out, root);
            out.push('\n');
        }
    }
    out.trim_start().to_owned()
}

/// Entries, each on a line of its own; the first stands where the cursor is if `inline`.
fn map(out: &mut String, entries: &[Entry], indent: usize, inline: bool) {
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 || !inline {
            pad(out, indent);
        }
        text(out, &entry.key, false);
        out.push(':');
        match &entry.value.kind {
            Kind::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                map(out, inner, indent + 2, false);
            }
            Kind::List(items) if !items.is_empty() => match flow(items, indent + entry.key.len()) {
                Some(line) => {
                    out.push(' ');
                    out.push_str(&line);
                    out.push('\n');
                }
                None => {
                    out.push('\n');
                    list(out, items, indent + 2);
                }
            },
            _ => {
                out.push(' ');
                value(out, &entry.value);
                out.push('\n');
            }
        }
    }
}

fn list(out: &mut String, items: &[Node], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push_str("- ");
        match &item.kind {
            Kind::Map(entries) if !entries.is_empty() => map(out, entries, indent + 2, true),
            Kind::List(inner) if !inner.is_empty() => match flow(inner, indent) {
                Some(line) => {
                    out.push_str(&line);
                    out.push('\n');
                }
                None => {
                    out.truncate(out.len() - 1);
                    out.push('\n');
                    list(out, inner, indent + 2);
                }
            },
            _ => {
                value(out, item);
                out.push('\n');
            }
        }
    }
}

/// The list in one line, if it is short and holds plain values only.
fn flow(items: &[Node], before: usize) -> Option<String> {
    let mut line = String::from("[");
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            line.push_str(", ");
        }
        match &item.kind {
            Kind::Text(content) => text(&mut line, content, true),
            Kind::Map(entries) if !entries.is_empty() => return None,
            Kind::List(inner) if !inner.is_empty() => return None,
            _ => value(&mut line, item),
        }
        if line.len() + before > WIDTH {
            return None;
        }
    }
    line.push(']');
    Some(line)
}

/// A value that needs no lines of its own.
fn value(out: &mut String, node: &Node) {
    match &node.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Number(number) => match number.value {
            Value::Integer(value) => out.push_str(&value.to_string()),
            // JSON's spelling of a float is one of YAML's.
            Value::Float(value) => out.push_str(&serde_json::to_string(&value).unwrap_or_default()),
        },
        Kind::Text(content) | Kind::Date(content) => text(out, content, false),
        Kind::List(_) => out.push_str("[]"),
        Kind::Map(_) => out.push_str("{}"),
    }
}

fn text(out: &mut String, content: &str, in_flow: bool) {
    if is_plain(content, in_flow) {
        out.push_str(content);
        return;
    }
    out.push('"');
    for c in content.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c if (c as u32) > 0xffff => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push_str(&format!("\\u{:04x}", c as u32)),
        }
    }
    out.push('"');
}

/// Whether the characters can stand without quotes: fewer than YAML allows, so that no other reader errs either.
fn is_plain(content: &str, in_flow: bool) -> bool {
    const OLD_WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];
    let begins = content.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.'));
    let old_word = OLD_WORDS.iter().any(|word| content.eq_ignore_ascii_case(word));
    let number_like = content
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':' | b'-' | b'_' | b'+'));
    // 0x1F, 0o17, 0b1 and .inf are numbers to some.
    let other_base = content
        .trim_start_matches(['+', '-'])
        .strip_prefix(['0', '.'])
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    begins
        && !old_word
        && !number_like
        && !other_base
        && !content.ends_with(':')
        && !content.ends_with(' ')
        && !content.contains(": ")
        && reads_as_text(content)
        && content.bytes().all(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => true,
            b'_' | b'-' | b'/' | b'.' | b'+' | b'*' | b'=' | b';' | b'(' | b')' | b'%' | b'$' | b' ' => true,
            b'{' | b'}' | b':' | b',' | b'[' | b']' => !in_flow,
            _ => false,
        })
}

/// What YAML calls printable (§5.1), but for the line separators and the byte-order mark.
fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_reader_takes_for_something_else_is_quoted() {
        for content in [
            "yes",
            "No",
            "~",
            "1.10",
            "007",
            "0x1F",
            "0o17",
            "0b1",
            ".inf",
            ".NaN",
            "1_000",
            "1:30",
            "2020-01-01",
            "1e3",
            "a: b",
            "a:",
            "#a",
            "",
        ] {
            assert!(!is_plain(content, false), "{content}");
        }
        for content in ["orders", "/v1/orders", "10.0.0.0/8", "x0", "300ms", "0-a"] {
            assert!(is_plain(content, false), "{content}");
        }
    }
}
