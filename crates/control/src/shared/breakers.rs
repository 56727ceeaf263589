//! What nodes say of their breakers, and what that comes to. Pure.

use super::overrides::{Overrides, record_key};
use super::view::{BreakerNodeView, BreakerView, BreakersView, CauseView, CountsView, NodeCountsView, Silent};
use crate::refusal::Refusal;
use crate::rfc3339;
use serde::{Deserialize, Serialize};
use sluice_document::nearest;
use sluice_shared_state::BreakerKey;
use sluice_shared_state::breaker::{Cause, Counts, numbered_together};
use sluice_shared_store::SharedStore;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// So many names are listed where one is not known.
const LISTED: usize = 20;

/// A node's breakers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BreakersReport {
    pub(crate) node: String,
    /// It holds what was awaited.
    pub(crate) agrees: bool,
    pub(crate) breakers: Vec<BreakerReport>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BreakerReport {
    pub(crate) key: BreakerKey,
    pub(crate) state: String,
    pub(crate) since: String,
    pub(crate) epoch: u64,
    pub(crate) shared: bool,
    pub(crate) cause: Option<CauseView>,
    pub(crate) next_probe: Option<String>,
    pub(crate) by: Vec<String>,
    pub(crate) own: CountsView,
    pub(crate) all: CountsView,
    pub(crate) refused: u64,
}

/// This node's.
pub(crate) fn report(store: &SharedStore) -> Vec<BreakerReport> {
    let now = SystemTime::now();
    let report = |view: sluice_shared_store::BreakerView| BreakerReport {
        key: view.key,
        state: view.state.name().to_owned(),
        since: rfc3339::of(view.since),
        epoch: view.epoch,
        shared: view.shared,
        cause: view.cause.as_deref().map(cause),
        next_probe: view.next_probe.map(|left| rfc3339::of(now + left)),
        by: view.by,
        own: view.own.into(),
        all: view.all.into(),
        refused: view.refused,
    };
    store.breakers().views().into_iter().map(report).collect()
}

pub(crate) fn cause(cause: &Cause) -> CauseView {
    CauseView {
        node: cause.node.clone(),
        by: cause.by.name().to_owned(),
        request_id: cause.request_id.clone(),
        counts: cause
            .counts
            .iter()
            .map(|(node, counts)| NodeCountsView {
                node: node.clone(),
                counts: (*counts).into(),
            })
            .collect(),
    }
}

/// All breakers, by what all nodes say of them.
pub(crate) fn merged(
    here: &str,
    reports: &[BreakersReport],
    overrides: &Overrides,
    silent: Vec<Silent>,
) -> BreakersView {
    // Also what was said of a breaker that is gone: it holds when the breaker comes back.
    let keys: BTreeSet<&BreakerKey> = reports
        .iter()
        .flat_map(|report| report.breakers.iter().map(|breaker| &breaker.key))
        .chain(overrides.all().map(|stored| &stored.key))
        .collect();
    let breakers = keys.into_iter().filter_map(|key| one(here, key, reports, overrides));
    BreakersView {
        breakers: breakers.collect(),
        silent,
    }
}

/// One breaker. Who acts on the newest decision of the cluster speaks for all; of equals, and of nodes that have no store
/// in common, the node that was asked.
pub(crate) fn one(
    here: &str,
    key: &BreakerKey,
    reports: &[BreakersReport],
    overrides: &Overrides,
) -> Option<BreakerView> {
    let set = overrides.of(key);
    let nodes: Vec<(&str, &BreakerReport)> = reports
        .iter()
        .filter_map(|report| {
            let breaker = report.breakers.iter().find(|breaker| breaker.key == *key)?;
            Some((report.node.as_str(), breaker))
        })
        .collect();
    let asked = nodes.iter().find(|(node, _)| *node == here);
    let speaks = nodes.iter().max_by_key(|(node, breaker)| {
        let in_order = asked.is_none_or(|(_, asked)| numbered_together(asked.epoch, breaker.epoch));
        (breaker.shared, in_order, breaker.epoch, *node == here)
    });
    let (upstream, route) = (
        key.upstream.to_string(),
        key.route.as_ref().map(|(gateway, id)| format!("{gateway}/{id}")),
    );
    let set_view = set.map(super::overrides::Stored::view);
    let Some((_, first)) = speaks else {
        let set = set?;
        return Some(BreakerView {
            upstream,
            route,
            state: if set.open { "forced_open" } else { "forced_closed" }.to_owned(),
            since: rfc3339::from_ms(set.at_ms),
            epoch: 0,
            shared: false,
            cause: None,
            next_probe: None,
            by: Vec::new(),
            set: set_view,
            counts: CountsView::default(),
            refused: 0,
            nodes: Vec::new(),
        });
    };
    let counts = match first.shared {
        true => first.all,
        false => nodes
            .iter()
            .fold(CountsView::default(), |sum, (_, breaker)| sum.and(breaker.own)),
    };
    Some(BreakerView {
        upstream,
        route,
        state: first.state.clone(),
        since: first.since.clone(),
        epoch: first.epoch,
        shared: first.shared,
        cause: first.cause.clone(),
        next_probe: first.next_probe.clone(),
        by: first.by.clone(),
        set: set_view,
        counts,
        refused: nodes.iter().map(|(_, breaker)| breaker.refused).sum(),
        nodes: nodes
            .iter()
            .map(|(node, breaker)| BreakerNodeView {
                name: (*node).to_owned(),
                state: breaker.state.clone(),
                since: breaker.since.clone(),
                epoch: breaker.epoch,
                shared: breaker.shared,
                counts: breaker.own,
                refused: breaker.refused,
            })
            .collect(),
    })
}

/// Whether any node has this breaker; else says which there are.
pub(crate) fn known(key: &BreakerKey, reports: &[BreakersReport]) -> Result<(), Refusal> {
    let all: BTreeMap<String, &BreakerKey> = reports
        .iter()
        .flat_map(|report| &report.breakers)
        .map(|breaker| (record_key(&breaker.key), &breaker.key))
        .collect();
    let name = record_key(key);
    if all.contains_key(&name) {
        return Ok(());
    }
    let mut what = format!("breaker of {name}");
    match nearest(&name, all.keys().map(String::as_str)) {
        Some(near) => what.push_str(&format!("; did you mean {near}?")),
        None if all.is_empty() => {
            what.push_str(": no upstream and no route has one, `breaker` in the document gives it one");
        }
        None => {
            let listed: Vec<&str> = all.keys().take(LISTED).map(String::as_str).collect();
            what.push_str(&format!("; there are those of {}", listed.join(", ")));
            if all.len() > LISTED {
                what.push_str(&format!(" and {} more", all.len() - LISTED));
            }
        }
    }
    Err(Refusal::NotFound { what })
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        Self {
            calls: counts.calls,
            failed: counts.failed,
            slow: counts.slow,
            run: counts.run,
        }
    }
}

// === impl CountsView ===

impl CountsView {
    /// Both together; of runs the longer.
    fn and(self, more: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(more.calls),
            failed: self.failed.saturating_add(more.failed),
            slow: self.slow.saturating_add(more.slow),
            run: self.run.max(more.run),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(upstream: &str) -> BreakerKey {
        BreakerKey {
            upstream: upstream.into(),
            route: None,
        }
    }

    fn breaker(upstream: &str, state: &str, epoch: u64, shared: bool) -> BreakerReport {
        let own = CountsView {
            calls: 10,
            failed: 4,
            slow: 0,
            run: 2,
        };
        BreakerReport {
            key: key(upstream),
            state: state.to_owned(),
            since: String::new(),
            epoch,
            shared,
            cause: None,
            next_probe: None,
            by: Vec::new(),
            own,
            all: own.and(own),
            refused: 5,
        }
    }

    fn of(node: &str, breakers: Vec<BreakerReport>) -> BreakersReport {
        BreakersReport {
            node: node.to_owned(),
            agrees: true,
            breakers,
        }
    }

    #[test]
    fn who_acts_on_the_newest_decision_speaks_for_all_and_the_rest_can_be_seen() {
        let reports = [
            of("n1", vec![breaker("orders", "closed", 6, true)]),
            of("n2", vec![breaker("orders", "open", 7, true)]),
            of("n3", vec![breaker("orders", "half_open", 9, false)]),
        ];
        let view = one("n1", &key("orders"), &reports, &Overrides::default()).unwrap();
        assert_eq!((view.state.as_str(), view.epoch, view.shared), ("open", 7, true));
        assert_eq!((view.counts.calls, view.refused), (20, 15));
        let states: Vec<&str> = view.nodes.iter().map(|node| node.state.as_str()).collect();
        assert_eq!(states, ["closed", "open", "half_open"]);
    }

    #[test]
    fn without_a_store_the_counts_of_all_nodes_are_added_and_the_asked_one_speaks() {
        let reports = [
            of("n1", vec![breaker("orders", "closed", 1, false)]),
            of("n2", vec![breaker("orders", "open", 1, false)]),
        ];
        let view = one("n2", &key("orders"), &reports, &Overrides::default()).unwrap();
        assert_eq!(
            (view.state.as_str(), view.counts.calls, view.counts.run),
            ("open", 20, 2)
        );
    }

    #[test]
    fn of_nodes_that_each_have_a_store_of_their_own_the_asked_one_speaks() {
        let reports = [
            of("n1", vec![breaker("orders", "open", 5 << 20 | 2, true)]),
            of("n2", vec![breaker("orders", "closed", 6 << 20 | 1, true)]),
        ];
        for (asked, state) in [("n1", "open"), ("n2", "closed")] {
            let view = one(asked, &key("orders"), &reports, &Overrides::default()).unwrap();
            assert_eq!(view.state, state);
        }
    }

    #[test]
    fn a_breaker_that_nobody_has_is_named_with_what_was_probably_meant() {
        let reports = [of(
            "n1",
            vec![
                breaker("orders", "closed", 1, true),
                breaker("users", "closed", 1, true),
            ],
        )];
        assert!(known(&key("orders"), &reports).is_ok());
        let near = known(&key("odrers"), &reports).unwrap_err().to_string();
        assert_eq!(near, "there is no breaker of odrers; did you mean orders?");
        let none = known(&key("billing-service"), &reports).unwrap_err().to_string();
        assert!(none.ends_with("there are those of orders, users"), "{none}");
        let empty = known(&key("orders"), &[]).unwrap_err().to_string();
        assert!(empty.contains("`breaker` in the document"), "{empty}");
    }
}
