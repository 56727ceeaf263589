//! Percent-encoding (RFC 3986 §2.1), once in each direction.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Which characters stand for themselves when a text is put into a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A segment of a path: unreserved characters, sub-delimiters, `:` and `@` (RFC 3986 §3.3). A slash is encoded.
    Segment,
    /// A name or value among `name=value` pairs: unreserved characters alone, so that `+` and `&` keep their meaning
    /// with those who decode the query as a form.
    QueryValue,
}

/// RFC 3986 §2.3: these mean the same encoded and plain.
pub const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §3.3, without the slash: what a segment may hold plain.
pub const fn is_path_character(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

/// The byte that `%` and these two digits stand for.
pub const fn byte_of(high: u8, low: u8) -> Option<u8> {
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Some(high << 4 | low),
        _ => None,
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Every valid escape decoded; a `%` without two digits behind it stands for itself. Borrows where there is no `%`.
pub fn decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(|byte| *byte == b'%') else {
        return Cow::Borrowed(bytes);
    };
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => match byte_of(*high, *low) {
                Some(decoded) => {
                    out.push(decoded);
                    rest = after;
                }
                None => out.push(b'%'),
            },
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

/// As [`decode`], where the result is text; `None` where it is not UTF-8.
pub fn decode_text(text: &str) -> Option<Cow<'_, str>> {
    match decode(text) {
        Cow::Borrowed(_) => Some(Cow::Borrowed(text)),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Appends `text` with every byte encoded that does not stand for itself in `place`. A `%` is encoded like any other:
/// the text is taken for plain.
pub fn encode(text: &str, place: Place, out: &mut String) {
    encode_bytes(text.as_bytes(), place, out);
}

/// As [`encode`], for what may not be text.
pub fn encode_bytes(bytes: &[u8], place: Place, out: &mut String) {
    out.reserve(bytes.len());
    for byte in bytes {
        let plain = match place {
            Place::Segment => is_path_character(*byte),
            Place::QueryValue => is_unreserved(*byte),
        };
        if plain {
            out.push(char::from(*byte));
        } else {
            push_escape(*byte, out);
        }
    }
}

/// Appends `%XX`, in upper case (RFC 3986 §2.1).
pub(crate) fn push_escape(byte: u8, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_what_is_an_escape_and_keeps_what_is_none() {
        assert_eq!(decode_text("a%20b%2Fc").unwrap(), "a b/c");
        assert_eq!(decode_text("50%").unwrap(), "50%");
        assert_eq!(decode_text("%zz%4").unwrap(), "%zz%4");
        assert_eq!(decode_text("%E2%82%AC").unwrap(), "€");
        assert_eq!(decode_text("%ff"), None);
        assert!(matches!(decode("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_plus_keeps_its_meaning_in_each_place() {
        let encoded = |text, place| {
            let mut out = String::new();
            encode(text, place, &mut out);
            out
        };
        assert_eq!(encoded("a+b c/d", Place::Segment), "a+b%20c%2Fd");
        assert_eq!(encoded("a+b c&d=50%", Place::QueryValue), "a%2Bb%20c%26d%3D50%25");
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself(text in any::<String>()) {
            for place in [Place::Segment, Place::QueryValue] {
                let mut out = String::new();
                encode(&text, place, &mut out);
                prop_assert!(out.is_ascii());
                let decoded = decode_text(&out).unwrap();
                prop_assert_eq!(decoded.as_ref(), text.as_str());
            }
        }
    }
}
