//! One request to one target, and the head of its answer.
//!
//! What is one version's alone stands in a room of its own: [`http1`], [`http2`].

mod course;
mod head;
mod http1;
mod http2;
mod source;

use crate::attempts::Attempts;
use crate::body::Body;
use crate::connection::Fault;
use crate::error::{BodyError, SendError, SendErrorKind, Which};
use crate::request;
use crate::spec::Spec;
use crate::target::Target;
use crate::worker::Worker;
pub(crate) use course::Course;
use http::{Method, Request};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// One request under way.
pub(crate) struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    target: &'a Rc<Target>,
    attempts: &'a mut Attempts,
    course: &'a mut Course,
    /// Between bytes of the answer.
    idle: Duration,
    idempotent: bool,
    /// Its answer has no body, whatever it says.
    head: bool,
}

// === impl Exchange ===

impl<'a> Exchange<'a> {
    pub(crate) fn new(
        worker: &'a Rc<Worker>,
        target: &'a Rc<Target>,
        attempts: &'a mut Attempts,
        course: &'a mut Course,
        idle: Duration,
    ) -> Self {
        Self {
            worker,
            target,
            attempts,
            course,
            idle,
            idempotent: false,
            head: false,
        }
    }

    /// Makes the head what the target is to get.
    pub(crate) fn prepare(&mut self, request: &mut Request<Body>, spec: &Spec) -> Result<(), SendError> {
        self.idempotent = request.method().is_idempotent();
        self.head = request.method() == Method::HEAD;
        request::prepare(request, spec, &self.target.spec, self.attempts.bare_path)
            .map_err(|error| self.told(SendErrorKind::Unfit, false, Some(error.to_string().into())))
    }

    fn failed(&self, sent: bool, fault: Fault) -> SendError {
        let (kind, cause) = match self.course.source.failed() {
            Some(error) => (SendErrorKind::ClientBody(error), None),
            None => of_fault(fault),
        };
        self.told(kind, sent, cause)
    }

    fn told(&self, kind: SendErrorKind, sent: bool, cause: Option<Arc<str>>) -> SendError {
        SendError {
            kind,
            sent,
            target: Some(Arc::clone(&self.target.spec.url)),
            cause,
        }
    }
}

fn of_fault(fault: Fault) -> (SendErrorKind, Option<Arc<str>>) {
    match fault {
        Fault::Closed(why) | Fault::Reset(why) | Fault::Cut(why) | Fault::GoneAway(why) | Fault::Refused(why) => {
            (SendErrorKind::Reset, Some(why))
        }
        Fault::Protocol(why) => (SendErrorKind::Protocol, Some(why)),
        Fault::Stalled => (SendErrorKind::Timeout(Which::Idle), None),
        Fault::Short => {
            let short = BodyError::Other("the body ended before the length that its head declared".into());
            (SendErrorKind::ClientBody(short), None)
        }
    }
}
