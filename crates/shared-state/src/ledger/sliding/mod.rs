//! The books of a sliding window: what is said and answered; what is kept stands in [`books`].

mod books;

pub use books::{Count, GIVEN_UP, Node, SLOTS};

use super::Reply as Answer;
use super::epoch::{At, life};
use crate::rule::{Algorithm, Rule};
use std::time::Duration;

/// What a node says of a sliding window. Ages and waits are durations in microseconds: no node's time leaves the node.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Call {
    /// Counts the calls of this process for this key; at least 1.
    pub seq: u64,
    /// The call whose grant was received last.
    pub ack: u64,
    /// How many tokens were told of before the first of `stream`.
    pub first: u64,
    /// What became of tokens, oldest first. What was told before and is told again is skipped.
    pub stream: Vec<Told>,
    /// Tokens a second that requests ask for.
    pub demand: f64,
    /// Tokens that waiting requests want now.
    pub waiting: u64,
    /// What one waiting request wants: fewer at once are of no use.
    pub unit: u64,
    /// All that the node knows, in place of what the store knows.
    pub declare: Option<Declared>,
}

/// Some tokens, and what became of them: age, how many, and which of [`Told::SPENT`] … .
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Told(pub u64, pub u64, pub u8);

/// What a node knows of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Declared {
    /// Its spends of the last window: age, how many; oldest first.
    pub spent: Vec<(u64, u64)>,
    /// Tokens that it still holds.
    pub held: u64,
    /// What must be set aside for it while the store learns.
    pub reserve: u64,
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(from = "Carried")]
pub enum Reply {
    /// It learns: the node lives on its level, for so many microseconds from the store's time of the call.
    Own(u64),
    /// What the node may spend.
    Granted(Box<Grant>),
}

/// A reply as it travels: a time of learning, or after it a grant.
#[derive(serde::Deserialize)]
struct Carried {
    rest: u64,
    #[serde(default)]
    grant: Option<Box<Grant>>,
}

/// What a node may spend, beside what it was granted before. Durations in microseconds from the store's time of the call.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Grant {
    /// From when on, how many.
    pub pieces: Vec<(u64, u64)>,
    /// Until when all that the node holds may be spent.
    pub life: u64,
    /// For how long it should suffice.
    pub horizon: u64,
    /// Nodes that ask for the key.
    pub nodes: u64,
    /// Tokens for requests that wait, charged already.
    pub instant: u64,
    /// There is more now, and fairness does not hold it back.
    pub more: bool,
    /// Others may need what this node does not.
    pub tight: bool,
    /// In how long the next token is free.
    pub next: u64,
    /// The node holds something, or is not to hold anything.
    pub any: bool,
    /// What the node held was charged as spent before the call.
    pub fresh: bool,
    /// Free tokens, of all nodes.
    pub free: u64,
}

/// The numbers of the limit, as the script gets them.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Numbers {
    /// Tokens in each window.
    pub limit: u64,
    /// Its length in microseconds.
    pub window: u64,
    /// The version of the configuration that gave it its limit.
    pub version: u64,
    /// Whether it may be overdrawn for a moment.
    pub fast: bool,
}

// === impl Told ===

impl Told {
    /// A token of the lease was spent.
    pub const SPENT: u8 = 0;
    /// A token was spent on the node's own account, or overdrawn.
    pub const OWN: u8 = 1;
    /// A token of the lease goes back, from the near end.
    pub const BACK: u8 = 2;
    /// A token of the lease goes back, from the far end.
    pub const FAR: u8 = 4;
}

// === impl Numbers ===

impl Numbers {
    /// Of a limit.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let (limit, window) = match rule.algorithm {
            Algorithm::SlidingWindow { limit, window } => (u64::from(limit), window),
            // Not asked of other algorithms.
            _ => (0, Duration::from_secs(1)),
        };
        Self {
            limit,
            window: Self::micros(window),
            version: rule.version,
            fast: rule.mode == crate::rule::Mode::Fast,
        }
    }

    fn micros(window: Duration) -> u64 {
        u64::try_from(window.as_micros()).unwrap_or(u64::MAX)
    }
}

// === impl Reply ===

impl std::convert::From<Carried> for Reply {
    fn from(carried: Carried) -> Self {
        carried.grant.map_or(Self::Own(carried.rest), Self::Granted)
    }
}

/// How long a count is kept after a call.
#[must_use]
pub fn keep(rule: &Rule) -> Duration {
    let window = Duration::from_micros(Numbers::of(rule).window);
    window + life(window) + Duration::from_secs(1)
}

/// One call.
pub fn serve(count: &mut Count, at: &At<'_>, rule: &Rule, call: &Call) -> Answer {
    books::serve(count, at, &Numbers::of(rule), call)
}
