//! Routes that conflict: the same rank and the same conditions, so that nothing tells which of them takes a request.
//!
//! Rank and conditions are told by priority, host, the shape of the path, method and `match`. A route without hosts of
//! its own has the gateway's. One step for each combination of path, method and host of a route.

use super::Checker;
use super::route::shape;
use crate::declared::{Gateway, Route};
use crate::decode::Step;
use crate::diagnostic::Finding;
use sluice_http_semantics::pattern::Pattern;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

/// A route with its patterns: those that may be compared.
pub(super) struct Sound<'d> {
    pub(super) index: usize,
    pub(super) route: &'d Route,
    pub(super) patterns: Vec<Pattern>,
}

/// What tells two routes apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key<'k> {
    priority: i32,
    shape: &'k str,
    method: &'k str,
    host: &'k str,
    matches: &'k str,
}

struct Claim {
    /// Where the route stands in the list.
    route: usize,
    path: usize,
}

/// The checker stands at the gateway.
pub(super) fn check<'d>(c: &mut Checker<'d>, gateway: &'d Gateway, routes: &[Sound<'d>]) {
    let hosts: HashSet<&str> = gateway.hosts.iter().map(String::as_str).collect();
    let hasher = std::hash::RandomState::new();
    // By hash alone: what collides is compared in full before it is told.
    let mut claims: HashMap<u64, Claim> = HashMap::with_capacity(routes.len());
    let (own, shared): (Vec<_>, Vec<_>) = routes
        .iter()
        .enumerate()
        .partition(|(_, sound)| !sound.route.hosts.is_empty());
    for (at, sound) in shared.into_iter().chain(own) {
        let matches = if sound.route.matches.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&sound.route.matches).unwrap_or_default()
        };
        let found = claim((at, sound), &matches, &hosts, &mut claims, &hasher);
        let Some((here, method, claim)) = found else { continue };
        let other = &routes[claim.route];
        if other.route.matches != sound.route.matches {
            continue;
        }
        let ((first, first_path), (second, second_path)) = if other.index < sound.index {
            ((other, claim.path), (sound, here))
        } else {
            ((sound, here), (other, claim.path))
        };
        let message = format!(
            "routes `{}` and `{}` both take {method}`{}` under the same conditions; give one of them a condition, \
             another path or a greater priority",
            first.route.id, second.route.id, first.patterns[first_path],
        );
        let steps = |sound: &Sound<'_>, path| {
            [
                Step::Key("routes"),
                Step::Index(sound.index),
                Step::Key("paths"),
                Step::Index(path),
            ]
        };
        let finding = Finding::error("route_conflict", message).found(second.patterns[second_path].to_string());
        c.report_two(finding, &steps(second, second_path), &steps(first, first_path));
    }
}

/// Claims every combination of the route, or gives the first one that is taken already: the path, the method as a
/// message has it, and whose it is.
fn claim<'c>(
    (at, sound): (usize, &Sound<'_>),
    matches: &str,
    gateway_hosts: &HashSet<&str>,
    claims: &'c mut HashMap<u64, Claim>,
    hasher: &std::hash::RandomState,
) -> Option<(usize, String, &'c Claim)> {
    let priority = sound.route.priority.unwrap_or(0);
    let methods = if sound.route.methods.is_empty() {
        vec![""]
    } else {
        refs(&sound.route.methods)
    };
    let hosts = if sound.route.hosts.is_empty() {
        vec![""]
    } else {
        refs(&sound.route.hosts)
    };
    let mut taken = None;
    for (path, pattern) in sound.patterns.iter().enumerate() {
        let shape = shape(pattern);
        for method in &methods {
            for host in &hosts {
                let key = Key {
                    priority,
                    shape: &shape,
                    method,
                    host,
                    matches,
                };
                // Where a route names a host of its gateway, routes with all of the gateway's hosts are met as well.
                let wider = (gateway_hosts.contains(host)).then(|| Key {
                    host: "",
                    ..key.clone()
                });
                for hash in [Some(&key), wider.as_ref()]
                    .into_iter()
                    .flatten()
                    .map(|key| hasher.hash_one(key))
                {
                    if claims.get(&hash).is_some_and(|claim| claim.route != at) && taken.is_none() {
                        taken = Some((hash, path, *method));
                    }
                }
                let claim = Claim { route: at, path };
                claims.entry(hasher.hash_one(&key)).or_insert(claim);
            }
        }
    }
    let (hash, path, method) = taken?;
    let spoken = if method.is_empty() {
        String::new()
    } else {
        format!("{method} ")
    };
    claims.get(&hash).map(|claim| (path, spoken, claim))
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
