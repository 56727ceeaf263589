//! What nodes say to the store of breakers, and what they hear: as MessagePack, which scripts of Redis read and write.
//!
//! Structures are arrays in the order of their fields. Nothing is optional, because an absent value in an array is none
//! in Lua: 0 and the empty text say that there is none. Times are durations in microseconds, never moments.

use super::probes::MOST;
use super::rule::{BreakerRule, millionths};
use super::state::{Cause, Counts, Criterion, Kind};
use crate::key::KeyId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Who calls: a node, and which life of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Caller {
    /// The node's name.
    pub name: String,
    /// Random for each process.
    pub boot: u32,
}

/// One call, for any number of breakers. With none it asks whether anything changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Who calls.
    pub from: Caller,
    /// Live nodes, as the caller knows them; at least 1.
    pub live: u32,
    /// The epoch of the store that the caller knows.
    pub era: u64,
    /// Chance, for jitter.
    pub chance: u32,
    /// One for each breaker that there is something to say of.
    pub asks: Vec<Ask>,
}

/// What is said of one breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Which.
    pub key: Hex,
    /// Its numbers.
    pub rule: Numbers,
    /// The decision that the caller acts on; 0 where it knows none.
    pub epoch: u64,
    /// What that is.
    pub phase: Phase,
    /// What is left of it: of an open one until it may be probed, of a half-open one until its probe is over.
    pub left: u64,
    /// Its trips, as the caller knows them.
    pub trips: u32,
    /// The number of this evidence, one more with each; 0 where there is none.
    pub seq: u64,
    /// The evidence: of attempts that belong to `epoch`.
    pub counts: Counts,
    /// The id of the request that was the last failure among it.
    pub request_id: String,
    /// A request waits to be a probe.
    pub wish: bool,
    /// How the probes of the caller's lease stand; of epoch 0 where it has none.
    pub lease: Report,
    /// What a check that was asked for has found.
    pub opinion: Opinion,
}

/// A breaker's numbers, in microseconds and millionths; 0 where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Numbers {
    pub(super) failure_rate: u32,
    pub(super) slow_rate: u32,
    pub(super) consecutive: u32,
    pub(super) window: u64,
    pub(super) min_requests: u32,
    pub(super) open_for: u64,
    pub(super) max_open_for: u64,
    pub(super) probes: u32,
    pub(super) observers: u32,
    pub(super) probe_timeout: u64,
    pub(super) version: u64,
}

/// How the probes of a lease stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The decision that gave it; 0: there is none.
    pub epoch: u64,
    /// May still begin.
    pub left: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Failed.
    pub failed: u32,
    /// Ended without saying anything.
    pub nothing: u32,
    /// None began and none will: somebody else may have it.
    pub returned: bool,
}

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(u8)]
pub enum Opinion {
    /// There was none.
    #[default]
    None = 0,
    /// The upstream is well.
    Well = 1,
    /// It is not.
    Failing = 2,
}

/// What a breaker does by the store's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// All attempts pass.
    #[default]
    Closed = 0,
    /// They pass; too few nodes see what would open it.
    Suspect = 1,
    /// None passes.
    Open = 2,
    /// One node probes.
    HalfOpen = 3,
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The store's epoch.
    pub era: u64,
    /// Goes up with every change of any breaker.
    pub changes: u64,
    /// One for each that was asked of, in their order.
    pub answers: Vec<Answer>,
}

/// What is told of one breaker to who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its state.
    pub told: Told,
    /// Evidence up to this number was heard.
    pub heard: u64,
    /// The caller should find out how the upstream is.
    pub check: bool,
    /// The caller has a lease that it does not use, and others would.
    pub missed: bool,
    /// What all nodes have counted within the window.
    pub all: Counts,
}

/// A breaker's state, as it is published and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Whose.
    pub key: Hex,
    /// The number of the decision. The store's own epoch is above its low bits: what the store forgot never counts again.
    pub epoch: u64,
    /// What was said of it before without deciding anew.
    pub revision: u32,
    /// What it does.
    pub phase: Phase,
    /// What is left of it.
    pub left: u64,
    /// Trips that were not lived down yet.
    pub trips: u32,
    /// Half-open: the one who probes. Otherwise nobody.
    pub holder: Caller,
    /// The probes of its lease.
    pub probes: u32,
    /// Suspect: those who see it.
    pub seen_by: Vec<String>,
    /// Why it opened; by nobody where it did not.
    pub cause: Reason,
}

/// A [`Cause`], as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reason {
    pub(super) node: String,
    pub(super) by: u8,
    pub(super) request_id: String,
    pub(super) counts: Vec<(String, Counts)>,
}

/// Bytes in hexadecimal; empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hex(pub(super) String);

/// What was read is not what is written here.
#[derive(Debug, thiserror::Error)]
#[error("what came of the store of breakers cannot be read: {0}")]
pub struct Unreadable(#[from] rmp_serde::decode::Error);

// === coding ===

impl Call {
    /// As the script reads it: with the channel to publish on, and whether that is of one shard of a Redis Cluster.
    #[must_use]
    pub fn encode(&self, channel: &str, sharded: bool) -> Vec<u8> {
        encode(&(channel, sharded, self))
    }
}

impl Reply {
    /// Reads what the script wrote.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Ok(rmp_serde::from_slice(bytes)?)
    }
}

impl Told {
    /// As it is published.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads what was published.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Ok(rmp_serde::from_slice(bytes)?)
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Into memory, of types that have a form for every value.
    rmp_serde::to_vec(value).expect("numbers, texts and lists of them can be written")
}

// === impl Numbers ===

impl Numbers {
    /// Those of a rule, for all nodes together.
    #[must_use]
    pub fn of(rule: &BreakerRule) -> Self {
        Self {
            failure_rate: rule.failure_rate.map_or(0, millionths),
            slow_rate: rule.slow_rate.map_or(0, millionths),
            consecutive: rule.consecutive.unwrap_or(0),
            window: micros(rule.window),
            min_requests: rule.min_requests,
            open_for: micros(rule.open_for),
            max_open_for: micros(rule.max_open_for),
            probes: rule.probes.clamp(1, MOST.into()),
            observers: rule.observers,
            probe_timeout: micros(rule.probe_timeout),
            version: rule.version,
        }
    }

    /// The same for a node by itself: it alone has to see it, and one probe is enough.
    #[must_use]
    pub(super) fn alone(self) -> Self {
        Self {
            observers: 1,
            probes: 1,
            ..self
        }
    }

    /// Calls of its own that one of `live` nodes needs for its counts to say anything: its share of `min_requests`,
    /// halved because no balancer is even, and 3 at least where that many are asked for at all.
    pub(super) fn floor(&self, live: u32) -> u32 {
        floor(self.min_requests, live)
    }
}

/// See [`Numbers::floor`]; of failures in a row it is the same.
pub(super) fn floor(of: u32, live: u32) -> u32 {
    (of / (2 * live.clamp(1, 1_000_000))).max(of.min(3)).max(1)
}

/// At most 31 days.
pub(super) fn micros(duration: Duration) -> u64 {
    const MOST: u64 = 31 * 86_400 * 1_000_000;
    u64::try_from(duration.as_micros()).unwrap_or(MOST).min(MOST)
}

// === impl Hex ===

impl Hex {
    /// Of a key.
    #[must_use]
    pub fn key(key: KeyId) -> Self {
        Self(key.to_string())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Reason ===

impl Reason {
    /// None where it never opened.
    #[must_use]
    pub fn to_cause(&self) -> Option<Arc<Cause>> {
        let by = match self.by {
            1 => Criterion::FailureRate,
            2 => Criterion::SlowRate,
            3 => Criterion::Consecutive,
            4 => Criterion::Probe,
            5 => Criterion::NoResult,
            _ => return None,
        };
        Some(Arc::new(Cause {
            node: self.node.clone(),
            by,
            request_id: (!self.request_id.is_empty()).then(|| self.request_id.clone()),
            counts: self.counts.clone(),
        }))
    }
}

impl Criterion {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::FailureRate => 1,
            Self::SlowRate => 2,
            Self::Consecutive => 3,
            Self::Probe => 4,
            Self::NoResult => 5,
        }
    }
}

// === impl Phase ===

impl Phase {
    /// Its name among all states.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Closed => Kind::Closed,
            Self::Suspect => Kind::Suspect,
            Self::Open => Kind::Open,
            Self::HalfOpen => Kind::HalfOpen,
        }
    }
}

/// Enums as their numbers: serde would write names.
macro_rules! as_number {
    ($type:ident { $($number:literal => $variant:ident),+ }) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8(*self as u8)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match u8::deserialize(deserializer)? {
                    $($number => Ok(Self::$variant),)+
                    other => Err(serde::de::Error::custom(format_args!(
                        "{other} is no {}", stringify!($type)
                    ))),
                }
            }
        }
    };
}

as_number!(Phase { 0 => Closed, 1 => Suspect, 2 => Open, 3 => HalfOpen });
as_number!(Opinion { 0 => None, 1 => Well, 2 => Failing });
