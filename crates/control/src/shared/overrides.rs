//! What operators said of breakers: as the log keeps it, and how long it holds. Pure, but for what is noted.
//!
//! The log says until when by the clock of the leader that took the order. Each node works out once, when it first hears
//! of it, how long that is from then on, and goes on by its steady clock, as with the deadline of a trial: a wall clock
//! that is set meanwhile neither ends it nor makes it last.

use crate::rfc3339;
use crate::shared::view::OverrideView;
use crate::trial::left;
use serde::{Deserialize, Serialize};
use sluice_shared_state::BreakerKey;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The collection of records, by [`record_key`].
pub(crate) const COLLECTION: &str = "breaker_override";

/// The feature level of these records.
pub(crate) const LEVEL: u32 = 3;

/// What the cluster keeps of an override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) key: BreakerKey,
    /// No attempt passes; otherwise all do.
    pub(crate) open: bool,
    pub(crate) who: String,
    pub(crate) from: String,
    pub(crate) why: String,
    pub(crate) request_id: String,
    pub(crate) at_ms: u64,
    pub(crate) until_ms: u64,
}

/// The overrides that this node knows of, by the keys of their records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides(BTreeMap<String, Note>);

#[derive(Debug, Clone)]
struct Note {
    stored: Stored,
    until: Instant,
    over: bool,
}

/// What a look at the records came to.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Who is to be told what: an override and how much is left of it, or that there is none any more.
    pub(crate) tell: Vec<(BreakerKey, Option<(Stored, Duration)>)>,
    /// When the next one is over.
    pub(crate) next: Option<Instant>,
    /// Records whose time is over, with what they hold: the leader takes them away.
    pub(crate) over: Vec<(String, Stored)>,
}

/// Under which key the override of a breaker is kept; names it in messages, too.
pub(crate) fn record_key(key: &BreakerKey) -> String {
    match &key.route {
        Some((gateway, id)) => format!("{} on {gateway}/{id}", key.upstream),
        None => key.upstream.to_string(),
    }
}

/// What a record holds; nothing where a newer binary wrote it in another way.
pub(crate) fn read(record: &[u8]) -> Option<Stored> {
    serde_json::from_slice(record).ok()
}

// === impl Overrides ===

impl Overrides {
    /// Takes up what the log has now.
    pub(crate) fn look(&mut self, records: &BTreeMap<String, Vec<u8>>, now: Instant, now_ms: u64) -> Looked {
        let mut looked = Looked::default();
        let present: BTreeMap<&String, Stored> = records
            .iter()
            .filter_map(|(key, record)| Some((key, read(record)?)))
            .collect();
        self.0.retain(|key, note| {
            let stays = present.contains_key(key);
            if !stays && !note.over {
                looked.tell.push((note.stored.key.clone(), None));
            }
            stays
        });
        for (key, stored) in present {
            let known = self.0.get(key).is_some_and(|note| note.stored == stored);
            if !known {
                let lasts = left(stored.at_ms, stored.until_ms, now_ms);
                let note = Note {
                    until: now + lasts,
                    over: lasts.is_zero(),
                    stored: stored.clone(),
                };
                // Of one that is over already nobody has been told, unless it takes another's place.
                let before = self.0.insert(key.clone(), note);
                match lasts.is_zero() {
                    false => looked.tell.push((stored.key.clone(), Some((stored.clone(), lasts)))),
                    true if before.is_some_and(|before| !before.over) => {
                        looked.tell.push((stored.key.clone(), None));
                    }
                    true => {}
                }
            }
        }
        for (key, note) in &mut self.0 {
            if !note.over && note.until <= now {
                note.over = true;
                looked.tell.push((note.stored.key.clone(), None));
            }
            match note.over {
                true => looked.over.push((key.clone(), note.stored.clone())),
                false => looked.next = Some(looked.next.map_or(note.until, |next| next.min(note.until))),
            }
        }
        looked
    }

    /// The override of a breaker that holds.
    pub(crate) fn of(&self, key: &BreakerKey) -> Option<&Stored> {
        let note = self.0.get(&record_key(key))?;
        (!note.over).then_some(&note.stored)
    }

    /// All that hold.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.0.values().filter(|note| !note.over).map(|note| &note.stored)
    }

    /// Whether what holds for a breaker is what this request said; without one, whether nothing does.
    pub(crate) fn agrees(&self, key: &BreakerKey, request_id: Option<&str>) -> bool {
        self.of(key).map(|stored| stored.request_id.as_str()) == request_id
    }
}

// === impl Stored ===

impl Stored {
    pub(crate) fn view(&self) -> OverrideView {
        OverrideView {
            state: if self.open { "open" } else { "closed" }.to_owned(),
            who: self.who.clone(),
            from: self.from.clone(),
            why: self.why.clone(),
            at: rfc3339::from_ms(self.at_ms),
            until: rfc3339::from_ms(self.until_ms),
            request_id: self.request_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(route: Option<&str>) -> BreakerKey {
        BreakerKey {
            upstream: "orders".into(),
            route: route.map(|id| ("web".into(), id.into())),
        }
    }

    fn stored(request_id: &str, at_ms: u64, until_ms: u64) -> Stored {
        Stored {
            key: key(None),
            open: true,
            who: "ada".to_owned(),
            from: "10.0.0.9 through n1".to_owned(),
            why: "it burns".to_owned(),
            request_id: request_id.to_owned(),
            at_ms,
            until_ms,
        }
    }

    fn records(all: &[Stored]) -> BTreeMap<String, Vec<u8>> {
        let record = |stored: &Stored| (record_key(&stored.key), serde_json::to_vec(stored).unwrap());
        all.iter().map(record).collect()
    }

    /// What is told of the one breaker: nothing, that nothing holds, or how long something does.
    fn told(looked: &Looked) -> Option<Option<Duration>> {
        assert!(looked.tell.len() <= 1, "{looked:?}");
        let (_, what) = looked.tell.first()?;
        Some(what.as_ref().map(|(_, left)| *left))
    }

    #[test]
    fn an_override_is_told_once_and_over_when_its_time_is() {
        let (mut overrides, now) = (Overrides::default(), Instant::now());
        let log = records(&[stored("r1", 1_000, 61_000)]);
        let first = overrides.look(&log, now, 2_000);
        assert_eq!(told(&first), Some(Some(59 * SECOND)));
        assert_eq!(first.next, Some(now + 59 * SECOND));
        assert!(overrides.agrees(&key(None), Some("r1")) && !overrides.agrees(&key(None), None));
        assert_eq!(told(&overrides.look(&log, now + 58 * SECOND, 60_000)), None);
        let end = overrides.look(&log, now + 59 * SECOND, 61_000);
        assert_eq!(told(&end), Some(None));
        assert_eq!((end.next, end.over.len()), (None, 1), "the record is to be taken away");
        assert!(overrides.of(&key(None)).is_none());
        assert_eq!(told(&overrides.look(&records(&[]), now + 60 * SECOND, 62_000)), None);
    }

    #[test]
    fn a_node_that_starts_later_honours_what_is_left_and_nothing_that_is_over() {
        let now = Instant::now();
        let log = records(&[stored("r1", 1_000, 61_000)]);
        assert_eq!(
            told(&Overrides::default().look(&log, now, 51_000)),
            Some(Some(10 * SECOND))
        );
        let late = Overrides::default().look(&log, now, 61_000);
        assert_eq!(told(&late), None);
        assert_eq!(late.over.len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_meanwhile_neither_ends_an_override_nor_makes_it_last() {
        let (mut overrides, now) = (Overrides::default(), Instant::now());
        let log = records(&[stored("r1", 1_000, 61_000)]);
        overrides.look(&log, now, 1_000);
        assert_eq!(told(&overrides.look(&log, now + SECOND, 999_000)), None);
        assert_eq!(told(&overrides.look(&log, now + 60 * SECOND, 0)), Some(None));
        let behind = Overrides::default().look(&log, now, 0);
        assert_eq!(
            told(&behind),
            Some(Some(60 * SECOND)),
            "never longer than was asked for"
        );
    }

    #[test]
    fn what_is_said_anew_takes_the_place_of_what_was_said_before() {
        let (mut overrides, now) = (Overrides::default(), Instant::now());
        overrides.look(&records(&[stored("r1", 1_000, 61_000)]), now, 1_000);
        let again = overrides.look(&records(&[stored("r2", 2_000, 12_000)]), now + SECOND, 2_000);
        assert_eq!(told(&again), Some(Some(10 * SECOND)));
        assert!(overrides.agrees(&key(None), Some("r2")));
        let released = overrides.look(&records(&[]), now + SECOND, 2_000);
        assert_eq!(told(&released), Some(None));
        assert!(overrides.agrees(&key(None), None));
    }

    #[test]
    fn what_a_newer_binary_wrote_in_another_way_is_passed_over() {
        let log = BTreeMap::from([("orders".to_owned(), b"{\"keys\":[]}".to_vec())]);
        let looked = Overrides::default().look(&log, Instant::now(), 0);
        assert!(looked.tell.is_empty() && looked.over.is_empty());
    }

    #[test]
    fn a_route_of_an_upstream_has_an_override_of_its_own() {
        let (mut overrides, now) = (Overrides::default(), Instant::now());
        let of_route = Stored {
            key: key(Some("get-orders")),
            ..stored("r2", 0, 60_000)
        };
        overrides.look(&records(&[of_route]), now, 0);
        assert!(overrides.of(&key(None)).is_none());
        assert!(overrides.of(&key(Some("get-orders"))).is_some());
        assert_eq!(record_key(&key(Some("get-orders"))), "orders on web/get-orders");
    }
}
