//! The root of a document.

use super::{Decoder, Step, check_name, fields, gateway, telemetry, upstream};
use crate::declared::{Cluster, Document, Stale, UnreadyAfter};
use crate::diagnostic::Finding;
use crate::source::Place;
use crate::tree::{Entry, Kind, Node, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The format number of documents that this version reads.
const FORMAT: i128 = 1;

/// A document as far as it could be read, and which parts of it stand in for broken ones.
#[derive(Default)]
pub(crate) struct Whole {
    /// Routes stand in the order of the text, with the ids that were given.
    pub(crate) document: Document,
    /// Indexes of broken routes by gateway.
    pub(crate) broken_routes: BTreeMap<String, BTreeSet<usize>>,
}

/// A whole document. The root must be a map with at least one known key.
pub(crate) fn whole<'t>(d: &mut Decoder<'t>, root: &'t Node) -> Whole {
    let mut whole = Whole::default();
    if let Some(finding) = empty(root) {
        d.report(finding);
        return whole;
    }
    let Some(f) = d.fields(
        root,
        fields::ROOT,
        "a gateway document: a map with upstreams and gateways",
    ) else {
        return whole;
    };
    d.optional(&f, "format", format);
    let document = &mut whole.document;
    if let Some(read) = d.optional(&f, "upstreams", |d, node| named(d, node, "an upstream", upstream)) {
        document.upstreams = read
            .into_iter()
            .map(|(name, u)| (name.to_owned(), u.unwrap_or_default()))
            .collect();
    }
    if let Some(read) = d.optional(&f, "gateways", |d, node| named(d, node, "a gateway", gateway)) {
        for (name, read) in read {
            let (gateway, broken) = read.unwrap_or_default();
            whole
                .broken_routes
                .insert(name.to_owned(), broken.into_iter().collect());
            document.gateways.insert(name.to_owned(), gateway);
        }
    }
    document.cluster = d.optional(&f, "cluster", cluster);
    document.telemetry = d.optional(&f, "telemetry", telemetry);
    whole
}

fn empty(root: &Node) -> Option<Finding> {
    let expected = "upstreams, gateways, cluster, telemetry";
    match &root.kind {
        Kind::Null => Some(
            Finding::error("empty", "the document is empty")
                .at(root.at)
                .expected(expected),
        ),
        Kind::Map(entries) if entries.is_empty() => {
            let message = "the document says nothing: it has no key at all";
            Some(Finding::error("empty", message).at(root.at).expected(expected))
        }
        _ => None,
    }
}

fn format<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<()> {
    match &node.kind {
        Kind::Number(number) => match number.value {
            Value::Integer(FORMAT) => {}
            Value::Integer(newer) if newer > FORMAT => {
                let message = format!(
                    "the document has format {newer}, this version of Sluice reads format {FORMAT}; use a newer version"
                );
                d.report(
                    Finding::error("newer_format", message)
                        .at(node.at)
                        .found(node.describe())
                        .expected("1"),
                );
            }
            _ => d.bad(node, "formats are counted from 1", "1"),
        },
        _ => d.wrong(node, "1"),
    }
    Some(())
}

/// Names with what they stand for; a broken value keeps its name, so that what refers to it is not told twice.
fn named<'t, T>(
    d: &mut Decoder<'t>,
    node: &'t Node,
    what: &str,
    mut f: impl FnMut(&mut Decoder<'t>, &'t Node) -> Option<T>,
) -> Option<Vec<(&'t str, Option<T>)>> {
    let entries = d.entries(node, &format!("a map of names, each {what}"))?;
    let mut seen: HashMap<String, Place> = HashMap::with_capacity(entries.len());
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        let value = d.within(Step::Key(&entry.key), |d| {
            name(d, entry, &mut seen);
            if let Kind::Null = entry.value.kind {
                let message = format!("`{}` has no value; {what} is expected", entry.key);
                d.report(
                    Finding::error("wrong_type", message)
                        .at(entry.key_at)
                        .found("nothing (null)"),
                );
                return None;
            }
            f(d, &entry.value)
        });
        out.push((entry.key.as_str(), value));
    }
    Some(out)
}

fn name(d: &mut Decoder<'_>, entry: &Entry, seen: &mut HashMap<String, Place>) {
    check_name(d, &entry.key, entry.key_at);
    if let Some(first) = seen.insert(entry.key.to_ascii_lowercase(), entry.key_at) {
        let message = format!("`{}` differs from another name in upper and lower case only", entry.key);
        d.report(
            Finding::error("duplicate", message)
                .at(entry.key_at)
                .other(first)
                .found(&*entry.key),
        );
    }
}

/// `cluster`.
pub(crate) fn cluster<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Cluster> {
    let f = d.fields(node, fields::CLUSTER, "a map with stale")?;
    Some(Cluster {
        stale: d.optional(&f, "stale", stale),
    })
}

fn stale<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Stale> {
    let f = d.fields(node, fields::STALE, "a map with warn, unready_after")?;
    Some(Stale {
        warn: d.optional(&f, "warn", Decoder::duration),
        unready_after: d.optional(&f, "unready_after", |d, node| match &node.kind {
            Kind::Text(text) if text == "never" => Some(UnreadyAfter::Never),
            _ => d.duration(node).map(UnreadyAfter::After),
        }),
    })
}
