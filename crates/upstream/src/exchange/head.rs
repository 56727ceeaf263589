//! The head of an answer: whether it may be passed on, and what it says of its connection.

use crate::connection::Incoming;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use std::time::Duration;

/// Whether an answer may be passed on. Makes its length say what its body is: where the length is
/// not known, none may be told (RFC 9112 §6.3), and a length told twice is told once.
pub(super) fn check(status: StatusCode, headers: &mut HeaderMap, incoming: &Incoming) -> Result<(), &'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("101 without having been asked");
    }
    if status == StatusCode::NO_CONTENT {
        // It has none (RFC 9110 §8.6), whatever the request was.
        headers.remove(CONTENT_LENGTH);
    }
    if incoming.is_end_stream() {
        return Ok(());
    }
    match incoming.size_hint().exact() {
        Some(length) => {
            let mut told = headers.get_all(CONTENT_LENGTH).iter();
            let plain = told
                .next()
                .is_some_and(|told| told.as_bytes().iter().all(u8::is_ascii_digit));
            if !plain || told.next().is_some() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        None => {
            let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
            let first = codings.next().map(|coding| coding.as_bytes().trim_ascii());
            if codings.next().is_some() || first.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
                return Err("a transfer coding other than chunked");
            }
            headers.remove(CONTENT_LENGTH);
        }
    }
    Ok(())
}

/// `Keep-Alive: timeout=5` of an answer.
pub(super) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let told = headers.get(&KEEP_ALIVE)?.to_str().ok()?;
    told.split(',').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok();
        name.trim()
            .eq_ignore_ascii_case("timeout")
            .then_some(Duration::from_secs(seconds?))
    })
}
