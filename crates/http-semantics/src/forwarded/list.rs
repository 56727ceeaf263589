//! Reading the lists that proxies write.

use super::{Scheme, is_authority};
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use std::net::{IpAddr, SocketAddr};

/// One element of `Forwarded`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Hop {
    /// `for`, where it is an address.
    pub(super) node: Option<IpAddr>,
    /// `host`, where it is one.
    pub(super) host: Option<HeaderValue>,
    /// `proto`, where it is one of ours.
    pub(super) proto: Option<Scheme>,
}

/// The elements of a plain list, over all its fields, without those that are empty.
pub(super) fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .collect()
}

/// An address, with or without a port; IPv6 with or without brackets; all of it in quotes, as `Forwarded` has it and
/// some write it elsewhere too.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(address) => IpAddr::V6(address.parse().ok()?),
        None => match text.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
}

/// A port that can be connected to.
pub(super) fn port(text: &[u8]) -> Option<u16> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let port = std::str::from_utf8(text).ok()?.parse().ok()?;
    (digits && port != 0).then_some(port)
}

/// Every element of `Forwarded` (RFC 7239 §4), or nothing if any is malformed.
pub(super) fn forwarded(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    for value in headers.get_all(FORWARDED) {
        // Each field must be whole: a quote is not carried over to the next.
        let mut reader = Reader(value.as_bytes());
        loop {
            reader.space();
            if reader.take(b',') {
                continue;
            }
            if reader.0.is_empty() {
                break;
            }
            hops.push(reader.hop()?);
            reader.space();
            if !reader.0.is_empty() && !reader.take(b',') {
                return None;
            }
        }
    }
    Some(hops)
}

struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl Reader<'_> {
    fn space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn take(&mut self, wanted: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn hop(&mut self) -> Option<Hop> {
        let mut hop = Hop::default();
        let mut seen = Vec::new();
        loop {
            if !self.take(b';') && !self.0.is_empty() && self.0[0] != b',' {
                let name = self.token()?.to_ascii_lowercase();
                if !self.take(b'=') || seen.contains(&name) {
                    return None;
                }
                let value = self.value()?;
                match name.as_slice() {
                    b"for" => hop.node = address(&value),
                    b"host" => hop.host = HeaderValue::from_bytes(&value).ok().filter(is_authority),
                    b"proto" => hop.proto = Scheme::parse(&value),
                    _ => {}
                }
                seen.push(name);
                self.space();
                match self.0.first() {
                    None | Some(b',' | b';') => {}
                    Some(_) => return None,
                }
            }
            self.space();
            if matches!(self.0.first(), None | Some(b',')) {
                return Some(hop);
            }
        }
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        // RFC 9110 §5.6.2, and the `[`, `]` and `:` that addresses have and some write without quotes.
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~[]:".contains(byte);
        let end = self.0.iter().position(|byte| !fits(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then(|| token.to_vec())
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.take(b'"') {
            return self.token();
        }
        let mut value = Vec::new();
        loop {
            match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Some(value);
                }
                [b'\\', escaped, rest @ ..] => {
                    value.push(*escaped);
                    self.0 = rest;
                }
                [b'\\'] | [] => return None,
                [byte, rest @ ..] => {
                    value.push(*byte);
                    self.0 = rest;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(values: &[&str]) -> Option<Vec<Hop>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED, value.parse().unwrap());
        }
        forwarded(&headers)
    }

    #[test]
    fn elements_may_be_spread_over_fields_and_quoted() {
        let hops = read(&[
            r#"For="[2001:db8::1]:4711";proto=https;host="a.example:8443";by=_x, for=192.0.2.60"#,
            "for=unknown;proto=gopher",
        ])
        .unwrap();
        assert_eq!(
            hops,
            [
                Hop {
                    node: Some("2001:db8::1".parse().unwrap()),
                    host: Some(HeaderValue::from_static("a.example:8443")),
                    proto: Some(Scheme::Https),
                },
                Hop {
                    node: Some("192.0.2.60".parse().unwrap()),
                    ..Hop::default()
                },
                Hop::default(),
            ]
        );
    }

    #[test]
    fn a_malformed_field_says_nothing() {
        for value in [
            r#"for="1.2.3.4"#,
            r#"for="1.2.3.4, for=9.9.9.9;proto="https""#,
            r#"for=6.6.6.6;a=", for="[2001::1]:1";host="a:1""#,
            "for=1.2.3.4;for=5.6.7.8",
            "for",
            "=x",
            "for=",
            "for=1.2.3.4 for=5.6.7.8",
            r#"for="a\"#,
        ] {
            assert_eq!(read(&[value]), None, "{value}");
        }
        assert_eq!(read(&["for=1.2.3.4", "for=\"x"]), None);
        assert_eq!(read(&["", ", ,"]), Some(vec![]));
        assert_eq!(read(&["for=1.2.3.4;;"]).unwrap().len(), 1);
    }

    #[test]
    fn addresses_may_have_ports_and_brackets() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("::1", Some("::1")),
            ("[::1]", Some("::1")),
            ("[::1]:80", Some("::1")),
            ("\"[::1]:80\"", Some("::1")),
            ("\"192.0.2.1\"", Some("192.0.2.1")),
            ("\"192.0.2.1", None),
            ("\"", None),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[192.0.2.1]", None),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.1:x", None),
            ("192.0.2.256", None),
        ] {
            assert_eq!(
                address(text.as_bytes()),
                expected.map(|text| text.parse().unwrap()),
                "{text}"
            );
        }
        assert_eq!(port(b"443"), Some(443));
        assert_eq!(port(b"0"), None);
        assert_eq!(port(b"+1"), None);
        assert_eq!(port(b"65536"), None);
    }
}
