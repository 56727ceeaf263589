//! What nodes say of limits, and what that comes to. Pure, but for the questions to this node's own.

use super::gather::Told;
use super::view::{
    DecisionsView, LimitKeyView, LimitNodeView, LimitSeenView, LimitsView, RefusalsView, RuleView, Silent,
    StandingView, TokensOutView,
};
use crate::refusal::Refusal;
use crate::rfc3339;
use serde::{Deserialize, Serialize};
use sluice_document::{declared, nearest};
use sluice_shared_state::{Algorithm, Calendar, Mode, OnFailure, Rule, Scope};
use sluice_shared_store::{KeyView, RefusedKey, SharedStore, TokensOut, ViewError};
use std::collections::{BTreeMap, BTreeSet};

/// So many names are listed where one is not known.
const LISTED: usize = 20;

/// A limit's gateway, route and name: no two have the same.
type Place = (String, Option<String>, String);

/// A node's limits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LimitsReport {
    pub(crate) node: String,
    pub(crate) limits: Vec<LimitSeenView>,
    pub(crate) top: Vec<RefusalsView>,
}

/// A node's word on one value of a key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LimitReport {
    pub(crate) node: String,
    /// Of itself alone in `nodes`, `refusals` and, where it reaches the store, the rest.
    pub(crate) limits: Vec<StandingView>,
}

/// This node's, and so many of the keys that it refused most.
pub(super) fn report(node: &str, store: &SharedStore, top: usize) -> LimitsReport {
    let seen = store.limits().seen().into_iter().map(|seen| LimitSeenView {
        rule: rule(&seen.rule),
        declared: seen.declared,
        decisions: seen
            .decisions
            .into_iter()
            .map(|(outcome, source, count)| DecisionsView {
                outcome: outcome.as_str().to_owned(),
                source: source.as_str().to_owned(),
                count,
            })
            .collect(),
    });
    LimitsReport {
        node: node.to_owned(),
        limits: seen.collect(),
        top: store.limits().top(top).iter().map(|key| refusals(node, key)).collect(),
    }
}

/// How the limits of this name stand here for a value of their key.
pub(super) async fn look(node: &str, store: &SharedStore, name: &str, key: &str) -> Told {
    let views = match store.limits().look(name, key).await {
        Ok(views) => views,
        Err(ViewError::Unknown(_)) => return Told::Unknown,
        Err(ViewError::Away(why)) => return Told::Away { why },
    };
    let standing = |view: KeyView| {
        let stored = view.stored.as_ref();
        StandingView {
            rule: rule(&view.rule),
            used: stored.map(|stored| stored.used),
            left: stored.map(|stored| stored.left),
            reset: stored.map(|stored| stored.reset.as_secs_f64()),
            out: stored.map_or_else(Vec::new, |stored| stored.out.iter().map(out).collect()),
            refusals: view.refused.as_ref().map(|key| refusals(node, key)),
            nodes: view
                .here
                .map(|here| LimitNodeView {
                    name: node.to_owned(),
                    remaining: here.remaining,
                    reset: here.reset.as_secs_f64(),
                    source: here.source.as_str().to_owned(),
                })
                .into_iter()
                .collect(),
        }
    };
    Told::Limit(LimitReport {
        node: node.to_owned(),
        limits: views.into_iter().map(standing).collect(),
    })
}

/// Forgets in the store what was spent.
pub(super) async fn reset(store: &SharedStore, name: &str, key: &str) -> Told {
    match store.limits().reset(name, key).await {
        Ok(counts) => Told::Reset(counts),
        Err(ViewError::Unknown(_)) => Told::Unknown,
        Err(ViewError::Away(why)) => Told::Away { why },
    }
}

/// Another node reset it: what this one thinks is asked again.
pub(super) fn forget(store: &SharedStore, name: &str, key: &str) {
    store.limits().forget(name, key);
}

/// A limit as the document writes it.
fn rule(rule: &Rule) -> RuleView {
    let (gateway, route) = match &rule.scope {
        Scope::Gateway(gateway) => (gateway, None),
        Scope::Route(gateway, route) => (gateway, Some(route.to_string())),
    };
    let (algorithm, limit, per, burst) = match &rule.algorithm {
        Algorithm::SlidingWindow { limit, window } => (
            "sliding_window",
            u64::from(*limit),
            Some(declared::Duration(*window).to_string()),
            None,
        ),
        Algorithm::TokenBucket { limit, per, depth } => (
            "token_bucket",
            u64::from(*limit),
            Some(declared::Duration(*per).to_string()),
            Some(u64::from(*depth)),
        ),
        Algorithm::FixedWindow { limit, calendar } => ("fixed_window", *limit, Some(windows(calendar)), None),
        Algorithm::Concurrency { limit, .. } => ("concurrency", u64::from(*limit), None, None),
    };
    RuleView {
        name: rule.name.to_string(),
        gateway: gateway.to_string(),
        route,
        algorithm: algorithm.to_owned(),
        limit,
        per,
        burst,
        mode: match rule.mode {
            Mode::Exact => "exact",
            Mode::Fast => "fast",
        }
        .to_owned(),
        on_failure: match rule.on_failure {
            OnFailure::Local => "local",
            OnFailure::Open => "open",
            OnFailure::Closed => "closed",
        }
        .to_owned(),
        version: rule.version,
    }
}

fn windows(calendar: &Calendar) -> String {
    match calendar {
        Calendar::Every(length) => declared::Duration(*length).to_string(),
        Calendar::Minute => "minute".to_owned(),
        Calendar::Hour(_) => "hour".to_owned(),
        Calendar::Day(_) => "day".to_owned(),
        Calendar::Month(_) => "month".to_owned(),
    }
}

fn out(out: &TokensOut) -> TokensOutView {
    TokensOutView {
        node: out.node.as_deref().map(str::to_owned),
        tokens: out.tokens,
    }
}

fn refusals(node: &str, key: &RefusedKey) -> RefusalsView {
    let RuleView {
        name, gateway, route, ..
    } = rule(&key.rule);
    RefusalsView {
        name,
        gateway,
        route,
        key: key.value.to_string(),
        refused: key.refused,
        excess: key.excess,
        last: rfc3339::of(key.last),
        nodes: vec![node.to_owned()],
    }
}

/// All limits, by what all nodes say of them.
pub(super) fn merged(reports: &[LimitsReport], top: usize, silent: Vec<Silent>) -> LimitsView {
    let mut limits: BTreeMap<Place, LimitSeenView> = BTreeMap::new();
    for seen in reports.iter().flat_map(|report| &report.limits) {
        match limits.get_mut(&place(&seen.rule)) {
            Some(known) => {
                known.declared |= seen.declared;
                if known.rule.version < seen.rule.version {
                    known.rule = seen.rule.clone();
                }
                add(&mut known.decisions, &seen.decisions);
            }
            None => {
                limits.insert(place(&seen.rule), seen.clone());
            }
        }
    }
    LimitsView {
        limits: limits.into_values().collect(),
        top: (top > 0).then(|| most_refused(reports.iter().flat_map(|report| &report.top), top)),
        silent,
    }
}

/// The standings of one name and key, each by what all nodes say of it; nothing where none knows it.
pub(super) fn standing(
    here: &str,
    name: &str,
    key: &str,
    reports: &[LimitReport],
    silent: Vec<Silent>,
) -> Option<LimitKeyView> {
    let mut limits: BTreeMap<Place, Vec<(&str, &StandingView)>> = BTreeMap::new();
    for report in reports {
        for standing in &report.limits {
            let all = limits.entry(place(&standing.rule)).or_default();
            all.push((&report.node, standing));
        }
    }
    let limits: Vec<StandingView> = limits.into_values().filter_map(|all| one(here, &all)).collect();
    (!limits.is_empty()).then(|| LimitKeyView {
        name: name.to_owned(),
        key: key.to_owned(),
        limits,
        silent,
    })
}

/// What the store says is taken of the node that was asked, or of the first that reaches it.
fn one(here: &str, all: &[(&str, &StandingView)]) -> Option<StandingView> {
    let rule = all
        .iter()
        .map(|(_, standing)| &standing.rule)
        .max_by_key(|rule| rule.version)?;
    let stored = all
        .iter()
        .filter(|(_, standing)| standing.used.is_some())
        .max_by_key(|(node, _)| *node == here)
        .map(|(_, standing)| *standing);
    let refusals = all.iter().filter_map(|(_, standing)| standing.refusals.as_ref());
    Some(StandingView {
        rule: rule.clone(),
        used: stored.and_then(|stored| stored.used),
        left: stored.and_then(|stored| stored.left),
        reset: stored.and_then(|stored| stored.reset),
        out: stored.map(|stored| stored.out.clone()).unwrap_or_default(),
        refusals: most_refused(refusals, 1).into_iter().next(),
        nodes: all.iter().flat_map(|(_, standing)| standing.nodes.clone()).collect(),
    })
}

/// No node knows a limit of this name: says which there are.
pub(super) fn unknown(name: &str, reports: &[LimitsReport]) -> Refusal {
    let names: BTreeSet<&str> = reports
        .iter()
        .flat_map(|report| &report.limits)
        .map(|seen| seen.rule.name.as_str())
        .collect();
    let mut what = format!("limit {name}");
    match nearest(name, names.iter().copied()) {
        Some(near) => what.push_str(&format!("; did you mean {near}?")),
        None if names.is_empty() => what.push_str(
            ": no gateway and no route has one, `rate_limits` and `concurrency` in the document give them some",
        ),
        None => {
            let listed: Vec<&str> = names.iter().copied().take(LISTED).collect();
            what.push_str(&format!("; there are {}", listed.join(", ")));
            if names.len() > LISTED {
                what.push_str(&format!(" and {} more", names.len() - LISTED));
            }
        }
    }
    Refusal::NotFound { what }
}

fn place(rule: &RuleView) -> Place {
    (rule.gateway.clone(), rule.route.clone(), rule.name.clone())
}

fn add(sum: &mut Vec<DecisionsView>, more: &[DecisionsView]) {
    for one in more {
        let same = |known: &&mut DecisionsView| known.outcome == one.outcome && known.source == one.source;
        match sum.iter_mut().find(same) {
            Some(known) => known.count = known.count.saturating_add(one.count),
            None => sum.push(one.clone()),
        }
    }
}

/// The same key of the same limit counts together, whoever refused it.
fn most_refused<'a>(all: impl Iterator<Item = &'a RefusalsView>, top: usize) -> Vec<RefusalsView> {
    let mut sums: BTreeMap<(&str, Option<&str>, &str, &str), RefusalsView> = BTreeMap::new();
    for one in all {
        let place = (
            one.gateway.as_str(),
            one.route.as_deref(),
            one.name.as_str(),
            one.key.as_str(),
        );
        match sums.get_mut(&place) {
            Some(sum) => {
                sum.refused = sum.refused.saturating_add(one.refused);
                sum.excess = sum.excess.saturating_add(one.excess);
                // RFC 3339 with as many digits sorts as time does.
                sum.last = sum.last.clone().max(one.last.clone());
                sum.nodes.extend(one.nodes.iter().cloned());
            }
            None => {
                sums.insert(place, one.clone());
            }
        }
    }
    let mut sums: Vec<RefusalsView> = sums.into_values().collect();
    // A stable sort: of equals the first by name.
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.refused));
    sums.truncate(top);
    sums
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(name: &str, route: Option<&str>, version: u64) -> RuleView {
        RuleView {
            name: name.to_owned(),
            gateway: "web".to_owned(),
            route: route.map(str::to_owned),
            algorithm: "sliding_window".to_owned(),
            limit: 100 * version,
            per: Some("1s".to_owned()),
            burst: None,
            mode: "exact".to_owned(),
            on_failure: "local".to_owned(),
            version,
        }
    }

    fn refusals(key: &str, refused: u64, node: &str) -> RefusalsView {
        RefusalsView {
            name: "per-client".to_owned(),
            gateway: "web".to_owned(),
            route: None,
            key: key.to_owned(),
            refused,
            excess: 1,
            last: format!("2026-11-30T10:00:0{refused}.000Z"),
            nodes: vec![node.to_owned()],
        }
    }

    fn seen(rule: RuleView, admitted: u64) -> LimitSeenView {
        LimitSeenView {
            rule,
            declared: true,
            decisions: vec![DecisionsView {
                outcome: "admitted".to_owned(),
                source: "lease".to_owned(),
                count: admitted,
            }],
        }
    }

    fn standing_of(node: &str, rule: RuleView, used: Option<u64>, remaining: u64) -> LimitReport {
        LimitReport {
            node: node.to_owned(),
            limits: vec![StandingView {
                rule,
                used,
                left: used.map(|used| 100 - used),
                reset: used.map(|_| 0.5),
                out: Vec::new(),
                refusals: Some(refusals("a", 2, node)),
                nodes: vec![LimitNodeView {
                    name: node.to_owned(),
                    remaining,
                    reset: 1.0,
                    source: "lease".to_owned(),
                }],
            }],
        }
    }

    #[test]
    fn limits_of_all_nodes_are_one_list_with_the_newest_numbers_and_all_decisions() {
        let report = |node: &str, limits| LimitsReport {
            node: node.to_owned(),
            limits,
            top: Vec::new(),
        };
        let reports = [
            report(
                "n1",
                vec![
                    seen(rule("per-client", None, 1), 10),
                    seen(rule("per-client", Some("orders"), 1), 1),
                ],
            ),
            report("n2", vec![seen(rule("per-client", None, 2), 5)]),
        ];
        let view = merged(&reports, 0, Vec::new());
        assert_eq!(view.limits.len(), 2, "a route's limit of the same name is another");
        assert_eq!(
            (view.limits[0].rule.limit, view.limits[0].decisions[0].count),
            (200, 15)
        );
        assert_eq!(view.top, None);
    }

    #[test]
    fn the_keys_refused_most_are_those_of_all_nodes_together() {
        let report = |node: &str, top| LimitsReport {
            node: node.to_owned(),
            limits: Vec::new(),
            top,
        };
        let reports = [
            report("n1", vec![refusals("a", 5, "n1"), refusals("b", 4, "n1")]),
            report("n2", vec![refusals("c", 6, "n2"), refusals("b", 3, "n2")]),
        ];
        let top = merged(&reports, 2, Vec::new()).top.unwrap();
        let found: Vec<_> = top.iter().map(|one| (one.key.as_str(), one.refused)).collect();
        assert_eq!(found, [("b", 7), ("c", 6)]);
        assert_eq!((top[0].nodes.len(), top[0].excess), (2, 2));
        assert_eq!(top[0].last, "2026-11-30T10:00:04.000Z");
    }

    #[test]
    fn one_count_is_told_by_who_reaches_the_store_and_each_node_says_what_it_holds() {
        let reports = [
            standing_of("n1", rule("per-client", None, 1), None, 3),
            standing_of("n2", rule("per-client", None, 1), Some(40), 7),
        ];
        let view = standing("n1", "per-client", "a", &reports, Vec::new()).unwrap();
        let [one] = view.limits.as_slice() else {
            panic!("{view:?}")
        };
        assert_eq!((one.used, one.left), (Some(40), Some(60)));
        assert_eq!(one.nodes.len(), 2);
        assert_eq!(one.refusals.as_ref().unwrap().refused, 4);
        assert_eq!(standing("n1", "per-client", "a", &[], Vec::new()), None);
    }

    #[test]
    fn a_limit_that_nobody_has_is_named_with_what_was_probably_meant() {
        let report = LimitsReport {
            node: "n1".to_owned(),
            limits: vec![seen(rule("per-client", None, 1), 1)],
            top: Vec::new(),
        };
        let near = unknown("per-cleint", std::slice::from_ref(&report)).to_string();
        assert_eq!(near, "there is no limit per-cleint; did you mean per-client?");
        assert!(unknown("x", &[report]).to_string().ends_with("there are per-client"));
        assert!(unknown("x", &[]).to_string().contains("rate_limits"));
    }
}
