//! The task that talks to the store of a node's breakers: a thin shell around [`Desk`](sluice_shared_state::breaker::Desk).

use super::{Inner, Woken};
use crate::backend::{Backend, CallError, News, Partition, Reach};
use crate::clock::Clock;
use sluice_shared_state::Moment;
use sluice_shared_state::breaker::{Call, Reply, Step, TICK, Told};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast::error::RecvError;

/// All breakers of a cluster are in one partition: they are few, and one call asks for all of them.
pub(crate) const HOME: Partition = Partition(0);

/// After so many answers in a row that it did not do it the store is as good as away.
const REFUSALS: u32 = 3;
/// How long it is not asked then.
const REST: Duration = Duration::from_secs(1);
/// How often breakers that nobody holds are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// What the task keeps between its steps.
struct Task {
    breakers: Weak<Inner>,
    clock: Clock,
    /// There is a reason to poll at once.
    due: bool,
    away: bool,
    refusals: u32,
    rests_until: Moment,
    sweep: Moment,
}

type UnderWay = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>>;

/// Runs until nobody has breakers any more.
pub(super) async fn run(breakers: Weak<Inner>, wake: Arc<Woken>, clock: Clock, backend: Arc<Backend>) {
    let mut reach = backend.reach(HOME);
    let mut news = backend.news();
    let mut deaf = false;
    let mut under_way: Option<UnderWay> = None;
    let mut task = Task {
        breakers,
        clock,
        due: true,
        away: false,
        refusals: 0,
        rests_until: Moment(0),
        sweep: clock.now() + SWEEP,
    };
    loop {
        task.away = *reach.borrow_and_update() != Reach::Reached;
        let Some((next, call)) = task.poll(under_way.is_some()) else {
            return;
        };
        if let Some(call) = call {
            let backend = Arc::clone(&backend);
            under_way = Some(Box::pin(async move { backend.breakers(HOME, &call).await }));
        }
        tokio::select! {
            reply = ended(&mut under_way) => {
                under_way = None;
                task.answered(reply);
            }
            message = news.recv(), if !deaf => match message {
                Ok(News::Message(HOME, message)) => task.heard(&message),
                Ok(News::Heard(HOME)) | Err(RecvError::Lagged(_)) => task.missed(),
                Ok(_) => {}
                Err(RecvError::Closed) => deaf = true,
            },
            changed = reach.changed() => if changed.is_err() {
                return;
            },
            () = wake.0.notified() => task.due = true,
            () = tokio::time::sleep_until(clock.instant(next)) => {}
        }
    }
}

/// The end of a call; never where there is none.
async fn ended(under_way: &mut Option<UnderWay>) -> Result<Reply, CallError> {
    match under_way {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}

// === impl Task ===

impl Task {
    /// Polls where it is time to. When to do so again, and a call to make; None where nobody has breakers any more.
    fn poll(&mut self, busy: bool) -> Option<(Moment, Option<Call>)> {
        let inner = self.breakers.upgrade()?;
        let now = self.clock.now();
        let mut table = inner.table();
        let rests = self.refusals >= REFUSALS && now < self.rests_until;
        table.desk.set_reached(!self.away && !rests);
        if now >= self.sweep {
            self.sweep = now + SWEEP;
            table.desk.forget_left();
        }
        let wall = SystemTime::now();
        let over: Vec<_> = table
            .forced
            .iter()
            .filter(|(_, forced)| forced.until <= wall)
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            table.forced.remove(&key);
            let change = table.desk.force(now, &key, None);
            inner.tell(&mut table, change);
        }
        if table.desk.is_empty() {
            self.due = false;
            return Some((now + SWEEP.min(self.sweep.since(now)), None));
        }
        if busy || !(self.due || now >= table.desk.next()) {
            let next = if busy { now + TICK } else { table.desk.next() };
            return Some((next, None));
        }
        self.due = false;
        let mut step = table.desk.poll(now, fastrand::u32(..));
        let call = step.call.take();
        let next = table.desk.next();
        drop(table);
        tell(&inner, step);
        Some((next, call))
    }

    fn answered(&mut self, reply: Result<Reply, CallError>) {
        let Some(inner) = self.breakers.upgrade() else { return };
        let now = self.clock.now();
        let step = match reply {
            Ok(reply) => {
                self.refusals = 0;
                inner.table().desk.reply(now, &reply)
            }
            Err(error) => {
                if let CallError::Refused(why) = error {
                    self.refusals = self.refusals.saturating_add(1);
                    self.rests_until = now + REST;
                    if self.refusals == REFUSALS {
                        tracing::warn!(
                            why,
                            "the store does not take breakers: this node has its own until it does"
                        );
                    }
                }
                inner.table().desk.lost(now);
                Step::default()
            }
        };
        tell(&inner, step);
    }

    fn heard(&mut self, message: &[u8]) {
        let Some(inner) = self.breakers.upgrade() else { return };
        match Told::decode(message) {
            Ok(told) => {
                let step = inner.table().desk.news(self.clock.now(), &told);
                tell(&inner, step);
            }
            Err(error) => tracing::debug!(%error, "a message of breakers was not understood"),
        }
    }

    fn missed(&mut self) {
        if let Some(inner) = self.breakers.upgrade() {
            inner.table().desk.miss();
        }
    }
}

/// Tells what a step changed.
fn tell(inner: &Inner, step: Step) {
    inner.tell(&mut inner.table(), step.changes);
    for key in step.checks {
        // Nobody checks: the suspicion ends by itself.
        let _ = inner.checks.send(key);
    }
}
