//! A connection that somebody dialled to us: their calls are served and their status is noted.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::AbortHandle;

use crate::assembly::{Limits, Violation};
use crate::callee::{Callee, Effect};
use crate::frame::{Frame, Outcome};
use crate::identity::{Identity, NodeId};
use crate::outbox::Outbox;
use crate::shared::Shared;
use crate::status::Told;
use crate::wire::{End, Side, Wire};
use crate::{Lane, Serve, Service, codec};

/// The accepting side of a connection.
pub(crate) struct Guest {
    callee: Callee,
    out: Outbox,
    theirs: Arc<Identity>,
    shared: Weak<Shared>,
    /// This connection, for the tasks that answer over it.
    wire: Weak<Wire<Self>>,
    /// What serves each call.
    tasks: HashMap<u64, AbortHandle>,
}

/// All connections that were dialled to us. Pure but for what it holds.
pub(crate) struct Guests {
    next: u64,
    seated: HashMap<u64, Seat>,
}

struct Seat {
    wire: Arc<Wire<Guest>>,
    id: NodeId,
    lane: Lane,
}

/// How many connections are taken in all.
const MAX_GUESTS: usize = 1024;

/// How many connections one node may have on one lane: it may know us by several addresses.
const PER_LANE: usize = 8;

// === impl Guest ===

impl Guest {
    pub(crate) fn wire(lane: Lane, theirs: Identity, shared: &Arc<Shared>) -> Arc<Wire<Self>> {
        Arc::new_cyclic(|wire| {
            Wire::new(Self {
                callee: Callee::new(Limits::of(lane)),
                out: Outbox::default(),
                theirs: Arc::new(theirs),
                shared: Arc::downgrade(shared),
                wire: Weak::clone(wire),
                tasks: HashMap::new(),
            })
        })
    }

    pub(crate) fn theirs(&self) -> &Arc<Identity> {
        &self.theirs
    }

    /// Whether no call is under way and nothing waits to be sent.
    pub(crate) fn is_quiet(&self) -> bool {
        self.callee.is_idle() && self.out.is_empty()
    }

    fn begin(&mut self, call: u64, service: Service, body: Bytes) {
        let Some(shared) = self.shared.upgrade() else { return };
        let outcome = match shared.server() {
            _ if shared.is_leaving() => Outcome::Busy,
            None => Outcome::Starting,
            Some(serve) => {
                let work = answer(
                    Weak::clone(&self.wire),
                    call,
                    serve,
                    Arc::clone(&self.theirs),
                    service,
                    body,
                );
                if let Some(task) = shared.spawn(work) {
                    self.tasks.insert(call, task);
                }
                return;
            }
        };
        self.callee.answer(call, outcome, Vec::new(), &mut self.out);
    }

    fn note(&self, encoded: &[u8]) -> Result<(), Violation> {
        let told: Told = codec::decode(encoded).map_err(|_| Violation::Status)?;
        if told.status.id != self.theirs.id {
            return Err(Violation::StatusOfAnother);
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.note(told, Arc::clone(&self.theirs));
        }
        Ok(())
    }
}

/// Serves one call and answers it.
async fn answer(
    wire: Weak<Wire<Guest>>,
    call: u64,
    serve: Arc<dyn Serve>,
    from: Arc<Identity>,
    service: Service,
    body: Bytes,
) {
    let name = from.name.clone();
    let work = AssertUnwindSafe(async move { serve.serve(from, service, body).await });
    let (outcome, body) = match work.catch_unwind().await {
        Ok(Ok(body)) => (Outcome::Done, body),
        Ok(Err(why)) => (Outcome::Refused, why.into_bytes()),
        Err(_) => {
            tracing::error!(
                from = name,
                service = service.0,
                "a call of another node made its service panic"
            );
            (
                Outcome::Refused,
                b"the service failed inside that node; its log says more".to_vec(),
            )
        }
    };
    if let Some(wire) = wire.upgrade() {
        wire.with(|side| {
            side.tasks.remove(&call);
            side.callee.answer(call, outcome, body, &mut side.out);
        });
    }
}

impl Side for Guest {
    fn on_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Violation> {
        match self.callee.on_frame(frame, now, &mut self.out)? {
            Effect::None => {}
            Effect::Serve { call, service, body } => self.begin(call, service, body),
            Effect::Stop { call } => {
                if let Some(task) = self.tasks.remove(&call) {
                    task.abort();
                }
            }
            Effect::Status(encoded) => self.note(&encoded)?,
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

    fn sent(&mut self, call: u64) {
        self.callee.sent(call);
    }

    fn over(&mut self, _end: &Arc<End>) {
        for (_, task) in self.tasks.drain() {
            task.abort();
        }
    }
}

// === impl Guests ===

impl Guests {
    pub(crate) fn new() -> Self {
        Self {
            next: 0,
            seated: HashMap::new(),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.seated.len() >= MAX_GUESTS
    }

    /// Seats a connection; gives its number, and one of the same node that must go for it.
    pub(crate) fn seat(&mut self, wire: Arc<Wire<Guest>>, id: NodeId, lane: Lane) -> (u64, Option<Arc<Wire<Guest>>>) {
        let own = self.seated.iter().filter(|(_, s)| s.id == id && s.lane == lane);
        let oldest = own.clone().map(|(number, _)| *number).min();
        let crowded = own.count() >= PER_LANE;
        let gone = oldest
            .filter(|_| crowded)
            .and_then(|number| self.seated.remove(&number))
            .map(|s| s.wire);
        let number = self.next;
        self.next += 1;
        self.seated.insert(number, Seat { wire, id, lane });
        (number, gone)
    }

    pub(crate) fn leave(&mut self, number: u64) {
        self.seated.remove(&number);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Wire<Guest>>> {
        self.seated.values().map(|s| Arc::clone(&s.wire)).collect()
    }
}
