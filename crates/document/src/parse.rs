//! From texts to a checked document or part, with everything that is wrong told at once.

use crate::check::{self, Fault};
use crate::declared::{Document, Gateway, Route};
use crate::decode::{self, Decoder, Step};
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::format::Format;
use crate::parts::{self, Part, PartKey};
use crate::source::{Place, Sources};
use crate::tree::{self, Entry, Kind, Node};
use std::collections::HashMap;

/// A document that may be applied, and what is odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Every route has its id, and routes stand in the order of their ids.
    pub document: Document,
    /// Dead routes and the like; never errors.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks a whole document. `file` is the name that messages give.
///
/// Cost: near linear in the text.
///
/// # Errors
/// Everything that is wrong, in the order of the text; warnings stand between the errors. A text that is not
/// well-formed gives its first fault only.
pub fn parse(text: &str, format: Format, file: Option<&str>) -> Result<Parsed, Vec<Diagnostic>> {
    parse_sources(&[(file, text, format)])
}

/// Reads and checks a document that is spread over several files, each `(name, text, format)`. Upstreams and gateways
/// of all files are one set; what is declared in two files is told with both places.
///
/// # Errors
/// As [`parse`]; each file that is not well-formed is told.
pub fn parse_files<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T, Format)]) -> Result<Parsed, Vec<Diagnostic>> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text, format)| (Some(name.as_ref()), text.as_ref(), *format))
        .collect();
    parse_sources(&files)
}

fn parse_sources(files: &[(Option<&str>, &str, Format)]) -> Result<Parsed, Vec<Diagnostic>> {
    let sources = Sources::new(files.iter().map(|(name, text, _)| (*name, *text)));
    let mut findings = Vec::new();
    let mut roots = Vec::new();
    for (i, (_, text, format)) in files.iter().enumerate() {
        match tree::read(text, *format, i as u32) {
            Ok(root) => roots.push(root),
            Err(found) => findings.extend(found),
        }
    }
    let whole_text = findings.is_empty();
    let root = merge(roots, &mut findings);
    let Some(root) = root else {
        if findings.is_empty() {
            findings.push(Finding::error("empty", "there is no document at all"));
        }
        return Err(told(findings, &sources));
    };
    let mut decoder = Decoder::default();
    let mut whole = decode::whole(&mut decoder, &root);
    findings.extend(decoder.finish());
    for gateway in whole.document.gateways.values_mut() {
        decode::derive_ids(&mut gateway.routes);
    }
    // What a broken file would have declared is not missing, so nothing is said of references then.
    if whole_text {
        let faults = check::whole(&whole.document, &whole.broken_routes);
        findings.extend(faults.into_iter().map(|fault| located(fault, &root)));
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(told(findings, &sources));
    }
    for gateway in whole.document.gateways.values_mut() {
        gateway.routes.sort_by(|a, b| a.id.cmp(&b.id));
    }
    Ok(Parsed {
        document: whole.document,
        warnings: told(findings, &sources),
    })
}

/// Reads and checks one part as an operator writes it. A gateway brings its routes, each a part of its own; a route's
/// id is the key's. What a part refers to and collides with is seen by [`crate::check`] on the whole document alone.
///
/// # Errors
/// As [`parse`].
pub fn parse_part(key: &PartKey, text: &str, format: Format) -> Result<Vec<(PartKey, Part)>, Vec<Diagnostic>> {
    let sources = Sources::new([(None, text)]);
    let root = tree::read(text, format, 0).map_err(|findings| told(findings, &sources))?;
    if let Some(finding) = parts::nothing(&root) {
        return Err(told(vec![finding.path(decode::spell(&parts::steps(key)))], &sources));
    }
    let mut decoder = Decoder::inside(parts::steps(key));
    let (mut parts, mut faults) = (Vec::new(), Vec::new());
    match key {
        PartKey::Upstream(name) => {
            decode::check_name(&mut decoder, name, root.at);
            if let Some(upstream) = decode::upstream(&mut decoder, &root) {
                faults = check::upstream(&upstream);
                parts.push((key.clone(), Part::Upstream(upstream)));
            }
        }
        PartKey::Gateway(name) => {
            decode::check_name(&mut decoder, name, root.at);
            if let Some((gateway, _)) = decode::gateway(&mut decoder, &root) {
                parts.extend(gateway_parts(name, gateway, &mut faults));
            }
        }
        PartKey::Route { id, .. } => {
            decode::check_id(&mut decoder, id, root.at);
            if let Some(mut route) = decode::route(&mut decoder, &root) {
                adopt(&mut decoder, &mut route, id, &root);
                faults = check::route(&route);
                parts.push((key.clone(), Part::Route(route)));
            }
        }
        PartKey::Cluster => {
            parts.extend(decode::cluster(&mut decoder, &root).map(|cluster| (key.clone(), Part::Cluster(cluster))));
        }
        PartKey::Telemetry => {
            let telemetry = decode::telemetry(&mut decoder, &root);
            parts.extend(telemetry.map(|telemetry| (key.clone(), Part::Telemetry(telemetry))));
        }
    }
    let mut findings = decoder.finish();
    // Where a field could not be read, what stands in for it is not worth a check.
    if findings.is_empty() {
        let front = parts::steps(key);
        findings.extend(faults.into_iter().map(|fault| {
            let (place, walked) = locate(&root, &fault.at);
            let path = front.iter().copied().chain(walked).collect::<Vec<_>>();
            Finding {
                place: Some(place),
                path: decode::spell(&path),
                ..fault.finding
            }
        }));
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(told(findings, &sources));
    }
    Ok(parts)
}

/// The key's id is the route's; a text that says another is refused.
fn adopt(decoder: &mut Decoder<'_>, route: &mut Route, id: &str, root: &Node) {
    if !route.id.is_empty() && route.id != id {
        let at = entry(root, "id").map_or(root.at, |entry| entry.value.at);
        let message = format!("the route is put under the id `{id}`, but says `{}`", route.id);
        decoder.report(
            Finding::error("bad_value", message)
                .at(at)
                .found(&*route.id)
                .expected(id),
        );
    }
    route.id = id.to_owned();
}

fn gateway_parts(name: &str, mut gateway: Gateway, faults: &mut Vec<Fault>) -> Vec<(PartKey, Part)> {
    decode::derive_ids(&mut gateway.routes);
    faults.extend(check::gateway(&gateway));
    let mut routes = std::mem::take(&mut gateway.routes);
    routes.sort_by(|a, b| a.id.cmp(&b.id));
    let routes = routes.into_iter().map(|route| {
        let key = PartKey::Route {
            gateway: name.to_owned(),
            id: route.id.clone(),
        };
        (key, Part::Route(route))
    });
    std::iter::once((PartKey::Gateway(name.to_owned()), Part::Gateway(gateway)))
        .chain(routes)
        .collect()
}

/// One root of many: the maps under `upstreams` and `gateways` are joined, all else stands in one file only.
fn merge(roots: Vec<Node>, findings: &mut Vec<Finding>) -> Option<Node> {
    let mut roots = roots.into_iter();
    let mut first = roots.next()?;
    for mut next in roots {
        let (Kind::Map(into), Kind::Map(from)) = (&mut first.kind, &mut next.kind) else {
            let bad = if matches!(first.kind, Kind::Map(_)) {
                &next
            } else {
                &first
            };
            let message = "this file is no gateway document: a map with upstreams and gateways is expected";
            findings.push(Finding::error("wrong_type", message).at(bad.at).found(bad.describe()));
            continue;
        };
        if from.is_empty() || into.is_empty() {
            let at = if from.is_empty() { next.at } else { first.at };
            findings.push(Finding::error("empty", "the document says nothing: it has no key at all").at(at));
            continue;
        }
        for entry in std::mem::take(from) {
            merge_entry(into, entry, findings);
        }
    }
    Some(first)
}

fn merge_entry(into: &mut Vec<Entry>, entry: Entry, findings: &mut Vec<Finding>) {
    let Some(known) = into.iter_mut().find(|known| known.key == entry.key) else {
        into.push(entry);
        return;
    };
    let (joined, format) = (matches!(&*entry.key, "upstreams" | "gateways"), entry.key == "format");
    match (&mut known.value.kind, entry.value.kind) {
        (Kind::Map(known), Kind::Map(more)) if joined => {
            let places: HashMap<String, Place> = known.iter().map(|e| (e.key.clone(), e.key_at)).collect();
            for e in more {
                if let Some(first) = places.get(&e.key) {
                    let path = decode::spell(&[Step::Key(&entry.key), Step::Key(&e.key)]);
                    findings.push(tree::double(&e.key, &path, e.key_at, *first));
                } else {
                    known.push(e);
                }
            }
        }
        // Each file may tell its format; a wrong one is found at its own place.
        (Kind::Number(one), Kind::Number(other)) if format && one.value == other.value => {}
        _ => {
            let finding = tree::double(
                &entry.key,
                &decode::spell(&[Step::Key(&entry.key)]),
                entry.key_at,
                known.key_at,
            );
            findings.push(finding);
        }
    }
}

fn located(fault: Fault, root: &Node) -> Finding {
    let (place, walked) = locate(root, &fault.at);
    let other = fault.other.map(|steps| locate(root, &steps).0);
    Finding {
        place: Some(place),
        other,
        path: decode::spell(&walked),
        ..fault.finding
    }
}

/// The place of a value, or of the nearest value around it, and the steps as they are written in the text.
fn locate<'s>(root: &'s Node, steps: &[check::At]) -> (Place, Vec<Step<'s>>) {
    let (mut node, mut place, mut walked) = (root, root.at, Vec::new());
    for step in steps {
        match (step, &node.kind) {
            (check::At::Key(key), Kind::Map(_)) => {
                let Some(entry) = entry(node, key) else { break };
                walked.push(Step::Key(&entry.key));
                place = entry.value.at;
                node = &entry.value;
                if matches!(node.kind, Kind::Map(_) | Kind::List(_)) {
                    place = entry.key_at;
                }
            }
            (check::At::Index(index), Kind::List(items)) => {
                let Some(item) = items.get(*index) else { break };
                walked.push(Step::Index(*index));
                place = item.at;
                node = item;
            }
            _ => break,
        }
    }
    (place, walked)
}

/// The entry of a key; `path` where `paths` is meant, and names of headers in any case.
fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Entry> {
    let Kind::Map(entries) = &node.kind else { return None };
    let exact = entries.iter().find(|entry| entry.key == key);
    let single = || entries.iter().find(|entry| key == "paths" && entry.key == "path");
    let folded = || entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key));
    exact.or_else(single).or_else(folded)
}

fn told(mut findings: Vec<Finding>, sources: &Sources<'_>) -> Vec<Diagnostic> {
    findings.sort_by_key(|finding| {
        finding
            .place
            .map_or((u32::MAX, u32::MAX), |place| (place.file, place.start))
    });
    findings.dedup();
    parts::placed(findings, sources)
}
