//! YAML as people like to read it: blocks, short lists in one line, quotes only where something would be misread.

use super::layout::Notes;
use crate::tree::{Entry, Kind, Node, Value, reads_as_text};

/// Lists of plain values stand in one line up to this width.
const WIDTH: usize = 100;

pub(super) fn emit(root: &Node, notes: &mut Notes<'_>) -> String {
    let mut out = String::new();
    match &root.kind {
        Kind::Map(entries) if !entries.is_empty() => map(&mut out, entries, 0, false, notes),
        Kind::List(items) if !items.is_empty() && notes.as_written() => list(&mut out, items, 0, notes),
        _ => {
            value(&mut out, root, notes);
            out.push('\n');
        }
    }
    notes.rest(&mut out);
    out.trim_start().to_owned()
}

/// Entries, each on a line of its own; the first stands where the cursor is if `inline`.
fn map(out: &mut String, entries: &[Entry], indent: usize, inline: bool, notes: &mut Notes<'_>) {
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 || !inline {
            notes.above(out, entry.key_at.start, first_line(entry), indent);
            pad(out, indent);
        }
        text(out, &entry.key, false);
        out.push(':');
        match &entry.value.kind {
            Kind::Map(inner) if !inner.is_empty() => {
                notes.right(out, entry.key_at.end);
                out.push('\n');
                map(out, inner, indent + 2, false, notes);
            }
            Kind::List(items) if !items.is_empty() => match flow(items, indent + entry.key.len(), notes) {
                Some(line) => {
                    out.push(' ');
                    out.push_str(&line);
                    notes.right(out, end(&entry.value));
                    out.push('\n');
                }
                None => {
                    notes.right(out, entry.key_at.end);
                    out.push('\n');
                    list(out, items, indent + 2, notes);
                }
            },
            Kind::Text(content) if notes.as_written() && is_block(content) => {
                block(out, content, indent + 2);
            }
            _ => {
                out.push(' ');
                value(out, &entry.value, notes);
                notes.right(out, end(&entry.value));
                out.push('\n');
            }
        }
    }
}

fn list(out: &mut String, items: &[Node], indent: usize, notes: &mut Notes<'_>) {
    for item in items {
        let until = match &item.kind {
            Kind::Map(entries) => entries.first().map_or(item.at.start, first_line),
            _ => end(item),
        };
        notes.above(out, item.at.start, until, indent);
        pad(out, indent);
        out.push_str("- ");
        match &item.kind {
            Kind::Map(entries) if !entries.is_empty() => map(out, entries, indent + 2, true, notes),
            Kind::List(inner) if !inner.is_empty() => match flow(inner, indent, notes) {
                Some(line) => {
                    out.push_str(&line);
                    notes.right(out, end(item));
                    out.push('\n');
                }
                None => {
                    out.truncate(out.len() - 1);
                    out.push('\n');
                    list(out, inner, indent + 2, notes);
                }
            },
            _ => {
                value(out, item, notes);
                notes.right(out, end(item));
                out.push('\n');
            }
        }
    }
}

/// Up to where comments stand above an entry: those within a value that is written in one line cannot stand there.
fn first_line(entry: &Entry) -> u32 {
    match &entry.value.kind {
        Kind::Map(inner) if !inner.is_empty() => entry.key_at.start,
        Kind::List(items)
            if items
                .iter()
                .any(|item| matches!(item.kind, Kind::Map(_) | Kind::List(_))) =>
        {
            entry.key_at.start
        }
        _ => end(&entry.value),
    }
}

/// Where the last of a value stands. What ends a block may be what follows it.
fn end(node: &Node) -> u32 {
    match &node.kind {
        Kind::List(items) => items.last().map_or(node.at.end, end),
        Kind::Map(entries) => entries.last().map_or(node.at.end, |entry| end(&entry.value)),
        _ => node.at.end,
    }
}

/// Whether a text of several lines can stand in a block as it is.
fn is_block(content: &str) -> bool {
    let body = content.strip_suffix('\n').unwrap_or(content);
    body.contains('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with('\n')
        && body.chars().all(|c| c == '\n' || printable(c))
        && body.lines().all(|line| !line.ends_with(' '))
}

fn block(out: &mut String, content: &str, indent: usize) {
    out.push_str(if content.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in content.lines() {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// The list in one line, if it is short and holds plain values only.
fn flow(items: &[Node], before: usize, notes: &Notes<'_>) -> Option<String> {
    let mut line = String::from("[");
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            line.push_str(", ");
        }
        match &item.kind {
            Kind::Text(content) => text(&mut line, content, true),
            Kind::Map(entries) if !entries.is_empty() => return None,
            Kind::List(inner) if !inner.is_empty() => return None,
            _ => value(&mut line, item, notes),
        }
        if line.len() + before > WIDTH {
            return None;
        }
    }
    line.push(']');
    Some(line)
}

/// A value that needs no lines of its own.
fn value(out: &mut String, node: &Node, notes: &Notes<'_>) {
    match &node.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Number(number) if notes.as_written() => out.push_str(&number.spelling),
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
