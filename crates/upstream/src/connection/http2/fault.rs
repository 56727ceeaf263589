//! What h2's errors mean.

use crate::connection::Fault;
use crate::error::{BodyError, Which};
use h2::{Error, Reason};
use std::io;
use std::sync::Arc;

/// Why there is no head.
pub(super) fn of_request(error: &Error) -> Fault {
    let told: Arc<str> = error.to_string().into();
    if error.is_remote() {
        return match error.reason() {
            // h2 gives the target's GOAWAY to streams above its last one alone.
            _ if error.is_go_away() => Fault::GoneAway(told),
            Some(Reason::REFUSED_STREAM) => Fault::Refused(told),
            Some(Reason::HTTP_1_1_REQUIRED) => Fault::Protocol(told),
            _ => Fault::Cut(told),
        };
    }
    match error.get_io().map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => Fault::Stalled,
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Fault::Protocol(told),
        Some(io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => Fault::Closed(told),
        Some(_) => Fault::Reset(told),
        None => Fault::Protocol(told),
    }
}

/// Why the body of an answer ended early.
pub(super) fn of_answer(error: &Error) -> BodyError {
    let told: Arc<str> = error.to_string().into();
    match error.get_io().map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => BodyError::UpstreamTimeout(Which::Idle),
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => BodyError::UpstreamMalformed(told),
        Some(_) => BodyError::UpstreamReset(told),
        None if error.is_library() => BodyError::UpstreamMalformed(told),
        None => BodyError::UpstreamReset(told),
    }
}
