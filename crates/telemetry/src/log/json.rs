//! One JSON object on one line, out of whatever others sent.

use std::fmt::Write as _;
use std::time::Duration;

/// Stands where a text was cut.
const CUT: &str = "…";

/// Writes an object, member by member, into a text.
///
/// What comes from outside stays inside of its quotes: quotes, backslashes, control characters (those beyond ASCII
/// too), line and paragraph separators and the marks that turn the direction of a text are escaped (RFC 8259 §7), bytes
/// that are no UTF-8 become U+FFFD. So a line is one line for every reader, and nothing of it moves a terminal's cursor.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut String,
    first: bool,
}

// === impl Object ===

impl<'o> Object<'o> {
    /// Begins an object at the end of `out`.
    pub fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// A text, of which at most `most` bytes are written: what is longer ends in `…`.
    pub fn text(&mut self, name: &'static str, value: &[u8], most: usize) {
        self.name(name);
        self.out.push('"');
        escape(self.out, value, most);
        self.out.push('"');
    }

    /// A number.
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.out, "{value}");
    }

    /// A time in milliseconds, with three places.
    pub fn millis(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        let micros = value.as_micros();
        let _ = write!(self.out, "{}.{:03}", micros / 1000, micros % 1000);
    }

    /// A text that `make` writes, which is known to need no escape.
    pub fn made(&mut self, name: &'static str, make: impl FnOnce(&mut String)) {
        self.name(name);
        self.out.push('"');
        make(self.out);
        self.out.push('"');
    }

    /// A value whose text is known to need no escape.
    pub fn plain(&mut self, name: &'static str, value: std::fmt::Arguments<'_>) {
        self.name(name);
        let _ = write!(self.out, "\"{value}\"");
    }

    /// Ends the object.
    pub fn end(self) {
        self.out.push('}');
    }

    fn name(&mut self, name: &'static str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }
}

fn escape(out: &mut String, value: &[u8], most: usize) {
    let end = out.len() + most;
    for chunk in value.utf8_chunks() {
        let bad = (!chunk.invalid().is_empty()).then_some('\u{fffd}');
        for character in chunk.valid().chars().chain(bad) {
            let before = out.len();
            push(out, character);
            if out.len() > end {
                out.truncate(before);
                out.push_str(CUT);
                return;
            }
        }
    }
}

fn push(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => code(out, character),
        _ if character.is_control() => code(out, character),
        _ => out.push(character),
    }
}

/// All that is escaped so lies in the first plane.
fn code(out: &mut String, character: char) {
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn object(value: &[u8], most: usize) -> String {
        let mut out = String::new();
        let mut object = Object::begin(&mut out);
        object.text("a", value, most);
        object.number("n", 7);
        object.millis("ms", Duration::from_micros(12_034));
        object.end();
        out
    }

    #[test]
    fn members_stand_in_their_order() {
        assert_eq!(object(b"x\"\\\n", 100), r#"{"a":"x\"\\\u000a","n":7,"ms":12.034}"#);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(object("ääää".as_bytes(), 5), r#"{"a":"ää…","n":7,"ms":12.034}"#);
        assert_eq!(object(b"\x01\x02", 6), "{\"a\":\"\\u0001…\",\"n\":7,\"ms\":12.034}");
        assert_eq!(object(b"abc", 3), r#"{"a":"abc","n":7,"ms":12.034}"#);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_line_that_reads_back(
            value in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'\n'), Just(0x1b), Just(0xe2), Just(0x80), Just(0xa8)],
                0..200,
            ),
        ) {
            let line = object(&value, usize::MAX / 2);
            prop_assert!(!line.chars().any(char::is_control));
            let turns = ['\u{2028}', '\u{2029}', '\u{202e}'];
            prop_assert!(!line.contains(turns));
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&read["a"], &serde_json::Value::from(String::from_utf8_lossy(&value)));
        }

        #[test]
        fn no_text_is_longer_than_it_may_be(value in proptest::collection::vec(any::<u8>(), 0..300), most in 0usize..100) {
            let line = object(&value, most);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            let around = object(b"", 0).len();
            prop_assert!(line.len() <= most + CUT.len() + around);
            let text = read["a"].as_str().unwrap();
            let whole = String::from_utf8_lossy(&value);
            prop_assert!(text == whole || whole.starts_with(text.strip_suffix(CUT).unwrap()));
        }
    }
}
