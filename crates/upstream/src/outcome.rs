//! What a try says of its target.

use crate::attempts::Attempts;
use crate::body::Body;
use crate::error::{SendError, SendErrorKind, Which};
use crate::retry;
use http::{HeaderName, Response};
use sluice_shared_state::breaker::Failure;

/// What a try says of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered, with a status that may be called a failure or not.
    Answered(u16),
    /// It failed.
    Failed(Failure),
    /// Nothing: the client left, its body broke off, its own deadline was over, or nothing was sent at all.
    Nothing,
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn of(result: &Result<Response<Body>, SendError>, attempts: &Attempts) -> Self {
        match result {
            Ok(response) => match status(response, attempts.grpc) {
                status @ (429 | 500..) => Self::Failed(Failure::Status(status)),
                status => Self::Answered(status),
            },
            // How long a client waits says nothing of the service: with deadlines of a millisecond it could have
            // all targets thrown out.
            Err(SendError {
                kind: SendErrorKind::Timeout(Which::Total),
                ..
            }) if attempts.deadline => Self::Nothing,
            Err(error) => retry::failure(error).map_or(Self::Nothing, Self::Failed),
        }
    }
}

/// The status of an answer; of a gRPC call that has failed already with its head, the status of HTTP that its own stands
/// for, as far as that says something of the service.
pub(crate) fn status(response: &Response<Body>, grpc: bool) -> u16 {
    static STATUS: HeaderName = HeaderName::from_static("grpc-status");
    let status = response.status().as_u16();
    if !grpc || status != 200 {
        return status;
    }
    match response.headers().get(&STATUS).map(http::HeaderValue::as_bytes) {
        // DEADLINE_EXCEEDED; RESOURCE_EXHAUSTED; UNAVAILABLE; and UNKNOWN, INTERNAL, DATA_LOSS.
        Some(b"4") => 504,
        Some(b"8") => 429,
        Some(b"14") => 503,
        Some(b"2" | b"13" | b"15") => 500,
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::BodyError;

    fn error(kind: SendErrorKind) -> Result<Response<Body>, SendError> {
        Err(SendError {
            kind,
            sent: true,
            target: None,
            cause: None,
        })
    }

    fn answer(status: u16, grpc: Option<&'static str>) -> Result<Response<Body>, SendError> {
        let mut response = Response::builder().status(status);
        if let Some(grpc) = grpc {
            response = response.header("grpc-status", grpc);
        }
        Ok(response.body(Body::Empty).unwrap())
    }

    #[test]
    fn what_the_client_did_says_nothing_of_the_target() {
        let mut attempts = Attempts::default();
        let outcome = |result, attempts: &Attempts| Outcome::of(&result, attempts);
        let left = SendErrorKind::ClientBody(BodyError::ClientGone);
        assert_eq!(outcome(error(left), &attempts), Outcome::Nothing);
        for ours in [SendErrorKind::NoTarget, SendErrorKind::Unfit] {
            assert_eq!(outcome(error(ours), &attempts), Outcome::Nothing);
        }
        let total = SendErrorKind::Timeout(Which::Total);
        assert_eq!(
            outcome(error(total.clone()), &attempts),
            Outcome::Failed(Failure::Timeout)
        );
        attempts.deadline = true;
        assert_eq!(outcome(error(total), &attempts), Outcome::Nothing);
        assert_eq!(outcome(answer(404, None), &attempts), Outcome::Answered(404));
    }

    #[test]
    fn a_call_that_fails_with_its_head_counts_as_what_its_status_means() {
        let outcome = |result, grpc| {
            let attempts = Attempts {
                grpc,
                ..Attempts::default()
            };
            Outcome::of(&result, &attempts)
        };
        let failed = |status| Outcome::Failed(Failure::Status(status));
        assert_eq!(outcome(answer(200, Some("14")), true), failed(503));
        assert_eq!(outcome(answer(200, Some("13")), true), failed(500));
        assert_eq!(outcome(answer(200, Some("5")), true), Outcome::Answered(200));
        assert_eq!(outcome(answer(503, None), true), failed(503));
        assert_eq!(outcome(answer(200, Some("14")), false), Outcome::Answered(200));
    }
}
