//! A line for an exchange.
//!
//! Which exchanges have one is the document's to say. What a line needs of a request is noted when the request comes,
//! since most of it is gone when the answer ends; notes are used again, so that a request costs no allocation. The line
//! is made when the exchange is over, and given to a writer that nobody waits for.
//!
//! Of a request's fields only the ones named here are ever read, and of its target the path alone: what may be a secret
//! is not left out later, it never comes in.

use crate::front::Client;
use crate::meters::{RouteCells, TunnelEnd};
use crate::way::Passage;
use http::header::USER_AGENT;
use http::{HeaderMap, Request};
use sluice_http_semantics::forwarded::{Inbound, Scheme};
use sluice_http_semantics::problem::Outcome;
use sluice_http_semantics::request_id::{RequestId, X_REQUEST_ID};
use sluice_snapshot::{self as snapshot, Snapshot};
use sluice_telemetry::log::{Lines, Object, push_time};
use sluice_telemetry::names::access;
use sluice_upstream::Attempts;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The most bytes of a path that are written.
const PATH: usize = 1024;

/// The most bytes of any other text of a client's, or of the document's.
const TEXT: usize = 256;

/// Notes that are kept to be used again.
const SPARE: usize = 256;

/// One worker's access log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    node: Arc<str>,
    lines: Rc<Lines>,
    #[allow(clippy::vec_box, reason = "an exchange moves often, and holds the box")]
    spare: RefCell<Vec<Box<Notes>>>,
    /// Where a line is made.
    line: RefCell<String>,
}

/// What is noted of a request.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Every exchange has a line, not only what went wrong.
    all: bool,
    version: u64,
    method: http::Method,
    protocol: &'static str,
    path: Vec<u8>,
    host: String,
    user_agent: Vec<u8>,
    /// The request id that the client gave, where it is not the exchange's.
    client_request_id: Vec<u8>,
    client: Option<(IpAddr, Scheme)>,
    gateway: String,
    upstream: String,
}

/// An exchange that is over.
#[derive(Debug)]
pub(crate) struct Ended<'e> {
    pub(crate) id: &'e RequestId,
    pub(crate) client: &'e Client,
    pub(crate) route: Option<&'e RouteCells>,
    pub(crate) attempts: &'e Attempts,
    /// 0: there was no answer.
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    /// `None`: nobody did.
    pub(crate) answered_by: Option<AnsweredBy>,
    /// Bytes of bodies.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) started: Instant,
    pub(crate) duration: Duration,
    /// It became a tunnel, which ended so.
    pub(crate) tunnel: Option<TunnelEnd>,
    /// What the limits of its route made of it.
    pub(crate) passage: Option<&'e Passage>,
}

/// What a tunnel takes over of the exchange that it began as, for the line that it has at its end.
#[derive(Debug)]
pub(crate) struct Parted {
    pub(crate) notes: Box<Notes>,
    pub(crate) id: RequestId,
    pub(crate) attempts: Attempts,
    pub(crate) started: Instant,
}

/// Whose answer it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    Gateway,
    Upstream,
}

// === impl AccessLog ===

impl AccessLog {
    pub(crate) fn new(node: Arc<str>, lines: Rc<Lines>) -> Self {
        Self {
            node,
            lines,
            spare: RefCell::default(),
            line: RefCell::default(),
        }
    }

    /// Notes a request, where an exchange of `snapshot` may have a line.
    pub(crate) fn note<B>(&self, snapshot: &Snapshot, request: &Request<B>) -> Option<Box<Notes>> {
        let all = match snapshot.access_log() {
            snapshot::AccessLog::Off => return None,
            snapshot::AccessLog::Errors => false,
            snapshot::AccessLog::All => true,
        };
        let mut notes = self.spare.borrow_mut().pop().unwrap_or_default();
        notes.all = all;
        notes.version = snapshot.version();
        notes.method.clone_from(request.method());
        notes.protocol = protocol(request.version());
        put(&mut notes.path, request.uri().path().as_bytes(), PATH);
        put_field(&mut notes.user_agent, request.headers(), USER_AGENT);
        put_field(&mut notes.client_request_id, request.headers(), X_REQUEST_ID);
        Some(notes)
    }

    /// Writes the line of an exchange that is over, if it has one.
    pub(crate) fn end(&self, notes: Box<Notes>, ended: &Ended<'_>) {
        if notes.all || went_wrong(ended) {
            self.write(|line| {
                begin(line, &self.node, ended);
                of_request(line, &notes, ended);
                of_answer(line, ended);
                of_exchange(line, ended);
                of_service(line, &notes, ended);
                line.number(access::VERSION, notes.version);
            });
        }
        self.take_back(notes);
    }

    /// Writes the line of what was refused before it was a request.
    pub(crate) fn unread(&self, snapshot: &Snapshot, ended: &Ended<'_>) {
        if snapshot.access_log() == snapshot::AccessLog::Off {
            return;
        }
        self.write(|line| {
            begin(line, &self.node, ended);
            line.plain(access::CLIENT, format_args!("{}", ended.client.forwarded.address()));
            of_answer(line, ended);
            line.number(access::VERSION, snapshot.version());
        });
    }

    fn write(&self, members: impl FnOnce(&mut Object<'_>)) {
        let mut line = self.line.borrow_mut();
        line.clear();
        let mut object = Object::begin(&mut line);
        members(&mut object);
        object.end();
        // What has no room is counted there.
        let _ = self.lines.put(&line);
    }

    fn take_back(&self, mut notes: Box<Notes>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            notes.clear();
            spare.push(notes);
        }
    }
}

/// Refused or failed by us, broken off by anybody, or a service's own 5xx. Its 4xx are its client's.
fn went_wrong(ended: &Ended<'_>) -> bool {
    match ended.outcome {
        Outcome::Ok | Outcome::CacheHit => false,
        Outcome::UpstreamStatus => ended.status >= 500,
        Outcome::ClientClosed | Outcome::Partial | Outcome::Refused(_) => true,
    }
}

fn begin(line: &mut Object<'_>, node: &str, ended: &Ended<'_>) {
    let client = ended.client;
    line.text(access::NODE, node.as_bytes(), TEXT);
    line.made(access::TIMESTAMP, push_time);
    line.plain(access::LEVEL, format_args!("INFO"));
    line.plain(access::TARGET, format_args!("access"));
    line.text(access::REQUEST_ID, ended.id.as_str().as_bytes(), TEXT);
    line.plain(access::PEER, format_args!("{}", client.origin.peer.ip().to_canonical()));
}

fn of_request(line: &mut Object<'_>, notes: &Notes, ended: &Ended<'_>) {
    let connected = (ended.client.forwarded.address(), Scheme::Http);
    let (client, scheme) = notes.client.unwrap_or(connected);
    let some = |line: &mut Object<'_>, name, text: &[u8]| {
        if !text.is_empty() {
            line.text(name, text, TEXT);
        }
    };
    if notes.client_request_id != ended.id.as_str().as_bytes() {
        some(line, access::CLIENT_REQUEST_ID, &notes.client_request_id);
    }
    line.plain(access::CLIENT, format_args!("{client}"));
    match ended.route {
        Some(route) => {
            line.text(access::GATEWAY, route.gateway.as_bytes(), TEXT);
            line.text(access::ROUTE, route.id.as_bytes(), TEXT);
            line.text(access::HTTP_ROUTE, route.http_route.as_bytes(), TEXT);
        }
        None => some(line, access::GATEWAY, notes.gateway.as_bytes()),
    }
    line.text(access::METHOD, notes.method.as_str().as_bytes(), TEXT);
    line.plain(access::SCHEME, format_args!("{}", scheme.as_str()));
    some(line, access::HOST, notes.host.as_bytes());
    line.text(access::PATH, &notes.path, PATH);
    line.plain(access::PROTOCOL, format_args!("{}", notes.protocol));
    some(line, access::USER_AGENT, &notes.user_agent);
    line.number(access::RECEIVED, ended.received);
}

fn of_answer(line: &mut Object<'_>, ended: &Ended<'_>) {
    if ended.status > 0 {
        line.number(access::STATUS, ended.status.into());
    }
    line.plain(access::OUTCOME, format_args!("{}", ended.outcome));
    if let Some(by) = ended.answered_by {
        line.plain(access::ANSWERED_BY, format_args!("{}", by.as_str()));
    }
}

fn of_exchange(line: &mut Object<'_>, ended: &Ended<'_>) {
    if let Some(passage) = ended.passage {
        for (name, limit) in [
            (access::LIMIT, passage.refused_by()),
            (access::LIMIT_ON_TRIAL, passage.would_refuse()),
        ] {
            if let Some(limit) = limit {
                line.text(name, limit.as_bytes(), TEXT);
            }
        }
    }
    if let Some(id) = ended
        .attempts
        .opened_by
        .as_ref()
        .and_then(|cause| cause.request_id.as_ref())
    {
        line.text(access::BREAKER, id.as_bytes(), TEXT);
    }
    line.number(access::SENT, ended.sent);
    if let Some(end) = ended.tunnel {
        line.plain(access::TUNNEL, format_args!("{}", end.as_str()));
    }
    line.millis(access::DURATION, ended.duration);
}

fn of_service(line: &mut Object<'_>, notes: &Notes, ended: &Ended<'_>) {
    let attempts = ended.attempts;
    if notes.upstream.is_empty() {
        return;
    }
    line.text(access::UPSTREAM, notes.upstream.as_bytes(), TEXT);
    if let Some(target) = &attempts.target {
        line.text(access::UPSTREAM_TARGET, target.as_bytes(), TEXT);
    }
    line.number(access::TRIES, attempts.tries.into());
    if let Some(why) = attempts.replaced {
        line.plain(access::REPLACED, format_args!("{}", why.as_str()));
    }
    if let Some(head) = attempts.head {
        line.millis(access::FIRST_BYTE, head.saturating_duration_since(ended.started));
        if let Some(started) = attempts.started {
            line.millis(access::UPSTREAM_DURATION, head.saturating_duration_since(started));
        }
    }
}

/// As the semantic conventions have it.
fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn put_field(to: &mut Vec<u8>, headers: &HeaderMap, name: http::HeaderName) {
    if let Some(value) = headers.get(name) {
        put(to, value.as_bytes(), TEXT);
    }
}

/// One byte more than is written, so that it is seen that there was more.
fn put(to: &mut Vec<u8>, text: &[u8], most: usize) {
    to.clear();
    to.extend_from_slice(&text[..text.len().min(most + 1)]);
}

// === impl Notes ===

impl Notes {
    /// For whom the request is, and its path in the normal form.
    pub(crate) fn asks(&mut self, host: &str, path: &str) {
        self.host.push_str(host);
        put(&mut self.path, path.as_bytes(), PATH);
    }

    /// Which gateway takes it, and who asks.
    pub(crate) fn of(&mut self, gateway: &str, inbound: &Inbound) {
        self.gateway.push_str(gateway);
        self.client = Some((inbound.client, inbound.scheme));
    }

    /// Which upstream it goes to.
    pub(crate) fn goes_to(&mut self, upstream: &str) {
        self.upstream.clear();
        self.upstream.push_str(upstream);
    }

    fn clear(&mut self) {
        self.path.clear();
        self.host.clear();
        self.user_agent.clear();
        self.client_request_id.clear();
        self.client = None;
        self.gateway.clear();
        self.upstream.clear();
    }
}

// === impl AnsweredBy ===

impl AnsweredBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }
}
