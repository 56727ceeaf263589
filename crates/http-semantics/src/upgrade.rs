//! Switching to another protocol (RFC 9110 §7.8): what a request offers, what a route lets through, what an answer of
//! 101 may name.

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// A protocol as `Upgrade` names it: `websocket`, `SPDY/3.1`. Names are the same in any case, versions are not.
#[derive(Debug, Clone)]
pub struct Protocol(Box<str>);

/// Why a text is no [`Protocol`], or none that may be switched to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not `name` or `name/version`, both tokens (RFC 9110 §5.6.2), of at most [`LONGEST`] bytes in all.
    #[error("a protocol is a name, or a name and a version with a slash between them")]
    NotAProtocol,
    /// It carries requests, or hides what it carries: whatever follows would pass every route by.
    #[error("behind a switch to this protocol requests would pass every route by")]
    Opaque,
}

/// The longest protocol, in bytes.
pub const LONGEST: usize = 100;

/// Elements of `Upgrade` that are looked at; those beyond are ignored, as RFC 9110 §7.8 lets a server do.
const MOST: usize = 16;

/// What requests of a route may switch to.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowed(Arc<[Protocol]>);

/// What a request offers to switch to, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer(Vec<Protocol>);

// === impl Protocol ===

impl Protocol {
    /// Reads one as a document names it.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`].
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        let protocol = Self::read(text.as_bytes()).ok_or(ProtocolError::NotAProtocol)?;
        match protocol.name().to_ascii_lowercase().as_str() {
            // RFC 9113 §3.1 and RFC 2817 §3.
            "h2c" | "h2" | "http" | "tls" => Err(ProtocolError::Opaque),
            _ => Ok(protocol),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST)?;
        let sound = match text.split_once('/') {
            Some((name, version)) => is_token(name) && is_token(version),
            None => is_token(text),
        };
        sound.then(|| Self(text.into()))
    }

    /// The text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of RFC 6455.
    pub fn is_websocket(&self) -> bool {
        self.name().eq_ignore_ascii_case("websocket")
    }

    fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(name, _)| name)
    }

    fn version(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, version)| version)
    }

    /// Whether this, which may be without a version, names `other` too.
    fn covers(&self, other: &Self) -> bool {
        self.name().eq_ignore_ascii_case(other.name())
            && (self.version().is_none() || self.version() == other.version())
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.name().eq_ignore_ascii_case(other.name()) && self.version() == other.version()
    }
}

impl Eq for Protocol {}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Allowed ===

impl Allowed {
    /// These, and no others. A protocol without a version stands for all of its versions.
    pub fn new(protocols: Vec<Protocol>) -> Self {
        Self(protocols.into())
    }
}

impl Default for Allowed {
    /// WebSocket.
    fn default() -> Self {
        static WEBSOCKET: LazyLock<Arc<[Protocol]>> = LazyLock::new(|| [Protocol("websocket".into())].into());
        Self(Arc::clone(&WEBSOCKET))
    }
}

// === impl Offer ===

impl Offer {
    /// What the fields of a request of HTTP/1.1 offer. None where `Connection` does not name `Upgrade`: then it is not
    /// for us. Elements that are no protocols are ignored.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let named = elements(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        if !named {
            return None;
        }
        let protocols: Vec<_> = elements(headers, &UPGRADE)
            .take(MOST)
            .filter_map(Protocol::read)
            .collect();
        (!protocols.is_empty()).then_some(Self(protocols))
    }

    /// Whether it is, or may become, a handshake of RFC 6455.
    pub fn has_websocket(&self) -> bool {
        self.0.iter().any(Protocol::is_websocket)
    }

    /// The part of it that `allowed` lets through; none if that is nothing.
    #[must_use]
    pub fn within(mut self, allowed: &Allowed) -> Option<Self> {
        self.0
            .retain(|offered| allowed.0.iter().any(|allowed| allowed.covers(offered)));
        (!self.0.is_empty()).then_some(self)
    }

    /// As the field `Upgrade` says it.
    ///
    /// # Panics
    ///
    /// Never: protocols are made of visible ASCII.
    pub fn to_value(&self) -> HeaderValue {
        let texts: Vec<_> = self.0.iter().map(Protocol::as_str).collect();
        HeaderValue::from_str(&texts.join(", ")).expect("tokens, slashes and commas are a field's value")
    }

    /// What an answer of 101 with these fields switches to, lowest layer first. None where it names nothing, or
    /// anything that was not offered (RFC 9110 §7.8 forbids both).
    pub fn accepted(&self, headers: &HeaderMap) -> Option<Self> {
        let mut protocols = Vec::new();
        for element in elements(headers, &UPGRADE) {
            let named = Protocol::read(element)?;
            if !self
                .0
                .iter()
                .any(|offered| offered.covers(&named) || named.covers(offered))
            {
                return None;
            }
            protocols.push(named);
        }
        (1..=MOST).contains(&protocols.len()).then_some(Self(protocols))
    }

    /// Whether it is WebSocket and nothing above or below it.
    pub fn is_websocket(&self) -> bool {
        matches!(self.0.as_slice(), [one] if one.is_websocket())
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, protocol) in self.0.iter().enumerate() {
            write!(f, "{}{protocol}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The elements of all fields of a name that hold a list, empty ones left out (RFC 9110 §5.6.1).
fn elements<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn map(fields: &[(http::HeaderName, &str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()));
        fields.collect()
    }

    fn offer(upgrade: &str) -> Option<Offer> {
        Offer::of(&map(&[(CONNECTION, "Upgrade"), (UPGRADE, upgrade)]))
    }

    fn allowed(names: &[&str]) -> Allowed {
        Allowed::new(names.iter().map(|name| Protocol::parse(name).unwrap()).collect())
    }

    fn accepted(offered: &str, answered: &[(http::HeaderName, &str)]) -> Option<String> {
        offer(offered)
            .unwrap()
            .accepted(&map(answered))
            .map(|to| to.to_string())
    }

    #[test]
    fn an_offer_counts_only_where_the_connection_names_it() {
        let fields = |connection: &[&str]| {
            let mut headers = map(&[(UPGRADE, "websocket")]);
            for value in connection {
                headers.append(CONNECTION, value.parse().unwrap());
            }
            Offer::of(&headers).is_some()
        };
        assert!(fields(&["keep-alive, UPGRADE"]));
        assert!(fields(&["keep-alive", "upgrade"]));
        assert!(!fields(&[]));
        assert!(!fields(&["keep-alive"]));
        assert!(!fields(&["upgrades", "websocket"]));
        assert!(Offer::of(&map(&[(CONNECTION, "upgrade")])).is_none());
    }

    #[test]
    fn what_is_no_protocol_is_ignored() {
        assert_eq!(offer(",, a b, foo/, /1, x/1/2, ok/1 ,").unwrap().to_string(), "ok/1");
        assert!(offer("a b").is_none());
        assert!(offer(&"x".repeat(LONGEST + 1)).is_none());
        assert_eq!(offer(&vec!["x"; 100].join(",")).unwrap().0.len(), MOST);
    }

    #[test]
    fn a_route_lets_through_what_it_names() {
        let within = |offered: &str, names: &[&str]| {
            let left = offer(offered).unwrap().within(&allowed(names));
            left.map(|left| left.to_value())
        };
        assert_eq!(within("WebSocket", &["websocket"]).unwrap(), "WebSocket");
        assert_eq!(
            within("h2c, websocket, foo/2", &["foo", "websocket"]).unwrap(),
            "websocket, foo/2"
        );
        assert_eq!(within("SPDY/3.1", &["SPDY/3"]), None);
        assert_eq!(within("SPDY", &["SPDY/3.1"]), None);
        assert_eq!(within("spdy/3.1", &["SPDY/3.1"]).unwrap(), "spdy/3.1");
        assert_eq!(within("websocket", &[]), None);
        assert!(offer("websocket").unwrap().within(&Allowed::default()).is_some());
        assert!(offer("h2c").unwrap().within(&Allowed::default()).is_none());
    }

    #[test]
    fn an_answer_names_what_was_offered_and_nothing_else() {
        assert_eq!(accepted("websocket", &[(UPGRADE, "WebSocket")]).unwrap(), "WebSocket");
        assert_eq!(
            accepted("a, b/1", &[(UPGRADE, "b/1"), (UPGRADE, "a")]).unwrap(),
            "b/1, a"
        );
        assert_eq!(accepted("b/1", &[(UPGRADE, "b")]).unwrap(), "b");
        assert_eq!(accepted("b/1", &[(UPGRADE, "b/2")]), None);
        assert_eq!(accepted("websocket", &[(UPGRADE, "websocket, h2c")]), None);
        assert_eq!(accepted("websocket", &[(UPGRADE, "h2c")]), None);
        assert_eq!(accepted("websocket", &[(UPGRADE, "web socket")]), None);
        assert_eq!(accepted("websocket", &[]), None);
    }

    #[test]
    fn protocols_behind_which_requests_hide_are_none_for_a_route() {
        for name in ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.0"] {
            assert_eq!(Protocol::parse(name), Err(ProtocolError::Opaque), "{name}");
        }
        for name in ["", "a b", "a/b/c", "/", "é"] {
            assert_eq!(Protocol::parse(name), Err(ProtocolError::NotAProtocol), "{name}");
        }
        assert!(Protocol::parse("tcp").is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_offered_only_what_is_allowed_goes_on_and_reads_as_the_same(
            upgrade in "[ -~]{0,60}",
            protocols in prop::collection::vec("[a-c]{1,2}(/[0-1])?", 0..6),
        ) {
            let mut headers = map(&[(CONNECTION, "upgrade"), (UPGRADE, &protocols.join(" , "))]);
            headers.append(UPGRADE, upgrade.parse().unwrap());
            let allowed = allowed(&["a", "b/1"]);
            if let Some(left) = Offer::of(&headers).and_then(|offer| offer.within(&allowed)) {
                for protocol in &left.0 {
                    prop_assert!(matches!(protocol.as_str().to_ascii_lowercase().split('/').next(), Some("a" | "b")));
                }
                headers.insert(UPGRADE, left.to_value());
                prop_assert_eq!(Offer::of(&headers), Some(left.clone()));
                prop_assert_eq!(left.accepted(&headers), Some(left));
            }
        }

        #[test]
        fn an_answer_that_is_accepted_was_offered(offered in "[a-c](, ?[a-c]){0,3}", answered in "[ -~]{0,8}") {
            let offered = offer(&offered).unwrap();
            let answer = map(&[(UPGRADE, &answered)]);
            if let Some(accepted) = offered.accepted(&answer) {
                prop_assert!(accepted.0.iter().all(|one| offered.0.iter().any(|other| other.name().eq_ignore_ascii_case(one.name()))));
            }
        }
    }
}
