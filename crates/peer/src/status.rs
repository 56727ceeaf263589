//! The status that all nodes tell each other, and what was heard of the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::identity::{Identity, NodeId};

/// What a node tells the others of itself, every 100 ms and at once on change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's incarnation.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// The newest version that it knows to be committed.
    pub committed: u64,
    /// The version by which all its workers serve.
    pub live: u64,
    /// The digest of that version's configuration.
    pub live_digest: [u8; 16],
    /// Why it cannot serve the version that it should. Cut to 1 KiB when told.
    pub why_not_live: Option<String>,
    /// Whether it is leaving.
    pub draining: bool,
    /// Whether its /readyz says 200.
    pub ready: bool,
    /// Whether it reaches the shared store; `None` where there is none.
    pub shared_store: Option<bool>,
    /// The highest feature level that it knows.
    pub level: u32,
    /// How busy its workers are, 0 to 1.
    pub load: f32,
    /// Its Raft term.
    pub term: u64,
    /// The index of the last entry of its Raft log.
    pub last_log: u64,
}

/// The last that was heard of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// What it told.
    pub status: Status,
    /// Who told it, as it introduced itself.
    pub identity: Arc<Identity>,
    /// When that arrived here.
    pub at: Instant,
}

/// A status on its way: the sender's boot and a number that rises with each, so that what an old
/// connection still had in it never covers what a newer one brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// A random number of the sender's process.
    pub(crate) boot: u64,
    /// Rises with each status that the process tells.
    pub(crate) sequence: u64,
    /// What it tells.
    pub(crate) status: Status,
}

/// Bytes of [`Status::why_not_live`] that are told.
pub(crate) const WHY_LIMIT: usize = 1024;

/// After how long without a word a node is forgotten.
pub(crate) const FORGET_AFTER: Duration = Duration::from_secs(60);

/// How many nodes are remembered at most; the one silent for longest gives way.
const REMEMBERED: usize = 1024;

/// A silence that is news when it ends, though the status is the same as before: three tellings.
const SILENCE: Duration = Duration::from_millis(300);

/// What was heard of whom. Pure: time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Board {
    notes: HashMap<NodeId, Note>,
}

#[derive(Debug)]
struct Note {
    heard: Heard,
    boot: u64,
    sequence: u64,
}

// === impl Status ===

impl Status {
    /// The same with its texts cut to what may be told, and a load that equals itself.
    pub(crate) fn bounded(mut self) -> Self {
        if self.load.is_nan() {
            self.load = 0.0;
        }
        if let Some(why) = &mut self.why_not_live {
            let mut end = why.len().min(WHY_LIMIT);
            while !why.is_char_boundary(end) {
                end -= 1;
            }
            why.truncate(end);
        }
        self
    }
}

// === impl Board ===

impl Board {
    /// Notes what `identity` told. Says whether that is news: another status than before, a node
    /// not known, or one heard again after a silence.
    pub(crate) fn note(&mut self, told: Told, identity: Arc<Identity>, now: Instant) -> bool {
        let id = told.status.id;
        let before = self.notes.get(&id);
        if before.is_some_and(|n| n.boot == told.boot && n.sequence >= told.sequence) {
            return false;
        }
        let news = before.is_none_or(|n| {
            n.heard.status != told.status
                || n.heard.identity != identity
                || now.saturating_duration_since(n.heard.at) >= SILENCE
        });
        if before.is_none() && self.notes.len() >= REMEMBERED {
            let quietest = self.notes.iter().min_by_key(|(_, n)| n.heard.at).map(|(id, _)| *id);
            if let Some(quietest) = quietest {
                self.notes.remove(&quietest);
            }
        }
        let heard = Heard {
            status: told.status,
            identity,
            at: now,
        };
        self.notes.insert(
            id,
            Note {
                heard,
                boot: told.boot,
                sequence: told.sequence,
            },
        );
        news
    }

    /// Forgets who was silent for [`FORGET_AFTER`]. Says whether anybody was.
    pub(crate) fn forget(&mut self, now: Instant) -> bool {
        let before = self.notes.len();
        self.notes
            .retain(|_, n| now.saturating_duration_since(n.heard.at) < FORGET_AFTER);
        self.notes.len() != before
    }

    /// All that are remembered, by id.
    pub(crate) fn all(&self) -> Vec<Heard> {
        let mut all: Vec<Heard> = self.notes.values().map(|n| n.heard.clone()).collect();
        all.sort_by_key(|h| h.status.id);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: u64) -> Arc<Identity> {
        Arc::new(Identity {
            cluster: "shop".into(),
            cluster_id: None,
            name: format!("n{id}"),
            id: NodeId(id),
            peer: String::new(),
            admin: String::new(),
            zone: None,
            labels: Default::default(),
            binary: String::new(),
            level: 1,
        })
    }

    fn told(id: u64, boot: u64, sequence: u64, committed: u64) -> Told {
        let status = Status {
            id: NodeId(id),
            name: format!("n{id}"),
            committed,
            live: 0,
            live_digest: [0; 16],
            why_not_live: None,
            draining: false,
            ready: true,
            shared_store: None,
            level: 1,
            load: 0.0,
            term: 1,
            last_log: 0,
        };
        Told { boot, sequence, status }
    }

    #[test]
    fn the_same_again_is_no_news_until_a_silence_has_passed() {
        let (mut board, t0) = (Board::default(), Instant::now());
        assert!(board.note(told(1, 9, 1, 5), identity(1), t0));
        assert!(!board.note(told(1, 9, 2, 5), identity(1), t0 + Duration::from_millis(100)));
        assert!(board.note(told(1, 9, 3, 6), identity(1), t0 + Duration::from_millis(200)));
        assert!(board.note(told(1, 9, 4, 6), identity(1), t0 + Duration::from_secs(5)));
    }

    #[test]
    fn an_older_status_of_the_same_boot_never_covers_a_newer_one() {
        let (mut board, t0) = (Board::default(), Instant::now());
        board.note(told(1, 9, 7, 6), identity(1), t0);
        assert!(!board.note(told(1, 9, 6, 5), identity(1), t0));
        assert_eq!(board.all()[0].status.committed, 6);
        assert!(
            board.note(told(1, 10, 1, 5), identity(1), t0),
            "a new boot counts from the start"
        );
        assert_eq!(board.all()[0].status.committed, 5);
    }

    #[test]
    fn who_is_silent_for_long_is_forgotten() {
        let (mut board, t0) = (Board::default(), Instant::now());
        board.note(told(1, 9, 1, 5), identity(1), t0);
        board.note(told(2, 9, 1, 5), identity(2), t0 + FORGET_AFTER / 2);
        assert!(!board.forget(t0 + FORGET_AFTER / 2));
        assert!(board.forget(t0 + FORGET_AFTER));
        assert_eq!(board.all().iter().map(|h| h.status.id.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn the_number_of_remembered_nodes_is_bounded() {
        let (mut board, t0) = (Board::default(), Instant::now());
        for id in 0..=REMEMBERED as u64 {
            board.note(told(id, 1, 1, 0), identity(id), t0 + Duration::from_micros(id));
        }
        let all = board.all();
        assert_eq!(all.len(), REMEMBERED);
        assert_eq!(all[0].status.id, NodeId(1), "the one heard longest ago gave way");
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut told = told(1, 1, 1, 0);
        told.status.why_not_live = Some(format!("a{}", "é".repeat(2000)));
        let why = told.status.bounded().why_not_live.unwrap_or_default();
        assert_eq!(why.len(), WHY_LIMIT - 1);
    }
}
