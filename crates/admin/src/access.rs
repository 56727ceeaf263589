//! Who asks, and what they may.

use crate::Config;
use crate::problem::Answer;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use sluice_control::{Actor, TokenRole};
use sluice_http_semantics::percent;
use sluice_http_semantics::problem::{Code, Problem};
use sluice_http_semantics::request_id::RequestId;
use std::net::SocketAddr;
use subtle::ConstantTimeEq;

/// Where a connection came from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Over the network.
    Tcp(SocketAddr),
    /// Through the socket in the data directory, by the process's owner or root.
    Owner {
        /// The user's id.
        uid: u32,
    },
}

/// Who asks: put into the request before it reaches a handler.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    name: String,
    origin: Origin,
    pub(crate) request_id: String,
    why: Option<String>,
}

/// What an operator says about a change; percent-encoded, since fields hold no more than ASCII.
const MESSAGE: &str = "sluice-message";

/// Longer messages are cut.
pub(crate) const MESSAGE_LIMIT: usize = 1024;

/// Lets in who may.
pub(crate) async fn check(State(config): State<Config>, mut request: Request, next: Next) -> Response {
    let request_id = request_id();
    let answer = Answer {
        node: config.control.name().to_owned(),
        version: config.control.live_version(),
        request_id: request_id.clone(),
    };
    let origin = request.extensions().get::<Origin>().cloned();
    let Some(origin) = origin else {
        return answer.problem(Problem::new(Code::Internal, "the connection has no origin"));
    };
    let found = match (&origin, bearer(request.headers())) {
        (Origin::Owner { .. }, None) => Some(("owner".to_owned(), TokenRole::Admin)),
        (_, Some(token)) => by_token(&config, token),
        (Origin::Tcp(_), None) => None,
    };
    let Some((name, role)) = found else {
        let problem = Problem::new(
            Code::Unauthenticated,
            "send `Authorization: Bearer TOKEN`: SLUICE_ADMIN_TOKEN of the node, or one made by `sluice token create` (with --data DIR on the node's own machine the first one can be made)",
        );
        let mut response = answer.problem(problem);
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        return response;
    };
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    if role == TokenRole::Viewer && !looks {
        return answer.problem(Problem::new(
            Code::Forbidden,
            format!("the token {name} is a viewer's: it may look and change nothing"),
        ));
    }
    let why = message(request.headers());
    request.extensions_mut().insert(Caller {
        name,
        origin,
        request_id,
        why,
    });
    request.extensions_mut().insert(answer.clone());
    let mut response = next.run(request).await;
    answer.mark(&mut response);
    response
}

/// Answers where no path is.
pub(crate) async fn nowhere(State(config): State<Config>, request: Request) -> Response {
    let answer = Answer {
        node: config.control.name().to_owned(),
        version: config.control.live_version(),
        request_id: request_id(),
    };
    answer
        .problem(Problem::new(
            Code::NotFound,
            format!("there is no {}", request.uri().path()),
        ))
        .into_response()
}

/// Says by a problem what the router says by a bare 405.
pub(crate) async fn no_such_method(State(config): State<Config>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let answer = Answer {
        node: config.control.name().to_owned(),
        version: config.control.live_version(),
        request_id: request_id(),
    };
    let allowed: Vec<&str> = allow
        .as_ref()
        .and_then(|allow| allow.to_str().ok())
        .map(|allow| allow.split(',').map(str::trim).collect())
        .unwrap_or_default();
    let problem = Problem::new(
        Code::MethodNotAllowed,
        format!("{method} is not known here; known are {}", allowed.join(", ")),
    );
    let mut response = answer.problem(problem.with("allow", serde_json::json!(allowed)));
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn by_token(config: &Config, token: &str) -> Option<(String, TokenRole)> {
    if let Some(own) = &config.token
        && bool::from(own.ct_eq(token.as_bytes()))
    {
        return Some(("SLUICE_ADMIN_TOKEN".to_owned(), TokenRole::Admin));
    }
    config.control.authenticate(token)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn message(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(MESSAGE)?.to_str().ok()?;
    let decoded = percent::decode_text(value)?;
    let message: String = decoded
        .chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_LIMIT)
        .collect();
    (!message.is_empty()).then_some(message)
}

fn request_id() -> String {
    RequestId::from_random(fastrand::u128(..)).as_str().to_owned()
}

// === impl Caller ===

impl Caller {
    /// As the log keeps it. `node` is the one that was asked.
    pub(crate) fn actor(&self, node: &str) -> Actor {
        let from = match &self.origin {
            Origin::Tcp(address) => format!("{} through {node}", address.ip()),
            Origin::Owner { uid } => format!("user {uid} on {node}"),
        };
        Actor {
            who: self.name.clone(),
            from,
            why: self.why.clone(),
            request_id: self.request_id.clone(),
        }
    }
}
