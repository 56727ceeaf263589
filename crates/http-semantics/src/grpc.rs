//! gRPC over HTTP: what a gateway has to know of it.
//!
//! A call is a POST with a content type of `application/grpc`. Its outcome is a status of its own in the trailers, or in
//! the head of an answer that has nothing else; the HTTP status says 200 whatever became of the call. So a refusal of
//! ours is written that way too, or a client would tell its caller that the answer is no gRPC.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::fmt::Write as _;
use std::time::Duration;

/// How long the client waits for the call, from when it was made.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The outcome of the call, a number.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// What is said of it, percent-encoded.
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The statuses that a gateway may have to tell. Their numbers are those of the gRPC status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Nothing else says it.
    Unknown = 2,
    /// The time for the call is over.
    DeadlineExceeded = 4,
    /// Not allowed.
    PermissionDenied = 7,
    /// Too much of something.
    ResourceExhausted = 8,
    /// There is no such method.
    Unimplemented = 12,
    /// Something broke that should hold.
    Internal = 13,
    /// Not now; it may be tried again.
    Unavailable = 14,
    /// No credentials that hold.
    Unauthenticated = 16,
}

/// The content type of a call, if `method` and `headers` are those of one: that of its answer too. Also for gRPC-Web, whose
/// clients take a status from the head of an answer.
pub fn content_type(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    if method != Method::POST {
        return None;
    }
    let value = headers.get(CONTENT_TYPE)?;
    is_grpc(value.as_bytes()).then(|| value.clone())
}

fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.len() >= GRPC.len()
        && content_type[..GRPC.len()].eq_ignore_ascii_case(GRPC)
        && matches!(content_type.get(GRPC.len()), None | Some(b'+' | b'-' | b';' | b' '))
}

/// The status that stands for one of HTTP. Where gRPC has a mapping of its own for answers that are no gRPC
/// (`doc/http-grpc-status-mapping.md` of grpc/grpc), it is that, but for two: 429 is `RESOURCE_EXHAUSTED`, as all say who
/// limit calls, and 504 `DEADLINE_EXCEEDED`, since here it is a time-out that was declared for the call.
pub fn status_of(http: u16) -> Status {
    match http {
        400 | 414 | 500 => Status::Internal,
        401 => Status::Unauthenticated,
        403 => Status::PermissionDenied,
        404 | 405 | 501 => Status::Unimplemented,
        413 | 429 | 431 => Status::ResourceExhausted,
        421 | 502 | 503 => Status::Unavailable,
        504 => Status::DeadlineExceeded,
        _ => Status::Unknown,
    }
}

/// Reads a `grpc-timeout`: up to eight digits and a unit. None if it is none; gRPC leaves open what becomes of a call
/// then, and here it is one without a deadline.
pub fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Eight digits fit.
    let number = digits
        .iter()
        .fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Writes a `grpc-timeout`: in the smallest unit that has room, and never longer than it is.
pub fn write_timeout(timeout: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let nanos = timeout.as_nanos();
    let units = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
    ];
    let fitting = units.into_iter().find(|(unit, _)| nanos / unit <= MOST);
    let (unit, letter) = fitting.unwrap_or((3_600_000_000_000, 'H'));
    let text = format!("{}{letter}", (nanos / unit).min(MOST));
    // Digits and a letter.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0n"))
}

/// A text as a `grpc-message`: what is not printable ASCII is percent-encoded.
pub fn message(text: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    // Printable ASCII alone.
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

// === impl Status ===

impl Status {
    /// As a field's value.
    pub fn to_value(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::problem::Code;
    use proptest::prelude::*;

    fn typed(method: Method, value: &'static str) -> bool {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(value))].into_iter().collect();
        content_type(&method, &headers).is_some()
    }

    #[test]
    fn a_call_is_a_post_of_its_content_type() {
        for value in [
            "application/grpc",
            "Application/gRPC",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "application/grpc-web+proto",
        ] {
            assert!(typed(Method::POST, value), "{value}");
            assert!(!typed(Method::GET, value));
        }
        for value in ["application/json", "application/grpcx", "application/grp", ""] {
            assert!(!typed(Method::POST, value), "{value}");
        }
        assert_eq!(content_type(&Method::POST, &HeaderMap::new()), None);
    }

    #[test]
    fn each_refusal_has_a_status() {
        let told = |code: Code| status_of(code.status()) as u8;
        assert_eq!(told(Code::RateLimited), 8);
        assert_eq!(told(Code::NoTarget), 14);
        assert_eq!(told(Code::UpstreamConnect), 14);
        assert_eq!(told(Code::Unauthenticated), 16);
        assert_eq!(told(Code::Forbidden), 7);
        assert_eq!(told(Code::NoRoute), 12);
        assert_eq!(told(Code::Deadline), 4);
        assert_eq!(told(Code::BadRequest), 13);
        assert_eq!(told(Code::BodyTooLarge), 8);
        assert_eq!(status_of(408), Status::Unknown);
        assert_eq!(status_of(200), Status::Unknown);
        assert_eq!(Status::Unauthenticated.to_value(), "16");
    }

    #[test]
    fn a_timeout_is_read() {
        for (text, nanos) in [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("3S", Some(3_000_000_000)),
            ("99999999m", Some(99_999_999_000_000)),
            ("5u", Some(5_000)),
            ("0n", Some(0)),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("1.5S", None),
            ("123456789n", None),
            ("1 S", None),
        ] {
            let read = parse_timeout(&HeaderValue::from_static(text));
            assert_eq!(read.map(|read| read.as_nanos()), nanos, "{text}");
        }
    }

    #[test]
    fn a_message_is_percent_encoded() {
        assert_eq!(message("100% of größe\n"), "100%25 of gr%C3%B6%C3%9Fe%0A");
    }

    proptest! {
        #[test]
        fn a_timeout_that_is_written_is_read_back_and_never_longer(nanos in any::<u64>()) {
            let timeout = Duration::from_nanos(nanos);
            let read = parse_timeout(&write_timeout(timeout)).unwrap();
            prop_assert!(read <= timeout);
            prop_assert!(timeout - read <= timeout / 1_000_000 + Duration::from_nanos(1));
        }

        #[test]
        fn any_text_has_a_message_that_decodes_to_it(text in ".{0,40}") {
            let encoded = message(&text);
            let decoded = crate::percent::decode(encoded.to_str().unwrap());
            prop_assert_eq!(decoded.as_ref(), text.as_bytes());
        }

        #[test]
        fn any_value_is_survived(bytes in prop::collection::vec(32u8..127, 0..20)) {
            let _ = parse_timeout(&HeaderValue::from_bytes(&bytes).unwrap());
        }
    }
}
