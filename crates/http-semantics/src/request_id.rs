//! The id that a request is known by in answers, logs and services.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// The field that carries it, to the service and back to the client.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 128;

/// The id of a request. Copies share one allocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

// === impl RequestId ===

impl RequestId {
    /// An id of our own: 32 hexadecimal digits of 128 bits that the caller drew by chance.
    pub fn from_random(bits: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (index, digit) in text.iter_mut().enumerate() {
            let nibble = (bits >> (4 * (31 - index))) & 0xF;
            *digit = DIGITS[nibble as usize];
        }
        // Hexadecimal digits are a legal value: the fallback is never taken.
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0")))
    }

    /// An id of our own, of hexadecimal digits that the caller made; nothing else becomes an id. Shares their memory.
    pub fn from_digits(digits: Bytes) -> Option<Self> {
        let digital = digits.len() <= LONGEST && digits.iter().all(u8::is_ascii_hexdigit);
        let value = HeaderValue::from_maybe_shared(digits).ok().filter(|_| digital)?;
        (!value.is_empty()).then_some(Self(value))
    }

    /// One that somebody else chose: 1 to 128 letters, digits and `-._~+/=:@`. Others are not taken over, so that an id
    /// is safe wherever it is written.
    pub fn from_value(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let fits = (1..=LONGEST).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte));
        fits.then(|| Self(value.clone()))
    }

    /// What a request brought, if it may be taken over. Of several none is.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(X_REQUEST_ID).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::from_value(value),
            _ => None,
        }
    }

    /// A copy with memory of its own, for who outlives the request: any other holds all that it was taken from, which
    /// may be a whole head.
    #[must_use]
    pub fn detached(&self) -> Self {
        // It is a value already: the fallback is never taken.
        Self(HeaderValue::from_bytes(self.0.as_bytes()).unwrap_or_else(|_| self.0.clone()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        // Both ways to make one leave only visible ASCII.
        self.0.to_str().unwrap_or_default()
    }

    /// For a field; a copy shares the allocation.
    pub fn as_value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_of_our_own_is_its_bits() {
        let id = RequestId::from_random(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id.as_str(), "0123456789abcdef0011223344556677");
        assert_eq!(RequestId::from_random(0).as_str(), "0".repeat(32));
        assert_eq!(
            RequestId::from_digits(Bytes::from_static(b"0aF")).unwrap().as_str(),
            "0aF"
        );
        for text in ["", "xyz", "0 1", &"0".repeat(129)] {
            assert_eq!(RequestId::from_digits(Bytes::from(text.to_owned())), None, "{text}");
        }
        assert!(RequestId::from_value(id.as_value()).is_some());
    }

    #[test]
    fn an_id_that_could_do_harm_is_not_taken_over() {
        let taken = |text: &str| RequestId::from_value(&HeaderValue::from_bytes(text.as_bytes()).unwrap()).is_some();
        assert!(taken("7f3e-AB_c.1"));
        assert!(taken(&"a".repeat(128)));
        for text in ["", "a b", "a\"b", "a,b", "é", "<x>", "a{b}", &"a".repeat(129)] {
            assert!(!taken(text), "{text}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(RequestId::from_headers(&headers), None);
        headers.append(X_REQUEST_ID, HeaderValue::from_static("a"));
        assert_eq!(RequestId::from_headers(&headers).unwrap().as_str(), "a");
        headers.append(X_REQUEST_ID, HeaderValue::from_static("b"));
        assert_eq!(RequestId::from_headers(&headers), None);
    }
}
