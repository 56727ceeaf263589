//! What the engine, the workers and people share.

use super::engine::{Engine, Looking, Message};
use super::known::Cells;
use super::limiter::Limiter;
use super::tally::Book;
use super::views::named;
use super::{KeyView, LimitSeen, Outcome, RefusedKey, Source, ViewError};
use crate::backend::Backend;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::Members;
use sha2::{Digest, Sha256};
use sluice_shared_state::{KeyId, Moment, Rule, RuleId, Salt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Messages that the engine may be behind. Beyond, requests are judged without it.
const BEHIND: usize = 16_384;

/// The limits of a node, for people and for whoever wires it. Clones are the same; the engine ends with the last of
/// these and of the [`Limiter`]s.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Shared>);

/// What workers have in common with the engine, and their way to it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) common: Arc<Common>,
    engine: mpsc::Sender<Message>,
    members: watch::Sender<Members>,
}

/// What the engine has in common with the workers.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) clock: Clock,
    pub(super) salt: Salt,
    pub(super) cells: Cells,
    pub(super) book: Book,
    /// Keys that the engine keeps, and at the most.
    pub(super) keys: AtomicU64,
    pub(super) most_keys: usize,
    /// Until this moment, in nanoseconds, keys that nobody knows are not asked for.
    shedding: AtomicU64,
    /// Whether the store is asked.
    pub(super) reached: AtomicBool,
}

// === impl Shared ===

impl Shared {
    /// Tells the engine, if it is not too far behind.
    pub(super) fn tell(&self, message: Message) -> bool {
        self.engine.try_send(message).is_ok()
    }
}

// === impl Common ===

impl Common {
    pub(super) fn new(clock: Clock, salt: Salt, most_keys: usize) -> Self {
        Self {
            clock,
            salt,
            cells: Cells::default(),
            book: Book::default(),
            keys: AtomicU64::new(0),
            most_keys,
            shedding: AtomicU64::new(0),
            reached: AtomicBool::new(true),
        }
    }

    pub(super) fn sheds(&self, now: Moment) -> bool {
        now.0 < self.shedding.load(Ordering::Relaxed)
    }

    pub(super) fn shed_until(&self, until: Moment) {
        self.shedding.store(until.0, Ordering::Relaxed);
    }

    /// The key under which those are counted together that came when there were too many new ones.
    pub(super) fn overflow(&self, rule: &Rule) -> KeyId {
        // Of a limit that is none: no value of the limit itself has this key.
        self.salt.key(RuleId(!rule.id.0), b"overflow")
    }

    /// Who decides what a cell knows.
    pub(super) fn judge(&self) -> Source {
        match self.reached.load(Ordering::Relaxed) {
            true => Source::Lease,
            false => Source::Local,
        }
    }
}

// === impl Limits ===

impl Limits {
    /// Starts the engine on the runtime that is entered.
    pub(crate) fn start(config: &Config, clock: Clock, backend: Arc<Backend>) -> Self {
        let common = Arc::new(Common::new(clock, salt(config), config.keys));
        let (engine, messages) = mpsc::channel(BEHIND);
        super::collect::register(&config.metrics, &common);
        let members = watch::Sender::default();
        let run = Engine::new(config, Arc::clone(&common), backend).run(messages, members.subscribe());
        tokio::spawn(run);
        Self(Arc::new(Shared {
            common,
            engine,
            members,
        }))
    }

    pub(crate) fn limiter(&self) -> Limiter {
        Limiter::new(Arc::clone(&self.0))
    }

    pub(crate) fn members(&self, members: Members) {
        self.0.members.send_replace(members);
    }

    /// The limits of the configuration in force, told with each change: a node that never had a request by one of them
    /// can show it all the same, and those that are gone can be forgotten.
    pub fn declare(&self, rules: &[Arc<Rule>]) {
        self.0.common.book.declare(rules);
    }

    /// Gives all leases back, for the node is leaving: at once if the store answers, else after `most` at the latest.
    pub async fn leave(&self, most: Duration) {
        let (done, wait) = oneshot::channel();
        let leaving = async {
            if self.0.engine.send(Message::Leave(done)).await.is_ok() {
                // An engine that has ended has nothing to give back.
                let _ = wait.await;
            }
        };
        let _ = tokio::time::timeout(most, leaving).await;
    }

    /// All limits that are declared or were met, by scope and name.
    #[must_use]
    pub fn seen(&self) -> Vec<LimitSeen> {
        let book = &self.0.common.book;
        let mut seen: Vec<_> = book
            .rules()
            .into_iter()
            .map(|entry| {
                let sums = book.sums(entry.rule.id);
                let decisions = Outcome::ALL.into_iter().flat_map(|outcome| {
                    Source::ALL.map(|source| (outcome, source, sums[outcome as usize][source as usize]))
                });
                LimitSeen {
                    declared: entry.declared,
                    decisions: decisions.filter(|(.., count)| *count > 0).collect(),
                    rule: entry.rule,
                }
            })
            .collect();
        seen.sort_by(|a, b| (&a.rule.scope, &a.rule.name).cmp(&(&b.rule.scope, &b.rule.name)));
        seen
    }

    /// How the limits of this name stand for a value of their key: one for each scope that has a limit of this name. The
    /// store is asked, once.
    ///
    /// # Errors
    ///
    /// [`ViewError::Unknown`]. A store that is away leaves out what it would have said.
    pub async fn look(&self, name: &str, value: &str) -> Result<Vec<KeyView>, ViewError> {
        let mut views = Vec::new();
        for rule in self.named(name)? {
            let key = self.0.common.salt.key(rule.id, value.as_bytes());
            let (to, answer) = oneshot::channel();
            let looking = Looking {
                key,
                rule: Arc::clone(&rule),
                answer: to,
            };
            let _ = self.0.engine.send(Message::Look(looking)).await;
            let looked = answer.await.unwrap_or_default();
            views.push(KeyView {
                value: value.into(),
                stored: looked.stored,
                here: looked.here,
                refused: self.refused(|id| id == key).into_iter().next(),
                rule,
            });
        }
        Ok(views)
    }

    /// The keys that this node refused most of late, at most `n`, most refused first.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<RefusedKey> {
        let mut top = self.refused(|_| true);
        top.sort_by(|a, b| b.refused.cmp(&a.refused).then_with(|| a.value.cmp(&b.value)));
        top.truncate(n);
        top
    }

    /// Forgets what was spent under the limits of this name for a value of their key, in the store: all that it has of the
    /// count. Nodes should have given back before what they hold of it ([`Self::forget`] on each; it is at the store
    /// after 20 ms), or they tell anew of what they used. Of concurrency limits nothing is forgotten. Tells how many
    /// counts there were.
    ///
    /// # Errors
    ///
    /// [`ViewError`]; where the store did not answer in time it may or may not have been done.
    pub async fn reset(&self, name: &str, value: &str) -> Result<usize, ViewError> {
        let mut found = 0;
        for rule in self.named(name)? {
            let key = self.0.common.salt.key(rule.id, value.as_bytes());
            let (to, answer) = oneshot::channel();
            let _ = self.0.engine.send(Message::Reset(key, rule, to)).await;
            match answer.await {
                Ok(done) => found += usize::from(done?),
                Err(_) => return Err(ViewError::Away("this node is leaving".to_owned())),
            }
        }
        Ok(found)
    }

    /// This count is reset: what this node holds of it goes back, and what it thinks of it is asked again.
    pub fn forget(&self, name: &str, value: &str) {
        for rule in self.named(name).unwrap_or_default() {
            let key = self.0.common.salt.key(rule.id, value.as_bytes());
            self.0.tell(Message::Forget(key));
        }
    }

    fn named(&self, name: &str) -> Result<Vec<Arc<Rule>>, ViewError> {
        let rules = self.0.common.book.rules();
        let found = named(rules.iter().map(|entry| &entry.rule), name);
        match found.is_empty() {
            true => Err(ViewError::Unknown(name.to_owned())),
            false => Ok(found),
        }
    }

    /// Refusals of all threads, summed.
    fn refused(&self, which: impl Fn(KeyId) -> bool) -> Vec<RefusedKey> {
        let common = &self.0.common;
        let mut sums: std::collections::HashMap<KeyId, RefusedKey> = std::collections::HashMap::new();
        for counts in common.book.all() {
            for (count, refusals) in counts.refused().iter().filter(|(_, refusals)| which(refusals.key)) {
                let last = common.clock.wall(refusals.last);
                let sum = sums.entry(refusals.key).or_insert_with(|| RefusedKey {
                    rule: Arc::clone(&refusals.rule),
                    value: Arc::clone(&refusals.value),
                    refused: 0,
                    excess: 0,
                    last,
                });
                sum.refused += count;
                sum.excess += refusals.excess;
                sum.last = sum.last.max(last);
            }
        }
        sums.into_values().collect()
    }
}

/// What keys are hashed with: of the cluster's name and of what its nodes alone know.
fn salt(config: &Config) -> Salt {
    let mut hasher = Sha256::new();
    hasher.update((config.cluster.len() as u64).to_be_bytes());
    hasher.update(&config.cluster);
    hasher.update(&config.secret);
    let mut salt = [0; 16];
    salt.copy_from_slice(&hasher.finalize()[..16]);
    Salt(salt)
}
