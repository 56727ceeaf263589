//! Which versions there were, and what each changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{State, TrialRecord};
use crate::command::{Author, PartChange};
use crate::error::Pruned;

/// One version of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its number.
    pub version: u64,
    /// When it was proposed, by its leader's clock, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who made it.
    pub author: Author,
    /// By which request.
    pub request_id: String,
    /// The parts that it changed.
    pub changed: Vec<Arc<str>>,
    /// Whether it came with the operator's own text.
    pub original: bool,
    /// What became of it, where it was live on some nodes alone or until a deadline at first.
    pub trial: Option<TrialRecord>,
}

/// How much history is kept. Whichever is reached first counts; what is live, or may come back to
/// be, stays in reach all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// So many versions. 1000.
    pub versions: u64,
    /// So many bytes of changes. 32 MiB.
    pub bytes: u64,
}

/// A version as it is kept: what it changed, both ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revision {
    pub(crate) version: u64,
    pub(crate) at_ms: u64,
    pub(crate) author: Author,
    pub(crate) request_id: String,
    pub(crate) original: bool,
    /// In the order of their keys, each once.
    pub(crate) deltas: Vec<Delta>,
}

/// What a part was before a version, and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delta {
    pub(crate) key: Arc<str>,
    pub(crate) before: Option<Arc<str>>,
    pub(crate) after: Option<Arc<str>>,
}

/// A part's text at some version, if it was there.
type Text<'a> = &'a Option<Arc<str>>;

// === impl HistoryLimits ===

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            versions: 1000,
            bytes: 32 * 1024 * 1024,
        }
    }
}

// === impl Revision ===

impl Revision {
    /// What it counts for in the history's limit of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let text = |t: &Option<Arc<str>>| t.as_ref().map_or(0, |t| t.len());
        let deltas: usize = self
            .deltas
            .iter()
            .map(|d| d.key.len() + text(&d.before) + text(&d.after))
            .sum();
        let author = self.author.who.len() + self.author.from.len() + self.author.why.as_ref().map_or(0, String::len);
        (deltas + author + self.request_id.len()) as u64
    }

    fn entry(&self, trial: Option<TrialRecord>) -> HistoryEntry {
        HistoryEntry {
            version: self.version,
            at_ms: self.at_ms,
            author: self.author.clone(),
            request_id: self.request_id.clone(),
            changed: self.deltas.iter().map(|d| Arc::clone(&d.key)).collect(),
            original: self.original,
            trial,
        }
    }
}

// === impl State ===

impl State {
    /// The oldest version whose parts can still be told.
    pub(crate) fn oldest(&self) -> u64 {
        self.history.front().map_or(self.head.version, |r| r.version - 1)
    }

    /// The parts of a version in reach: the head, walked back.
    pub(crate) fn parts_at(&self, version: u64) -> Result<BTreeMap<Arc<str>, Arc<str>>, Pruned> {
        let (oldest, head) = (self.oldest(), self.head.version);
        if version < oldest || version > head {
            return Err(Pruned { version, oldest, head });
        }
        let mut parts: BTreeMap<_, _> = self
            .parts
            .iter()
            .map(|(key, entry)| (Arc::clone(key), Arc::clone(&entry.value)))
            .collect();
        for revision in self.history.iter().rev().take_while(|r| r.version > version) {
            for Delta { key, before, .. } in &revision.deltas {
                match before {
                    Some(value) => parts.insert(Arc::clone(key), Arc::clone(value)),
                    None => parts.remove(key),
                };
            }
        }
        Ok(parts)
    }

    /// What turns one version into the other. Costs what was changed between the two.
    pub(crate) fn delta(&self, from: u64, to: u64) -> Option<Vec<PartChange>> {
        let (low, high) = (from.min(to), from.max(to));
        if low < self.oldest() || high > self.head.version {
            return None;
        }
        // Of each part, what it was at `low` and what it is at `high`.
        let mut ends: BTreeMap<&Arc<str>, (Text<'_>, Text<'_>)> = BTreeMap::new();
        let between = self.history.iter().skip_while(|r| r.version <= low);
        for revision in between.take_while(|r| r.version <= high) {
            for Delta { key, before, after } in &revision.deltas {
                ends.entry(key).or_insert((before, after)).1 = after;
            }
        }
        let changes = ends.into_iter().filter(|(_, (low, high))| low != high);
        Some(
            changes
                .map(|(key, (at_low, at_high))| PartChange {
                    key: Arc::clone(key),
                    value: if from <= to { at_high.clone() } else { at_low.clone() },
                })
                .collect(),
        )
    }

    /// The versions before `before`, newest first.
    pub(crate) fn history(&self, before: Option<u64>, limit: usize) -> Vec<HistoryEntry> {
        let wanted = |r: &&Arc<Revision>| before.is_none_or(|before| r.version < before);
        let revisions = self.history.iter().rev().filter(wanted);
        revisions.take(limit).map(|r| r.entry(self.trial(r.version))).collect()
    }
}
