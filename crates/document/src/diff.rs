//! The difference of two documents, by part.

use crate::format::Format;
use crate::parts::PartKey;
use crate::print::print_canonical;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What happened to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
}

/// One part that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which part.
    pub key: PartKey,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Its canonical JSON before, unless it is new.
    pub before: Option<String>,
    /// Its canonical JSON after, unless it is gone.
    pub after: Option<String>,
}

/// What changes from `old` to `new`, in the order of the keys. Both are what [`crate::split`] makes. Linear.
pub fn diff(old: &BTreeMap<PartKey, String>, new: &BTreeMap<PartKey, String>) -> Vec<Change> {
    let gone = old
        .iter()
        .filter(|(key, _)| !new.contains_key(key))
        .map(|(key, before)| Change {
            key: key.clone(),
            kind: ChangeKind::Removed,
            before: Some(before.clone()),
            after: None,
        });
    let come = new
        .iter()
        .filter(|(key, after)| old.get(key) != Some(after))
        .map(|(key, after)| {
            let before = old.get(key).cloned();
            let kind = if before.is_some() {
                ChangeKind::Changed
            } else {
                ChangeKind::Added
            };
            Change {
                key: key.clone(),
                kind,
                before,
                after: Some(after.clone()),
            }
        });
    let mut changes: Vec<Change> = gone.chain(come).collect();
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

/// The changes for people: a head for each part (`+` added, `-` removed, `~` changed), and under it the lines of its
/// YAML that differ. With `color` for a terminal.
pub fn render_diff(changes: &[Change], color: bool) -> String {
    let mut out = String::new();
    for change in changes {
        let (sign, paint) = match change.kind {
            ChangeKind::Added => ('+', GREEN),
            ChangeKind::Removed => ('-', RED),
            ChangeKind::Changed => ('~', YELLOW),
        };
        line(
            &mut out,
            &format!("{sign} {}", change.key),
            Some(paint).filter(|_| color),
        );
        let before = lines(change.before.as_deref());
        let after = lines(change.after.as_deref());
        for (sign, text) in edits(&before, &after) {
            let paint = match sign {
                '+' => Some(GREEN),
                '-' => Some(RED),
                _ => None,
            };
            line(&mut out, &format!("    {sign} {text}"), paint.filter(|_| color));
        }
    }
    out
}

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";
/// Beyond so many pairs of lines the longest common part is not sought.
const MOST_PAIRS: usize = 1_000_000;

fn line(out: &mut String, text: &str, paint: Option<&str>) {
    // Writing to a String cannot fail.
    let _ = match paint {
        Some(paint) => writeln!(out, "{paint}{text}{PLAIN}"),
        None => writeln!(out, "{text}"),
    };
}

fn lines(canonical: Option<&str>) -> Vec<String> {
    let Some(text) = canonical else { return Vec::new() };
    let printed = print_canonical(text, Format::Yaml).unwrap_or_else(|_| text.to_owned());
    printed.lines().map(str::to_owned).collect()
}

/// Lines of both, with ` ` where they are the same.
fn edits<'l>(before: &'l [String], after: &'l [String]) -> Vec<(char, &'l str)> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (b, a) = (&before[head..], &after[head..]);
    let tail = b.iter().rev().zip(a.iter().rev()).take_while(|(a, b)| a == b).count();
    let (b, a) = (&b[..b.len() - tail], &a[..a.len() - tail]);
    let mut out: Vec<(char, &str)> = before[..head].iter().map(|text| (' ', text.as_str())).collect();
    if b.len() * a.len() > MOST_PAIRS {
        out.extend(b.iter().map(|text| ('-', text.as_str())));
        out.extend(a.iter().map(|text| ('+', text.as_str())));
    } else {
        out.extend(middle(b, a));
    }
    out.extend(before[before.len() - tail..].iter().map(|text| (' ', text.as_str())));
    out
}

/// By the longest common subsequence: `common[i][j]` is its length for `b[i..]` and `a[j..]`.
fn middle<'l>(b: &'l [String], a: &'l [String]) -> Vec<(char, &'l str)> {
    let mut common = vec![vec![0u32; a.len() + 1]; b.len() + 1];
    for i in (0..b.len()).rev() {
        for j in (0..a.len()).rev() {
            common[i][j] = if b[i] == a[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < b.len() || j < a.len() {
        if i < b.len() && j < a.len() && b[i] == a[j] {
            out.push((' ', b[i].as_str()));
            (i, j) = (i + 1, j + 1);
        } else if j == a.len() || (i < b.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(('-', b[i].as_str()));
            i += 1;
        } else {
            out.push(('+', a[j].as_str()));
            j += 1;
        }
    }
    out
}
