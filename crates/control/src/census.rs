//! Who shares the limits of the cluster: the members that are live, and how many of them have no store. Pure.
//!
//! Where a node counts by itself its share is one of so many. Too few would let all nodes together admit more than the
//! limit; therefore a name comes at once and goes slowly, and who cannot know takes all whom the membership names.

use sluice_shared_store::Members;
use std::collections::BTreeMap;
use std::time::Duration;

/// A member that was not heard for longer is not live.
pub(crate) const LIVE: Duration = Duration::from_secs(5);

/// The same for a node without a majority: perhaps the others are well, and only this one is cut off.
pub(crate) const LIVE_WITHOUT_MAJORITY: Duration = Duration::from_secs(60);

/// What is known about the members.
#[derive(Debug, Default)]
pub(crate) struct Known<'a> {
    /// This node's name.
    pub(crate) own: &'a str,
    /// Whether this node reaches the store; `None` where there is none.
    pub(crate) own_store: Option<bool>,
    /// Names of the membership.
    pub(crate) membership: Vec<&'a str>,
    /// This node is told by the others how they are: it is a voter, and has been up for [`LIVE`].
    pub(crate) told: bool,
    /// A leader with a majority is heard.
    pub(crate) majority: bool,
    /// What was heard, in any order; of a name several times where it was several nodes.
    pub(crate) heard: Vec<Sighting<'a>>,
}

/// The last that was heard of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting<'a> {
    pub(crate) name: &'a str,
    pub(crate) age: Duration,
    pub(crate) draining: bool,
    pub(crate) store: Option<bool>,
}

/// Counts them.
#[must_use]
pub(crate) fn count(known: &Known<'_>) -> Members {
    let patience = if known.majority { LIVE } else { LIVE_WITHOUT_MAJORITY };
    // Of a name the newest word counts: a node that came back with an empty disk is another of the same name.
    let mut newest: BTreeMap<&str, &Sighting<'_>> = BTreeMap::new();
    for sighting in &known.heard {
        let kept = newest.entry(sighting.name).or_insert(sighting);
        if sighting.age < kept.age {
            *kept = sighting;
        }
    }
    // Whether it has a store, of those that are live.
    let mut live: BTreeMap<&str, Option<bool>> = BTreeMap::new();
    if !known.told {
        live.extend(known.membership.iter().map(|name| (*name, None)));
    }
    for (name, sighting) in newest {
        if sighting.draining {
            live.remove(name);
        } else if sighting.age <= patience {
            live.insert(name, sighting.store);
        }
    }
    live.insert(known.own, known.own_store);
    Members {
        without_store: live.values().filter(|store| **store == Some(false)).count(),
        live: live.into_keys().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, seconds: u64) -> Sighting<'_> {
        Sighting {
            name,
            age: Duration::from_secs(seconds),
            draining: false,
            store: Some(true),
        }
    }

    fn known(heard: Vec<Sighting<'_>>) -> Known<'_> {
        Known {
            own: "n1",
            own_store: Some(true),
            membership: vec!["n1", "n2", "n3"],
            told: true,
            majority: true,
            heard,
        }
    }

    fn names(known: &Known<'_>) -> Vec<String> {
        count(known).live
    }

    #[test]
    fn a_member_is_live_for_five_seconds_after_its_last_word_and_again_at_its_next() {
        assert_eq!(names(&known(vec![seen("n2", 5), seen("n3", 6)])), ["n1", "n2"]);
        assert_eq!(names(&known(vec![seen("n2", 5), seen("n3", 0)])), ["n1", "n2", "n3"]);
        assert_eq!(names(&known(vec![])), ["n1"]);
    }

    #[test]
    fn who_drains_is_not_live_and_this_node_always_is() {
        let leaving = Sighting {
            draining: true,
            ..seen("n2", 0)
        };
        assert_eq!(names(&known(vec![leaving, seen("n3", 0)])), ["n1", "n3"]);
    }

    #[test]
    fn of_a_name_the_newest_word_counts() {
        let gone = Sighting {
            draining: true,
            ..seen("n2", 3)
        };
        assert_eq!(names(&known(vec![seen("n2", 1), gone])), ["n1", "n2"]);
        let back = Sighting {
            draining: true,
            ..seen("n2", 1)
        };
        assert_eq!(names(&known(vec![back, seen("n2", 3)])), ["n1"]);
    }

    #[test]
    fn without_a_majority_nobody_is_missed_for_a_minute() {
        let mut cut_off = known(vec![seen("n2", 30), seen("n3", 60)]);
        cut_off.majority = false;
        assert_eq!(names(&cut_off), ["n1", "n2", "n3"]);
        cut_off.heard = vec![seen("n2", 61)];
        assert_eq!(names(&cut_off), ["n1"]);
    }

    #[test]
    fn who_is_not_told_takes_the_whole_membership_for_live() {
        let mut learner = known(vec![]);
        learner.told = false;
        assert_eq!(names(&learner), ["n1", "n2", "n3"]);
        let leaving = Sighting {
            draining: true,
            ..seen("n3", 0)
        };
        learner.heard = vec![leaving, seen("n4", 0)];
        assert_eq!(names(&learner), ["n1", "n2", "n4"], "what it hears all the same counts");
    }

    #[test]
    fn those_without_the_store_are_counted_among_the_live() {
        let without = |name| Sighting {
            store: Some(false),
            ..seen(name, 0)
        };
        let mut some = known(vec![
            without("n2"),
            Sighting {
                age: Duration::from_secs(9),
                ..without("n3")
            },
        ]);
        assert_eq!(count(&some).without_store, 1, "n3 is not live");
        some.own_store = Some(false);
        assert_eq!(count(&some).without_store, 2);
        some.own_store = None;
        assert_eq!(count(&some).without_store, 1);
    }
}
