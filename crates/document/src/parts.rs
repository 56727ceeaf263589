//! A document by part: what is stored, sent and compared is one upstream, one gateway without its routes, one route,
//! the cluster's rules, or what is told of the traffic, each as canonical JSON (fields in declared order, names sorted, nothing that is left out).

use crate::declared::{Cluster, Document, Gateway, Route, Telemetry, Upstream};
use crate::decode::{self, Decoder, Step};
use crate::diagnostic::Finding;
use crate::format::Format;
use crate::source::Sources;
use crate::tree::{self, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The name of a part. As text it is its path in the admin API, such as `gateways/web/routes/get-orders-id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKey {
    /// `upstreams/NAME`.
    Upstream(String),
    /// `gateways/NAME`: the gateway without its routes.
    Gateway(String),
    /// `gateways/NAME/routes/ID`.
    Route {
        /// The gateway's name.
        gateway: String,
        /// The route's id.
        id: String,
    },
    /// `cluster`.
    Cluster,
    /// `telemetry`.
    Telemetry,
}

/// A part's content.
// A part is handled one at a time and moved a few times: a box would cost more than the room it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// An upstream.
    Upstream(Upstream),
    /// A gateway; its `routes` are empty, since each is a part of its own.
    Gateway(Gateway),
    /// A route.
    Route(Route),
    /// The cluster's rules.
    Cluster(Cluster),
    /// What is told of the traffic.
    Telemetry(Telemetry),
}

/// A text that is no name of a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no part; parts are upstreams/NAME, gateways/NAME, gateways/NAME/routes/ID, cluster and telemetry")]
pub struct UnknownPart(pub String);

/// A stored part that cannot be read: the state is damaged, or was written by a newer version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored part {key} cannot be read: {why}; it was damaged, or written by a newer version of Sluice")]
pub struct CorruptPart {
    /// Which part.
    pub key: PartKey,
    /// What is wrong with it.
    pub why: String,
}

/// Takes a document apart. The texts are canonical: equal parts give equal texts.
pub fn split(document: &Document) -> BTreeMap<PartKey, String> {
    let mut parts = BTreeMap::new();
    for (name, upstream) in &document.upstreams {
        parts.insert(PartKey::Upstream(name.clone()), canonical(upstream));
    }
    for (name, gateway) in &document.gateways {
        let bare = Gateway {
            hosts: gateway.hosts.clone(),
            listen: gateway.listen.clone(),
            expose: gateway.expose.clone(),
            trusted_proxies: gateway.trusted_proxies.clone(),
            rate_limits: gateway.rate_limits.clone(),
            concurrency: gateway.concurrency.clone(),
            routes: Vec::new(),
        };
        parts.insert(PartKey::Gateway(name.clone()), canonical(&bare));
        for route in &gateway.routes {
            parts.insert(
                PartKey::Route {
                    gateway: name.clone(),
                    id: route.id.clone(),
                },
                canonical(route),
            );
        }
    }
    if let Some(cluster) = &document.cluster {
        parts.insert(PartKey::Cluster, canonical(cluster));
    }
    if let Some(telemetry) = &document.telemetry {
        parts.insert(PartKey::Telemetry, canonical(telemetry));
    }
    parts
}

/// Puts a document together. The inverse of [`split`]; routes come in the order of their ids.
///
/// # Errors
/// A part that cannot be read, or a route without its gateway.
pub fn join<'a>(parts: impl Iterator<Item = (&'a PartKey, &'a str)>) -> Result<Document, CorruptPart> {
    let mut document = Document::default();
    let mut routes = Vec::new();
    for (key, text) in parts {
        match (key, decode_part(key, text)?) {
            (PartKey::Upstream(name), Part::Upstream(upstream)) => {
                document.upstreams.insert(name.clone(), upstream);
            }
            (PartKey::Gateway(name), Part::Gateway(gateway)) => {
                document.gateways.insert(name.clone(), gateway);
            }
            (key @ PartKey::Route { gateway, .. }, Part::Route(route)) => routes.push((key, gateway, route)),
            (_, Part::Cluster(cluster)) => document.cluster = Some(cluster),
            (_, Part::Telemetry(telemetry)) => document.telemetry = Some(telemetry),
            (key, _) => {
                return Err(CorruptPart {
                    key: key.clone(),
                    why: "it is of another kind".to_owned(),
                });
            }
        }
    }
    for (key, gateway, route) in routes {
        match document.gateways.get_mut(gateway) {
            Some(gateway) => gateway.routes.push(route),
            None => {
                return Err(CorruptPart {
                    key: key.clone(),
                    why: format!("there is no gateway `{gateway}`"),
                });
            }
        }
    }
    for gateway in document.gateways.values_mut() {
        gateway.routes.sort_by(|a, b| a.id.cmp(&b.id));
    }
    Ok(document)
}

/// Reads one stored part. Shape is checked, meaning is not: it was when the part was stored.
///
/// # Errors
/// The text is not what [`split`] makes of a part of this kind.
pub fn decode_part(key: &PartKey, text: &str) -> Result<Part, CorruptPart> {
    decode(key, text).map(|(part, _)| part)
}

/// The feature level that a stored part needs: the highest of its fields'.
///
/// # Errors
/// As [`decode_part`].
pub fn part_level(key: &PartKey, text: &str) -> Result<u32, CorruptPart> {
    decode(key, text).map(|(_, level)| level)
}

fn decode(key: &PartKey, text: &str) -> Result<(Part, u32), CorruptPart> {
    let corrupt = |findings: Vec<Finding>| {
        let why = findings.into_iter().next().map_or_else(String::new, |finding| {
            if finding.path.is_empty() {
                finding.message
            } else {
                format!("{}: {}", finding.path, finding.message)
            }
        });
        CorruptPart { key: key.clone(), why }
    };
    let root = tree::read(text, Format::Json, 0).map_err(corrupt)?;
    let mut decoder = Decoder::default();
    let part = match key {
        PartKey::Upstream(_) => decode::upstream(&mut decoder, &root).map(Part::Upstream),
        PartKey::Gateway(_) => decode::gateway(&mut decoder, &root).map(|(gateway, _)| Part::Gateway(gateway)),
        PartKey::Route { .. } => decode::route(&mut decoder, &root).map(Part::Route),
        PartKey::Cluster => decode::cluster(&mut decoder, &root).map(Part::Cluster),
        PartKey::Telemetry => decode::telemetry(&mut decoder, &root).map(Part::Telemetry),
    };
    let level = decoder.level();
    let findings = decoder.finish();
    match part {
        Some(part) if findings.is_empty() => match (key, &part) {
            (PartKey::Route { id, .. }, Part::Route(route)) if *id != route.id => Err(CorruptPart {
                key: key.clone(),
                why: format!("it has the id `{}`", route.id),
            }),
            (_, Part::Gateway(gateway)) if !gateway.routes.is_empty() => Err(CorruptPart {
                key: key.clone(),
                why: "it has routes, which are parts of their own".to_owned(),
            }),
            _ => Ok((part, level)),
        },
        _ => Err(corrupt(findings)),
    }
}

/// The part as canonical JSON.
pub fn encode_part(part: &Part) -> String {
    match part {
        Part::Upstream(upstream) => canonical(upstream),
        Part::Gateway(gateway) => canonical(gateway),
        Part::Route(route) => canonical(route),
        Part::Cluster(cluster) => canonical(cluster),
        Part::Telemetry(telemetry) => canonical(telemetry),
    }
}

fn canonical<T: serde::Serialize>(value: &T) -> String {
    // Declared types hold nothing that JSON refuses: keys are texts, and every float came out of a parser as finite.
    serde_json::to_string(value).unwrap_or_default()
}

/// The place of a part in a document, as steps.
pub(crate) fn steps(key: &PartKey) -> Vec<Step<'_>> {
    match key {
        PartKey::Upstream(name) => vec![Step::Key("upstreams"), Step::Key(name)],
        PartKey::Gateway(name) => vec![Step::Key("gateways"), Step::Key(name)],
        PartKey::Route { gateway, id } => {
            vec![
                Step::Key("gateways"),
                Step::Key(gateway),
                Step::Key("routes"),
                Step::Key(id),
            ]
        }
        PartKey::Cluster => vec![Step::Key("cluster")],
        PartKey::Telemetry => vec![Step::Key("telemetry")],
    }
}

/// Whether the root says nothing at all.
pub(crate) fn nothing(root: &tree::Node) -> Option<Finding> {
    matches!(root.kind, Kind::Null).then(|| Finding::error("empty", "the part is empty").at(root.at))
}

/// Findings told in lines.
pub(crate) fn placed(findings: Vec<Finding>, sources: &Sources<'_>) -> Vec<crate::Diagnostic> {
    findings.into_iter().map(|finding| finding.place_in(sources)).collect()
}

// === impl PartKey ===

impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(name) => write!(f, "upstreams/{name}"),
            Self::Gateway(name) => write!(f, "gateways/{name}"),
            Self::Route { gateway, id } => write!(f, "gateways/{gateway}/routes/{id}"),
            Self::Cluster => f.write_str("cluster"),
            Self::Telemetry => f.write_str("telemetry"),
        }
    }
}

impl FromStr for PartKey {
    type Err = UnknownPart;

    fn from_str(text: &str) -> Result<Self, UnknownPart> {
        let steps: Vec<&str> = text.split('/').collect();
        if steps.iter().any(|step| step.is_empty()) {
            return Err(UnknownPart(text.to_owned()));
        }
        match steps.as_slice() {
            ["upstreams", name] => Ok(Self::Upstream((*name).to_owned())),
            ["gateways", name] => Ok(Self::Gateway((*name).to_owned())),
            ["gateways", gateway, "routes", id] => Ok(Self::Route {
                gateway: (*gateway).to_owned(),
                id: (*id).to_owned(),
            }),
            ["cluster"] => Ok(Self::Cluster),
            ["telemetry"] => Ok(Self::Telemetry),
            _ => Err(UnknownPart(text.to_owned())),
        }
    }
}
