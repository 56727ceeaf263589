//! Whether a balancer should send traffic to this node, and what does not work. Pure.
//!
//! A fault that all nodes share must not empty the balancer: it stands in the body, and the status
//! stays 200.

use sluice_shared_store::StoreState;
use std::time::{Duration, SystemTime};

/// How long a start waits for a leader before a stored configuration is enough.
pub(crate) const WITHOUT_LEADER: Duration = Duration::from_secs(10);

/// What is known about this node. Durations are ages.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// It belongs to a cluster.
    pub formed: bool,
    /// What it waits for, where it does not.
    pub waiting_for: Option<String>,
    /// Since its start it has once served by what the leader had committed.
    pub caught_up: bool,
    /// A leader is known.
    pub has_leader: bool,
    /// Since the start.
    pub up: Duration,
    /// A configuration was on the disk at the start.
    pub stored: bool,
    /// It serves by something: the first snapshot has been taken by all workers.
    pub serving: bool,
    /// It was removed from the cluster.
    pub removed: bool,
    /// It was told to leave.
    pub draining: bool,
    /// For how long there has been no leader that this node hears.
    pub leaderless_for: Option<Duration>,
    /// What is broken about its disk or its log, and for how long.
    pub disk: Option<(String, Duration)>,
    /// Why it does not serve by the version that it should, and for how long.
    pub not_live: Option<(String, Duration)>,
    /// It serves by version 0, in which nothing is.
    pub empty: bool,
    /// `cluster.stale.warn`.
    pub stale_warn: Duration,
    /// `cluster.stale.unready_after`.
    pub unready_after: Option<Duration>,
    /// How the store of shared state is.
    pub store: StoreState,
    /// The wall clock, which the store's times are of.
    pub now: SystemTime,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Why 503; `None` is 200.
    pub reason: Option<String>,
    /// `(what, since when, why)`.
    pub degraded: Vec<(&'static str, SystemTime, String)>,
}

/// Decides.
#[must_use]
pub(crate) fn judge(facts: &Facts) -> Readiness {
    Readiness {
        reason: reason(facts),
        degraded: degraded(facts),
    }
}

fn reason(facts: &Facts) -> Option<String> {
    if facts.draining {
        return Some("draining".to_owned());
    }
    if facts.removed {
        return Some("removed from the cluster".to_owned());
    }
    if !facts.formed {
        return Some(match &facts.waiting_for {
            Some(what) => format!("forming: {what}"),
            None => "forming".to_owned(),
        });
    }
    if !facts.caught_up {
        if !facts.has_leader && facts.up >= WITHOUT_LEADER && facts.stored && facts.serving {
            // Traffic goes on by what the disk has.
        } else if facts.has_leader {
            return Some("catching up with the leader".to_owned());
        } else if facts.stored {
            return Some("no leader yet: goes on with the stored configuration after 10 s".to_owned());
        } else {
            return Some("no leader yet, and no configuration is stored here".to_owned());
        }
    }
    // It has no last version to go on with: every request would be a 404.
    if let (true, Some((why, _))) = (facts.empty, &facts.not_live) {
        return Some(why.clone());
    }
    match (facts.unready_after, facts.leaderless_for) {
        (Some(limit), Some(age)) if age >= limit => {
            Some("stale: no news for longer than cluster.stale.unready_after".to_owned())
        }
        _ => None,
    }
}

fn degraded(facts: &Facts) -> Vec<(&'static str, SystemTime, String)> {
    let since = |age: Duration| facts.now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut degraded = Vec::new();
    if let Some((why, age)) = &facts.disk {
        degraded.push(("disk", since(*age), why.clone()));
    }
    if facts.formed
        && let Some(age) = facts.leaderless_for
    {
        degraded.push((
            "majority",
            since(age),
            "no leader with a majority is heard: the configuration stays as it is".to_owned(),
        ));
        if age >= facts.stale_warn {
            degraded.push((
                "stale",
                since(age),
                "changes made elsewhere would not be known here".to_owned(),
            ));
        }
    }
    if let Some((why, age)) = &facts.not_live {
        degraded.push(("version", since(*age), why.clone()));
    }
    match &facts.store {
        StoreState::Memory | StoreState::Reached => {}
        StoreState::Away { since, why } => degraded.push((
            "redis",
            *since,
            format!("{why}; limits go on by their on_failure, breakers by what this node sees alone"),
        )),
        StoreState::Doubted { since, why } => degraded.push(("shared-store", *since, why.clone())),
    }
    degraded
}

impl Default for Facts {
    /// Of a node of which nothing is known yet.
    fn default() -> Self {
        Self {
            formed: false,
            waiting_for: None,
            caught_up: false,
            has_leader: false,
            up: Duration::ZERO,
            stored: false,
            serving: false,
            removed: false,
            draining: false,
            leaderless_for: None,
            disk: None,
            not_live: None,
            empty: false,
            stale_warn: Duration::ZERO,
            unready_after: None,
            store: StoreState::Memory,
            now: SystemTime::UNIX_EPOCH,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn serving() -> Facts {
        Facts {
            formed: true,
            caught_up: true,
            has_leader: true,
            stored: true,
            serving: true,
            up: Duration::from_secs(60),
            stale_warn: Duration::from_secs(60),
            ..Facts::default()
        }
    }

    #[test]
    fn a_member_that_has_caught_up_is_ready() {
        assert_eq!(judge(&serving()).reason, None);
        assert_eq!(judge(&serving()).degraded, []);
    }

    #[test]
    fn before_forming_it_is_not_and_says_what_it_waits_for() {
        let facts = Facts {
            formed: false,
            waiting_for: Some("n3 is not heard".to_owned()),
            ..serving()
        };
        assert_eq!(judge(&facts).reason.unwrap(), "forming: n3 is not heard");
    }

    #[test]
    fn a_lost_majority_shows_in_the_body_and_leaves_it_ready() {
        let facts = Facts {
            has_leader: false,
            leaderless_for: Some(Duration::from_secs(3600)),
            ..serving()
        };
        let found = judge(&facts);
        assert_eq!(found.reason, None);
        let what: Vec<_> = found.degraded.iter().map(|(what, ..)| *what).collect();
        assert_eq!(what, ["majority", "stale"]);
        let hour = Duration::from_secs(3600);
        let later = Facts {
            now: facts.now + hour,
            leaderless_for: Some(2 * hour),
            ..facts
        };
        assert_eq!(judge(&later), found, "since when it is so does not move");
    }

    #[test]
    fn a_start_without_a_leader_waits_ten_seconds_and_then_takes_what_is_stored() {
        let start = Facts {
            caught_up: false,
            has_leader: false,
            leaderless_for: Some(Duration::from_secs(9)),
            up: Duration::from_secs(9),
            ..serving()
        };
        assert!(judge(&start).reason.is_some());
        let later = Facts {
            up: WITHOUT_LEADER,
            ..start.clone()
        };
        assert_eq!(judge(&later).reason, None);
        let empty = Facts { stored: false, ..later };
        assert!(judge(&empty).reason.is_some());
    }

    #[test]
    fn with_a_leader_it_catches_up_first_however_long_that_takes() {
        let facts = Facts {
            caught_up: false,
            ..serving()
        };
        assert!(judge(&facts).reason.is_some());
    }

    #[test]
    fn a_store_that_is_away_or_doubted_shows_in_the_body_and_leaves_it_ready() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let since = now - Duration::from_secs(7);
        let why = || "no connection".to_owned();
        for (store, what) in [
            (StoreState::Away { since, why: why() }, "redis"),
            (StoreState::Doubted { since, why: why() }, "shared-store"),
        ] {
            let found = judge(&Facts {
                store,
                now,
                ..serving()
            });
            assert_eq!(found.reason, None);
            let (told, at, words) = &found.degraded[0];
            assert_eq!((*told, *at), (what, since));
            assert!(words.starts_with("no connection"), "{words}");
        }
        for store in [StoreState::Memory, StoreState::Reached] {
            assert_eq!(judge(&Facts { store, ..serving() }).degraded, []);
        }
    }

    #[test]
    fn a_drain_wins_over_everything() {
        let facts = Facts {
            draining: true,
            ..serving()
        };
        assert_eq!(judge(&facts).reason.unwrap(), "draining");
    }

    #[test]
    fn staleness_turns_it_only_where_the_document_says_so() {
        let facts = Facts {
            has_leader: false,
            leaderless_for: Some(Duration::from_secs(120)),
            unready_after: Some(Duration::from_secs(60)),
            ..serving()
        };
        assert!(judge(&facts).reason.unwrap().starts_with("stale"));
    }

    #[test]
    fn a_version_that_cannot_be_served_is_told() {
        let facts = Facts {
            not_live: Some(("no listener partner".to_owned(), Duration::from_secs(1))),
            ..serving()
        };
        assert_eq!(judge(&facts).degraded[0].0, "version");
        assert_eq!(judge(&facts).reason, None);
        let nothing_else = Facts { empty: true, ..facts };
        assert!(judge(&nothing_else).reason.is_some_and(|why| why.contains("partner")));
    }
}
