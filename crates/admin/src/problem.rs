//! Refusals as problem details (RFC 9457).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use sluice_control::Refusal;
use sluice_http_semantics::problem::{CONTENT_TYPE, Code, Problem};

/// The request's id, for whoever asks about an answer later.
const REQUEST_ID: &str = "x-request-id";

/// What every answer of this request has in common.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) node: String,
    pub(crate) version: u64,
    pub(crate) request_id: String,
}

// === impl Answer ===

impl Answer {
    /// A problem as an answer.
    pub(crate) fn problem(&self, problem: Problem) -> Response {
        let code = problem.code;
        let problem = Problem {
            request_id: self.request_id.clone(),
            node: self.node.clone(),
            version: Some(self.version),
            ..problem
        };
        let mut response = Response::new(Body::from(problem.to_json()));
        *response.status_mut() = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if code.status() == 503 && code != Code::OutcomeUnknown {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        self.mark(&mut response);
        response
    }

    /// A refusal as an answer.
    pub(crate) fn refusal(&self, refusal: Refusal) -> Response {
        self.problem(problem(refusal))
    }

    /// Adds the request's id.
    pub(crate) fn mark(&self, response: &mut Response) {
        if let Ok(value) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }

    /// What a handler came to.
    pub(crate) fn give<T: IntoResponse>(&self, result: Result<T, Refused>) -> Response {
        match result {
            Ok(response) => response.into_response(),
            Err(Refused::By(refusal)) => self.refusal(*refusal),
            Err(Refused::Wrong(problem)) => self.problem(*problem),
        }
    }
}

/// Why a handler has no answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Control refused.
    By(Box<Refusal>),
    /// What was asked is no request.
    Wrong(Box<Problem>),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::By(Box::new(refusal))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Wrong(Box::new(problem))
    }
}

/// A request that is none.
pub(crate) fn bad(detail: String) -> Refused {
    Problem::new(Code::BadRequest, detail).into()
}

fn problem(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Invalid { errors } => Problem::new(Code::InvalidConfig, detail).with("errors", json!(errors)),
        Refusal::VersionConflict { expected, head } => Problem::new(Code::VersionConflict, detail)
            .with("expected_version", expected)
            .with("current_version", head),
        Refusal::IdempotencyReuse => Problem::new(Code::IdempotencyReuse, detail),
        Refusal::NoLeader { .. } | Refusal::NotFormed { .. } => Problem::new(Code::NoLeader, detail),
        Refusal::NoMajority => Problem::new(Code::NoMajority, detail),
        Refusal::OutcomeUnknown { .. } => Problem::new(Code::OutcomeUnknown, detail),
        Refusal::Pruned { oldest, newest, .. } => Problem::new(Code::VersionPruned, detail)
            .with("oldest", oldest)
            .with("newest", newest),
        Refusal::LevelTooLow { needed, cluster } => Problem::new(Code::LevelTooLow, detail)
            .with("needed", needed)
            .with("cluster", cluster),
        Refusal::NotFound { .. } => Problem::new(Code::NotFound, detail),
        Refusal::Conflict { .. } => Problem::new(Code::Conflict, detail),
        Refusal::PendingChange { trial } => Problem::new(Code::PendingChange, detail).with("trial", json!(trial)),
        Refusal::TrialOver { version, .. } => Problem::new(Code::TrialOver, detail).with("trial_version", version),
        Refusal::Busy { .. } => Problem::new(Code::Overloaded, detail),
        Refusal::Degraded { .. } => Problem::new(Code::NoMajority, detail),
        Refusal::StoreAway { .. } => Problem::new(Code::LimitStore, detail),
        Refusal::Internal { .. } => Problem::new(Code::Internal, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_status_that_scripts_look_for() {
        let status = |refusal| problem(refusal).code.status();
        assert_eq!(status(Refusal::Invalid { errors: vec![] }), 422);
        assert_eq!(status(Refusal::VersionConflict { expected: 1, head: 2 }), 412);
        assert_eq!(status(Refusal::IdempotencyReuse), 409);
        assert_eq!(status(Refusal::NoLeader { why: String::new() }), 503);
        assert_eq!(status(Refusal::NoMajority), 503);
        assert_eq!(
            status(Refusal::Pruned {
                version: 1,
                oldest: 2,
                newest: 3
            }),
            410
        );
        assert_eq!(status(Refusal::NotFound { what: String::new() }), 404);
        assert_eq!(status(Refusal::Conflict { why: String::new() }), 409);
    }
}
