//! Fields that end at this hop (RFC 9110 §7.6.1).
//!
//! A sender may name further fields in `Connection`, and they are removed too; but not those that every recipient is to
//! see, nor those that the gateway sets itself. Otherwise a client could have the gateway drop the host, the framing or
//! the address of the client.

use crate::reserved;
use crate::upgrade::Offer;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE};

/// Fields that a `Connection` cannot name away: they are for all recipients, or the message breaks without them.
const END_TO_END: [&str; 20] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "host",
    "last-modified",
    "location",
    "origin",
    "range",
    "set-cookie",
    "trailer",
    "vary",
    "via",
];

/// What one pass over the names found, a bit for each field that may have to go.
#[derive(Clone, Copy)]
struct Found(u16);

/// The names by the place of their bits. The first is `Connection`.
const NAMES: [HeaderName; 11] = [
    CONNECTION,
    TE,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::PROXY_AUTHORIZATION,
    http::header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
    http::header::EXPECT,
];
const CONNECTION_BIT: u16 = 1;
const TE_BIT: u16 = 1 << 1;
const UPGRADE_BIT: u16 = 1 << 3;

/// Removes what a request says to this hop alone. One pass over the names where there is nothing of it.
///
/// `Expect` is among it: the front answers `100-continue` itself once it reads the body, so that the service is sent a
/// body that flows, and nobody waits for anybody.
///
/// `TE: trailers` stays where the client named TE in its `Connection`, as RFC 9110 §10.1.4 asks for; then
/// `Connection: te` goes with it. A client that did not is taken at the word that it did not say.
///
/// Gives what the request offered to switch to, if it did.
pub fn remove_request_hop_by_hop(headers: &mut HeaderMap) -> Option<Offer> {
    let found = Found::in_names(headers);
    if found.0 == 0 {
        return None;
    }
    let upgrades = found.has(UPGRADE_BIT) && found.has(CONNECTION_BIT);
    let offer = if upgrades { Offer::of(headers) } else { None };
    let trailers = found.has(CONNECTION_BIT) && found.has(TE_BIT) && names_te(headers) && takes_trailers(headers);
    remove(headers, found);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    offer
}

/// Removes what an answer says to this hop alone. One pass over the names where there is nothing of it.
pub fn remove_response_hop_by_hop(headers: &mut HeaderMap) {
    let found = Found::in_names(headers);
    if found.0 != 0 {
        remove(headers, found);
    }
}

fn remove(headers: &mut HeaderMap, found: Found) {
    if found.has(CONNECTION_BIT) && !names_nothing(headers) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    for (index, name) in NAMES.iter().enumerate() {
        if found.has(1 << index) {
            headers.remove(name);
        }
    }
}

/// Whether `Connection` is the one word that nearly all messages have there, if any.
fn names_nothing(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONNECTION).iter();
    let word = values.next().filter(|_| values.next().is_none());
    word.is_some_and(|word| matches!(word.as_bytes(), b"keep-alive" | b"close"))
}

/// The elements of all `Connection` fields.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// What `Connection` names and may name away. Options that are no fields, as `close`, are not among them.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    options(headers)
        .filter(|option| !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !END_TO_END.contains(&name.as_str()) && !reserved::is_reserved(name.as_str()))
        .collect()
}

fn names_te(headers: &HeaderMap) -> bool {
    options(headers).any(|option| option.eq_ignore_ascii_case(b"te"))
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

// === impl Found ===

impl Found {
    fn in_names(headers: &HeaderMap) -> Self {
        let bits = headers.keys().fold(0, |bits, name| {
            bits | match name.as_str() {
                "connection" => CONNECTION_BIT,
                "te" => TE_BIT,
                "transfer-encoding" => 1 << 2,
                "upgrade" => 1 << 3,
                "keep-alive" => 1 << 4,
                "proxy-connection" => 1 << 5,
                "proxy-authorization" => 1 << 6,
                "proxy-authenticate" => 1 << 7,
                "proxy-authentication-info" => 1 << 8,
                "http2-settings" => 1 << 9,
                "expect" => 1 << 10,
                _ => 0,
            }
        });
        Self(bits)
    }

    fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    value.parse::<HeaderValue>().unwrap(),
                )
            })
            .collect()
    }

    fn left(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = map(fields);
        remove_request_hop_by_hop(&mut headers);
        let mut names: Vec<String> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn the_bits_are_those_of_the_names() {
        for (index, name) in NAMES.iter().enumerate() {
            let headers: HeaderMap = [(name.clone(), HeaderValue::from_static("x"))].into_iter().collect();
            assert_eq!(Found::in_names(&headers).0, 1 << index, "{name}");
        }
    }

    #[test]
    fn what_speaks_of_the_connection_goes_with_what_it_names() {
        assert_eq!(
            left(&[
                ("connection", "close, X-Local"),
                ("connection", "keep-alive,, x-other"),
                ("x-local", "1"),
                ("x-other", "1"),
                ("keep-alive", "timeout=1"),
                ("proxy-connection", "close"),
                ("proxy-authorization", "Basic x"),
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "foo"),
                ("http2-settings", "x"),
                ("expect", "100-continue"),
                ("accept", "*/*"),
            ]),
            ["accept"]
        );
    }

    #[test]
    fn an_offer_is_taken_off_and_given() {
        let mut headers = map(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("host", "a")]);
        let offer = remove_request_hop_by_hop(&mut headers).unwrap();
        assert!(offer.is_websocket());
        assert_eq!(headers, map(&[("host", "a")]));
        assert!(remove_request_hop_by_hop(&mut map(&[("upgrade", "websocket")])).is_none());
    }

    #[test]
    fn nobody_names_the_essentials_away() {
        let fields = [
            (
                "connection",
                "host, content-length, authorization, cookie, x-forwarded-for, x_real_ip, forwarded, via, cache-control",
            ),
            ("host", "a"),
            ("content-length", "5"),
            ("authorization", "x"),
            ("cookie", "x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_real_ip", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("via", "1.1 x"),
            ("cache-control", "no-store"),
        ];
        assert_eq!(left(&fields).len(), fields.len() - 1);
    }

    #[test]
    fn trailers_are_asked_for_only_where_the_connection_says_so() {
        let mut headers = map(&[("te", "gzip;q=0.5, Trailers"), ("connection", "close, TE")]);
        remove_request_hop_by_hop(&mut headers);
        assert_eq!(headers[TE], "trailers");
        assert_eq!(headers[CONNECTION], "te");
        assert_eq!(
            left(&[("te", "trailers"), ("connection", "close")]),
            Vec::<String>::new()
        );
        assert_eq!(left(&[("te", "gzip"), ("connection", "te")]), Vec::<String>::new());
    }

    #[test]
    fn an_answer_loses_its_hop_and_keeps_its_trailer() {
        let mut headers = map(&[
            ("connection", "close, x-hop, set-cookie"),
            ("x-hop", "1"),
            ("set-cookie", "a=b"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
        ]);
        remove_response_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("set-cookie", "a=b"), ("trailer", "x-sum")]));
    }

    proptest! {
        #[test]
        fn whatever_connection_says_nothing_of_the_hop_is_left_and_the_host_is(values in prop::collection::vec("[ -~]{0,30}", 0..4)) {
            let mut headers = map(&[("host", "a"), ("keep-alive", "1"), ("upgrade", "x"), ("te", "gzip")]);
            for value in values {
                headers.append(CONNECTION, value.parse().unwrap());
            }
            remove_request_hop_by_hop(&mut headers);
            prop_assert_eq!(headers, map(&[("host", "a")]));
        }
    }
}
