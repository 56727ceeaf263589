//! One primary: its connection, kept alive by one task, and the guard that says whether it is asked.
//!
//! ```text
//!   keeper: wait until the guard wants a check ─▶ connect, greet, subscribe ─▶ in use ─┐
//!             ▲                                                                        │ ended, silent, no primary
//!             └────────────────────────────────────────────────────────────────────────┘ any more, or elsewhere
//! ```

use super::live::{Call, Door, Live};
use super::parts::Parts;
use super::scripts::CHECK;
use super::sentinel::Sentinels;
use super::trouble::{Failing, Trouble};
use crate::backend::{CALL, CallError, Partition, Reach};
use crate::config::RedisUrl;
use crate::store_metrics::{Outcome, StoreMetrics};
use redis::PushInfo;
use sluice_shared_state::Moment;
use sluice_shared_state::guard::{Guard, Turn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout_at};

/// A connection from which nothing came for so long, while it was asked, is replaced.
const SILENT: Duration = Duration::from_secs(1);

/// How often what may change without a word is asked again.
const LOOK: Duration = Duration::from_secs(10);

/// How long one that has no partition of ours, and was named by another, is kept after it was last named.
const KEPT: Duration = Duration::from_secs(30);

/// Where a primary is.
#[derive(Debug)]
pub(super) enum Whereabouts {
    /// There.
    Fixed(RedisUrl),
    /// Where the Sentinels say.
    Sentinel(Sentinels),
}

/// One primary. Its task ends when [`Primary::end`] is called.
#[derive(Debug)]
pub(super) struct Primary {
    door: Door,
    at: Whereabouts,
    parts: Arc<Parts>,
    metrics: Arc<StoreMetrics>,
    guard: Mutex<Guarded>,
    live: watch::Sender<Option<Arc<Live>>>,
    /// What is kept there may vanish, and why.
    doubt: watch::Sender<Option<Arc<str>>>,
    /// Whose partitions it has.
    mine: Mutex<Vec<Partition>>,
    /// The keeper has to look again: the guard turned, the connection is of no use, partitions came or went.
    look: Notify,
    /// Somebody has to look where the partitions are.
    astray: Arc<Notify>,
    /// When another one last said that a slot is on its way here; 0: none ever did.
    named: AtomicU64,
    keeper: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Guarded {
    guard: Guard,
    why: Arc<str>,
    /// The connection is of no use any more, though it lives.
    leave: bool,
    /// Whether it was reached or not is known.
    tried: bool,
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Called {
    /// This.
    Answered(Vec<u8>),
    /// That node of the Cluster is to be asked: the slot is on its way there.
    Ask(RedisUrl),
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// There was no answer.
    Lost,
    /// It was refused.
    Refused,
    /// It was refused, and would be on this connection for ever.
    Useless,
}

/// Why a connection is not used any more.
enum Parting {
    Ended,
    Silent,
    Useless,
}

// === impl Primary ===

impl Primary {
    /// Starts its keeper.
    pub(super) fn start(
        door: Door,
        at: Whereabouts,
        parts: Arc<Parts>,
        metrics: Arc<StoreMetrics>,
        astray: Arc<Notify>,
    ) -> Arc<Self> {
        let primary = Arc::new(Self {
            guard: Mutex::new(Guarded {
                guard: Guard::new(door.clock.now()),
                why: Arc::from("it was not reached yet"),
                leave: false,
                tried: false,
            }),
            door,
            at,
            parts,
            metrics,
            live: watch::Sender::new(None),
            doubt: watch::Sender::new(None),
            mine: Mutex::default(),
            look: Notify::new(),
            astray,
            named: AtomicU64::new(0),
            keeper: Mutex::default(),
        });
        let keeper = tokio::spawn(Arc::clone(&primary).keep()).abort_handle();
        *lock(&primary.keeper) = Some(keeper);
        primary
    }

    /// Another one, with nothing of ours so far.
    pub(super) fn beside(&self, url: RedisUrl) -> Arc<Self> {
        Self::start(
            self.door.clone(),
            Whereabouts::Fixed(url),
            Arc::clone(&self.parts),
            Arc::clone(&self.metrics),
            Arc::clone(&self.astray),
        )
    }

    /// Another one said that a slot is on its way here.
    pub(super) fn note_named(&self) {
        self.named.store(self.door.clock.now().0.max(1), Ordering::Relaxed);
    }

    /// Whether another one said so of late.
    pub(super) fn is_named(&self) -> bool {
        let named = self.named.load(Ordering::Relaxed);
        named != 0 && self.door.clock.now().since(Moment(named)) < KEPT
    }

    /// Ends its task and its connection.
    pub(super) fn end(&self) {
        if let Some(keeper) = lock(&self.keeper).take() {
            keeper.abort();
        }
        if let Some(live) = self.live.send_replace(None) {
            live.end();
        }
    }

    /// These partitions are its from now on, and no others.
    pub(super) fn set_mine(&self, partitions: Vec<Partition>) {
        let before = std::mem::replace(&mut *lock(&self.mine), partitions.clone());
        if before != partitions {
            for gone in before.iter().filter(|partition| !partitions.contains(partition)) {
                self.parts.set_heard(*gone, false);
            }
            self.tell();
            self.look.notify_one();
        }
    }

    /// Whether a partition is its.
    pub(super) fn has(&self, partition: Partition) -> bool {
        lock(&self.mine).contains(&partition)
    }

    /// What is kept there may vanish, and why.
    pub(super) fn doubt(&self) -> Option<Arc<str>> {
        self.doubt.borrow().clone()
    }

    /// Whether it is asked.
    pub(super) fn asked(&self) -> bool {
        lock(&self.guard).guard.asked()
    }

    /// Its connection is left for a new one: it is elsewhere.
    pub(super) fn leave(&self) {
        lock(&self.guard).leave = true;
        self.look.notify_one();
    }

    /// Runs a script, until `deadline` at the latest.
    pub(super) async fn call(
        &self,
        kind: &'static str,
        call: &Call<'_>,
        deadline: Instant,
    ) -> Result<Called, CallError> {
        // One that was just named is on its way to be reached.
        if !self.asked() && (!call.asking || lock(&self.guard).tried) {
            self.metrics.called(kind, Outcome::Away, None);
            return Err(CallError::Away);
        }
        let sent = self.door.clock.now();
        let done = async {
            // A connection that was just lost is on its way back.
            let mut live = self.live.subscribe();
            let live = live.wait_for(Option::is_some).await.ok().and_then(|live| live.clone());
            let Some(live) = live else {
                return Err(None);
            };
            live.call(call).await.map_err(Some)
        };
        let done = timeout_at(deadline, done).await;
        let now = self.door.clock.now();
        let (outcome, result) = match done {
            Ok(Ok(reply)) => {
                lock(&self.guard).guard.answered(now);
                (Outcome::Answered, Ok(Called::Answered(reply)))
            }
            Ok(Err(None)) => (Outcome::Lost, Err(CallError::Lost)),
            Ok(Err(Some(error))) => match Failing::of(&error, &self.url(), self.door.user.as_deref()) {
                Failing::Ask(to) if !call.asking => {
                    lock(&self.guard).guard.answered(now);
                    (Outcome::Refused, Ok(Called::Ask(to)))
                }
                // What it says of a slot that it does not have yet says nothing of those that it has.
                Failing::Here(_) | Failing::Now(_) if call.asking => {
                    (Outcome::Refused, Err(CallError::Refused(error.to_string())))
                }
                failing => self.failed_with(failing, &error, sent, now),
            },
            Err(_) => {
                self.failed(sent, now, &Trouble::Late(self.url(), CALL.as_millis()), Failure::Lost);
                (Outcome::Late, Err(CallError::Lost))
            }
        };
        self.metrics.called(kind, outcome, Some(now.since(sent)));
        result
    }

    fn failed_with<T>(
        &self,
        failing: Failing,
        error: &redis::RedisError,
        sent: Moment,
        now: Moment,
    ) -> (Outcome, Result<T, CallError>) {
        let failure = match failing {
            Failing::Here(_) => Failure::Useless,
            _ => Failure::Refused,
        };
        match failing {
            Failing::Ended => (Outcome::Lost, Err(CallError::Lost)),
            Failing::Elsewhere | Failing::Ask(_) => {
                self.astray.notify_one();
                (Outcome::Refused, Err(CallError::Refused(error.to_string())))
            }
            failing => {
                let trouble = failing.trouble(&self.url());
                self.failed(sent, now, &trouble, failure);
                (Outcome::Refused, Err(CallError::Refused(trouble.to_string())))
            }
        }
    }

    // --- the guard ---

    fn failed(&self, sent: Moment, now: Moment, trouble: &Trouble, failure: Failure) {
        let (turn, away, news) = {
            let mut guarded = lock(&self.guard);
            guarded.leave |= failure == Failure::Useless;
            guarded.tried = true;
            let chance = fastrand::u64(..);
            let turn = match failure {
                Failure::Lost => guarded.guard.failed(sent, now, chance),
                Failure::Refused | Failure::Useless => guarded.guard.refused(sent, now, chance),
            };
            let (words, away) = (trouble.to_string(), !guarded.guard.asked());
            let news = away && *guarded.why != *words;
            guarded.why = Arc::from(words);
            (turn, away, news)
        };
        self.look.notify_one();
        if turn == Some(Turn::Away) || news {
            tracing::warn!(why = %trouble, "Redis is not in use: limits and breakers go on by the rules for that");
        }
        if away {
            self.tell();
            self.astray.notify_one();
        }
    }

    fn checked(&self) {
        let turn = {
            let mut guarded = lock(&self.guard);
            guarded.tried = true;
            guarded.guard.checked(self.door.clock.now())
        };
        if turn == Some(Turn::Back) {
            tracing::info!(redis = %self.url(), "Redis is in use");
            self.tell();
        }
    }

    /// Tells those who watch its partitions how it is.
    fn tell(&self) {
        let reach = {
            let guarded = lock(&self.guard);
            if guarded.guard.asked() {
                Reach::Reached
            } else {
                Reach::Away {
                    since: SystemTime::now(),
                    why: Arc::clone(&guarded.why),
                }
            }
        };
        for partition in lock(&self.mine).iter() {
            self.parts.set_reach(*partition, &reach);
        }
        self.metrics.up(self.parts.all_reached());
    }

    // --- the keeper ---

    async fn keep(self: Arc<Self>) {
        let mut first = true;
        // A connection that is left for another one: nobody waits for the guard's next check.
        let mut at_once = false;
        loop {
            if !std::mem::take(&mut at_once) {
                let due = lock(&self.guard).guard.due();
                sleep_until(self.door.clock.instant(due)).await;
            }
            let sent = self.door.clock.now();
            match self.connect().await {
                Ok((live, driver)) => {
                    if !std::mem::take(&mut first) {
                        self.metrics.reconnected();
                    }
                    lock(&self.guard).leave = false;
                    let live = Arc::new(live);
                    self.doubts(live.facts().doubt.clone());
                    self.live.send_replace(Some(Arc::clone(&live)));
                    let parting = self.in_use(&live, driver).await;
                    self.live.send_replace(None);
                    live.end();
                    for partition in lock(&self.mine).iter() {
                        self.parts.set_heard(*partition, false);
                    }
                    let now = self.door.clock.now();
                    match parting {
                        Parting::Ended => self.failed(now, now, &Trouble::Ended(self.url()), Failure::Lost),
                        Parting::Silent => {}
                        Parting::Useless => at_once = self.asked(),
                    }
                }
                Err(trouble) => {
                    tracing::debug!(why = %trouble, "no connection to Redis");
                    self.failed(sent, self.door.clock.now(), &trouble, Failure::Lost);
                }
            }
        }
    }

    async fn connect(&self) -> Result<(Live, JoinHandle<()>), Trouble> {
        let url = match &self.at {
            Whereabouts::Fixed(url) => url.clone(),
            Whereabouts::Sentinel(sentinels) => sentinels.primary(&self.door).await?,
        };
        let parts = Arc::clone(&self.parts);
        let push = move |push: PushInfo| {
            parts.pushed(&push);
            Ok::<(), ()>(())
        };
        self.door.primary(&url, push).await
    }

    /// Watches over a connection until it is of no use.
    async fn in_use(&self, live: &Arc<Live>, mut driver: JoinHandle<()>) -> Parting {
        let url = self.url();
        let mut mine = lock(&self.mine).clone();
        let mut hearing = Box::pin(self.subscribe(live, mine.clone()));
        let mut heard = false;
        let mut look = Instant::now() + LOOK;
        loop {
            let now_mine = lock(&self.mine).clone();
            if now_mine != mine {
                mine = now_mine;
                hearing.set(self.subscribe(live, mine.clone()));
                heard = false;
            }
            let (due, leave, asked) = {
                let guarded = lock(&self.guard);
                (guarded.guard.due(), guarded.leave, guarded.guard.asked())
            };
            if leave {
                return Parting::Useless;
            }
            tokio::select! {
                _ = &mut driver => return Parting::Ended,
                () = self.look.notified() => {}
                () = &mut hearing, if !heard => heard = true,
                () = sleep_until(look) => {
                    look = Instant::now() + LOOK;
                    if asked {
                        tokio::select! {
                            _ = &mut driver => return Parting::Ended,
                            doubt = live.doubt(&url) => self.doubts(doubt),
                        }
                    }
                }
                () = sleep_until(self.door.clock.instant(due)) => {
                    if lock(&self.guard).guard.due() > self.door.clock.now() {
                        // Calls were answered meanwhile.
                        continue;
                    }
                    if !asked && self.door.clock.now().since(live.heard()) > SILENT {
                        return Parting::Silent;
                    }
                    self.check(live).await;
                }
            }
        }
    }

    /// Sees whether it answers, and does what calls need.
    async fn check(&self, live: &Live) {
        let Some(partition) = lock(&self.mine).first().copied() else {
            // Nothing of ours is there: nobody asks it.
            self.checked();
            return;
        };
        let sent = self.door.clock.now();
        let key = self.parts.names().check(partition);
        let call = Call {
            script: &CHECK,
            epoch: &key,
            keys: &[],
            said: &[],
            asking: false,
        };
        let done = timeout_at(Instant::now() + CALL, live.call(&call)).await;
        let now = self.door.clock.now();
        let outcome = match done {
            Ok(Ok(_)) => {
                self.checked();
                Outcome::Answered
            }
            Ok(Err(error)) => match Failing::of(&error, &self.url(), self.door.user.as_deref()) {
                // It answers, and the slot is on its way to who is asked for it.
                Failing::Ask(_) => {
                    self.checked();
                    Outcome::Answered
                }
                failing => self.failed_with::<()>(failing, &error, sent, now).0,
            },
            Err(_) => {
                self.failed(sent, now, &Trouble::Late(self.url(), CALL.as_millis()), Failure::Lost);
                Outcome::Late
            }
        };
        self.metrics.called(CHECK.name, outcome, Some(now.since(sent)));
    }

    fn doubts(&self, doubt: Option<String>) {
        let changed = self.doubt.send_if_modified(|now| {
            if now.as_deref() == doubt.as_deref() {
                return false;
            }
            if let Some(doubt) = &doubt {
                tracing::warn!(redis = %self.url(), "{doubt}");
            }
            *now = doubt.map(Arc::from);
            true
        });
        if changed {
            self.parts.changed();
        }
    }

    /// Hears what is published of partitions. Where that is not allowed they are polled alone.
    async fn subscribe(&self, live: &Live, partitions: Vec<Partition>) {
        let how = if self.door.cluster { "SSUBSCRIBE" } else { "SUBSCRIBE" };
        for partition in partitions {
            let channel = self.parts.names().channel(partition);
            match live.send(redis::cmd(how).arg(&channel)).await {
                Ok(_) => self.parts.set_heard(partition, true),
                Err(error) => {
                    tracing::warn!(%error, channel, "what is published in Redis is not heard: breakers are polled");
                    return;
                }
            }
        }
    }

    /// Where it is, as far as known.
    fn url(&self) -> RedisUrl {
        match &self.at {
            Whereabouts::Fixed(url) => url.clone(),
            Whereabouts::Sentinel(sentinels) => sentinels.last(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole between any two of its statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
