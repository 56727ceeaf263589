//! The record of one request, from its head to the last byte of its answer.

use crate::front::{Client, Stream};
use crate::meters::{Method, RouteCells};
use crate::worker::Worker;
use sluice_http_semantics::problem::{Code, Outcome};
use sluice_http_semantics::request_id::RequestId;
use sluice_snapshot::Route;
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
}

// === impl Exchange ===

impl Exchange {
    pub(crate) fn begin(worker: Rc<Worker>, client: Rc<Client>, stream: Stream, method: &http::Method) -> Self {
        stream.begin(&worker.cells.listeners[client.place]);
        Self {
            id: worker.ids.next(),
            attempts: Attempts::default(),
            started: Instant::now(),
            method: Method::of(method),
            head: method == http::Method::HEAD,
            route: None,
            status: 0,
            outcome: Outcome::ClientClosed,
            whole: false,
            cut: false,
            sent: 0,
            worker,
            client,
            stream,
        }
    }

    /// The request matched.
    pub(crate) fn matched(&mut self, route: &Arc<Route>) {
        self.route = Some(self.worker.routes.of(route));
    }

    /// The answer is ours.
    pub(crate) fn refused(&mut self, code: Code) {
        self.worker.cells.rejected(code);
        self.answered(code.status(), Outcome::Refused(code));
    }

    /// The answer is a route's own, of the document.
    pub(crate) fn composed(&mut self, status: u16) {
        self.answered(status, Outcome::Ok);
    }

    /// The answer is the service's.
    pub(crate) fn forwarded(&mut self, status: u16) {
        let outcome = match status {
            400.. => Outcome::UpstreamStatus,
            _ => Outcome::Ok,
        };
        self.answered(status, outcome);
    }

    fn answered(&mut self, status: u16, outcome: Outcome) {
        self.status = status;
        self.outcome = outcome;
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
            client = %client.peer.ip(),
            status = self.status,
            %outcome,
            target = self.attempts.target.as_deref().unwrap_or_default(),
            tries = self.attempts.tries,
            bytes = self.sent,
            ?duration,
            "answered"
        );
    }
}
