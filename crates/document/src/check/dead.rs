//! Dead routes: those that never get a request, since a route of greater priority takes every one that they would.
//!
//! At one priority the more specific route is tried first and cannot hide a wider one, so only priorities hide. What
//! is told is what follows from the text: each of a route's paths is taken by a pattern of another route, whose hosts,
//! methods and conditions ask for no more. Whether one regular expression takes all that another does is not decided,
//! nor whether several routes together hide one.

use super::Checker;
use super::conflicts::Sound;
use super::hosts::covers;
use crate::declared::{Compare, FieldMatch, Match};
use crate::decode::Step;
use crate::diagnostic::Finding;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::pattern::{Pattern, Segment};
use std::collections::{BTreeMap, HashMap};

/// Comparisons for each route, on the average, after which the search ends.
const EFFORT: usize = 50;

/// Patterns by segments; a node's lists are in falling order of priority.
#[derive(Default)]
struct Tree<'p> {
    nodes: Vec<TreeNode<'p>>,
    regexes: HashMap<&'p str, Vec<Entry>>,
}

#[derive(Default)]
struct TreeNode<'p> {
    literals: HashMap<&'p str, usize>,
    param: Option<usize>,
    ends: Vec<Entry>,
    rests: Vec<Entry>,
}

/// An index into the list of routes, with the route's priority.
#[derive(Clone, Copy)]
struct Entry {
    priority: i32,
    route: usize,
}

/// The checker stands at the gateway. Gives the number of comparisons.
pub(super) fn check(c: &mut Checker<'_>, routes: &[Sound<'_>]) -> usize {
    let priority = |sound: &Sound<'_>| sound.route.priority.unwrap_or(0);
    let (Some(least), Some(most)) = (routes.iter().map(priority).min(), routes.iter().map(priority).max()) else {
        return 0;
    };
    if least == most {
        return 0;
    }
    // Only what stands above the least priority can hide anything.
    let mut order: Vec<usize> = (0..routes.len()).filter(|i| priority(&routes[*i]) > least).collect();
    order.sort_by_key(|i| std::cmp::Reverse(priority(&routes[*i])));
    let mut tree = Tree {
        nodes: vec![TreeNode::default()],
        ..Tree::default()
    };
    for route in order {
        for pattern in &routes[route].patterns {
            tree.insert(
                pattern,
                Entry {
                    priority: priority(&routes[route]),
                    route,
                },
            );
        }
    }
    let hosts: Vec<Vec<HostPattern>> = routes.iter().map(hosts_of).collect();
    let most_effort = EFFORT * routes.len() + 1_000;
    let mut effort = 0;
    for (i, sound) in routes.iter().enumerate() {
        let mut hidden = Vec::new();
        for (path, pattern) in sound.patterns.iter().enumerate() {
            let mut hides = |entry: Entry| {
                effort += 1;
                entry.route != i && hides(&routes[entry.route], &hosts[entry.route], sound, &hosts[i])
            };
            if let Some(entry) = tree.find(pattern, priority(sound), &mut hides) {
                hidden.push((path, entry.route));
            }
        }
        report(c, sound, &hidden, routes);
        if effort > most_effort {
            let message = "too many routes are alike to find all that never get a request; the search ended here";
            c.within(Step::Key("routes"), |c| {
                c.report(Finding::warning("dead_routes_unknown", message))
            });
            break;
        }
    }
    effort
}

fn report(c: &mut Checker<'_>, sound: &Sound<'_>, hidden: &[(usize, usize)], routes: &[Sound<'_>]) {
    let steps = |sound: &Sound<'_>| [Step::Key("routes"), Step::Index(sound.index)];
    let whole = hidden.len() == sound.patterns.len();
    for (path, by) in hidden {
        let by = &routes[*by];
        let what = if whole {
            format!("route `{}` never gets a request", sound.route.id)
        } else {
            format!(
                "route `{}` never gets a request to `{}`",
                sound.route.id, sound.patterns[*path]
            )
        };
        let message = format!(
            "{what}: route `{}` with priority {} takes them all before",
            by.route.id,
            by.route.priority.unwrap_or(0)
        );
        let here = steps(sound)
            .into_iter()
            .chain([Step::Key("paths"), Step::Index(*path)])
            .collect::<Vec<_>>();
        let finding = Finding::warning("dead_route", message).found(sound.patterns[*path].to_string());
        c.report_two(finding, &here, &steps(by));
        if whole {
            return;
        }
    }
}

/// The route's own hosts; empty: the gateway's, which no route of it goes beyond.
fn hosts_of(sound: &Sound<'_>) -> Vec<HostPattern> {
    sound
        .route
        .hosts
        .iter()
        .filter_map(|host| HostPattern::parse(host).ok())
        .collect()
}

/// Whether `other`, whose paths cover the one at hand, asks for nothing that `sound` does not ask for.
fn hides(other: &Sound<'_>, other_hosts: &[HostPattern], sound: &Sound<'_>, hosts: &[HostPattern]) -> bool {
    let host = other_hosts.is_empty()
        || (!hosts.is_empty()
            && hosts
                .iter()
                .all(|host| other_hosts.iter().any(|wide| covers(wide, host))));
    let (wide, narrow) = (&other.route.methods, &sound.route.methods);
    let method = wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|method| wide.contains(method)));
    host && method && implied(&other.route.matches, &sound.route.matches)
}

/// Whether every request that meets `narrow` meets `wide`.
fn implied(wide: &Match, narrow: &Match) -> bool {
    let client = wide.client.is_empty()
        || (!narrow.client.is_empty()
            && narrow
                .client
                .iter()
                .all(|net| wide.client.iter().any(|wide| wide.contains(net))));
    client && all_implied(&wide.headers, &narrow.headers) && all_implied(&wide.query, &narrow.query)
}

fn all_implied(wide: &BTreeMap<String, FieldMatch>, narrow: &BTreeMap<String, FieldMatch>) -> bool {
    wide.iter().all(|(name, wide)| {
        let Some(narrow) = narrow.get(name) else { return false };
        let present = wide.compare == Compare::Present(true) && !wide.not;
        wide == narrow || (present && !narrow.not && narrow.compare != Compare::Present(false))
    })
}

// === impl Tree ===

impl<'p> Tree<'p> {
    fn insert(&mut self, pattern: &'p Pattern, entry: Entry) {
        let segments = match pattern {
            Pattern::Regex(expression) => return self.regexes.entry(expression).or_default().push(entry),
            Pattern::Tree { segments } => segments,
        };
        let mut node = 0;
        for segment in segments {
            let next = self.nodes.len();
            let child = match segment {
                Segment::Rest => return self.nodes[node].rests.push(entry),
                Segment::Literal(literal) => *self.nodes[node].literals.entry(literal).or_insert(next),
                Segment::Param(_) => *self.nodes[node].param.get_or_insert(next),
            };
            if child == next {
                self.nodes.push(TreeNode::default());
            }
            node = child;
        }
        self.nodes[node].ends.push(entry);
    }

    /// The first pattern of greater priority that takes all that `pattern` takes and that `hides` agrees to.
    fn find(&self, pattern: &Pattern, priority: i32, hides: &mut impl FnMut(Entry) -> bool) -> Option<Entry> {
        let mut among = |entries: &[Entry]| {
            entries
                .iter()
                .copied()
                .take_while(|entry| entry.priority > priority)
                .find(|entry| hides(*entry))
        };
        let segments = match pattern {
            Pattern::Regex(expression) => {
                let same = self.regexes.get(expression.as_str()).and_then(|entries| among(entries));
                return same.or_else(|| among(&self.nodes[0].rests));
            }
            Pattern::Tree { segments } => segments,
        };
        let mut open = vec![(0, segments.as_slice())];
        while let Some((node, rest)) = open.pop() {
            let node = &self.nodes[node];
            if let Some(entry) = among(&node.rests) {
                return Some(entry);
            }
            match rest {
                [] => {
                    if let Some(entry) = among(&node.ends) {
                        return Some(entry);
                    }
                }
                [Segment::Rest, ..] => {}
                [Segment::Param(_), rest @ ..] => open.extend(node.param.map(|child| (child, rest))),
                [Segment::Literal(literal), rest @ ..] => {
                    if !literal.is_empty() {
                        open.extend(node.param.map(|child| (child, rest)));
                    }
                    open.extend(node.literals.get(&**literal).map(|child| (*child, rest)));
                }
            }
        }
        None
    }
}
