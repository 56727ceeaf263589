//! What the store does: pure functions of state, time and call. The store in memory runs them; the scripts of Redis do
//! the same, and tests hold the two against each other.
//!
//! One room for each algorithm ([`sliding`], [`bucket`], [`window`], [`permits`]), one for what they have in common: in
//! which epoch the store is, and whether it still learns what nodes did without it ([`epoch`]). [`wire`] is what a
//! script is given and what it answers.

pub mod bucket;
mod calendar;
pub mod epoch;
pub mod look;
pub mod permits;
pub(crate) mod share;
pub mod sliding;
pub mod window;
pub mod wire;

use crate::broken::{Broken, broken};
use crate::key::KeyId;
use crate::rule::{Algorithm, Rule};
use crate::time::StoreTime;
use epoch::{At, Epoch};
use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

/// Which process calls. A process that starts again is another one: what the dead one held is not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct From {
    /// The node, as a hash of its name.
    pub node: u64,
    /// Random for each process.
    pub boot: u64,
}

/// What is common to the calls of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who calls.
    pub from: From,
    /// The epoch that the caller knows of this store, 0 for none. A store that is behind it has lost state.
    pub epoch: u64,
    /// The caller went on by itself since its last reply: a new epoch begins.
    pub local: bool,
    /// Live nodes, and how many of these do not reach the store.
    pub live: u32,
    /// See there.
    pub without: u32,
}

/// One call, for one key.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose.
    pub key: KeyId,
    /// By which limit.
    pub rule: Arc<Rule>,
    /// The epoch that what is said belongs to. Not the header's: the node may know of a new epoch, and not yet have told
    /// it of this key.
    pub epoch: u64,
    /// The node went on by itself with this key since its last reply.
    pub local: bool,
    /// Which of the times that the process knew the key, of those in which it forgot it in between. For the books each is
    /// a process of its own: it counts its calls, and what it tells of, from the beginning.
    pub life: u64,
    /// What is said.
    pub call: Call,
}

/// What is said, by the limit's algorithm.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Of a sliding window.
    Sliding(sliding::Call),
    /// Of a token bucket.
    Bucket(bucket::Call),
    /// Of a fixed window.
    Window(window::Call),
    /// Of a concurrency limit.
    Permits(permits::Call),
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The epoch is another one: tell what you know.
    Epoch(u64),
    /// A later call of the same process was here before.
    Stale,
    /// Of a sliding window.
    Sliding(sliding::Reply),
    /// Of a token bucket.
    Bucket(bucket::Reply),
    /// Of a fixed window.
    Window(window::Reply),
    /// Of a concurrency limit.
    Permits(permits::Reply),
}

/// The answer to a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The present epoch.
    pub epoch: u64,
    /// How long the store still learns what nodes did without it, for a window of a second; see [`epoch::learn`].
    pub learning: Duration,
    /// One for each request, in their order.
    pub replies: Vec<Reply>,
}

/// Which script serves a call: one for each algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// Sliding windows; heartbeats too.
    Sliding,
    /// Token buckets.
    Bucket,
    /// Fixed windows.
    Window,
    /// Concurrency limits.
    Permits,
}

/// All counts of a store.
#[derive(Debug)]
pub struct Ledger {
    epoch: Epoch,
    counts: HashMap<KeyId, Kept>,
}

/// One count, and until when anybody cares.
#[derive(Debug)]
struct Kept {
    count: Count,
    until: StoreTime,
}

#[derive(Debug)]
enum Count {
    Sliding(sliding::Count),
    Bucket(bucket::Count),
    Window(window::Count),
    Permits(permits::Count),
}

// === impl From ===

impl From {
    /// The process of the node of this name that drew `boot`.
    #[must_use]
    pub fn new(name: &str, boot: u64) -> Self {
        Self {
            node: Self::hash(name),
            boot,
        }
    }

    /// The same process, in another of the times that it knew a key; see [`Request::life`].
    #[must_use]
    pub fn of_life(self, life: u64) -> Self {
        Self {
            boot: self.boot.wrapping_add(life),
            ..self
        }
    }

    /// A node's name as the store knows it.
    #[must_use]
    pub fn hash(name: &str) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(0x51_0ce, 2);
        hasher.write(name.as_bytes());
        // The store's scripts count in doubles, which keep no more.
        hasher.finish() >> 11
    }
}

// === impl Ledger ===

impl Default for Ledger {
    /// Empty, and nothing is to be learnt of what was before.
    fn default() -> Self {
        Self {
            epoch: Epoch::first(),
            counts: HashMap::new(),
        }
    }
}

impl Ledger {
    /// Serves one round. With no requests it is a heartbeat.
    pub fn serve(&mut self, now: StoreTime, header: &Header, requests: &[Request]) -> Served {
        self.serve_as("", now, header, requests)
    }

    /// Serves one round in the life `run` of the store: another one is a store that may have lost its state.
    pub fn serve_as(&mut self, run: &str, now: StoreTime, header: &Header, requests: &[Request]) -> Served {
        let local = header.local || requests.iter().any(|request| request.local);
        self.epoch.enter(now, run, header, local);
        let at = At {
            now,
            header,
            epoch: self.epoch.number(),
            born: self.epoch.born(),
        };
        let replies = requests
            .iter()
            .map(|request| {
                if request.epoch != at.epoch || (local && !request.call.declares()) {
                    return Reply::Epoch(at.epoch);
                }
                let header = Header {
                    from: header.from.of_life(request.life),
                    ..*header
                };
                let at = At { header: &header, ..at };
                serve_one(&mut self.counts, &at, request)
            })
            .collect();
        Served {
            epoch: at.epoch,
            learning: at.learning(epoch::learn(Duration::from_secs(1))),
            replies,
        }
    }

    /// One count, now, for people.
    #[must_use]
    pub fn look(&self, now: StoreTime, key: KeyId, rule: &Rule) -> look::Looked {
        let kept = self.counts.get(&key).filter(|kept| kept.until >= now);
        match (kept.map(|kept| &kept.count), Script::of(&rule.algorithm)) {
            (Some(Count::Sliding(count)), Script::Sliding) => count.look(now, self.epoch.number(), rule),
            (Some(Count::Bucket(count)), Script::Bucket) => count.look(now, self.epoch.number(), rule),
            (Some(Count::Window(count)), Script::Window) => count.look(now, rule),
            (Some(Count::Permits(count)), Script::Permits) => count.look(now, rule),
            _ => look::whole(rule),
        }
    }

    /// Forgets a count, whatever is spent. Tells whether there was one. Nodes should have given back what they hold.
    pub fn forget(&mut self, key: KeyId) -> bool {
        self.counts.remove(&key).is_some()
    }

    /// Forgets what has run out.
    pub fn sweep(&mut self, now: StoreTime) {
        self.counts.retain(|_, kept| kept.until >= now);
    }

    /// Loses all, as a store does that starts again empty.
    pub fn lose(&mut self) {
        self.counts.clear();
        if broken(Broken::EpochKept) && self.epoch.born().is_some() {
            return;
        }
        self.epoch = Epoch::unknown();
    }

    /// Counts that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The token bucket of a key, for whoever checks the books.
    #[must_use]
    pub fn bucket(&self, key: KeyId) -> Option<&bucket::Count> {
        match &self.counts.get(&key)?.count {
            Count::Bucket(count) => Some(count),
            _ => None,
        }
    }

    /// The fixed window of a key, for whoever checks the books.
    #[must_use]
    pub fn window(&self, key: KeyId) -> Option<&window::Count> {
        match &self.counts.get(&key)?.count {
            Count::Window(count) => Some(count),
            _ => None,
        }
    }

    /// The concurrency limit of a key, for whoever checks the books.
    #[must_use]
    pub fn permits(&self, key: KeyId) -> Option<&permits::Count> {
        match &self.counts.get(&key)?.count {
            Count::Permits(count) => Some(count),
            _ => None,
        }
    }

    /// The present epoch; 0 before the first round of a store that does not know what it lost.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.number()
    }

    /// When the epoch was born, or last prolonged; None where there is nothing to learn.
    #[must_use]
    pub fn born(&self) -> Option<StoreTime> {
        self.epoch.born()
    }

    /// The sliding window of a key, for whoever checks the books.
    #[must_use]
    pub fn sliding(&self, key: KeyId) -> Option<&sliding::Count> {
        match &self.counts.get(&key)?.count {
            Count::Sliding(count) => Some(count),
            _ => None,
        }
    }
}

fn serve_one(counts: &mut HashMap<KeyId, Kept>, at: &At<'_>, request: &Request) -> Reply {
    let (rule, key) = (&*request.rule, request.key);
    // A count that has run out, or is of another algorithm, is none.
    if counts
        .get(&key)
        .is_some_and(|kept| kept.until < at.now || !kept.count.is_of(&request.call))
    {
        counts.remove(&key);
    }
    let kept = counts.entry(key).or_insert_with(|| Kept {
        count: Count::of(&request.call),
        until: at.now,
    });
    let (reply, keep) = match (&mut kept.count, &request.call) {
        (Count::Sliding(count), Call::Sliding(call)) => (sliding::serve(count, at, rule, call), sliding::keep(rule)),
        (Count::Bucket(count), Call::Bucket(call)) => (bucket::serve(count, at, rule, call), bucket::keep(rule)),
        (Count::Window(count), Call::Window(call)) => (window::serve(count, at, rule, call), window::keep(rule)),
        (Count::Permits(count), Call::Permits(call)) => (permits::serve(count, at, rule, call), permits::keep(rule)),
        // The count was made to fit the call just above.
        _ => (Reply::Stale, Duration::ZERO),
    };
    kept.until = at.now + keep;
    reply
}

// === impl Count ===

impl Count {
    fn of(call: &Call) -> Self {
        match call {
            Call::Sliding(_) => Self::Sliding(sliding::Count::default()),
            Call::Bucket(_) => Self::Bucket(bucket::Count::default()),
            Call::Window(_) => Self::Window(window::Count::default()),
            Call::Permits(_) => Self::Permits(permits::Count::default()),
        }
    }

    fn is_of(&self, call: &Call) -> bool {
        matches!(
            (self, call),
            (Self::Sliding(_), Call::Sliding(_))
                | (Self::Bucket(_), Call::Bucket(_))
                | (Self::Window(_), Call::Window(_))
                | (Self::Permits(_), Call::Permits(_))
        )
    }
}

// === impl Call ===

impl Call {
    /// Whether the call tells all that the node knows of the key, in place of what the store knows.
    #[must_use]
    pub fn declares(&self) -> bool {
        match self {
            Self::Sliding(call) => call.declare.is_some(),
            Self::Bucket(call) => call.declares(),
            Self::Window(call) => call.declares(),
            Self::Permits(call) => call.declares(),
        }
    }
}

// === impl Script ===

impl Script {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sliding, Self::Bucket, Self::Window, Self::Permits];

    /// Whose calls it serves.
    #[must_use]
    pub fn of(algorithm: &Algorithm) -> Self {
        match algorithm {
            Algorithm::SlidingWindow { .. } => Self::Sliding,
            Algorithm::TokenBucket { .. } => Self::Bucket,
            Algorithm::FixedWindow { .. } => Self::Window,
            Algorithm::Concurrency { .. } => Self::Permits,
        }
    }

    /// Its name, in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sliding => "sliding",
            Self::Bucket => "bucket",
            Self::Window => "window",
            Self::Permits => "permits",
        }
    }
}
