//! From a tree to declared types: all faults at once, each at its place.
//!
//! A field that cannot be read is reported and left out, and decoding goes on, so that one pass tells everything. A
//! document with any error is thrown away by the caller; what stands in for a broken part never leaves this crate.

mod document;
pub(crate) mod fields;
mod gateway;
mod ids;
mod limits;
mod message;
mod names;
mod resilience;
mod route;
mod split;
mod telemetry;
mod units;
mod upstream;

pub(crate) use document::{cluster, whole};
pub(crate) use gateway::gateway;
pub(crate) use ids::derive_ids;
pub(crate) use names::{check_id, check_name};
pub(crate) use route::route;
pub(crate) use telemetry::telemetry;
pub(crate) use upstream::upstream;

use crate::diagnostic::{Finding, Severity};
use crate::source::Place;
use crate::tree::{Entry, Kind, Node, Value, push_index, push_key};
use fields::{Field, State, nearest};
use std::collections::HashMap;
use std::hash::Hash;

/// Findings beyond this many are counted, not kept.
const MOST_FINDINGS: usize = 1_000;

/// A step from a map or list to what stands in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'t> {
    Key(&'t str),
    Index(usize),
}

/// Walks a tree and collects what is wrong with it.
#[derive(Default)]
pub(crate) struct Decoder<'t> {
    path: Vec<Step<'t>>,
    findings: Vec<Finding>,
    errors: usize,
    level: u32,
}

/// The known fields of a map.
pub(crate) struct Fields<'t> {
    at: Place,
    entries: Vec<(&'static str, &'t Entry)>,
    /// Fields that were there, are not built, and were reported.
    pub(crate) planned: Vec<&'static str>,
}

// === impl Decoder ===

impl<'t> Decoder<'t> {
    /// Begins at a place inside of a document, so that paths are told in full.
    pub(crate) fn inside(path: Vec<Step<'t>>) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }

    /// The feature level that what was read so far needs; 0 where nothing was.
    pub(crate) fn level(&self) -> u32 {
        self.level
    }

    /// A value needs this feature level, where its field is older than it.
    pub(crate) fn needs(&mut self, level: u32) {
        self.level = self.level.max(level);
    }

    /// How many errors were met so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// What was found, with a last word on what was too much to keep.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        let kept = self.findings.iter().filter(|f| f.severity == Severity::Error).count();
        if self.errors > kept {
            let more = self.errors - kept;
            self.findings
                .push(Finding::error("too_many", format!("{more} more errors are not listed")));
        }
        self.findings
    }

    pub(crate) fn report(&mut self, finding: Finding) {
        self.errors += usize::from(finding.severity == Severity::Error);
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding.path(spell(&self.path)));
        }
    }

    /// Does `f` one step further in.
    pub(crate) fn within<T>(&mut self, step: Step<'t>, f: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let out = f(self);
        self.path.pop();
        out
    }

    pub(crate) fn wrong(&mut self, node: &Node, expected: &str) {
        let message = format!("{expected} is expected here");
        self.report(
            Finding::error("wrong_type", message)
                .at(node.at)
                .found(node.describe())
                .expected(expected),
        );
    }

    /// A value of the right kind that is not one of those allowed.
    pub(crate) fn bad(&mut self, node: &Node, message: impl Into<String>, expected: &str) {
        self.report(
            Finding::error("bad_value", message)
                .at(node.at)
                .found(node.describe())
                .expected(expected),
        );
    }

    /// The entries of a map with free keys.
    pub(crate) fn entries(&mut self, node: &'t Node, expected: &str) -> Option<&'t [Entry]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            _ => {
                self.wrong(node, expected);
                None
            }
        }
    }

    /// The fields of a map with known keys. Others are reported.
    pub(crate) fn fields(&mut self, node: &'t Node, known: &'static [Field], expected: &str) -> Option<Fields<'t>> {
        let (mut found, mut planned) = (Vec::new(), Vec::new());
        for entry in self.entries(node, expected)? {
            let field = known.iter().find(|field| field.name == entry.key);
            match field.map(|field| field.state) {
                Some(State::Built { level }) => {
                    self.level = self.level.max(level);
                    found.extend(field.map(|field| (field.name, entry)));
                }
                Some(State::Planned(feature)) => self.within(Step::Key(&entry.key), |d| {
                    let message = format!(
                        "`{}` is not built yet: {feature} will come with a later version",
                        entry.key
                    );
                    d.report(Finding::error("not_built", message).at(entry.key_at).found(&*entry.key));
                    planned.extend(field.map(|field| field.name));
                }),
                None => self.unknown(entry, known),
            }
        }
        Some(Fields {
            at: node.at,
            entries: found,
            planned,
        })
    }

    fn unknown(&mut self, entry: &'t Entry, known: &'static [Field]) {
        let names = || {
            known
                .iter()
                .filter(|field| matches!(field.state, State::Built { .. }))
                .map(|field| field.name)
        };
        let near = nearest(&entry.key, known.iter().map(|field| field.name));
        let mut message = format!(
            "`{}` is not a field that is known here",
            crate::tree::shorten(&entry.key)
        );
        if let Some(near) = near {
            message.push_str(&format!("; did you mean `{near}`?"));
        }
        let expected = names().collect::<Vec<_>>().join(", ");
        let finding = Finding::error("unknown_field", message).at(entry.key_at);
        let finding = finding
            .found(crate::tree::shorten(&entry.key))
            .expected(expected)
            .nearest(near);
        self.within(Step::Key(&entry.key), |d| d.report(finding));
    }

    /// A field that may be left out.
    pub(crate) fn optional<T>(
        &mut self,
        fields: &Fields<'t>,
        name: &'static str,
        f: impl FnOnce(&mut Self, &'t Node) -> Option<T>,
    ) -> Option<T> {
        let entry = fields.get(name)?;
        self.within(Step::Key(name), |d| match entry.value.kind {
            Kind::Null => {
                let message = format!("`{name}` has no value; give it one or leave it out");
                d.report(
                    Finding::error("wrong_type", message)
                        .at(entry.key_at)
                        .found("nothing (null)"),
                );
                None
            }
            _ => f(d, &entry.value),
        })
    }

    /// A field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        fields: &Fields<'t>,
        name: &'static str,
        f: impl FnOnce(&mut Self, &'t Node) -> Option<T>,
    ) -> Option<T> {
        if fields.get(name).is_none() {
            self.missing(fields, format!("`{name}` is missing"), name);
        }
        self.optional(fields, name, f)
    }

    pub(crate) fn missing(&mut self, fields: &Fields<'t>, message: impl Into<String>, expected: &str) {
        self.report(Finding::error("missing", message).at(fields.at).expected(expected));
    }

    /// A list, each item by `f`; the default stands in for items that fail, so that places stay what they are.
    pub(crate) fn list<T: Default>(
        &mut self,
        node: &'t Node,
        expected: &str,
        mut f: impl FnMut(&mut Self, &'t Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Kind::List(items) = &node.kind else {
            self.wrong(node, expected);
            return None;
        };
        let items = items.iter().enumerate();
        Some(
            items
                .map(|(i, item)| self.within(Step::Index(i), |d| f(d, item)).unwrap_or_default())
                .collect(),
        )
    }

    /// A list that has at least one item and none twice.
    pub(crate) fn set<T: Clone + Default + Eq + Hash>(
        &mut self,
        node: &'t Node,
        expected: &str,
        most: usize,
        mut f: impl FnMut(&mut Self, &'t Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let length = match &node.kind {
            Kind::List(items) => items.len(),
            _ => 0,
        };
        if length > most {
            self.bad(
                node,
                format!("the list has {length} items; at most {most} are taken"),
                expected,
            );
            return None;
        }
        let mut places: HashMap<T, Place> = HashMap::with_capacity(length);
        let found = self.list(node, expected, |d, item| {
            let value = f(d, item)?;
            if let Some(first) = places.get(&value) {
                let finding = Finding::error("duplicate", "this stands in the list twice");
                d.report(finding.at(item.at).other(*first).found(item.describe()));
                return None;
            }
            places.insert(value.clone(), item.at);
            Some(value)
        })?;
        if length == 0 {
            self.bad(
                node,
                "the list is empty; name at least one or leave the field out",
                expected,
            );
        }
        Some(found)
    }

    /// A text.
    pub(crate) fn text(&mut self, node: &'t Node, expected: &str) -> Option<&'t str> {
        match &node.kind {
            Kind::Text(text) => Some(text),
            _ => {
                self.wrong(node, expected);
                None
            }
        }
    }

    /// A text that says something: the empty one stands in for what is broken.
    pub(crate) fn filled(&mut self, node: &'t Node, expected: &str) -> Option<&'t str> {
        let text = self.text(node, expected)?;
        if text.is_empty() {
            self.bad(node, "the text is empty", expected);
            return None;
        }
        Some(text)
    }

    /// A text, or a number or truth value as it was spelt: what goes into a header or query has no other type.
    pub(crate) fn spelt(&mut self, node: &'t Node, expected: &str) -> Option<String> {
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number(number) => Some(number.spelling.to_string()),
            Kind::Bool(value) => Some(value.to_string()),
            _ => {
                self.wrong(node, expected);
                None
            }
        }
    }

    pub(crate) fn truth(&mut self, node: &'t Node) -> Option<bool> {
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.wrong(node, "true or false");
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&mut self, node: &'t Node, least: i64, most: i64) -> Option<i64> {
        let expected = format!("a whole number from {least} to {most}");
        let Kind::Number(number) = &node.kind else {
            self.wrong(node, &expected);
            return None;
        };
        let value = match number.value {
            Value::Integer(value) => i64::try_from(value).ok(),
            Value::Float(_) => {
                self.wrong(node, &expected);
                return None;
            }
        };
        match value.filter(|value| (least..=most).contains(value)) {
            Some(value) => Some(value),
            None => {
                let finding = Finding::error("out_of_range", format!("the number must be from {least} to {most}"));
                self.report(finding.at(node.at).found(node.describe()).expected(expected));
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, node: &'t Node, words: &[(&'static str, T)], later: &[&str]) -> Option<T> {
        let expected = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let Kind::Text(text) = &node.kind else {
            self.wrong(node, &expected);
            return None;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        if later.contains(&text.as_str()) {
            let message = format!("`{text}` is not built yet; it will come with a later version");
            self.report(
                Finding::error("not_built", message)
                    .at(node.at)
                    .found(text)
                    .expected(expected),
            );
            return None;
        }
        let near = nearest(text, words.iter().map(|(word, _)| *word));
        let mut message = format!("`{}` is not one of {expected}", crate::tree::shorten(text));
        if let Some(near) = near {
            message.push_str(&format!("; did you mean `{near}`?"));
        }
        let finding = Finding::error("bad_value", message).at(node.at).found(node.describe());
        self.report(finding.expected(expected).nearest(near));
        None
    }
}

// === impl Fields ===

impl<'t> Fields<'t> {
    pub(crate) fn get(&self, name: &str) -> Option<&'t Entry> {
        self.entries
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, entry)| *entry)
    }
}

/// `gateways.web.routes[2].path`
pub(crate) fn spell(path: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) => push_key(&mut out, key),
            Step::Index(index) => push_index(&mut out, *index),
        }
    }
    out
}
