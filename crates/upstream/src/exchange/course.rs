//! What all tries of a request have in common.

use super::source::Source;
use crate::body::Body;
use crate::clock::Clock;
use crate::connection::http2;
use crate::spec::Timeouts;
use http::Request;
use tokio::time::Instant;

/// One request, through all of its tries.
pub(crate) struct Course {
    pub(crate) clock: Clock,
    pub(crate) source: Source,
    /// The body is in `source`.
    begun: bool,
    /// The body is kept, so that another try can have it.
    pub(crate) keeps: bool,
}

// === impl Course ===

impl Course {
    pub(crate) fn new(timeouts: &Timeouts, started: Instant) -> Self {
        Self {
            clock: Clock::new(timeouts, started),
            source: Source::Empty,
            begun: false,
            keeps: false,
        }
    }

    /// Takes the body, at the first try. With `keep`, a stream can be had again while it is short enough.
    pub(super) fn begin(&mut self, body: &mut Body, keep: bool) {
        if !std::mem::replace(&mut self.begun, true) {
            self.source = Source::new(std::mem::take(body), keep || self.keeps);
        }
    }

    /// Whether the body is there for another try.
    pub(crate) fn repeats(&self) -> bool {
        !self.begun || self.source.repeats()
    }

    /// The request for another try, by a copy of its head. The caller has seen that its body is there.
    pub(crate) fn again(&mut self, request: &mut Request<Body>, head: &Request<()>, now: Instant) {
        let body = if self.begun {
            self.source.resume();
            self.source.read().unwrap_or_default()
        } else {
            std::mem::take(request.body_mut())
        };
        *request = http2::copy(head).map(|()| body);
        self.clock.attempt(now);
    }
}
