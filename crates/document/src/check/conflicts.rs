//! Routes that conflict: the same rank and the same conditions, so that nothing tells which of them takes a request.
//!
//! Rank and conditions are told by priority, the route's own host (a route without one comes after those that have
//! one), the shape of the path, method and `match`. One step for each combination of path, method and host of a route.

use super::Checker;
use super::route::shape;
use crate::declared::Route;
use crate::decode::Step;
use crate::diagnostic::Finding;
use sluice_http_semantics::pattern::Pattern;
use std::collections::HashMap;
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
pub(super) fn check(c: &mut Checker<'_>, routes: &[Sound<'_>]) {
    let hasher = std::hash::RandomState::new();
    // By hash alone: what collides is compared in full before it is told.
    let mut claims: HashMap<u64, Claim> = HashMap::with_capacity(routes.len());
    for (at, sound) in routes.iter().enumerate() {
        let matches = if sound.route.matches.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&sound.route.matches).unwrap_or_default()
        };
        let found = claim((at, sound), &matches, &mut claims, &hasher);
        let Some((here, method, claim)) = found else { continue };
        let other = &routes[claim.route];
        if other.route.matches != sound.route.matches {
            continue;
        }
        let message = format!(
            "routes `{}` and `{}` both take {method}`{}` under the same conditions; give one of them a condition, \
             another path or a greater priority",
            other.route.id, sound.route.id, other.patterns[claim.path],
        );
        let steps = |sound: &Sound<'_>, path| {
            [
                Step::Key("routes"),
                Step::Index(sound.index),
                Step::Key("paths"),
                Step::Index(path),
            ]
        };
        let finding = Finding::error("route_conflict", message).found(sound.patterns[here].to_string());
        c.report_two(finding, &steps(sound, here), &steps(other, claim.path));
    }
}

/// Claims every combination of the route, or gives the first one that is taken already: the path, the method as a
/// message has it, and whose it is.
fn claim<'c>(
    (at, sound): (usize, &Sound<'_>),
    matches: &str,
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
                // All hosts of the gateway, said or not.
                let host = if *host == "*" { "" } else { *host };
                let key = Key {
                    priority,
                    shape: &shape,
                    method,
                    host,
                    matches,
                };
                let hash = hasher.hash_one(&key);
                match claims.get(&hash) {
                    Some(claim) if claim.route != at && taken.is_none() => taken = Some((hash, path, *method)),
                    Some(_) => {}
                    None => drop(claims.insert(hash, Claim { route: at, path })),
                }
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
