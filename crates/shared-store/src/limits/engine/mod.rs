//! The one task that talks to the store about limits: it is asked by workers, holds the keys, makes the calls.
//!
//! [`Core`] is all of it without I/O: time is an argument, calls are what it wants. The loop here only reads the clock,
//! the messages and the replies. Calls go out in rounds: the first at once, later ones at most every millisecond, with
//! all that has gathered until then.

mod budget;
mod core;
mod requests;
mod rounds;
mod table;

use self::core::Core;
use self::rounds::{Done, Round};
use super::charge::Charge;
use super::handle::Common;
use super::{Here, Source, Stored, ViewError};
use crate::backend::{Backend, CALL, CallError, Partition, Reach};
use crate::config::Config;
use crate::store::Members;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluice_shared_state::limit::Refusal;
use sluice_shared_state::{KeyId, Moment, Rule};
use smallvec::SmallVec;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Calls gather for so long, but for the first.
const TICK: Duration = Duration::from_millis(1);

/// How often it is seen whether the store is asked, if nothing else happens.
const WATCH: Duration = Duration::from_millis(50);

/// After which what was to be told is told, or given up.
const TOLD: Duration = Duration::from_millis(50);

/// Messages heard before replies are looked at again.
const GULP: usize = 512;

/// What the engine hears.
#[derive(Debug)]
pub(super) enum Message {
    /// A request is to pass limits whose keys the worker does not know, or whose tokens it wants to wait for.
    Ask(Asking),
    /// A cell wants to be looked at.
    Nudge(KeyId),
    /// A limit has other numbers.
    Numbers(KeyId, Arc<Rule>),
    /// Somebody looks.
    Look(Looking),
    /// A count is to begin anew.
    Reset(KeyId, Arc<Rule>, oneshot::Sender<Result<bool, ViewError>>),
    /// A count began anew by another node's doing.
    Forget(KeyId),
    /// All leases go back.
    Leave(oneshot::Sender<()>),
}

/// A request at the engine.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) parts: SmallVec<[AskedPart; 2]>,
    /// Nobody waits for a limit that is only tried.
    pub(super) answer: Option<oneshot::Sender<Answer>>,
    pub(super) since: Moment,
}

/// One limit of it.
#[derive(Debug)]
pub(super) struct AskedPart {
    pub(super) rule: Arc<Rule>,
    pub(super) key: KeyId,
    pub(super) cost: u32,
    /// The worker had the key's cell, which counted the request as demand.
    pub(super) counted: bool,
    /// Until then it would rather wait than be refused.
    pub(super) patient_until: Moment,
}

/// One for each part of an [`Asking`], in their order. Dropping it gives back what it holds.
pub(super) type Answer = SmallVec<[Settled; 2]>;

/// What became of one part.
#[derive(Debug)]
pub(super) enum Settled {
    Granted(Charge, Source),
    Refused(Refusal, Source),
    /// The limit is open without the store.
    Open,
    /// Another part was refused first.
    Spared,
}

/// Somebody looks at a key.
#[derive(Debug)]
pub(super) struct Looking {
    pub(super) key: KeyId,
    pub(super) rule: Arc<Rule>,
    pub(super) answer: oneshot::Sender<Looked>,
}

/// What there is to see.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) here: Option<Here>,
    pub(super) stored: Option<Stored>,
}

/// The task.
#[derive(Debug)]
pub(super) struct Engine {
    core: Core,
    backend: Arc<Backend>,
    common: Arc<Common>,
    reach: Vec<watch::Receiver<Reach>>,
}

type Calls = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>;

// === impl Engine ===

impl Engine {
    pub(super) fn new(config: &Config, common: Arc<Common>, backend: Arc<Backend>) -> Self {
        let partitions = backend.partitions();
        Self {
            core: Core::new(config, Arc::clone(&common), partitions),
            reach: (0..partitions)
                .map(|partition| {
                    let mut reach = backend.reach(Partition(partition));
                    reach.mark_changed();
                    reach
                })
                .collect(),
            backend,
            common,
        }
    }

    /// Runs until nobody can ask any more.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut members: watch::Receiver<Members>) {
        let mut calls = Calls::new();
        let mut heard = Vec::with_capacity(GULP);
        let mut minute = Instant::now() + Duration::from_secs(60);
        let mut next_tick = self.common.clock.now();
        let mut wake = Box::pin(tokio::time::sleep(WATCH));
        loop {
            tokio::select! {
                Some(done) = calls.next() => self.core.done(self.common.clock.now(), done),
                count = messages.recv_many(&mut heard, GULP) => match count {
                    0 => break,
                    _ => self.hear(&mut heard),
                },
                Ok(()) = members.changed() => self.core.members(&members.borrow_and_update()),
                () = wake.as_mut() => {}
            }
            while let Some(Some(done)) = futures_util::FutureExt::now_or_never(calls.next()) {
                self.core.done(self.common.clock.now(), done);
            }
            if Instant::now() >= minute {
                self.common.book.minute();
                minute = Instant::now() + Duration::from_secs(60);
            }
            self.see_reach();
            let now = self.common.clock.now();
            let tick = now >= next_tick;
            self.core.turn(now, tick);
            if tick {
                for round in self.core.rounds(now) {
                    next_tick = now + TICK;
                    calls.push(Box::pin(call(
                        Arc::clone(&self.backend),
                        round,
                        Arc::clone(&self.common),
                    )));
                }
            }
            self.core.left(calls.is_empty());
            let mut next = self.core.next().unwrap_or(now + WATCH).min(now + WATCH);
            if self.core.wants_tick() {
                next = next.min(next_tick);
            }
            wake.as_mut().reset(self.common.clock.instant(next));
        }
        // Nobody is left to hear of it, but the store is: it takes the leases back at once instead of at their ends.
        let now = self.common.clock.now();
        self.core.leave(now, None);
        let rounds = self.core.rounds(now);
        calls.extend(rounds.into_iter().map(|round| {
            let call = call(Arc::clone(&self.backend), round, Arc::clone(&self.common));
            Box::pin(call) as Pin<Box<dyn Future<Output = Done> + Send>>
        }));
        while calls.next().await.is_some() {}
    }

    fn hear(&mut self, heard: &mut Vec<Message>) {
        let now = self.common.clock.now();
        for message in heard.drain(..) {
            match message {
                Message::Look(looking) => self.look(now, looking),
                Message::Reset(key, rule, answer) => self.reset(key, rule, answer),
                message => self.core.hear(now, message),
            }
        }
    }

    fn see_reach(&mut self) {
        let now = self.common.clock.now();
        for (partition, reach) in self.reach.iter_mut().enumerate() {
            // Not after the store has ended.
            if reach.has_changed().unwrap_or(false) {
                let reached = *reach.borrow_and_update() == Reach::Reached;
                self.core.reach(now, partition, reached);
            }
        }
    }

    /// What this node knows is seen here, what the store knows by a task of its own.
    fn look(&self, now: Moment, looking: Looking) {
        let here = self.core.here(now, looking.key);
        let live = self.core.names();
        let backend = Arc::clone(&self.backend);
        tokio::spawn(async move {
            let stored = backend.look(looking.key, &looking.rule, &live).await;
            // A store that is away is told of elsewhere; one that is there and says no is told of by nobody else.
            if let Err(error @ CallError::Refused(_)) = &stored {
                tracing::warn!(limit = %looking.rule.name, why = %error, "a count cannot be shown");
            }
            let stored = stored.ok();
            // Who asked may have gone.
            let _ = looking.answer.send(Looked { here, stored });
        });
    }

    fn reset(&mut self, key: KeyId, rule: Arc<Rule>, answer: oneshot::Sender<Result<bool, ViewError>>) {
        let backend = Arc::clone(&self.backend);
        self.core.hear(self.common.clock.now(), Message::Forget(key));
        tokio::spawn(async move {
            // What nodes tell of the time before must be told by then, or it would count again.
            tokio::time::sleep(TOLD).await;
            let done = backend.reset(key, &rule).await;
            // As above.
            let _ = answer.send(done.map_err(|error| ViewError::Away(error.to_string())));
        });
    }
}

/// Makes one call. Given up in time whatever the store does.
async fn call(backend: Arc<Backend>, round: Round, common: Arc<Common>) -> Done {
    let sent = common.clock.now();
    let limits = backend.limits(round.partition, &round.header, &round.requests);
    let served = tokio::time::timeout(CALL, limits).await.unwrap_or(Err(CallError::Lost));
    Done {
        partition: round.partition,
        keys: round.keys,
        local: round.header.local,
        sent,
        served,
    }
}
