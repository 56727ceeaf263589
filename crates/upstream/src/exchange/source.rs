//! The body of a request, as what sends it sees it.

use crate::body::Body;
use crate::clock::Sending;
use crate::connection::http1::Writing;
use crate::error::BodyError;
use crate::upload;
use bytes::Bytes;
use http_body::Body as _;
use std::rc::Rc;

/// A request's body, as often as it can be had.
pub(crate) enum Source {
    Empty,
    Full(Bytes),
    Stream(Rc<upload::Shared>),
}

// === impl Source ===

impl Source {
    /// With `keep`, a stream can be had again while it is short enough.
    pub(crate) fn new(body: Body, keep: bool) -> Self {
        match body {
            body if body.is_end_stream() => Self::Empty,
            Body::Full(bytes) => Self::Full(bytes),
            body => Self::Stream(upload::Shared::new(body, keep)),
        }
    }

    /// From the start. None if that is gone.
    pub(crate) fn read(&self) -> Option<Body> {
        match self {
            Self::Empty => Some(Body::Empty),
            Self::Full(bytes) => Some(Body::Full(bytes.clone())),
            Self::Stream(shared) => shared.read().map(Body::Upload),
        }
    }

    /// Whether it can be had from the start by another attempt.
    pub(crate) fn repeats(&self) -> bool {
        match self {
            Self::Empty | Self::Full(_) => true,
            Self::Stream(shared) => shared.repeats(),
        }
    }

    /// For another attempt, though a target had judged without the rest.
    pub(crate) fn resume(&self) {
        if let Self::Stream(shared) = self {
            shared.resume();
        }
    }

    /// Who is waited for, where the writing of one body cannot be told from that of others.
    pub(crate) fn moving(&self) -> Sending {
        match self {
            Self::Stream(shared) if shared.done() => Sending::Done,
            Self::Stream(shared) if shared.waiting() => Sending::Client,
            Self::Stream(shared) => Sending::Target(shared.given()),
            Self::Empty | Self::Full(_) => Sending::Done,
        }
    }

    /// Who is waited for.
    pub(crate) fn sending(&self, writing: Writing, sent: u64) -> Sending {
        match (writing, self) {
            (Writing::Blocked, _) => Sending::Target(sent),
            (Writing::Free, Self::Stream(shared)) if !shared.done() => Sending::Client,
            (Writing::Free | Writing::Broken, _) => Sending::Done,
        }
    }

    /// The stream, if the client has not sent all of it.
    pub(crate) fn under_way(&self) -> Option<Rc<upload::Shared>> {
        match self {
            Self::Stream(shared) if !shared.done() => Some(Rc::clone(shared)),
            _ => None,
        }
    }

    pub(crate) fn failed(&self) -> Option<BodyError> {
        match self {
            Self::Stream(shared) => shared.failed(),
            Self::Empty | Self::Full(_) => None,
        }
    }
}
