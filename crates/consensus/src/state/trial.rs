//! Versions on trial: live on some nodes alone, or until a deadline, and what becomes of them.
//!
//! ```text
//!   stored with `on` or `confirm_by_ms` ──▶ open ──▶ confirmed, promoted: one limit less
//!                                            │               └─ none left: live on all, for good
//!                                            └─▶ undone: a new version with what was live before
//! ```
//!
//! While one is open nothing else is stored. Its limits only fall away, so the version that a node is
//! to serve never falls; an undone version is never to be live again.
//!
//! What became of a trial is kept as a record beside the history, as long as the version is in it.

use serde::{Deserialize, Serialize};
use sluice_peer::codec;

use super::{Effect, Head, State, Trial};
use crate::command::{Activation, Author, Envelope};

/// The collection of the records of trials; the key is the version.
const COLLECTION: &str = "trial";

/// What is known of a version's trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// The nodes that it began on; `None`: on all.
    pub on: Option<Vec<String>>,
    /// The deadline that it began with, in milliseconds since the Unix epoch by the leader's clock.
    pub confirm_by_ms: Option<u64>,
    /// What was done about it, in order.
    pub steps: Vec<TrialStep>,
}

/// Something that was done about a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStep {
    /// What.
    pub what: TrialAct,
    /// When, by the leader's clock, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who did it.
    pub author: Author,
    /// By which request.
    pub request_id: String,
    /// The newest version after it.
    pub head: u64,
}

/// What is done about a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrialAct {
    /// Its deadline fell away.
    Confirmed,
    /// It is live on all nodes, not on the named ones alone.
    Promoted,
    /// What was live before it came back, as a new version.
    Undone,
}

// === impl TrialRecord ===

impl TrialRecord {
    /// Whether it was taken back.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        self.steps.iter().any(|step| step.what == TrialAct::Undone)
    }
}

// === impl Head ===

impl Head {
    /// This version is on trial now, within these limits.
    pub(super) fn begin(&mut self, version: u64, activation: &Activation) {
        self.trial = Some(Trial {
            version,
            on: activation.on.clone(),
            confirm_by_ms: activation.confirm_by_ms,
        });
    }
}

// === impl Activation ===

impl Activation {
    /// Neither a limit of place nor one of time.
    pub(super) fn for_good(&self) -> bool {
        self.on.is_none() && self.confirm_by_ms.is_none()
    }

    /// What it takes away from the limits of an open trial; `None` where it would set one.
    pub(super) fn lifts(&self, open: &Trial) -> Option<Vec<TrialAct>> {
        let mut acts = Vec::new();
        match (&self.on, &open.on) {
            (None, Some(_)) => acts.push(TrialAct::Promoted),
            (now, before) if now == before => {}
            _ => return None,
        }
        match (self.confirm_by_ms, open.confirm_by_ms) {
            (None, Some(_)) => acts.push(TrialAct::Confirmed),
            (now, before) if now == before => {}
            _ => return None,
        }
        Some(acts)
    }
}

// === impl State ===

impl State {
    /// What is known of a version's trial, where it had one and is in the history still.
    pub(crate) fn trial(&self, version: u64) -> Option<TrialRecord> {
        let record = self.records.get(COLLECTION)?.get(&key(version))?;
        // What this binary cannot read was written by a newer one; its history tells less then.
        codec::decode(record).ok()
    }

    /// Whether this node may go back to a version that it has not been told to serve now: not to
    /// one that was undone, nor to one that is open on other nodes alone.
    pub(crate) fn may_serve(&self, version: u64, name: &str) -> bool {
        match &self.head.trial {
            Some(open) if open.version == version => self.head.live_on(name) == version,
            _ => self.trial(version).is_none_or(|trial| !trial.is_undone()),
        }
    }

    /// The record of a trial that begins.
    pub(super) fn trial_begins(version: u64, activation: &Activation) -> Option<Effect> {
        put(
            version,
            &TrialRecord {
                on: activation.on.clone(),
                confirm_by_ms: activation.confirm_by_ms,
                steps: Vec::new(),
            },
        )
    }

    /// The record of a trial about which this is done.
    pub(super) fn trial_goes_on(
        &self,
        version: u64,
        envelope: &Envelope,
        acts: &[TrialAct],
        head: u64,
    ) -> Option<Effect> {
        let mut trial = self.trial(version)?;
        trial.steps.extend(acts.iter().map(|what| TrialStep {
            what: *what,
            at_ms: envelope.at_ms,
            author: envelope.author.clone(),
            request_id: envelope.request_id.clone(),
            head,
        }));
        put(version, &trial)
    }

    /// The records of trials whose versions leave the history.
    pub(super) fn trials_leave(&self, upto: u64) -> impl Iterator<Item = Effect> + '_ {
        let all = self.records.get(COLLECTION).into_iter().flatten();
        all.map(|(key, _)| key)
            .filter(move |name| **name <= key(upto))
            .map(|name| Effect::Record {
                collection: COLLECTION.to_owned(),
                key: name.clone(),
                value: None,
            })
    }
}

fn put(version: u64, trial: &TrialRecord) -> Option<Effect> {
    // Texts and numbers within an envelope's bounds: these always have bytes, or on no node.
    let value = codec::encode(trial).ok()?;
    Some(Effect::Record {
        collection: COLLECTION.to_owned(),
        key: key(version),
        value: Some(value),
    })
}

/// Sorts as the versions do.
fn key(version: u64) -> String {
    format!("{version:020}")
}
