//! Answers of our own: one code for each reason, told as problem details (RFC 9457).
//!
//! A code stands in the body of the answer, in the log's and the metrics' `outcome`, and in the client of the admin
//! API, which reads it back. Codes are never renamed.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The media type of [`Problem::to_json`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What stands before a code of ours in `type`.
pub const TYPE_PREFIX: &str = "urn:sluice:problem:";

/// The type that the draft on rate-limit fields registers for every 429.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $status:literal $title:literal;)+) => {
        /// Why an answer is ours.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order of their declaration, which is that of their `as usize`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The status of the answer.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// The same words for every occurrence (RFC 9457 §3.1.3).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    /// Framing, host or path of the request are wrong.
    BadRequest = "bad_request" 400 "Bad request";
    /// The route refuses `%2F`, or decoding it would make a dot segment.
    EncodedSlash = "encoded_slash" 400 "Encoded slash in the path";
    /// The body does not fit its schema.
    NotValid = "not_valid" 400 "Request is not valid";
    /// No credentials, or none that hold.
    Unauthenticated = "unauthenticated" 401 "Not authenticated";
    /// The credentials do not allow this.
    Forbidden = "forbidden" 403 "Forbidden";
    /// No gateway has the host, or no route of it the path.
    NoRoute = "no_route" 404 "No route";
    /// Only other methods of the path have a route.
    MethodNotAllowed = "method_not_allowed" 405 "Method not allowed";
    /// The connection is not for this host.
    Misdirected = "misdirected" 421 "Misdirected request";
    /// The client did not go on sending.
    ClientTimeout = "client_timeout" 408 "Client too slow";
    /// More than `max_body`.
    BodyTooLarge = "body_too_large" 413 "Body too large";
    /// More than `edge.max_uri`.
    UriTooLong = "uri_too_long" 414 "URI too long";
    /// More than `edge.max_header_bytes` or `edge.max_headers`.
    HeadersTooLarge = "headers_too_large" 431 "Header fields too large";
    /// A rate limit.
    RateLimited = "rate_limited" 429 "Rate limit exceeded";
    /// A limit of requests at one time.
    TooManyInFlight = "too_many_in_flight" 429 "Too many requests in flight";
    /// A fault of ours.
    Internal = "internal" 500 "Internal error";
    /// CONNECT.
    ConnectNotSupported = "connect_not_supported" 501 "CONNECT is not supported";
    /// An upgrade to a protocol that the route does not name.
    UpgradeNotAllowed = "upgrade_not_allowed" 501 "Upgrade not allowed";
    /// No connection to the target.
    UpstreamConnect = "upstream_connect" 502 "Upstream cannot be reached";
    /// The target's connection ended before the head of its answer.
    UpstreamReset = "upstream_reset" 502 "Upstream closed the connection";
    /// The target's answer is not HTTP as we take it.
    UpstreamProtocol = "upstream_protocol" 502 "Upstream answered with a protocol error";
    /// No target that may be used.
    NoTarget = "no_target" 503 "No target available";
    /// The upstream's breaker is open.
    BreakerOpen = "breaker_open" 503 "Circuit breaker is open";
    /// The shared store of limits is away, and the limit is to fail closed.
    LimitStore = "limit_store" 503 "Limit store is not available";
    /// This node has too much to do.
    Overloaded = "overloaded" 503 "Overloaded";
    /// This node is going.
    Draining = "draining" 503 "Draining";
    /// The target did not answer in time.
    UpstreamTimeout = "upstream_timeout" 504 "Upstream timed out";
    /// The time for the whole exchange is over.
    Deadline = "deadline" 504 "Deadline exceeded";
    /// Admin: no such thing.
    NotFound = "not_found" 404 "Not found";
    /// Admin: the present state does not allow it.
    Conflict = "conflict" 409 "Conflict";
    /// Admin: the content type is none that is read here.
    UnsupportedMediaType = "unsupported_media_type" 415 "Unsupported media type";
    /// Admin: the document, or a part of it, has errors.
    InvalidConfig = "invalid_config" 422 "Invalid configuration";
    /// Admin: the change was made for another version.
    VersionConflict = "version_conflict" 412 "Version conflict";
    /// Admin: a confirmation or an activation on some nodes is open.
    PendingChange = "pending_change" 409 "A change is pending";
    /// Admin: the version's trial has ended otherwise.
    TrialOver = "trial_over" 410 "Trial is over";
    /// Admin: the key was used with another request.
    IdempotencyReuse = "idempotency_reuse" 409 "Idempotency key used again";
    /// Admin: no leader is known.
    NoLeader = "no_leader" 503 "No leader";
    /// Admin: the leader does not hear a majority.
    NoMajority = "no_majority" 503 "No majority";
    /// Admin: the change may or may not have been committed.
    OutcomeUnknown = "outcome_unknown" 503 "Outcome unknown";
    /// Admin: the history does not reach back so far.
    VersionPruned = "version_pruned" 410 "Version pruned";
    /// Admin: not every member knows the feature.
    LevelTooLow = "level_too_low" 409 "Feature level too low";
}

/// How an exchange ended: the `outcome` of logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered below 400.
    Ok,
    /// The service's own 4xx or 5xx.
    UpstreamStatus,
    /// The client left.
    ClientClosed,
    /// The answer was cut, or is made of only some of its parts.
    Partial,
    /// Answered from the cache.
    CacheHit,
    /// Answered by us with a problem.
    Refused(Code),
}

/// The text is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no code of a problem")]
pub struct UnknownCode(pub String);

/// One refusal, as it is told to whoever asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Why.
    pub code: Code,
    /// What happened this time, for people.
    pub detail: Cow<'static, str>,
    /// The request's id, as its `X-Request-Id`.
    pub request_id: String,
    /// The name of the node that answers.
    pub node: String,
    /// The version that the node serves; none where it does not know of any.
    pub version: Option<u64>,
    /// What the code adds: `allow`, `errors`, `max`, `retry_after`, …
    pub extra: Vec<(&'static str, serde_json::Value)>,
}

// === impl Code ===

impl Code {
    /// The problem's `type`: a URN of ours, or what is registered for the status.
    pub fn type_uri(self) -> Cow<'static, str> {
        match self {
            Self::RateLimited | Self::TooManyInFlight => Cow::Borrowed(QUOTA_EXCEEDED),
            _ => Cow::Owned(format!("{TYPE_PREFIX}{}", self.as_str())),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL.iter().find(|code| code.as_str() == text);
        found.copied().ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

// === impl Outcome ===

impl Outcome {
    /// As logs and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::UpstreamStatus => "upstream_status",
            Self::ClientClosed => "client_closed",
            Self::Partial => "partial",
            Self::CacheHit => "cache_hit",
            Self::Refused(code) => code.as_str(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Problem ===

impl Problem {
    /// A problem without additions.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            request_id: String::new(),
            node: String::new(),
            version: None,
            extra: Vec::new(),
        }
    }

    /// Adds a member. One that is named like a fixed one is left out of the JSON.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Vec<u8> {
        // Nothing in it can fail: the keys are texts and the values are JSON already.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

const FIXED: [&str; 8] = [
    "type",
    "title",
    "status",
    "detail",
    "code",
    "request_id",
    "node",
    "version",
];

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.code.type_uri())?;
        map.serialize_entry("title", self.code.title())?;
        map.serialize_entry("status", &self.code.status())?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("code", self.code.as_str())?;
        map.serialize_entry("request_id", &self.request_id)?;
        map.serialize_entry("node", &self.node)?;
        map.serialize_entry("version", &self.version)?;
        for (name, value) in &self.extra {
            if !FIXED.contains(name) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;
    use std::collections::HashSet;

    #[test]
    fn every_code_reads_back_and_is_written_once() {
        let mut seen = HashSet::new();
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, index);
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!(seen.insert(code.as_str()));
            assert!((400..600).contains(&code.status()));
            assert!(http::StatusCode::from_u16(code.status()).is_ok());
        }
        assert_eq!("gone".parse::<Code>(), Err(UnknownCode("gone".to_owned())));
    }

    #[test]
    fn an_outcome_is_written_like_its_code() {
        assert_eq!(Outcome::Refused(Code::NoRoute).as_str(), "no_route");
        assert_eq!(Outcome::ClientClosed.to_string(), "client_closed");
    }

    #[test]
    fn the_body_has_the_fixed_members_and_what_the_code_adds() {
        let problem = Problem {
            request_id: "r1".to_owned(),
            node: "n1".to_owned(),
            version: Some(7),
            ..Problem::new(Code::MethodNotAllowed, "only GET")
        }
        .with("allow", json!(["GET", "HEAD"]))
        .with("status", 200);
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "urn:sluice:problem:method_not_allowed",
                "title": "Method not allowed",
                "status": 405,
                "detail": "only GET",
                "code": "method_not_allowed",
                "request_id": "r1",
                "node": "n1",
                "version": 7,
                "allow": ["GET", "HEAD"],
            })
        );
    }

    #[test]
    fn a_429_has_the_registered_type() {
        for code in Code::ALL.iter().filter(|code| code.status() == 429) {
            assert_eq!(code.type_uri(), QUOTA_EXCEEDED);
        }
    }
}
