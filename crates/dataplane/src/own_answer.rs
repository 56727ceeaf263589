//! Answers of the gateway's own: problem documents, and statuses of gRPC where a call is refused.

use crate::exchange::Exchange;
use crate::overload::RETRY_AFTER;
use crate::worker::{Held, Worker};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER as RETRY_AFTER_FIELD};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use sluice_http_semantics::grpc;
use sluice_http_semantics::problem::{self, Code, Problem};
use sluice_http_semantics::request_id::RequestId;
use sluice_upstream::Body;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const PROBLEM: HeaderValue = HeaderValue::from_static(problem::CONTENT_TYPE);

/// Why a request is not served.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    detail: Cow<'static, str>,
    /// The methods of a 405.
    allow: Option<String>,
    /// The bytes of a 413.
    max: Option<u64>,
    /// When the client may come again, in seconds.
    retry_after: Option<u64>,
    /// The limit that refused.
    spent: Option<Box<Spent>>,
}

/// A limit that refuses.
#[derive(Debug)]
pub(crate) struct Spent {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The number that was declared.
    pub(crate) limit: u64,
    /// What it counts over.
    pub(crate) scope: String,
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            allow: None,
            max: None,
            retry_after: None,
            spent: None,
        }
    }

    /// 405 with what would be allowed, as the field `Allow` has it.
    pub(crate) fn method(allow: String) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(Code::MethodNotAllowed, "no route takes this method on this path")
        }
    }

    /// 413.
    pub(crate) fn too_large(limit: u64) -> Self {
        Self {
            max: Some(limit),
            ..Self::new(Code::BodyTooLarge, "the body is longer than the route allows")
        }
    }

    /// 429 or 503, by a limit.
    pub(crate) fn limited(code: Code, detail: String, retry_after: u64, spent: Spent) -> Self {
        Self {
            retry_after: Some(retry_after),
            spent: Some(Box::new(spent)),
            ..Self::new(code, detail)
        }
    }

    /// 503, as long as memory or descriptors are short.
    pub(crate) fn overloaded() -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(
                Code::Overloaded,
                "this node is at the limit of its memory or descriptors",
            )
        }
    }

    /// 503, while no target is well; or for good, where none has a weight.
    pub(crate) fn no_target() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(Code::NoTarget, "no target of the upstream may be used")
        }
    }

    /// 503, while the breaker in front of the upstream is open: for so long about.
    pub(crate) fn breaker_open(left: Duration) -> Self {
        Self {
            // Whole seconds, and not before there is anything to come for.
            retry_after: Some(left.as_secs() + u64::from(left.subsec_nanos() > 0)).map(|seconds| seconds.max(1)),
            ..Self::new(
                Code::BreakerOpen,
                "the upstream failed too often; requests are let through again after a while",
            )
        }
    }

    /// Whether nothing of this connection is read any more: where a request ends, or for whom it is, may
    /// look otherwise to who stands before us, and then what follows it is not the request that it
    /// seems (RFC 9112 §6.3, §11.2).
    pub(crate) fn ends(&self) -> bool {
        matches!(self.code, Code::BadRequest | Code::ConnectNotSupported)
    }

    /// Why.
    #[cfg(test)]
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The answer. Enters the refusal into the record.
    pub(crate) fn answer(self, exchange: &mut Exchange, held: &Held) -> Response<Body> {
        if let Some(content_type) = exchange.grpc.take() {
            return self.answer_to_call(exchange, *content_type);
        }
        exchange.refused(self.code, self.code.status());
        let worker = &exchange.worker;
        let mut problem = Problem {
            request_id: exchange.id.to_string(),
            node: worker.crew.settings.node.to_string(),
            version: Some(held.snapshot.version()),
            ..Problem::new(self.code, self.detail)
        };
        if let Some(max) = self.max {
            problem = problem.with("max", max);
        }
        if let Some(spent) = &self.spent {
            if self.code.status() == 429 {
                problem = problem.with("violated-policies", vec![&*spent.name]);
            }
            problem = problem
                .with("policy", &*spent.name)
                .with("limit", spent.limit)
                .with("scope", &*spent.scope);
        }
        if let Some(seconds) = self.retry_after {
            problem = problem.with("retry_after", seconds);
        }
        if let Some(allow) = &self.allow {
            let methods: Vec<&str> = allow.split(", ").collect();
            problem = problem.with("allow", methods);
        }
        let mut response = Response::new(Body::from(Bytes::from(problem.to_json())));
        *response.status_mut() = status(self.code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER_FIELD, seconds.into());
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }

    /// A head that is all of the answer: 200, and what became of the call in its fields.
    fn answer_to_call(self, exchange: &mut Exchange, content_type: HeaderValue) -> Response<Body> {
        exchange.refused(self.code, StatusCode::OK.as_u16());
        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = late_status(self.code, &self.detail);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

/// What ends a call of gRPC whose answer had begun.
pub(crate) fn late_status(code: Code, detail: &str) -> HeaderMap {
    [
        (grpc::STATUS, grpc::status_of(code.status()).to_value()),
        (grpc::MESSAGE, grpc::message(&format!("{code}: {detail}"))),
    ]
    .into_iter()
    .collect()
}

/// Head and body of the answer to what was never a request: it could not be read, or did not come
/// in time. Ends the connection.
pub(crate) fn unread(worker: &Worker, held: &Held, id: &RequestId, code: Code) -> Vec<u8> {
    let detail = match code {
        Code::ClientTimeout => "the head of the request did not come in time",
        Code::UriTooLong => "the request target is longer than this gateway takes",
        Code::HeadersTooLarge => "the header fields are more, or longer, than this gateway takes",
        _ => "this is no HTTP/1.1 request",
    };
    let body = Problem {
        request_id: id.to_string(),
        node: worker.crew.settings.node.to_string(),
        version: Some(held.snapshot.version()),
        ..Problem::new(code, detail)
    }
    .to_json();
    let status = status(code);
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\ndate: {}\r\nx-request-id: {}\r\n\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        problem::CONTENT_TYPE,
        body.len(),
        httpdate::fmt_http_date(SystemTime::now()),
        id,
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

fn status(code: Code) -> StatusCode {
    // Each code has a status; a test of theirs holds that.
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
