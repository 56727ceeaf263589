//! Why an operation was refused, with what a person needs to act.

use crate::view::OpenTrial;
use serde::{Deserialize, Serialize};
use sluice_document::Diagnostic;

/// Why nothing was done, or why it is not known whether it was.
///
/// Travels between nodes as JSON, so that members of neighbouring versions understand each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The document, or what it would become, does not hold.
    #[error("the configuration is not valid: {}", first(errors))]
    Invalid {
        /// Everything that is wrong with it.
        errors: Vec<Diagnostic>,
    },
    /// Made for another version than the present one.
    #[error("the configuration is at version {head}, and this change was made for version {expected}")]
    VersionConflict {
        /// The version that the caller named.
        expected: u64,
        /// The present one.
        head: u64,
    },
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used before, for another change: take a fresh one for each change")]
    IdempotencyReuse,
    /// The cluster has no leader at the moment.
    #[error("the cluster has no leader: {why}")]
    NoLeader {
        /// What is known about it.
        why: String,
    },
    /// The leader does not reach a majority.
    #[error("no majority of the voters can be reached: nothing can be changed until it is back")]
    NoMajority,
    /// It may have been done, or may yet be.
    #[error("{why}: look at the history for request {request_id}, or repeat it with an Idempotency-Key")]
    OutcomeUnknown {
        /// What happened.
        why: String,
        /// The request's id, as the history will show it.
        request_id: String,
    },
    /// The version is no longer kept, or never was.
    #[error("version {version} is not kept: the oldest that is kept is {oldest}, the newest {newest}")]
    Pruned {
        /// What was asked for.
        version: u64,
        /// The oldest kept.
        oldest: u64,
        /// The newest.
        newest: u64,
    },
    /// The change needs a feature level that the cluster has not.
    #[error("the change needs feature level {needed}, and the cluster is at {cluster}: update every node first")]
    LevelTooLow {
        /// What the change needs.
        needed: u32,
        /// What the cluster is at.
        cluster: u32,
    },
    /// The path names a part, a member or a token that does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// It cannot be done in the present state.
    #[error("{why}")]
    Conflict {
        /// Why, and what to do.
        why: String,
    },
    /// Another version is on trial, and nothing else is changed before that has ended.
    #[error("{}", pending(trial))]
    PendingChange {
        /// Which, by whom, until when.
        trial: Box<OpenTrial>,
    },
    /// The trial of the version has ended otherwise.
    #[error("{why}")]
    TrialOver {
        /// Which.
        version: u64,
        /// What happened to it, and what to do.
        why: String,
    },
    /// Too much waits already.
    #[error("{waiting} changes wait already: try again in a moment")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// This node's own disk or log is broken: another node will do.
    #[error("this node cannot take part: {why}")]
    Degraded {
        /// What is broken.
        why: String,
    },
    /// This node belongs to no cluster yet.
    #[error("this node belongs to no cluster yet: {why}")]
    NotFormed {
        /// What it waits for.
        why: String,
    },
    /// No node reaches the store of shared state.
    #[error("the store of shared state does not answer: {why}")]
    StoreAway {
        /// What is known about it.
        why: String,
    },
    /// A fault of ours.
    #[error("{why}")]
    Internal {
        /// What happened.
        why: String,
    },
}

// === impl Refusal ===

impl Refusal {
    /// One error without a place in a file.
    pub(crate) fn invalid(errors: Vec<Diagnostic>) -> Self {
        Self::Invalid { errors }
    }

    /// What there is to say of a version that is not kept: it was pruned, or never was.
    pub(crate) fn no_version(version: u64, kept: &sluice_consensus::Pruned) -> Self {
        if version > kept.head {
            return Self::NotFound {
                what: format!("version {version}: the newest is {}", kept.head),
            };
        }
        Self::Pruned {
            version,
            oldest: kept.oldest,
            newest: kept.head,
        }
    }

    /// Whether asking again after a short wait, perhaps of another leader, is sound: nothing was
    /// done.
    pub(crate) fn may_be_repeated(&self) -> bool {
        matches!(self, Self::NoLeader { .. })
    }
}

fn pending(trial: &OpenTrial) -> String {
    let OpenTrial {
        version,
        before,
        author,
        at,
        ..
    } = trial;
    let on = trial.on.as_ref().map(|on| format!(" on {} alone", on.join(", ")));
    let until = trial
        .confirm_by
        .as_ref()
        .map(|by| format!(", undone at {by} unless confirmed"));
    let end = match (&trial.on, &trial.confirm_by) {
        (Some(_), Some(_)) => format!("confirm and promote {version}"),
        (Some(_), None) => format!("promote {version}"),
        (None, _) => format!("confirm {version}"),
    };
    format!(
        "version {version} of {author} is on trial since {at}{}{}: {end}, or end it by a rollback to {before}",
        on.unwrap_or_default(),
        until.unwrap_or_default()
    )
}

fn first(errors: &[Diagnostic]) -> String {
    match errors {
        [] => "no reason was given".to_owned(),
        [one] => place(one),
        [one, more @ ..] => format!("{} (and {} more)", place(one), more.len()),
    }
}

fn place(one: &Diagnostic) -> String {
    if one.path.is_empty() {
        one.message.clone()
    } else {
        format!("{}: {}", one.path, one.message)
    }
}
