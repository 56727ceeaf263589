//! The record of one request, from its head to the last byte of its answer.

use crate::access_log::{AnsweredBy, Ended, Notes, Parted};
use crate::front::{Client, Stream};
use crate::incoming::Upload;
use crate::meters::{Method, RouteCells};
use crate::way::Passage;
use crate::worker::Worker;
use http::{HeaderValue, Request};
use sluice_http_semantics::grpc;
use sluice_http_semantics::problem::{Code, Outcome};
use sluice_http_semantics::request_id::RequestId;
use sluice_snapshot::{Route, Snapshot};
use sluice_upstream::{Attempts, BodyError};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// One request. Whatever becomes of it, dropping this finishes the record: then no way of ending a
/// request forgets to be counted.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) worker: Rc<Worker>,
    pub(crate) client: Rc<Client>,
    pub(crate) stream: Stream,
    /// `X-Request-Id`: ours, or a trusted proxy's.
    pub(crate) id: RequestId,
    pub(crate) attempts: Attempts,
    /// Of a gRPC call: its content type, and that of an answer of ours.
    pub(crate) grpc: Option<Box<HeaderValue>>,
    /// What the limits of its route made of it. Holds its places of concurrency limits to the last byte.
    pub(crate) passage: Option<Box<Passage>>,
    started: Instant,
    method: Method,
    head: bool,
    route: Option<Arc<RouteCells>>,
    /// 0 until there is an answer.
    status: u16,
    /// How it ends if the answer reaches the client whole.
    outcome: Outcome,
    /// The answer was given to the client's connection to its end.
    whole: bool,
    cut: bool,
    sent: u64,
    answered_by: Option<AnsweredBy>,
    upload: Option<Rc<Upload>>,
    /// For its line in the access log, where it may have one.
    notes: Option<Box<Notes>>,
}

// === impl Exchange ===

impl Exchange {
    /// A request that will be served by `snapshot`.
    pub(crate) fn begin<B>(
        worker: Rc<Worker>,
        client: Rc<Client>,
        stream: Stream,
        snapshot: &Snapshot,
        request: &Request<B>,
    ) -> Self {
        let method = request.method();
        stream.begin(&worker.cells.listeners[client.place]);
        Self {
            id: worker.ids.next(),
            attempts: Attempts::default(),
            grpc: grpc::content_type(method, request.headers()).map(Box::new),
            passage: None,
            started: Instant::now(),
            method: Method::of(method),
            head: method == http::Method::HEAD,
            route: None,
            status: 0,
            outcome: Outcome::ClientClosed,
            whole: false,
            cut: false,
            sent: 0,
            answered_by: None,
            upload: None,
            notes: worker.access_log.note(snapshot, request),
            worker,
            client,
            stream,
        }
    }

    /// The request matched.
    pub(crate) fn matched(&mut self, route: &Arc<Route>) {
        self.route = Some(self.worker.routes.of(route));
    }

    /// The answer is ours, and goes out with this status.
    pub(crate) fn refused(&mut self, code: Code, status: u16) {
        self.worker.cells.rejected(code);
        self.answered(AnsweredBy::Gateway, status, Outcome::Refused(code));
    }

    /// The answer had begun, and its end is ours.
    pub(crate) fn ended_by(&mut self, code: Code) {
        self.worker.cells.rejected(code);
        self.outcome = Outcome::Refused(code);
        self.whole = true;
    }

    /// The answer is a route's own, of the document.
    pub(crate) fn composed(&mut self, status: u16) {
        self.answered(AnsweredBy::Gateway, status, Outcome::Ok);
    }

    /// The answer is the service's.
    pub(crate) fn forwarded(&mut self, status: u16) {
        let outcome = match status {
            400.. => Outcome::UpstreamStatus,
            _ => Outcome::Ok,
        };
        self.answered(AnsweredBy::Upstream, status, outcome);
    }

    fn answered(&mut self, by: AnsweredBy, status: u16, outcome: Outcome) {
        self.answered_by = Some(by);
        if let Some(upload) = &self.upload {
            upload.answered();
        }
        self.status = status;
        self.outcome = outcome;
    }

    /// What is noted of it, where it may have a line in the access log.
    pub(crate) fn notes(&mut self) -> Option<&mut Notes> {
        self.notes.as_deref_mut()
    }

    /// Goes on as a tunnel, which has the line in its place.
    pub(crate) fn part(&mut self) -> Option<Box<Parted>> {
        let notes = self.notes.take()?;
        Some(Box::new(Parted {
            notes,
            id: self.id.detached(),
            attempts: std::mem::take(&mut self.attempts),
            started: self.started,
        }))
    }

    /// The request has a body, which is passed on: where to tell how far it is.
    pub(crate) fn upload(&mut self) -> Rc<Upload> {
        Rc::clone(self.upload.insert(Rc::default()))
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The cells of its route.
    pub(crate) fn route_cells(&self) -> Arc<RouteCells> {
        Arc::clone(self.route.as_ref().unwrap_or(self.worker.routes.unmatched()))
    }

    /// The route as people know it.
    pub(crate) fn route_name(&self) -> String {
        match &self.route {
            Some(route) => route.name(),
            None => "no route yet".to_owned(),
        }
    }

    /// Whether the request was a HEAD: its answer has no body, whatever is given for one.
    pub(crate) fn is_head(&self) -> bool {
        self.head
    }

    /// Bytes of the answer's body went to the client's connection.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// All of the answer went there.
    pub(crate) fn whole(&mut self) {
        self.whole = true;
    }

    /// Some of the answer will never go there, though its last byte was read.
    pub(crate) fn lost(&mut self) {
        self.whole = false;
    }

    /// The answer's body failed.
    pub(crate) fn cut(&mut self, why: &BodyError) {
        self.cut = true;
        tracing::debug!(%why, "an answer was cut off");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = Instant::now();
        let (worker, client) = (&self.worker, &self.client);
        self.stream.end(&worker.cells.listeners[client.place], now);
        let duration = now.saturating_duration_since(self.started);
        let cells = self.route.as_ref().unwrap_or(worker.routes.unmatched());
        cells.observe(self.method, self.status, duration);
        let outcome = match self.outcome {
            outcome if self.whole => outcome,
            _ if self.cut => Outcome::Partial,
            Outcome::Refused(code) => Outcome::Refused(code),
            _ => Outcome::ClientClosed,
        };
        tracing::debug!(
            id = %self.id,
            client = %client.forwarded.address(),
            status = self.status,
            %outcome,
            target = self.attempts.target.as_deref().unwrap_or_default(),
            tries = self.attempts.tries,
            bytes = self.sent,
            ?duration,
            "answered"
        );
        if let Some(notes) = self.notes.take() {
            let ended = Ended {
                id: &self.id,
                client,
                route: self.route.as_deref(),
                attempts: &self.attempts,
                status: self.status,
                outcome,
                answered_by: self.answered_by,
                received: self.upload.as_ref().map_or(0, |upload| upload.came()),
                sent: self.sent,
                started: self.started,
                duration,
                tunnel: None,
                passage: self.passage.as_deref(),
            };
            worker.access_log.end(notes, &ended);
        }
    }
}
