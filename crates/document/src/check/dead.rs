//! Dead routes: those that never get a request, since another route that is tried before takes every one they would.
//!
//! What is told is what follows from the text: each of a route's paths is taken by a pattern of another route, whose
//! hosts, methods and conditions ask for no more. Such a route is tried before if its priority is greater; at one
//! priority the more specific path is tried first and hides nothing, but any path is tried before a regular expression,
//! a route that names all hosts of its gateway before one that names none, and of equals the one of the lesser id.
//! Whether an expression takes all that something else does is not decided, nor whether several routes together hide
//! one.

use super::Checker;
use super::conflicts::Sound;
use super::hosts::covers;
use super::route::shape;
use crate::declared::{Compare, FieldMatch, Gateway, Match};
use crate::decode::Step;
use crate::diagnostic::Finding;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::pattern::{Pattern, Segment};
use std::collections::{BTreeMap, HashMap};

/// Comparisons for each route, on the average, after which the search ends.
const EFFORT: usize = 50;

/// Patterns by segments; lists are in falling order of priority.
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
pub(super) fn check(c: &mut Checker<'_>, gateway: &Gateway, routes: &[Sound<'_>]) -> usize {
    let all = parsed(&gateway.hosts);
    let own: Vec<Vec<HostPattern>> = routes.iter().map(|sound| hosts_of(sound, &all)).collect();
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(priority(&routes[*i])));
    let mut tree = Tree {
        nodes: vec![TreeNode::default()],
        ..Tree::default()
    };
    // By the shape of the path: routes that may come before others of their own path and priority.
    let mut early: HashMap<String, Vec<usize>> = HashMap::new();
    for route in order {
        let sound = &routes[route];
        for pattern in &sound.patterns {
            tree.insert(
                pattern,
                Entry {
                    priority: priority(sound),
                    route,
                },
            );
            if names_all(sound, &own[route]) || is_wide(&sound.route.matches) {
                early.entry(shape(pattern)).or_default().push(route);
            }
        }
    }
    let most_effort = EFFORT * routes.len() + 1_000;
    let mut effort = 0;
    for (i, sound) in routes.iter().enumerate() {
        let mut hidden = Vec::new();
        for (path, pattern) in sound.patterns.iter().enumerate() {
            let mut hides = |entry: Entry| {
                effort += 1;
                entry.route != i && hides(&routes[entry.route], &own[entry.route], sound, &own[i])
            };
            let mut found = tree.above(pattern, priority(sound), &mut hides);
            if let (None, Pattern::Regex(_)) = (found, pattern) {
                found = tree.everything(priority(sound), &mut hides);
            }
            let mut alike = early.get(&shape(pattern)).into_iter().flatten().copied();
            let found = found.map(|entry| entry.route).or_else(|| {
                alike.find(|other| {
                    let first = comes_first(&routes[*other], &own[*other], sound);
                    first
                        && hides(Entry {
                            priority: priority(sound),
                            route: *other,
                        })
                })
            });
            hidden.extend(found.map(|route| (path, route)));
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

fn priority(sound: &Sound<'_>) -> i32 {
    sound.route.priority.unwrap_or(0)
}

/// A host of its own puts a route before those that have the gateway's; `own` is empty where it has all of them.
fn names_all(sound: &Sound<'_>, own: &[HostPattern]) -> bool {
    let hosts = &sound.route.hosts;
    own.is_empty() && !hosts.is_empty() && hosts.iter().all(|host| host != "*")
}

/// Whether the conditions may hold where others do that are not the same.
fn is_wide(matches: &Match) -> bool {
    let present = |condition: &FieldMatch| condition.compare == Compare::Present(true);
    !matches.client.is_empty() || matches.headers.values().chain(matches.query.values()).any(present)
}

/// Whether `other` is asked before `sound`, both of one path and one priority: by their hosts, else, where as many
/// conditions and methods or none are named, by their ids.
fn comes_first(other: &Sound<'_>, own: &[HostPattern], sound: &Sound<'_>) -> bool {
    let (wide, narrow) = (other.route, sound.route);
    let conditions =
        |matches: &Match| matches.headers.len() + matches.query.len() + usize::from(!matches.client.is_empty());
    priority(other) == priority(sound)
        && ((names_all(other, own) && narrow.hosts.is_empty())
            || (wide.hosts == narrow.hosts
                && conditions(&wide.matches) == conditions(&narrow.matches)
                && wide.methods.is_empty() == narrow.methods.is_empty()
                && wide.id < narrow.id))
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
            "{what}: route `{}` with priority {} comes first and takes them all",
            by.route.id,
            priority(by)
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

/// The route's own hosts; empty: all of the gateway's, which no route of it goes beyond.
fn hosts_of(sound: &Sound<'_>, all: &[HostPattern]) -> Vec<HostPattern> {
    let own = parsed(&sound.route.hosts);
    let everything = all.len() <= own.len() && all.iter().all(|host| own.iter().any(|wide| covers(wide, host)));
    if everything { Vec::new() } else { own }
}

fn parsed(hosts: &[String]) -> Vec<HostPattern> {
    hosts.iter().filter_map(|host| HostPattern::parse(host).ok()).collect()
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
                Segment::Rest => break,
                Segment::Literal(literal) => *self.nodes[node].literals.entry(literal).or_insert(next),
                Segment::Param(_) => *self.nodes[node].param.get_or_insert(next),
            };
            if child == next {
                self.nodes.push(TreeNode::default());
            }
            node = child;
        }
        let node = &mut self.nodes[node];
        if segments.last() == Some(&Segment::Rest) {
            &mut node.rests
        } else {
            &mut node.ends
        }
        .push(entry);
    }

    /// A pattern of greater priority that takes all that `pattern` takes and that `hides` agrees to.
    fn above(&self, pattern: &Pattern, priority: i32, hides: &mut impl FnMut(Entry) -> bool) -> Option<Entry> {
        let mut among = |entries: &[Entry]| {
            let greater = entries.iter().copied().take_while(|entry| entry.priority > priority);
            greater.into_iter().find(|entry| hides(*entry))
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

    /// A pattern of this priority that takes every path.
    fn everything(&self, priority: i32, hides: &mut impl FnMut(Entry) -> bool) -> Option<Entry> {
        let rests = self.nodes[0].rests.iter().copied();
        rests
            .filter(|entry| entry.priority == priority)
            .find(|entry| hides(*entry))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Format;

    /// Comparisons for a gateway of these routes.
    fn effort(routes: impl Iterator<Item = String>) -> (usize, Vec<String>) {
        let routes: String = routes.collect();
        let text = format!("gateways:\n  web:\n    hosts: ['*']\n    routes:\n{routes}");
        let document = crate::parse(&text, Format::Yaml, None).unwrap().document;
        let gateway = &document.gateways["web"];
        let sound: Vec<_> = (0..)
            .zip(&gateway.routes)
            .map(|(index, route)| {
                let patterns = route.paths.iter().map(|path| Pattern::parse(path).unwrap()).collect();
                Sound { index, route, patterns }
            })
            .collect();
        let mut c = Checker::default();
        let effort = check(&mut c, gateway, &sound);
        (
            effort,
            c.faults
                .into_iter()
                .map(|fault| fault.finding.code.to_owned())
                .collect(),
        )
    }

    #[test]
    fn ten_thousand_ordinary_routes_cost_a_few_comparisons_each() {
        let (effort, codes) = effort((0..10_000).map(|i| {
            let (priority, path) = match i % 4 {
                0 => (0, format!("/a{i}/{{id}}")),
                1 => (5, format!("/a{}/{{id}}/**", i - 1)),
                2 => (0, format!("/b/{{x}}/c{i}")),
                _ => (1, "regex:^/c".to_owned() + &i.to_string()),
            };
            format!("      - {{ path: '{path}', respond: {{}}, priority: {priority} }}\n")
        }));
        assert!(effort <= 2 * 10_000, "{effort}");
        assert_eq!(codes.len(), 1_000, "one for each hidden route, up to what is kept");
    }

    #[test]
    fn routes_that_are_all_alike_end_the_search_and_it_says_so() {
        let (effort, codes) = effort((0..3_000).map(|i| {
            let condition = format!("match: {{ headers: {{ x-a: v{i} }} }}");
            format!("      - {{ path: /x, respond: {{}}, priority: {i}, {condition} }}\n")
        }));
        assert!(effort <= (EFFORT + 1) * 3_000 + 1_000, "{effort}");
        assert_eq!(codes, ["dead_routes_unknown"]);
    }
}
