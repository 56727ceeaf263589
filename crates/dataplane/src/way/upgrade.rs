//! Requests that ask to switch protocols (RFC 9110 §7.8), and the 101 that answers them.
//!
//! All that refuses a plain request has had its say before; the time-outs of the request hold for
//! the handshake, and end with it.

use crate::exchange::Exchange;
use crate::own_answer::Refusal;
use crate::tunnel::Opening;
use http::header::{CONNECTION, TE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, Version};
use sluice_http_semantics::problem::Code;
use sluice_http_semantics::upgrade::Offer;
use sluice_snapshot::Route;
use sluice_upstream::{Body, Protocol, Spec, Timeouts};
use std::sync::Arc;

const SWITCH: HeaderValue = HeaderValue::from_static("upgrade");

/// What goes on to the service of what a request offers; its fields are put back onto `head`. None
/// where there is nothing: then it is a request as any other.
///
/// An offer is an invitation that may be ignored, and so is what a route does not name. A handshake
/// of WebSocket is refused instead: no answer to it but a 101 is of use to its sender.
pub(super) fn offered(
    route: &Route,
    upstream: &Spec,
    offer: Option<Offer>,
    head: &mut Parts,
) -> Result<Option<Box<Offer>>, Refusal> {
    // A client of HTTP/1.0 cannot know what it says (RFC 9110 §7.8), and HTTP/2 has no such field.
    let Some(offer) = offer.filter(|_| head.version == Version::HTTP_11) else {
        return Ok(None);
    };
    let websocket = offer.has_websocket();
    let (left, why) = match upstream.protocol {
        Protocol::Http1 => (
            offer.within(&route.upgrade),
            "the route does not let its requests switch to WebSocket",
        ),
        // It has no such field (RFC 9113 §8.6).
        Protocol::Http2 => (
            None,
            "the service is spoken to in HTTP/2, which cannot switch to WebSocket",
        ),
    };
    let Some(offer) = left else {
        return match websocket {
            true => Err(Refusal::new(Code::UpgradeNotAllowed, why)),
            false => Ok(None),
        };
    };
    let headers = &mut head.headers;
    headers.insert(CONNECTION, SWITCH);
    headers.insert(UPGRADE, offer.to_value());
    headers.remove(TE);
    Ok(Some(Box::new(offer)))
}

/// Leaves the connection behind a 101 of the service for the tunnel, and gives the protocol.
///
/// # Errors
///
/// Where it is none of those that were offered.
pub(super) fn switched(
    exchange: &mut Exchange,
    timeouts: &Timeouts,
    response: &mut Response<Body>,
    offer: &Offer,
) -> Result<Offer, Refusal> {
    let accepted = offer.accepted(response.headers());
    let (Some(accepted), Body::Switched(service)) = (accepted, std::mem::take(response.body_mut())) else {
        return Err(Refusal::new(
            Code::UpstreamProtocol,
            "the target switched to a protocol that was not offered to it",
        ));
    };
    let opening = Box::new(Opening {
        service,
        protocol: accepted.to_string().into(),
        websocket: accepted.is_websocket(),
        idle: timeouts.tunnel,
        half_closed: timeouts.idle,
        route: exchange.route_cells(),
        id: exchange.id.to_string().into(),
        target: exchange.attempts.target.clone().unwrap_or_else(|| Arc::from("")),
        parted: exchange.part(),
        held: exchange
            .passage
            .as_mut()
            .map_or_else(Default::default, |passage| passage.take_held()),
    });
    exchange.stream.switch(opening);
    Ok(accepted)
}

/// The fields of a 101 to the client.
pub(super) fn write(accepted: &Offer, headers: &mut HeaderMap) {
    headers.insert(UPGRADE, accepted.to_value());
    headers.insert(CONNECTION, SWITCH);
}
