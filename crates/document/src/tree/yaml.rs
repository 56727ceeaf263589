//! YAML 1.2 with its core schema, by the parser's events.
//!
//! `yes`, `no`, `on`, `off` are texts, and so are numbers with leading zeros. Anchors, aliases and merge keys (`<<`)
//! are followed within bounds: an alias copies at most [`ALIAS_NODES`] values, all of them [`COPIED_NODES`]. A key of
//! the map itself wins over a merged one; keys of two merged maps collide like any other.

use super::{Entry, Kind, MAX_DEPTH, Node, number, too_deep};
use crate::diagnostic::Finding;
use crate::source::Place;
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::collections::{HashMap, HashSet};

/// Values that one alias may copy.
const ALIAS_NODES: usize = 1_000;
/// Values that all aliases of a document may copy.
const COPIED_NODES: usize = 100_000;

pub(super) fn read(text: &str, file: u32) -> Result<Node, Vec<Finding>> {
    if let Some((start, bad)) = text.char_indices().find(|(_, c)| !printable(*c)) {
        let at = Place {
            file,
            start: start as u32,
            end: start as u32 + 1,
        };
        let message = "not YAML: a control character stands in the text; write it as an escape in double quotes";
        return Err(vec![
            Finding::error("syntax", message)
                .at(at)
                .found(format!("the character {bad:?}")),
        ]);
    }
    let options = granit_parser::options! { flow_nesting_limit: 255, block_nesting_limit: 255, emit_comments: false };
    let events = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        file,
        text,
        open: Vec::new(),
        root: None,
        documents: 0,
        anchors: HashMap::new(),
        copied: 0,
        merges: false,
    };
    for event in events {
        let (event, span) = event.map_err(|error| vec![builder.fault(&error)])?;
        builder.take(event, &span).map_err(|finding| vec![*finding])?;
    }
    let at = Place { file, start: 0, end: 0 };
    Ok(builder.root.unwrap_or(Node { at, kind: Kind::Null }))
}

/// YAML 1.2.2 §5.1.
fn printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

struct Builder<'a> {
    file: u32,
    text: &'a str,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    anchors: HashMap<usize, Anchored>,
    copied: usize,
    merges: bool,
}

struct Open {
    at: Place,
    anchor: usize,
    what: Collecting,
}

enum Collecting {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Place, bool)>,
    },
}

struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Box<Finding>> {
        let at = self.place(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a second YAML document begins here; a gateway document is one document";
                    return Err(Finding::error("syntax", message).at(at).into());
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = self.scalar(&text, style, tag.as_deref(), at)?;
                let plain_merge = style == ScalarStyle::Plain && text == "<<";
                self.value(Node { at, kind }, Some((&text, plain_merge)), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", at)?;
                self.push(at, anchor, Collecting::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", at)?;
                self.push(
                    at,
                    anchor,
                    Collecting::Map {
                        entries: Vec::new(),
                        key: None,
                    },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let end = at.start.max(open.at.start);
                let at = Place { end, ..open.at };
                let kind = match open.what {
                    Collecting::List(items) => Kind::List(items),
                    Collecting::Map { entries, .. } => Kind::Map(self.merged(entries)?),
                };
                self.value(Node { at, kind }, None, open.anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Ok(()),
        }
    }

    fn push(&mut self, at: Place, anchor: usize, what: Collecting) -> Result<(), Box<Finding>> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at).into());
        }
        self.open.push(Open { at, anchor, what });
        Ok(())
    }

    /// A whole value: the next key, the value of the last one, an item, or the root.
    fn value(&mut self, node: Node, scalar: Option<(&str, bool)>, anchor: usize) -> Result<(), Box<Finding>> {
        if anchor != 0 {
            let (nodes, depth) = measure(&node);
            // What no alias may copy is not kept: nested anchors would keep it once for each level.
            let kept = if nodes > ALIAS_NODES {
                Node {
                    at: node.at,
                    kind: Kind::Null,
                }
            } else {
                node.clone()
            };
            self.anchors.insert(
                anchor,
                Anchored {
                    node: kept,
                    nodes,
                    depth,
                },
            );
        }
        match self.open.last_mut().map(|open| &mut open.what) {
            None => self.root = Some(node),
            Some(Collecting::List(items)) => items.push(node),
            Some(Collecting::Map { entries, key }) => match key.take() {
                None => {
                    let Some((text, merge)) = scalar else {
                        let message = "a key must be a text, not a list or a map";
                        return Err(Finding::error("syntax", message)
                            .at(node.at)
                            .found(node.describe())
                            .into());
                    };
                    *key = Some((text.to_owned(), node.at, merge));
                }
                Some((text, key_at, merge)) => {
                    self.merges |= merge;
                    // The mark that tells a merge from a key that is spelt `"<<"` is a key no text can be.
                    let key = if merge { MERGE.to_owned() } else { text };
                    entries.push(Entry {
                        key,
                        key_at,
                        value: node,
                    });
                }
            },
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Result<(), Box<Finding>> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(Finding::error("syntax", "an alias stands inside of what it stands for")
                .at(at)
                .into());
        };
        self.copied += target.nodes;
        if target.nodes > ALIAS_NODES || self.copied > COPIED_NODES {
            let message = format!(
                "too much is copied by aliases: at most {ALIAS_NODES} values by one and {COPIED_NODES} by all of them"
            );
            return Err(Finding::error("too_large", message).at(at).into());
        }
        if self.open.len() + target.depth > MAX_DEPTH {
            return Err(too_deep(at).into());
        }
        let node = target.node.clone();
        let text = match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.value(node, text.as_deref().map(|text| (text, false)), 0)
    }

    fn merged(&self, entries: Vec<Entry>) -> Result<Vec<Entry>, Box<Finding>> {
        if !self.merges || !entries.iter().any(|entry| entry.key == MERGE) {
            return Ok(entries);
        }
        let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == MERGE);
        let names: HashSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
        for merge in merges {
            let maps = match merge.value.kind {
                Kind::List(items) => items,
                kind => vec![Node {
                    at: merge.value.at,
                    kind,
                }],
            };
            for map in maps {
                let Kind::Map(entries) = map.kind else {
                    let message = "`<<` merges maps only";
                    return Err(Finding::error("syntax", message)
                        .at(merge.key_at)
                        .found(map.describe())
                        .into());
                };
                own.extend(entries.into_iter().filter(|entry| !names.contains(&entry.key)));
            }
        }
        Ok(own)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Result<Kind, Box<Finding>> {
        let wanted = match tag {
            None if style == ScalarStyle::Plain => None,
            None => Some("str"),
            Some(tag) => match tag.core_suffix() {
                Some(suffix @ ("str" | "int" | "float" | "bool" | "null")) => Some(suffix),
                _ => return Err(unknown_tag(tag, at).into()),
            },
        };
        if wanted == Some("str") {
            return Ok(Kind::Text(text.to_owned()));
        }
        let kind = plain(text).ok_or_else(|| Finding::error("syntax", "the number is too large").at(at))?;
        let fits = matches!(
            (&kind, wanted),
            (_, None)
                | (Kind::Number(_), Some("int" | "float"))
                | (Kind::Bool(_), Some("bool"))
                | (Kind::Null, Some("null"))
        );
        if fits {
            return Ok(kind);
        }
        Err(Finding::error("syntax", "the value is not what its tag says")
            .at(at)
            .found(text)
            .into())
    }

    fn refuse_tag(&self, tag: Option<&Tag>, allowed: &str, at: Place) -> Result<(), Box<Finding>> {
        match tag {
            Some(tag) if tag.core_suffix() != Some(allowed) => Err(unknown_tag(tag, at).into()),
            _ => Ok(()),
        }
    }

    fn place(&self, span: &Span) -> Place {
        let range = span.byte_range().unwrap_or(0..0);
        Place {
            file: self.file,
            start: range.start as u32,
            end: range.end as u32,
        }
    }

    fn fault(&self, error: &granit_parser::ScanError) -> Finding {
        let start = error.marker().byte_offset().unwrap_or(self.text.len()) as u32;
        let place = Place {
            file: self.file,
            start,
            end: start + 1,
        };
        let line = self
            .text
            .get(..start as usize)
            .and_then(|before| before.rsplit('\n').next())
            .unwrap_or_default();
        let rest = self.text.get(start as usize..).unwrap_or_default();
        let tab = line.contains('\t') || rest.starts_with('\t');
        let hint = if tab {
            " (YAML takes no tabs for indentation)"
        } else {
            ""
        };
        Finding::error("syntax", format!("not YAML: {}{hint}", error.info())).at(place)
    }
}

/// Stands for the key of a merge. A NUL cannot stand in YAML except escaped, and no known name has one.
const MERGE: &str = "<<\0";

fn unknown_tag(tag: &Tag, at: Place) -> Finding {
    Finding::error("syntax", "tags of YAML have no meaning in a gateway document")
        .at(at)
        .found(tag.to_string())
}

fn measure(node: &Node) -> (usize, usize) {
    let inner: Box<dyn Iterator<Item = &Node> + '_> = match &node.kind {
        Kind::List(items) => Box::new(items.iter()),
        Kind::Map(entries) => Box::new(entries.iter().map(|entry| &entry.value)),
        _ => return (1, 0),
    };
    let (nodes, depth) = inner
        .map(measure)
        .fold((0, 0), |(n, d), (nodes, depth)| (n + nodes, d.max(depth)));
    (nodes + 1, depth + 1)
}

/// YAML's core schema (YAML 1.2.2 §10.3.2), but for octal numbers and such that are no numbers (`.nan`, `.inf`), which
/// stay texts. `None`: a number that is too large.
fn plain(text: &str) -> Option<Kind> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Kind::Null),
        "true" | "True" | "TRUE" => return Some(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Kind::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if all_digits(digits) {
        if digits.len() > 1 && digits.starts_with('0') {
            return Some(Kind::Text(text.to_owned()));
        }
        return number(text, unsigned, true).map(Kind::Number);
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let float = (all_digits(whole) || (whole.is_empty() && all_digits(fraction)))
        && (fraction.is_empty() || all_digits(fraction))
        && !(whole.len() > 1 && whole.starts_with('0'))
        && exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    if float {
        return number(text, unsigned, false).map(Kind::Number);
    }
    Some(Kind::Text(text.to_owned()))
}

/// Whether a plain scalar of these characters is read as that very text.
pub(crate) fn reads_as_text(text: &str) -> bool {
    matches!(plain(text), Some(Kind::Text(_)))
}
