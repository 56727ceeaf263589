//! The books of a sliding window: what is said and answered; what is kept stands in `books`.

mod books;

pub use books::{Count, GIVEN_UP, Node, SLOTS, WORTH_A_LEASE, farthest};

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
    /// Of the instant tokens of the call `ack` so many were not spent: who waited for them was refused by another limit,
    /// or is gone.
    pub unused: u64,
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
    /// There is more now, enough for what the call wanted at once, and fairness does not hold it back.
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
    /// The node's demand is worth a lease. Where it is not, each request asks.
    pub lean: bool,
    /// By how much what was told goes beyond the limit: overdrafts that there was no room for.
    pub over: u64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyId, RuleId};
    use crate::ledger::{self, From, Header, Ledger, Request};
    use crate::rule::{Mode, OnFailure, Scope};
    use crate::time::StoreTime;
    use proptest::prelude::*;
    use std::sync::Arc;

    const KEY: KeyId = KeyId([0; 16]);
    const WINDOW: Duration = Duration::from_secs(1);

    fn rule(limit: u32) -> Arc<Rule> {
        Arc::new(Rule {
            name: "r".into(),
            scope: Scope::Gateway("g".into()),
            algorithm: Algorithm::SlidingWindow { limit, window: WINDOW },
            mode: Mode::Exact,
            on_failure: OnFailure::Local,
            version: 1,
            id: RuleId(0),
        })
    }

    /// A node that tells the truth.
    #[derive(Default)]
    struct Honest {
        seq: u64,
        ack: u64,
        first: u64,
        /// What it spent or gave back, and when, in the store's time.
        stream: Vec<(u64, u64, u8)>,
        /// From when on it holds how many, until when.
        held: Vec<(u64, u64)>,
        ends: u64,
    }

    /// What happens next: which node, after how long, how much it asks for, which part of what it could spend it did,
    /// whether it gives all back, whether the reply comes.
    type Turn = (usize, u64, f64, f64, bool, bool, u64);

    fn turns() -> impl Strategy<Value = Vec<Turn>> {
        let turn = (
            0usize..3,
            0u64..250_000,
            0.0f64..900.0,
            0.0f64..1.0,
            prop::bool::weighted(0.15),
            prop::bool::weighted(0.8),
            0u64..4,
        );
        prop::collection::vec(turn, 10..80)
    }

    /// The greatest load of any window after each call.
    fn loads(limit: u32, turns: &[Turn]) -> Vec<i64> {
        let (mut ledger, mut now, rule) = (Ledger::default(), 1_000_000_000_000, rule(limit));
        let mut nodes: Vec<_> = (0..3).map(|_| Honest::default()).collect();
        let mut loads = Vec::new();
        for &(index, wait, demand, spends, leaves, heard, waiting) in turns {
            now += wait;
            let node = &mut nodes[index];
            if now >= node.ends {
                let held: u64 = node.held.drain(..).map(|(_, tokens)| tokens).sum();
                node.stream.push((now, held, Told::BACK));
            }
            for (from, tokens) in &mut node.held {
                if *from <= now {
                    let spent = (*tokens as f64 * spends) as u64;
                    *tokens -= spent;
                    node.stream.push((now - (now - *from) / 2, spent, Told::SPENT));
                }
            }
            if leaves {
                let held: u64 = node.held.drain(..).map(|(_, tokens)| tokens).sum();
                node.stream.push((now, held, Told::BACK));
            }
            node.seq += 1;
            let call = Call {
                seq: node.seq,
                ack: node.ack,
                first: node.first,
                stream: node
                    .stream
                    .iter()
                    .map(|(when, tokens, kind)| Told(now - when, *tokens, *kind))
                    .collect(),
                demand: if leaves { 0.0 } else { demand },
                waiting,
                unit: 1,
                declare: None,
                unused: 0,
            };
            let header = Header {
                from: From {
                    node: index as u64,
                    boot: 1,
                },
                epoch: 1,
                local: false,
                live: 3,
                without: 0,
            };
            let request = Request {
                key: KEY,
                rule: Arc::clone(&rule),
                epoch: 1,
                local: false,
                life: 0,
                call: ledger::Call::Sliding(call),
            };
            let served = ledger.serve(StoreTime(now), &header, &[request]);
            if let (true, Some(Answer::Sliding(Reply::Granted(grant)))) = (heard, served.replies.first()) {
                node.ack = node.seq;
                node.first += node.stream.drain(..).map(|(_, tokens, _)| tokens).sum::<u64>();
                if grant.fresh {
                    node.held.clear();
                }
                let more = grant.pieces.iter().map(|(wait, tokens)| (now + wait, *tokens));
                node.held.extend(more);
                node.held.sort_unstable();
                node.ends = now + grant.life;
            }
            let count = ledger.sliding(KEY).expect("it was served");
            loads.push(count.greatest_load(WINDOW, now));
        }
        loads
    }

    proptest! {
        #[test]
        fn no_window_is_promised_more_than_the_limit(limit in 1u32..400, turns in turns()) {
            let greatest = loads(limit, &turns).into_iter().max().unwrap_or(0);
            prop_assert!(greatest <= i64::from(limit), "{greatest} of {limit}");
        }
    }
}
