//! The record of one tunnel, from the 101 to its end.

use super::Opening;
use crate::access_log::{AnsweredBy, Ended, Parted};
use crate::front::Client;
use crate::meters::{Direction, RouteCells, TunnelEnd};
use crate::worker::Worker;
use sluice_http_semantics::problem::Outcome;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// Dropping this finishes the record, however the tunnel ends. Holds what names the tunnel, and no
/// part of a configuration.
#[derive(Debug)]
pub(super) struct Record {
    worker: Rc<Worker>,
    client: Rc<Client>,
    route: Arc<RouteCells>,
    id: Box<str>,
    protocol: Box<str>,
    target: Arc<str>,
    opened: Instant,
    /// By [`Direction`].
    bytes: [u64; 2],
    end: TunnelEnd,
    parted: Option<Box<Parted>>,
}

// === impl Record ===

impl Record {
    pub(super) fn begin(worker: Rc<Worker>, client: Rc<Client>, opening: &mut Opening, now: Instant) -> Self {
        worker.cells.listeners[client.place].tunnels.add(1);
        Self {
            worker,
            client,
            route: Arc::clone(&opening.route),
            id: std::mem::take(&mut opening.id),
            protocol: std::mem::take(&mut opening.protocol),
            target: Arc::clone(&opening.target),
            parted: opening.parted.take(),
            opened: now,
            bytes: [0; 2],
            // What is dropped without a word was ended with its worker.
            end: TunnelEnd::Stopped,
        }
    }

    /// Bytes were read that go in this direction.
    pub(super) fn moved(&mut self, direction: Direction, bytes: u64) {
        self.bytes[direction as usize] += bytes;
        self.route.tunnels().moved(direction, bytes);
    }

    pub(super) fn ended(&mut self, end: TunnelEnd) {
        self.end = end;
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The route as people know it.
    pub(super) fn route_name(&self) -> String {
        self.route.name()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.opened.elapsed();
        self.worker.cells.listeners[self.client.place].tunnels.add(-1);
        self.route.tunnels().ended(self.end, duration);
        let [to_upstream, to_client] = self.bytes;
        tracing::debug!(
            id = %self.id,
            client = %self.client.forwarded.address(),
            route = self.route.name(),
            protocol = %self.protocol,
            target = %self.target,
            to_upstream,
            to_client,
            end = self.end.as_str(),
            ?duration,
            "a tunnel ended"
        );
        if let Some(parted) = self.parted.take() {
            let Parted {
                notes,
                id,
                attempts,
                started,
            } = *parted;
            let ended = Ended {
                id: &id,
                client: &self.client,
                route: Some(&self.route),
                attempts: &attempts,
                status: 101,
                outcome: outcome(self.end),
                answered_by: Some(AnsweredBy::Upstream),
                received: to_upstream,
                sent: to_client,
                started,
                duration: started.elapsed(),
                tunnel: Some(self.end),
                passage: None,
            };
            self.worker.access_log.end(notes, &ended);
        }
    }
}

/// What ends by a side's wish, or by ours in order, is well.
fn outcome(end: TunnelEnd) -> Outcome {
    match end {
        TunnelEnd::Closed | TunnelEnd::Idle | TunnelEnd::Drained => Outcome::Ok,
        TunnelEnd::ClientReset => Outcome::ClientClosed,
        TunnelEnd::UpstreamReset | TunnelEnd::Stalled | TunnelEnd::Stopped => Outcome::Partial,
    }
}
