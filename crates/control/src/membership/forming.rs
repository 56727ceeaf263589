//! How empty nodes become a cluster. Pure: what was heard is an argument, what to do is the result.
//!
//! One cluster or none: the first by name of the declared set asks all others for a promise, which
//! each writes to its disk before it gives it, and gives once. With the promises of **all** it
//! initialises. A majority would not do: two wiped nodes of three *are* one while the third, which
//! still belongs to a cluster, is cut off.

use serde::{Deserialize, Serialize};
use sluice_peer::NodeId;
use std::collections::BTreeMap;

/// A promise: this node will be a first voter of that cluster and of no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Promise {
    /// The cluster's id, drawn by the one who forms.
    pub cluster: u128,
    /// The incarnation of the one who forms.
    pub former: NodeId,
    /// Its name.
    pub former_name: String,
}

/// What a node says when it is asked where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Its disk is empty, and this is who it is.
    Empty {
        /// Its incarnation.
        id: NodeId,
        /// Its name.
        name: String,
        /// The names of its own set.
        initial: Vec<String>,
    },
    /// It has given its promise.
    Promised {
        /// Its incarnation.
        id: NodeId,
        /// Its name.
        name: String,
        /// To whom.
        promise: Promise,
    },
    /// It belongs to a cluster.
    Member {
        /// The cluster's id.
        cluster: u128,
        /// Its name.
        name: String,
    },
}

/// One node of the declared set, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It does not answer; why.
    Silent(String),
    /// It answers.
    Answers(Standing),
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Somebody belongs to a cluster: ask to be let in there, never form.
    Join {
        /// Whom to ask, by name.
        by: String,
    },
    /// Wait; what for.
    Wait(String),
    /// This node is the first by name and all others are empty: ask them all for their promises.
    Collect,
    /// All have promised this node: begin.
    Begin {
        /// The members, by name.
        members: BTreeMap<String, NodeId>,
    },
}

/// Decides for the node `own` of the set `expected` (this node among them), which has seen
/// `others`. `promised` is the promise that this node has given, to itself or to another.
#[must_use]
pub(crate) fn step(
    own: (&str, NodeId),
    expected: &[String],
    promised: Option<&Promise>,
    others: &BTreeMap<String, Seen>,
) -> Step {
    if let Some(by) = belongs(others) {
        return Step::Join { by };
    }
    let silent: Vec<String> = expected
        .iter()
        .filter(|name| *name != own.0)
        .filter_map(|name| match others.get(name) {
            Some(Seen::Answers(_)) => None,
            Some(Seen::Silent(why)) => Some(format!("{name} ({why})")),
            None => Some(format!("{name} (not asked yet)")),
        })
        .collect();
    let first = expected.iter().min().map_or(own.0, String::as_str);
    if own.0 != first {
        return Step::Wait(match promised {
            Some(promise) => format!(
                "{} forms the cluster; this node has promised to be in it",
                promise.former_name
            ),
            None if silent.is_empty() => format!("{first} forms the cluster"),
            None => format!(
                "{first} forms the cluster once all of the set answer; missing here: {}",
                silent.join(", ")
            ),
        });
    }
    if let Some(promise) = promised
        && promise.former != own.1
    {
        return Step::Wait(format!(
            "this node has promised itself to {}, which never began; if that is gone for good, say `sluice members form --only …` or start with an empty data directory",
            promise.former_name
        ));
    }
    if !silent.is_empty() {
        return Step::Wait(format!("missing: {}", silent.join(", ")));
    }
    let mut members = BTreeMap::from([(own.0.to_owned(), own.1)]);
    for name in expected.iter().filter(|name| *name != own.0) {
        match others.get(name) {
            Some(Seen::Answers(Standing::Promised {
                id,
                promise,
                name: told,
            })) => {
                if told != name {
                    return Step::Wait(format!(
                        "the address of {name} is answered by a node named {told}: check `initial`"
                    ));
                }
                if promise.former != own.1 {
                    return Step::Wait(format!(
                        "{name} has promised itself to {} (id {}); start {name} with an empty data directory if that is gone",
                        promise.former_name, promise.former
                    ));
                }
                if Some(promise.cluster) == promised.map(|own| own.cluster) {
                    members.insert(name.clone(), *id);
                }
            }
            Some(Seen::Answers(Standing::Empty {
                initial, name: told, ..
            })) => {
                if told != name {
                    return Step::Wait(format!(
                        "the address of {name} is answered by a node named {told}: check `initial`"
                    ));
                }
                let (mut theirs, mut ours) = (initial.clone(), expected.to_vec());
                theirs.sort();
                ours.sort();
                if theirs != ours {
                    return Step::Wait(format!(
                        "{name} was started with another `initial` ({}): it must be the same on each of the first voters",
                        if theirs.is_empty() {
                            "none".to_owned()
                        } else {
                            theirs.join(", ")
                        }
                    ));
                }
            }
            _ => {}
        }
    }
    if members.len() == expected.len() && promised.is_some() {
        Step::Begin { members }
    } else {
        Step::Collect
    }
}

/// Whether a node may give its promise to `asked`. `own` is what it has given already.
///
/// # Errors
/// Why not, for the one who asks.
pub(crate) fn may_promise(member_of: Option<u128>, own: Option<&Promise>, asked: &Promise) -> Result<(), String> {
    match (member_of, own) {
        (Some(cluster), _) => Err(format!("it belongs to the cluster {cluster:032x} already")),
        (None, Some(given)) if given != asked => Err(format!(
            "it has promised itself to {} (id {}) already",
            given.former_name, given.former
        )),
        (None, _) => Ok(()),
    }
}

fn belongs(others: &BTreeMap<String, Seen>) -> Option<String> {
    others.iter().find_map(|(name, seen)| match seen {
        Seen::Answers(Standing::Member { .. }) => Some(name.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn set() -> Vec<String> {
        ["n1", "n2", "n3"].map(str::to_owned).to_vec()
    }

    fn empty(n: u64) -> Seen {
        Seen::Answers(Standing::Empty {
            id: NodeId(n),
            name: format!("n{n}"),
            initial: set(),
        })
    }

    fn promise(former: u64) -> Promise {
        Promise {
            cluster: 77,
            former: NodeId(former),
            former_name: "n1".to_owned(),
        }
    }

    fn promised(n: u64, former: u64) -> Seen {
        Seen::Answers(Standing::Promised {
            id: NodeId(n),
            name: format!("n{n}"),
            promise: promise(former),
        })
    }

    fn member(n: u64) -> Seen {
        Seen::Answers(Standing::Member {
            cluster: 5,
            name: format!("n{n}"),
        })
    }

    fn seen(two: Seen, three: Seen) -> BTreeMap<String, Seen> {
        BTreeMap::from([("n2".to_owned(), two), ("n3".to_owned(), three)])
    }

    #[test]
    fn the_first_by_name_collects_when_all_are_empty_and_begins_when_all_promised() {
        let own = ("n1", NodeId(1));
        assert_eq!(step(own, &set(), None, &seen(empty(2), empty(3))), Step::Collect);
        let mine = promise(1);
        assert_eq!(
            step(own, &set(), Some(&mine), &seen(promised(2, 1), empty(3))),
            Step::Collect
        );
        let Step::Begin { members } = step(own, &set(), Some(&mine), &seen(promised(2, 1), promised(3, 1))) else {
            panic!("should begin");
        };
        assert_eq!(members.len(), 3);
    }

    #[test]
    fn a_silent_node_is_waited_for_by_name() {
        let silent = Seen::Silent("connection refused".to_owned());
        let Step::Wait(why) = step(("n1", NodeId(1)), &set(), None, &seen(empty(2), silent)) else {
            panic!("should wait");
        };
        assert_eq!(why, "missing: n3 (connection refused)");
    }

    #[test]
    fn nobody_forms_where_one_belongs_to_a_cluster() {
        let own = ("n1", NodeId(1));
        assert_eq!(
            step(own, &set(), Some(&promise(1)), &seen(promised(2, 1), member(3))),
            Step::Join { by: "n3".to_owned() }
        );
    }

    #[test]
    fn a_promise_given_to_a_former_life_stops_the_forming_and_says_so() {
        let Step::Wait(why) = step(("n1", NodeId(9)), &set(), None, &seen(promised(2, 1), empty(3))) else {
            panic!("should wait");
        };
        assert!(why.contains("n2 has promised itself"), "{why}");
    }

    #[test]
    fn another_set_on_another_node_is_told() {
        let other = Seen::Answers(Standing::Empty {
            id: NodeId(2),
            name: "n2".to_owned(),
            initial: vec!["n2".to_owned()],
        });
        let Step::Wait(why) = step(("n1", NodeId(1)), &set(), None, &seen(other, empty(3))) else {
            panic!("should wait");
        };
        assert!(why.contains("another `initial`"), "{why}");
    }

    #[test]
    fn a_promise_is_given_once_and_never_by_a_member() {
        assert_eq!(may_promise(None, None, &promise(1)), Ok(()));
        assert_eq!(
            may_promise(None, Some(&promise(1)), &promise(1)),
            Ok(()),
            "again to the same"
        );
        assert!(may_promise(None, Some(&promise(1)), &promise(9)).is_err());
        assert!(may_promise(Some(5), None, &promise(1)).is_err());
    }

    #[derive(Debug, Clone)]
    struct World {
        /// Of each node: its incarnation, its promise, whether it belongs to a cluster.
        nodes: Vec<(u64, Option<Promise>, Option<u128>)>,
        next: u64,
    }

    #[derive(Debug, Clone)]
    enum Event {
        /// The node acts, reaching the nodes whose flag is set.
        Act(usize, [bool; 3]),
        Wipe(usize),
        /// Hears from the cluster that it is a member.
        Learn(usize),
    }

    impl World {
        fn standing(&self, n: usize) -> Standing {
            let (id, promise, member) = &self.nodes[n];
            let (id, name) = (NodeId(*id), format!("n{}", n + 1));
            match (member, promise) {
                (Some(cluster), _) => Standing::Member {
                    cluster: *cluster,
                    name,
                },
                (None, Some(promise)) => Standing::Promised {
                    id,
                    name,
                    promise: promise.clone(),
                },
                (None, None) => Standing::Empty {
                    id,
                    name,
                    initial: set(),
                },
            }
        }

        fn act(&mut self, n: usize, reach: [bool; 3], formed: &mut Vec<(u128, BTreeMap<String, NodeId>)>) {
            if self.nodes[n].2.is_some() {
                return;
            }
            let others: BTreeMap<String, Seen> = (0..3)
                .filter(|o| *o != n)
                .map(|o| {
                    let seen = if reach[o] {
                        Seen::Answers(self.standing(o))
                    } else {
                        Seen::Silent("cut off".to_owned())
                    };
                    (format!("n{}", o + 1), seen)
                })
                .collect();
            let name = format!("n{}", n + 1);
            let own = self.nodes[n].clone();
            match step((&name, NodeId(own.0)), &set(), own.1.as_ref(), &others) {
                Step::Collect => {
                    let mine = own.1.unwrap_or(Promise {
                        cluster: u128::from(own.0),
                        former: NodeId(own.0),
                        former_name: name,
                    });
                    self.nodes[n].1 = Some(mine.clone());
                    for o in (0..3).filter(|o| *o != n && reach[*o]) {
                        let (_, given, member) = &self.nodes[o];
                        if may_promise(*member, given.as_ref(), &mine).is_ok() {
                            self.nodes[o].1 = Some(mine.clone());
                        }
                    }
                }
                Step::Begin { members } => {
                    let cluster = own.1.unwrap().cluster;
                    self.nodes[n].2 = Some(cluster);
                    formed.push((cluster, members));
                }
                Step::Join { .. } | Step::Wait(_) => {}
            }
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => (0usize..3, any::<[bool; 3]>()).prop_map(|(n, reach)| Event::Act(n, reach)),
            1 => (0usize..3).prop_map(Event::Wipe),
            2 => (0usize..3).prop_map(Event::Learn),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// While the memory of a first cluster lives on at least one disk of its majority, no
        /// second one comes to be, whoever is wiped and cut off.
        #[test]
        fn one_cluster_or_none(events in prop::collection::vec(event(), 0..60)) {
            let mut world = World { nodes: (1..=3).map(|n| (n, None, None)).collect(), next: 10 };
            let mut formed = Vec::new();
            for event in events {
                match event {
                    Event::Act(n, reach) => world.act(n, reach, &mut formed),
                    Event::Wipe(n) => {
                        // All three wiped is a new beginning that nobody can tell from a first one.
                        let others = (0..3).filter(|o| *o != n);
                        let remembered = formed.is_empty() || others.clone().any(|o| world.nodes[o].2.is_some());
                        if remembered {
                            world.next += 1;
                            world.nodes[n] = (world.next, None, None);
                        }
                    }
                    Event::Learn(n) => {
                        if let (Some(promise), Some((cluster, members))) = (world.nodes[n].1.clone(), formed.first())
                            && promise.cluster == *cluster && members.values().any(|id| id.0 == world.nodes[n].0) {
                            world.nodes[n].2 = Some(*cluster);
                        }
                    }
                }
            }
            prop_assert!(formed.len() <= 1, "{formed:?}");
        }
    }
}
