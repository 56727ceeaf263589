//! To a target and back.

use super::asked::{Asked, Kept};
use super::destination::Toward;
use super::upgrade;
use crate::exchange::Exchange;
use crate::incoming::{BodyLimits, Incoming, Limited};
use crate::own_answer::Refusal;
use http::header::{ALLOW, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use sluice_http_semantics::framing::plain_content_length;
use sluice_http_semantics::grpc;
use sluice_http_semantics::hop::remove_response_hop_by_hop;
use sluice_http_semantics::path::Path;
use sluice_http_semantics::problem::Code;
use sluice_http_semantics::upgrade::Offer;
use sluice_policy::Answer;
use sluice_policy::rewrite::Rewritten;
use sluice_snapshot::Route;
use sluice_upstream::{Body, BodyError, SendError, SendErrorKind, Timeouts, Which};
use std::time::Duration;

/// The body of a request, with the limits of its route. What tells its length is judged at once.
pub(super) fn limited(exchange: &mut Exchange, route: &Route, body: Incoming) -> Result<Body, Refusal> {
    if body.is_end_stream() {
        return Ok(Body::Empty);
    }
    if let (Some(limit), Some(length)) = (route.max_body, body.size_hint().exact())
        && length > limit
    {
        return Err(Refusal::too_large(limit));
    }
    let edge = exchange.worker.edge();
    let limits = BodyLimits {
        most: route.max_body,
        idle: edge.body_idle,
        // A call whose client says little now and then is as it should be.
        rate: match exchange.grpc {
            Some(_) => 0,
            None => edge.min_rate,
        },
    };
    let stream = exchange.stream.clone();
    Ok(Body::boxed(Limited::new(body, stream, limits, exchange.upload())))
}

/// Where a request goes, if not where it was sent.
pub(super) struct Target {
    pub(super) uri: Uri,
    /// Nothing is left of the path.
    pub(super) bare: bool,
}

/// What the route makes of the request's target; none where it stays as it is.
pub(super) fn target(route: &Route, path: &Path<'_>, asked: &Asked<'_>) -> Result<Option<Target>, Refusal> {
    if path.was_normal() && route.rewrite.is_none() && route.request_query.is_none() {
        return Ok(None);
    }
    let bad = |why: &dyn ToString| Refusal::new(Code::BadRequest, why.to_string());
    let mut target = match &route.rewrite {
        Some(rewrite) => rewrite.apply(path, asked.query, asked).map_err(|why| bad(&why))?,
        None => Rewritten {
            path: path.as_str().into(),
            query: asked.query.map(Into::into),
            bare: false,
        },
    };
    if let Some(transform) = &route.request_query {
        target.query = transform.apply(target.query, asked);
    }
    let text = match target.query {
        Some(query) => format!("{}?{query}", target.path),
        None => target.path.into_owned(),
    };
    let uri = PathAndQuery::try_from(text).map_err(|why| bad(&why))?.into();
    Ok(Some(Target { uri, bare: target.bare }))
}

/// An answer that the document holds.
pub(super) fn composed(exchange: &mut Exchange, answer: Answer) -> Response<Body> {
    exchange.composed(answer.status.as_u16());
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// The answer to a request that has come as far as it wants to: it is not forwarded (RFC 9110 §7.6.2).
pub(super) fn ended(exchange: &mut Exchange, route: &Route, method: &Method) -> Result<Response<Body>, Refusal> {
    let allow = route.allow();
    if *method == Method::TRACE {
        // What a client sent is no answer of ours: it may hold what scripts of another origin shall not read.
        let allow = match allow.is_empty() {
            true => "OPTIONS".to_owned(),
            false => allow.to_string(),
        };
        return Err(Refusal::method(allow));
    }
    exchange.composed(StatusCode::NO_CONTENT.as_u16());
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allow) = HeaderValue::try_from(allow.to_string())
        && !allow.is_empty()
    {
        response.headers_mut().insert(ALLOW, allow);
    }
    Ok(response)
}

/// The time-outs of a gRPC call whose client has set a deadline: the shorter of the route's `total` and that ends it. The
/// service is told of the deadline as it came, or of what is left of it by the route.
pub(super) fn deadline(exchange: &Exchange, timeouts: &Timeouts, headers: &mut HeaderMap) -> Option<Box<Timeouts>> {
    exchange.grpc.as_ref()?;
    let asked = grpc::parse_timeout(headers.get(grpc::TIMEOUT)?)?;
    let total = match timeouts.total {
        Some(own) if own < asked => {
            headers.insert(grpc::TIMEOUT, grpc::write_timeout(own));
            own
        }
        _ => asked,
    };
    Some(Box::new(Timeouts {
        total: Some(total),
        ..*timeouts
    }))
}

/// What came of a request that was sent, made ready for the client. `total` is for the whole exchange.
pub(super) fn answered(
    exchange: &mut Exchange,
    route: &Route,
    toward: Toward<'_>,
    sent: Result<Response<Body>, SendError>,
    kept: &Kept,
    offer: Option<&Offer>,
    total: Option<Duration>,
) -> Result<Response<Body>, Refusal> {
    let mut response = sent.map_err(refused)?;
    let switched = match offer {
        Some(offer) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Some(upgrade::switched(
            exchange,
            &toward.destination.timeouts,
            &mut response,
            offer,
        )?),
        _ => None,
    };
    exchange.forwarded(response.status().as_u16());
    if let Some(total) = total
        && let Some(at) = exchange.started().checked_add(total)
    {
        exchange.stream.last_byte_by(at);
    }
    remove_response_hop_by_hop(response.headers_mut());
    plain_content_length(response.headers_mut());
    if let Some(transform) = &route.response_headers {
        transform.apply(response.headers_mut(), kept);
    }
    if let Some(accepted) = &switched {
        upgrade::write(accepted, response.headers_mut());
    }
    if let Some(cookie) = toward.set_cookie {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    Ok(response)
}

/// What a failure to get an answer is to the client.
fn refused(error: SendError) -> Refusal {
    tracing::debug!(%error, "no answer of a target");
    match error.kind {
        SendErrorKind::NoTarget => Refusal::no_target(),
        SendErrorKind::BreakerOpen(left) => Refusal::breaker_open(left),
        SendErrorKind::Connect => Refusal::new(Code::UpstreamConnect, "no connection to the target came about"),
        SendErrorKind::Reset => Refusal::new(
            Code::UpstreamReset,
            "the target ended its connection before it answered",
        ),
        SendErrorKind::Protocol => Refusal::new(
            Code::UpstreamProtocol,
            "what the target sent is no answer that can be passed on",
        ),
        SendErrorKind::Unfit => Refusal::new(
            Code::UpstreamProtocol,
            "the request cannot be written for the target: its Host, or its path with the target's base",
        ),
        SendErrorKind::Timeout(Which::Total) => Refusal::new(
            Code::Deadline,
            "the time for the whole exchange was over before an answer came",
        ),
        SendErrorKind::Timeout(which) => Refusal::new(
            Code::UpstreamTimeout,
            match which {
                Which::Connect => "no connection to the target came about in time",
                Which::Idle => "the target took no more of the request in time",
                _ => "the target did not answer in time",
            },
        ),
        SendErrorKind::ClientBody(error) => match error {
            BodyError::TooLarge { limit } => Refusal::too_large(limit),
            BodyError::ClientTimeout(_) => {
                Refusal::new(Code::ClientTimeout, "the body of the request did not go on in time")
            }
            _ => Refusal::new(Code::BadRequest, "the body of the request is malformed, or ended early"),
        },
    }
}
