//! What is new between two looks at the cluster. Pure.

use crate::shared::{CauseView, OverrideView};
use crate::view::{ClusterView, Degraded, NodeView, OpenTrial, Role, VersionView};
use serde::Serialize;
use std::collections::BTreeMap;

/// More versions than this at once are told by the newest of them; the history has the others.
const VERSIONS: u64 = 64;

/// What this node sees of the cluster, and of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub(crate) cluster: ClusterView,
    pub(crate) degraded: Vec<Degraded>,
    /// This node's breakers.
    pub(crate) breakers: Vec<Breaker>,
}

/// What a breaker does on this node, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Breaker {
    pub(crate) upstream: String,
    pub(crate) route: Option<String>,
    pub(crate) state: String,
    pub(crate) since: String,
    pub(crate) epoch: u64,
    pub(crate) shared: bool,
    pub(crate) cause: Option<CauseView>,
    pub(crate) next_probe: Option<String>,
    pub(crate) by: Vec<String>,
    #[serde(rename = "override")]
    pub(crate) set: Option<OverrideView>,
}

/// One thing that is new.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum News {
    /// The newest version is another, or is tried, promoted, confirmed.
    Version {
        version: u64,
        active: u64,
        trial: Option<OpenTrial>,
        #[serde(flatten)]
        made: Option<Made>,
    },
    /// A node serves by another version, or says why it cannot.
    Live {
        node: String,
        version: Option<u64>,
        wanted: u64,
        why_not_live: Option<String>,
    },
    /// Another leads, or nobody.
    Leader { leader: Option<String>, term: u64 },
    /// A member came or went, can be reached or no more, is drained, votes.
    Member {
        name: String,
        id: String,
        /// `None`: it is no member any more.
        role: Option<Role>,
        reachable: bool,
        draining: bool,
    },
    /// Something does not work on the node that tells this, or works again.
    Degraded {
        node: String,
        what: String,
        since: String,
        why: String,
        over: bool,
    },
    /// A breaker does something else on the node that tells this, or was set by hand.
    Breaker {
        node: String,
        #[serde(flatten)]
        breaker: Box<Breaker>,
    },
}

/// Who made a version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Made {
    at: String,
    author: String,
    from: String,
    message: Option<String>,
    request_id: String,
    changed: Vec<String>,
}

// === impl Picture ===

impl Picture {
    /// What is new since `before`, or all that there is. `made` tells of a version that is in the history.
    pub(crate) fn since(&self, before: Option<&Self>, made: impl Fn(u64) -> Option<VersionView>) -> Vec<News> {
        let mut news = Vec::new();
        let now = &self.cluster;
        let then = before.map(|before| &before.cluster);
        if then.is_none_or(|then| (&then.leader, then.term) != (&now.leader, now.term)) {
            news.push(News::Leader {
                leader: now.leader.clone(),
                term: now.term,
            });
        }
        self.members(then, &mut news);
        let limits = |view: &ClusterView| (view.version, view.active, view.trial.clone());
        if then.is_none_or(|then| limits(then) != limits(now)) {
            let first = then.map_or(now.version, |then| then.version + 1);
            let first = first.max((now.version + 1).saturating_sub(VERSIONS)).min(now.version);
            for version in first..=now.version {
                news.push(News::Version {
                    version,
                    active: now.active,
                    trial: now.trial.clone(),
                    made: made(version).map(Made::from),
                });
            }
        }
        let before_live = by_name(then);
        for node in &now.nodes {
            let live = |node: &NodeView| (node.live, node.why_not_live.clone());
            let known = before_live.get(node.name.as_str());
            // Of a node that is not heard nothing is known, which is no news of what it serves by.
            if node.reachable && known.is_none_or(|known| live(known) != live(node)) {
                news.push(News::Live {
                    node: node.name.clone(),
                    version: node.live,
                    wanted: node.wanted,
                    why_not_live: node.why_not_live.clone(),
                });
            }
        }
        self.degraded(before, &mut news);
        self.breakers(before, &mut news);
        news
    }

    fn members(&self, then: Option<&ClusterView>, news: &mut Vec<News>) {
        let (before, now) = (by_name(then), by_name(Some(&self.cluster)));
        let seen = |node: &NodeView| (node.id.clone(), node.role, node.reachable, node.draining);
        for (name, node) in &now {
            if before.get(name).is_none_or(|before| seen(before) != seen(node)) {
                news.push(News::Member {
                    name: node.name.clone(),
                    id: node.id.clone(),
                    role: Some(node.role),
                    reachable: node.reachable,
                    draining: node.draining,
                });
            }
        }
        for (_, gone) in before.iter().filter(|(name, _)| !now.contains_key(*name)) {
            news.push(News::Member {
                name: gone.name.clone(),
                id: gone.id.clone(),
                role: None,
                reachable: gone.reachable,
                draining: gone.draining,
            });
        }
    }

    fn breakers(&self, before: Option<&Self>, news: &mut Vec<News>) {
        let then = before.map(|before| before.breakers.as_slice()).unwrap_or_default();
        let told = |breaker: &&Breaker| match then.iter().find(|then| then.is_of(breaker)) {
            Some(then) => !then.does_as(breaker),
            None => !breaker.is_at_rest(),
        };
        news.extend(self.breakers.iter().filter(told).map(|breaker| News::Breaker {
            node: self.cluster.answered_by.clone(),
            breaker: Box::new(breaker.clone()),
        }));
    }

    fn degraded(&self, before: Option<&Self>, news: &mut Vec<News>) {
        let told = |one: &Degraded, over| News::Degraded {
            node: self.cluster.answered_by.clone(),
            what: one.what.clone(),
            since: one.since.clone(),
            why: one.why.clone(),
            over,
        };
        let then = before.map(|before| before.degraded.as_slice()).unwrap_or_default();
        // Since when and why are told anew each time, and are no news by themselves.
        let stands = |list: &[Degraded], what: &str| list.iter().any(|one| one.what == what);
        let new = self.degraded.iter().filter(|one| !stands(then, &one.what));
        news.extend(new.map(|one| told(one, false)));
        let over = then.iter().filter(|one| !stands(&self.degraded, &one.what));
        news.extend(over.map(|one| told(one, true)));
    }
}

/// During a replacement the incarnation that is heard, else the last by id.
fn by_name(view: Option<&ClusterView>) -> BTreeMap<&str, &NodeView> {
    let mut by_name: BTreeMap<&str, &NodeView> = BTreeMap::new();
    for node in view.into_iter().flat_map(|view| &view.nodes) {
        if by_name.get(node.name.as_str()).is_none_or(|other| !other.reachable) {
            by_name.insert(&node.name, node);
        }
    }
    by_name
}

// === impl Breaker ===

impl Breaker {
    fn is_of(&self, other: &Self) -> bool {
        (&self.upstream, &self.route) == (&other.upstream, &other.route)
    }

    /// When it may be probed is told anew each time, and is no news by itself.
    fn does_as(&self, other: &Self) -> bool {
        (&self.state, self.epoch, self.shared, &self.by, &self.set)
            == (&other.state, other.epoch, other.shared, &other.by, &other.set)
    }

    fn is_at_rest(&self) -> bool {
        self.state == "closed" && self.set.is_none()
    }
}

// === impl News ===

impl News {
    /// The event's name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::Live { .. } => "live",
            Self::Leader { .. } => "leader",
            Self::Member { .. } => "member",
            Self::Degraded { .. } => "degraded",
            Self::Breaker { .. } => "breaker",
        }
    }
}

impl From<VersionView> for Made {
    fn from(view: VersionView) -> Self {
        Self {
            at: view.at,
            author: view.author,
            from: view.from,
            message: view.message,
            request_id: view.request_id,
            changed: view.changed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(name: &str, live: u64) -> NodeView {
        serde_json::from_value(serde_json::json!({
            "name": name, "id": format!("id-{name}"), "role": "voter", "peer": "", "admin": "", "zone": null,
            "binary": null, "committed": live, "wanted": live, "live": live, "why_not_live": null,
            "reachable": true, "draining": false,
        }))
        .unwrap()
    }

    fn picture(version: u64) -> Picture {
        Picture {
            cluster: ClusterView {
                name: "shop".to_owned(),
                id: None,
                term: 1,
                leader: Some("n1".to_owned()),
                version,
                active: version,
                trial: None,
                level: 2,
                answered_by: "n1".to_owned(),
                forming: None,
                nodes: vec![node("n1", version), node("n2", version)],
            },
            degraded: Vec::new(),
            breakers: Vec::new(),
        }
    }

    fn breaker(state: &str, epoch: u64) -> Breaker {
        Breaker {
            upstream: "orders".to_owned(),
            route: None,
            state: state.to_owned(),
            since: String::new(),
            epoch,
            shared: true,
            cause: None,
            next_probe: None,
            by: Vec::new(),
            set: None,
        }
    }

    fn kinds(news: &[News]) -> Vec<&'static str> {
        news.iter().map(News::kind).collect()
    }

    #[test]
    fn whoever_begins_to_listen_is_told_all_and_then_what_is_new() {
        let first = picture(3);
        let all = first.since(None, |_| None);
        assert_eq!(kinds(&all), ["leader", "member", "member", "version", "live", "live"]);
        assert_eq!(first.since(Some(&first), |_| None), []);
    }

    #[test]
    fn each_version_is_told_and_where_it_is_live() {
        let news = picture(5).since(Some(&picture(3)), |_| None);
        assert_eq!(kinds(&news), ["version", "version", "live", "live"]);
        assert!(matches!(news[0], News::Version { version: 4, .. }));
        assert_eq!(picture(1_000).since(Some(&picture(3)), |_| None).len(), 64 + 2);
    }

    #[test]
    fn a_breaker_is_news_when_it_does_something_else_and_at_first_only_where_it_is_not_at_rest() {
        let at = |breaker| Picture {
            breakers: vec![breaker],
            ..picture(3)
        };
        let (closed, open) = (at(breaker("closed", 1)), at(breaker("open", 2)));
        let told = |after: &Picture, before: &Picture| kinds(&after.since(Some(before), |_| None));
        assert_eq!(told(&closed, &picture(3)), Vec::<&str>::new());
        assert_eq!(told(&open, &picture(3)), ["breaker"]);
        assert_eq!(told(&open, &closed), ["breaker"]);
        assert_eq!(told(&closed, &open), ["breaker"]);
        let later = Breaker {
            next_probe: Some("2026-11-30T10:00:00.000Z".to_owned()),
            ..breaker("open", 2)
        };
        assert_eq!(told(&at(later), &open), Vec::<&str>::new());
        assert_eq!(
            told(&at(breaker("open", 4)), &open),
            ["breaker"],
            "it was half open meanwhile"
        );
    }

    #[test]
    fn a_trial_that_opens_and_ends_is_news_of_its_version() {
        let (settled, mut open) = (picture(3), picture(3));
        open.cluster.active = 2;
        for (before, after) in [(&settled, &open), (&open, &settled)] {
            let news = after.since(Some(before), |_| None);
            assert_eq!(kinds(&news), ["version"]);
        }
    }

    #[test]
    fn who_leads_who_is_silent_who_is_gone_and_what_is_broken_is_told_once() {
        let before = picture(3);
        let mut after = picture(3);
        after.cluster.leader = None;
        after.cluster.nodes[0].reachable = false;
        after.cluster.nodes[0].live = None;
        after.cluster.nodes.pop();
        let broken = |since: &str| Degraded {
            what: "majority".to_owned(),
            since: since.to_owned(),
            why: "no leader".to_owned(),
        };
        after.degraded.push(broken("1"));
        let news = after.since(Some(&before), |_| None);
        assert_eq!(kinds(&news), ["leader", "member", "member", "degraded"]);
        assert!(matches!(&news[2], News::Member { role: None, .. }), "{news:?}");
        let mut later = after.clone();
        later.degraded[0] = broken("2");
        assert_eq!(later.since(Some(&after), |_| None), []);
        let over = before.since(Some(&later), |_| None);
        assert!(
            matches!(over.last(), Some(News::Degraded { over: true, .. })),
            "{over:?}"
        );
    }
}
