//! The one envelope of every command, and the answers to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One command of the log: who wants what, and for which version it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The version that the change was made for. Another head refuses it. Not looked at for
    /// [`Body::Record`] and [`Body::Level`].
    pub base: u64,
    /// The id of the request that asked for it.
    pub request_id: String,
    /// Who asked.
    pub author: Author,
    /// The leader's clock when it proposed, in milliseconds since the Unix epoch. For people:
    /// applying a command reads no clock.
    pub at_ms: u64,
    /// The trace context of the request: version, trace id, span id, flags.
    #[serde(with = "trace")]
    pub trace: Option<[u8; 25]>,
    /// The feature level that a node needs to understand the change.
    pub level: u32,
    /// What makes a repetition of the request harmless.
    pub idempotency: Option<Idempotency>,
    /// What is wanted.
    pub body: Body,
}

/// Who changed something, from where, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The name of the token, or of the way in.
    pub who: String,
    /// The address of the client.
    pub from: String,
    /// What the operator said about it.
    pub why: Option<String>,
}

/// A request's own name, and what it asked: the same key with another digest is a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// A digest of the request that bears it.
    pub digest: [u8; 32],
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Makes a version of changes to parts and, if asked, makes it live in the same step.
    Store {
        /// Puts and deletes; a later one of the same key wins.
        changes: Vec<PartChange>,
        /// Where the new version is to be live; `None` leaves it stored only.
        activate: Option<Activation>,
        /// The text that the operator applied, kept beside the parts. `None` keeps the one there is.
        original: Option<Arc<str>>,
    },
    /// Makes the newest version live, where it was only stored. On the version of an open trial it
    /// takes limits away: without `confirm_by_ms` it is its confirmation, without `on` it makes it
    /// live everywhere. On the version that was live before an open trial, with neither, it ends the
    /// trial: what that version has becomes a new one, live on all.
    Activate {
        /// Which one.
        version: u64,
        /// Where, and until when.
        activation: Activation,
    },
    /// Sets (or with `None` removes) one record of a collection that has no versions: tokens,
    /// members' facts, overrides.
    Record {
        /// The collection's name.
        collection: String,
        /// The record's.
        key: String,
        /// Its bytes, which mean nothing here.
        value: Option<Vec<u8>>,
    },
    /// Raises the cluster's feature level. It never falls.
    Level(u32),
}

/// One part put or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// The part.
    pub key: Arc<str>,
    /// Its text; `None` deletes it.
    pub value: Option<Arc<str>>,
}

/// Where a version is to be live, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// On these nodes alone, by name; `None`: on all.
    pub on: Option<Vec<String>>,
    /// When the version before is to come back unless confirmed, in milliseconds since the Unix
    /// epoch by the leader's clock. It is the leader that then proposes so: no node acts on its own.
    pub confirm_by_ms: Option<u64>,
}

/// What came of a command. Every node comes to the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// It made this version, or activated it.
    Version(u64),
    /// It changed nothing: this is the head.
    Same(u64),
    /// The same request was applied before, with this result.
    Repeated {
        /// The version that it made then (or the head, where it changed nothing).
        version: u64,
        /// The parts that it changed then.
        changed: Vec<Arc<str>>,
    },
    /// It was made for another version than the head.
    WrongBase {
        /// The head.
        head: u64,
    },
    /// Its idempotency key belongs to another request.
    KeyReuse,
    /// It needs a feature level that the cluster has not been raised to.
    LevelTooLow {
        /// The cluster's level.
        cluster: u32,
    },
    /// A version is on trial, and nothing else is changed before that has ended.
    TrialOpen {
        /// Which.
        version: u64,
    },
    /// It would activate a version that is neither the newest nor has to do with an open trial.
    NotNewest {
        /// The head.
        head: u64,
    },
    /// It would activate a version that does not exist, or not any more.
    NoSuchVersion {
        /// The head.
        head: u64,
    },
    /// The record is set; or the level is what was asked.
    Record,
}

/// Arrays of 25 are beyond what serde derives for.
mod trace {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(trace: &Option<[u8; 25]>, to: S) -> Result<S::Ok, S::Error> {
        trace.as_ref().map(<[u8; 25]>::as_slice).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 25]>, D::Error> {
        let bytes: Option<Vec<u8>> = Deserialize::deserialize(from)?;
        bytes
            .map(|bytes| <[u8; 25]>::try_from(bytes).map_err(|b| D::Error::invalid_length(b.len(), &"25 bytes")))
            .transpose()
    }
}
