//! A connection that we dialled: our calls and our status go over it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::sleep_until;

use crate::assembly::{Limits, Violation};
use crate::caller::{Answer, Caller, Effect};
use crate::error::CallError;
use crate::frame::Frame;
use crate::identity::Identity;
use crate::outbox::Outbox;
use crate::shared::Shared;
use crate::timings::Patience;
use crate::wire::{End, Moved, Side, Wire};
use crate::{Lane, Service};

/// A connection with a peer that we dialled.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) wire: Wire<Dialling>,
    pub(crate) since: Instant,
    address: String,
    lane: Lane,
    /// When any byte of any call last moved.
    moved: Arc<Moved>,
    /// The other side takes so many calls, and KiB of large requests, at a time: we wait here
    /// instead of being refused there.
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    pongs: watch::Receiver<u64>,
}

/// The dialling side of a connection.
#[derive(Debug)]
pub(crate) struct Dialling {
    caller: Caller<Waiting>,
    out: Outbox,
    theirs: Arc<Identity>,
    shared: Weak<Shared>,
    end: Option<Arc<End>>,
    moved: Arc<Moved>,
    asked: u64,
    pongs: watch::Sender<u64>,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Waiting {
    done: oneshot::Sender<Result<Answer, Arc<End>>>,
    moved: Arc<Moved>,
}

/// When patience runs out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    At(Instant),
    Still(Duration),
}

/// Cancels the call unless it has ended.
struct Cancel<'a> {
    wire: &'a Wire<Dialling>,
    call: u64,
}

const KIB: usize = 1024;

// === impl Deadline ===

impl Deadline {
    pub(crate) fn of(patience: Patience, now: Instant) -> Self {
        match patience {
            Patience::Total(total) => Self::At(now + total),
            Patience::Progress(still) => Self::Still(still),
        }
    }

    /// Waits for `work` while there is patience; `moved` says when there last was progress.
    pub(crate) async fn wait<T>(self, moved: impl Fn() -> Instant, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let until = match self {
                Self::At(at) => at,
                Self::Still(still) => moved() + still,
            };
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = sleep_until(until.into()) => {
                    let more = matches!(self, Self::Still(still) if moved() + still > Instant::now());
                    if !more {
                        return None;
                    }
                }
            }
        }
    }
}

// === impl Dialled ===

impl Dialled {
    pub(crate) fn new(address: &str, lane: Lane, theirs: Identity, shared: &Arc<Shared>) -> Self {
        let limits = Limits::of(lane);
        let (pongs, heard) = watch::channel(0);
        let moved = Arc::new(Moved::new());
        let side = Dialling {
            caller: Caller::new(limits),
            out: Outbox::default(),
            theirs: Arc::new(theirs),
            shared: Arc::downgrade(shared),
            end: None,
            moved: Arc::clone(&moved),
            asked: 0,
            pongs,
        };
        Self {
            wire: Wire::new(side),
            since: Instant::now(),
            address: address.to_owned(),
            lane,
            moved,
            places: Arc::new(Semaphore::new(limits.calls)),
            room: Arc::new(Semaphore::new(limits.bytes / KIB)),
            pongs: heard,
        }
    }

    /// Who lives at the other end.
    pub(crate) fn theirs(&self) -> Arc<Identity> {
        self.wire.look(|side| Arc::clone(&side.theirs))
    }

    /// Makes a call and waits for its answer.
    pub(crate) async fn call(&self, service: Service, body: Bytes, deadline: Deadline) -> Result<Vec<u8>, CallError> {
        let began = Instant::now();
        // While others' bytes move, our turn comes nearer.
        let moved = || self.moved.last().max(began);
        let Some(_held) = deadline.wait(moved, self.place(body.len())).await else {
            return Err(CallError::Busy {
                address: self.address.clone(),
            });
        };
        let (done, answer) = oneshot::channel();
        let moved = Arc::new(Moved::new());
        let waiting = Waiting {
            done,
            moved: Arc::clone(&moved),
        };
        let begun = self.wire.with(|side| match &side.end {
            Some(end) => Err(Arc::clone(end)),
            None => Ok(side.caller.begin(service, body, waiting, &mut side.out)),
        });
        let call = match begun {
            Ok(call) => call,
            Err(end) if end.shutdown => return Err(CallError::ShutDown),
            Err(end) => {
                return Err(CallError::Unreachable {
                    address: self.address.clone(),
                    why: end.why.clone(),
                });
            }
        };
        let _cancel = Cancel { wire: &self.wire, call };
        let lost = |end: &End| {
            if end.shutdown {
                CallError::ShutDown
            } else {
                CallError::Lost {
                    address: self.address.clone(),
                    why: end.why.clone(),
                }
            }
        };
        match deadline.wait(|| moved.last(), answer).await {
            None => Err(CallError::TooLate),
            Some(Ok(Ok(answer))) => self.result(answer),
            Some(Ok(Err(end))) => Err(lost(&end)),
            // The table drops nobody who waits without a word.
            Some(Err(_)) => Err(lost(&End::lost("the call was dropped"))),
        }
    }

    /// Whether the other side answers a ping within `patience`.
    pub(crate) async fn answers(&self, patience: Duration) -> bool {
        let number = self.wire.with(|side| {
            side.asked += 1;
            side.out.ping(side.asked);
            side.asked
        });
        let mut pongs = self.pongs.clone();
        let heard = tokio::time::timeout(patience, pongs.wait_for(|n| *n >= number)).await;
        matches!(heard, Ok(Ok(_)))
    }

    async fn place(&self, bytes: usize) -> Option<(Option<OwnedSemaphorePermit>, OwnedSemaphorePermit)> {
        let kib = u32::try_from(Limits::weight(bytes) / KIB).unwrap_or(u32::MAX);
        let room = match kib {
            0 => None,
            kib => Some(Arc::clone(&self.room).acquire_many_owned(kib).await.ok()?),
        };
        Some((room, Arc::clone(&self.places).acquire_owned().await.ok()?))
    }

    fn result(&self, answer: Answer) -> Result<Vec<u8>, CallError> {
        match answer {
            Answer::Done(body) => Ok(body),
            Answer::Refused(why) => Err(CallError::Refused(why)),
            Answer::Starting => Err(CallError::Starting),
            Answer::Busy => Err(CallError::Busy {
                address: self.address.clone(),
            }),
            Answer::TooLarge(bytes) => Err(CallError::TooLarge {
                bytes,
                limit: self.lane.max_message(),
                lane: self.lane,
            }),
            Answer::Overflow => Err(CallError::Lost {
                address: self.address.clone(),
                why: "its answer together with others under way is more than the connection takes".to_owned(),
            }),
        }
    }
}

// === impl Cancel ===

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        self.wire.with(|side| side.caller.cancel(self.call, &mut side.out));
    }
}

// === impl Dialling ===

impl Dialling {
    /// Our status, to be sent in place of one that has not gone out yet.
    pub(crate) fn status(&mut self, encoded: Bytes) {
        self.out.status(encoded);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.caller.is_idle()
    }
}

impl Side for Dialling {
    fn on_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Violation> {
        match self.caller.on_frame(frame, now, &mut self.out)? {
            Effect::None => {}
            Effect::Moved(waiting) => {
                waiting.moved.touch();
                self.moved.touch();
            }
            Effect::Ended(waiting, answer) => {
                self.moved.touch();
                // Nobody waits any more where the call was dropped this very moment.
                let _ = waiting.done.send(Ok(answer));
            }
            Effect::Pong(number) => self.pongs.send_modify(|heard| *heard = number.max(*heard)),
            Effect::Cluster(id) => {
                let mut theirs = Identity::clone(&self.theirs);
                theirs.cluster_id = Some(id);
                self.theirs = Arc::new(theirs);
                if let Some(shared) = self.shared.upgrade() {
                    shared.check_cluster(&self.theirs)?;
                }
            }
        }
        Ok(())
    }

    fn out(&mut self) -> &mut Outbox {
        &mut self.out
    }

    fn sent(&mut self, _call: u64) {}

    fn over(&mut self, end: &Arc<End>) {
        self.end = Some(Arc::clone(end));
        for waiting in self.caller.end() {
            let _ = waiting.done.send(Err(Arc::clone(end)));
        }
    }
}
