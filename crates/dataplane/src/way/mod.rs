//! The way of a request: for whom it is, who sent it, which route takes it, what the route does.
//!
//! ```text
//!   answer ─▶ target: what may be asked at all ─▶ gateway ─▶ who asks, by its trust ─▶ route
//!      │                                                                                 │
//!      │◀── refused, at any step: a problem document                                     ▼
//!      └◀── response: hop's fields off, ours on ◀── target's answer ◀── forward, or the route's own ◀── limits
//! ```

mod asked;
mod destination;
mod fallback;
mod forward;
mod limits;
mod target;
mod upgrade;

pub(crate) use limits::Passage;

use crate::exchange::Exchange;
use crate::front::{Client, LONGEST_LIFE, MOST_REQUESTS, Stream};
use crate::incoming::Incoming;
use crate::outgoing::Outgoing;
use crate::overload::Level;
use crate::own_answer::Refusal;
use crate::worker::{Held, Worker};
use asked::{Asked, Kept};
use destination::Toward;
use futures_util::FutureExt;
use http::header::{CONNECTION, EXPECT, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use limits::{Asking, Pending};
use sluice_http_semantics::forwarded::Inbound;
use sluice_http_semantics::framing::plain_content_length;
use sluice_http_semantics::hop::remove_request_hop_by_hop;
use sluice_http_semantics::max_forwards::{Onward, count_down};
use sluice_http_semantics::problem::Code;
use sluice_http_semantics::request_id::X_REQUEST_ID;
use sluice_http_semantics::upgrade::Offer;
use sluice_snapshot::{Action, Answer, Gateway, Lookup, Route};
use sluice_upstream::{Body, Timeouts};
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

const SLUICE_VERSION: HeaderName = HeaderName::from_static("sluice-version");
const SLUICE_NODE: HeaderName = HeaderName::from_static("sluice-node");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What answers of a gateway tell of us.
#[derive(Debug, Clone, Copy, Default)]
struct Exposed {
    version: bool,
    node: bool,
}

/// Answers a request, whatever comes.
///
/// The future is kept small, since a connection holds one, and moves it, for each request.
pub(crate) fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    stream: Stream,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Outgoing>, Infallible>> {
    let version = request.version();
    let held = worker.held();
    let mut exchange = Exchange::begin(worker, client, stream, &held.snapshot, &request);
    let mut exposed = Exposed::default();
    let mut request = Some(request);
    async move {
        let served = AssertUnwindSafe(serve(&mut exchange, &mut exposed, &held, &mut request))
            .catch_unwind()
            .await;
        Ok(finish(served, exchange, exposed, held, version))
    }
}

type Served = std::thread::Result<Result<Response<Body>, Refusal>>;

/// What every answer gets, whatever became of its request.
fn finish(
    served: Served,
    mut exchange: Exchange,
    exposed: Exposed,
    held: Rc<Held>,
    version: http::Version,
) -> Response<Outgoing> {
    let mut ends = false;
    let mut response = match served {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => {
            ends = refusal.ends();
            refusal.answer(&mut exchange, &held)
        }
        Err(panic) => {
            let route = exchange.route_name();
            exchange.worker.panicked(&route, &*panic);
            ends = true;
            Refusal::new(Code::Internal, format!("a fault of the gateway, in {route}")).answer(&mut exchange, &held)
        }
    };
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    if let Some(passage) = &exchange.passage {
        passage.tell(headers);
    }
    headers.insert(X_REQUEST_ID, exchange.id.as_value().clone());
    if exposed.version {
        headers.insert(SLUICE_VERSION, held.version.clone());
    }
    if exposed.node {
        headers.insert(SLUICE_NODE, exchange.worker.node.clone());
    }
    // A stream of HTTP/2 is ended by nothing but its own end, and its connection by GOAWAY; what is spoken
    // behind a 101 has an end of its own.
    if version < http::Version::HTTP_2 && (ends || is_last(&exchange)) && !switched {
        headers.insert(CONNECTION, CLOSE);
    }
    // From here on the answer holds no snapshot.
    drop(held);
    response.map(|body| Outgoing::new(body, exchange, version))
}

/// Whether the connection ends with this answer.
fn is_last(exchange: &Exchange) -> bool {
    let client = &exchange.client;
    exchange.worker.orders().ends_connections()
        || client.wire.requests() >= MOST_REQUESTS
        || exchange.started().saturating_duration_since(client.made) >= LONGEST_LIFE
}

async fn serve(
    exchange: &mut Exchange,
    exposed: &mut Exposed,
    held: &Held,
    request: &mut Option<Request<Incoming>>,
) -> Result<Response<Body>, Refusal> {
    let worker = Rc::clone(&exchange.worker);
    if worker.orders().level > Level::Calm {
        return Err(Refusal::overloaded());
    }
    let (next, pending) = prepare(exchange, exposed, held, request)?;
    if let Some(pending) = pending {
        let passage = pending.verdict().await;
        let refusal = passage.refusal();
        exchange.passage = Some(passage);
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
    }
    let Prepared {
        route,
        toward,
        mut request,
        kept,
        offer,
        deadline,
    } = match next {
        Next::Forward(prepared) => prepared,
        Next::Answer(response) => return Ok(response),
    };
    let to = toward.destination;
    let attempts = &mut exchange.attempts;
    attempts.switch = offer.is_some();
    attempts.grpc = exchange.grpc.is_some();
    let clients = deadline.as_ref().and_then(|within| within.total);
    attempts.deadline = clients.is_some() && clients != to.timeouts.total;
    if let Some(notes) = exchange.notes() {
        notes.goes_to(&to.upstream.name);
    }
    let plan = to
        .plan()
        .within(deadline.as_deref().unwrap_or(&to.timeouts))
        .for_request(exchange.id.as_str());
    let sent = worker
        .upstreams
        .send(&to.upstream, plan, &mut request, &mut exchange.attempts)
        .await;
    if let Some(left) = fallback::refused(&sent) {
        let unsent = fallback::Unsent {
            held,
            route,
            toward,
            request,
            kept: &kept,
            offer: offer.as_deref(),
            deadline: clients,
            left,
        };
        // Apart: it is large, and rare.
        return Box::pin(fallback::serve(exchange, unsent)).await;
    }
    let total = deadline.map_or(to.timeouts.total, |timeouts| timeouts.total);
    forward::answered(exchange, route, toward, sent, &kept, offer.as_deref(), total)
}

/// A request that is ready for its target.
struct Prepared<'s> {
    route: &'s Route,
    toward: Toward<'s>,
    request: Request<Body>,
    kept: Kept,
    /// What it asks to switch to.
    offer: Option<Box<Offer>>,
    /// The route's time-outs within the deadline that the client has set, where it has.
    deadline: Option<Box<Timeouts>>,
}

enum Next<'s> {
    Forward(Prepared<'s>),
    Answer(Response<Body>),
}

/// All that is done with a request before it leaves. What its limits say may still have to be waited for.
fn prepare<'s>(
    exchange: &mut Exchange,
    exposed: &mut Exposed,
    held: &'s Held,
    request: &mut Option<Request<Incoming>>,
) -> Result<(Next<'s>, Option<Box<Pending>>), Refusal> {
    // Taken once: it is there.
    let Some(request) = request.take() else {
        return Err(Refusal::new(Code::Internal, "the request was gone"));
    };
    let (mut head, body) = request.into_parts();
    target::check(&head, exchange.worker.edge())?;
    target::to_origin_form(&mut head, || {
        exchange.worker.trusts(exchange.client.forwarded.address())
    })?;
    let Chosen {
        route,
        inbound,
        what,
        pending,
    } = choose(exchange, exposed, held, &head)?;
    let (toward, target, kept) = match what {
        What::Forward { toward, target, kept } => (toward, target, kept),
        What::Answer(answer) => return Ok((Next::Answer(forward::composed(exchange, answer)), pending)),
    };
    if count_down(&head.method, &mut head.headers) == Onward::Ends {
        let answer = forward::ended(exchange, route, &head.method)?;
        return Ok((Next::Answer(answer), pending));
    }
    let body = forward::limited(exchange, route, body)?;
    if let Some(target) = target {
        exchange.attempts.bare_path = target.bare;
        head.uri = target.uri;
    }
    let offer = remove_request_hop_by_hop(&mut head.headers);
    let offer = upgrade::offered(route, &toward.destination.upstream, offer, &mut head)?;
    head.headers.remove(EXPECT);
    plain_content_length(&mut head.headers);
    let client = &exchange.client.forwarded;
    inbound.write(&mut head.headers, client, &exchange.id, head.version);
    if let Some(transform) = &route.request_headers {
        transform.apply(&mut head.headers, &kept);
    }
    let deadline = forward::deadline(exchange, &toward.destination.timeouts, &mut head.headers);
    let prepared = Prepared {
        route,
        toward,
        deadline,
        request: Request::from_parts(head, body),
        kept,
        offer,
    };
    Ok((Next::Forward(prepared), pending))
}

/// A route, and what it makes of the request.
struct Chosen<'s> {
    route: &'s Arc<Route>,
    inbound: Inbound,
    what: What<'s>,
    /// What its limits will say.
    pending: Option<Box<Pending>>,
}

enum What<'s> {
    Forward {
        toward: Toward<'s>,
        /// None where the target of the request stays as it is.
        target: Option<forward::Target>,
        kept: Kept,
    },
    Answer(sluice_policy::Answer),
}

/// For whom the request is, who asks, and which route takes it: all that looks at the request as
/// it came.
fn choose<'s>(
    exchange: &mut Exchange,
    exposed: &mut Exposed,
    held: &'s Held,
    head: &Parts,
) -> Result<Chosen<'s>, Refusal> {
    let client = &exchange.client;
    let host = target::host(head, &client.last_host)?;
    let path = target::path(&head.uri)?;
    let listener = &exchange.worker.crew.settings.listeners[client.place].name;
    let Some(gateway) = held.snapshot.gateway(listener, &host) else {
        if let Some(notes) = exchange.notes() {
            notes.asks(&host, path.as_str());
        }
        return Err(Refusal::new(Code::NoRoute, "no gateway has this host on this listener"));
    };
    *exposed = Exposed::of(gateway);
    let inbound = match client.forwarded.is_trusted(&gateway.trusted) {
        true => Inbound::resolve(&head.headers, &client.forwarded, &gateway.trusted),
        false => Inbound::of_stranger(&client.forwarded, head.headers.get(HOST).cloned()),
    };
    if let Some(notes) = exchange.notes() {
        notes.asks(&host, path.as_str());
        notes.of(&gateway.name, &inbound);
    }
    if let Some(id) = &inbound.request_id {
        exchange.id = id.clone();
    }
    let lookup = Lookup {
        host: &host,
        path: &path,
        method: &head.method,
        headers: &head.headers,
        query: head.uri.query(),
        client: inbound.client,
        trusted: inbound.trusted,
    };
    let (route, params) = match gateway.route(&lookup) {
        Answer::Route { route, params } => (route, params),
        Answer::NoRoute => {
            return Err(Refusal::new(
                Code::NoRoute,
                "no route of the gateway takes this request",
            ));
        }
        Answer::MethodNotAllowed { allow } => return Err(Refusal::method(allow.to_string())),
        Answer::EncodedSlash { route } => {
            exchange.matched(route);
            return Err(Refusal::new(
                Code::EncodedSlash,
                "the path has a %2F that this route does not take",
            ));
        }
    };
    exchange.matched(route);
    exchange.worker.fault_points.requested(route);
    let asked = Asked {
        params,
        path: path.as_str(),
        query: head.uri.query(),
        method: &head.method,
        host: &host,
        scheme: inbound.scheme,
        headers: &head.headers,
        id: &exchange.id,
        client: inbound.client,
        trusted: inbound.trusted,
    };
    let pending = match &route.limits {
        None => None,
        Some(limits) => match limits::ask(&exchange.worker, limits, &asked) {
            Asking::Pending(pending) => Some(pending),
            Asking::Known(passage) => {
                let refusal = passage.refusal();
                exchange.passage = Some(passage);
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
                None
            }
        },
    };
    let toward = match &route.action {
        Action::Forward(destination) => Ok(Toward::only(destination)),
        Action::Split(split) => Ok(Toward::arm(exchange, route, split, &asked)),
        Action::Respond(respond) => Err(respond.answer(&head.method, &asked)),
        Action::Redirect(redirect) => Err(redirect.answer(&asked)),
    };
    let what = match toward {
        Ok(toward) => What::Forward {
            toward,
            target: forward::target(route, &path, &asked)?,
            kept: Kept::for_route(route, toward.destination, &held.snapshot, &asked),
        },
        Err(answer) => What::Answer(answer),
    };
    drop(asked);
    Ok(Chosen {
        route,
        inbound,
        what,
        pending,
    })
}

// === impl Exposed ===

impl Exposed {
    fn of(gateway: &Gateway) -> Self {
        Self {
            version: gateway.expose_version,
            node: gateway.expose_node,
        }
    }
}
