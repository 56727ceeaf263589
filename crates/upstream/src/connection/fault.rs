//! Why there is no answer, and what hyper's errors mean.

use crate::error::{BodyError, Which};
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

/// Why an exchange failed before its head.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The target closed, in order or within its answer.
    Closed(Arc<str>),
    /// The connection broke.
    Reset(Arc<str>),
    /// What came was no answer.
    Protocol(Arc<str>),
    /// The target took nothing for too long.
    Stalled,
    /// The request's body ended before the length that its head had declared.
    Short,
    /// The target ended the stream, and said no more of it (RFC 9113 §7).
    Cut(Arc<str>),
    /// The target will not look at the stream: it lies above the last one of its GOAWAY (RFC 9113 §6.8).
    GoneAway(Arc<str>),
    /// The target has not looked at the stream, and refuses it (RFC 9113 §8.7).
    Refused(Arc<str>),
}

// === impl Fault ===

impl Fault {
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_body_write_aborted() {
            return Self::Short;
        }
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Self::Closed(text(error));
        }
        match io_kind(error) {
            Some(io::ErrorKind::TimedOut) => Self::Stalled,
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Self::Protocol(text(error)),
            Some(_) => Self::Reset(text(error)),
            None => Self::Protocol(text(error)),
        }
    }
}

/// Why the body of an answer ended early.
pub(super) fn of_answer(error: &hyper::Error) -> BodyError {
    match io_kind(error) {
        Some(io::ErrorKind::TimedOut) => BodyError::UpstreamTimeout(Which::Idle),
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => BodyError::UpstreamMalformed(text(error)),
        _ => BodyError::UpstreamReset(text(error)),
    }
}

/// Why the body of a client's request ended early.
pub(super) fn of_request(error: &hyper::Error) -> BodyError {
    match io_kind(error) {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => BodyError::ClientMalformed(text(error)),
        _ => BodyError::ClientGone,
    }
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

fn text(error: &hyper::Error) -> Arc<str> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text.into()
}
