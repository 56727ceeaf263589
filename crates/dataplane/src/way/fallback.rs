//! What becomes of a request whose breaker is open.

use super::asked::Kept;
use super::destination::Toward;
use super::forward;
use crate::exchange::Exchange;
use crate::own_answer::Refusal;
use crate::worker::Held;
use http::{Request, Response};
use sluice_http_semantics::upgrade::Offer;
use sluice_snapshot::{Fallback, Route};
use sluice_upstream::{Body, Protocol, SendError, SendErrorKind, Timeouts};
use std::rc::Rc;
use std::time::Duration;

/// Upstreams that a request falls back to, one after the other. The document has no circles; this bounds the way all the
/// same.
const MOST: usize = 8;

/// A request that was not sent.
pub(super) struct Unsent<'s> {
    pub(super) held: &'s Held,
    pub(super) route: &'s Route,
    /// To where it was to go.
    pub(super) toward: Toward<'s>,
    /// As it was.
    pub(super) request: Request<Body>,
    pub(super) kept: &'s Kept,
    pub(super) offer: Option<&'s Offer>,
    /// The client's own deadline, where it has set one.
    pub(super) deadline: Option<Duration>,
    /// For how long the breaker is open, about.
    pub(super) left: Duration,
}

/// For how long the breaker that refused it is open, if that is what came of a request.
pub(super) fn refused(sent: &Result<Response<Body>, SendError>) -> Option<Duration> {
    match sent {
        Err(SendError {
            kind: SendErrorKind::BreakerOpen(left),
            ..
        }) => Some(*left),
        _ => None,
    }
}

/// Another upstream's answer, or the document's; a refusal where there is neither.
pub(super) async fn serve(exchange: &mut Exchange, unsent: Unsent<'_>) -> Result<Response<Body>, Refusal> {
    let Unsent {
        held,
        route,
        toward,
        mut request,
        kept,
        offer,
        deadline,
        mut left,
    } = unsent;
    let worker = Rc::clone(&exchange.worker);
    let mut owned;
    let mut destination = toward.destination;
    for _ in 0..MOST {
        let upstream = match route.fallback(&held.snapshot, destination) {
            // A call understands no other answer than that of gRPC.
            Some(Fallback::Respond(respond)) if exchange.grpc.is_none() => {
                return Ok(forward::composed(exchange, respond.answer(request.method(), kept)));
            }
            Some(Fallback::Upstream(name)) => held.snapshot.upstream(name),
            _ => None,
        };
        // What was offered to the one was written for HTTP/1.1.
        let Some(upstream) = upstream.filter(|to| offer.is_none() || to.protocol == Protocol::Http1) else {
            break;
        };
        owned = route.fall_back_to(upstream);
        destination = &owned;
        if let Some(notes) = exchange.notes() {
            notes.goes_to(&upstream.name);
        }
        let own = destination.timeouts;
        let timeouts = Timeouts {
            total: own.total.into_iter().chain(deadline).min(),
            ..own
        };
        exchange.attempts.deadline = timeouts.total != own.total;
        let plan = destination.plan().within(&timeouts).for_request(exchange.id.as_str());
        let sent = worker
            .upstreams
            .send(upstream, plan, &mut request, &mut exchange.attempts)
            .await;
        match refused(&sent) {
            Some(longer) => left = left.min(longer),
            None => {
                let toward = Toward { destination, ..toward };
                return forward::answered(exchange, route, toward, sent, kept, offer, timeouts.total);
            }
        }
    }
    Err(Refusal::breaker_open(left))
}
