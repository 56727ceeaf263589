//! JSON (RFC 8259), strictly: no comments, no commas too many, nothing after the value.

use super::{Entry, Kind, MAX_DEPTH, Node, Number, too_deep};
use crate::diagnostic::Finding;
use crate::source::Place;

pub(super) fn read(text: &str, file: u32) -> Result<Node, Vec<Finding>> {
    let mut reader = Reader { text, at: 0, file };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    reader.document().map_err(|finding| vec![*finding])
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    file: u32,
}

type Read<T> = Result<T, Box<Finding>>;

impl Reader<'_> {
    fn document(&mut self) -> Read<Node> {
        self.space();
        if self.peek().is_none() {
            return Ok(Node {
                at: self.place(0),
                kind: Kind::Null,
            });
        }
        let root = self.value(0)?;
        self.space();
        match self.peek() {
            None => Ok(root),
            Some(_) => Err(self.fault("something follows the end of the document")),
        }
    }

    fn value(&mut self, depth: usize) -> Read<Node> {
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err(too_deep(self.place(start)).into());
        }
        let kind = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Kind::Text(self.text()?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            Some(_) => return Err(self.fault("a value is expected")),
            None => return Err(self.fault("the document ends in the middle")),
        };
        Ok(Node {
            at: self.place(start),
            kind,
        })
    }

    fn map(&mut self, depth: usize) -> Read<Kind> {
        self.at += 1;
        let mut entries = Vec::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Kind::Map(entries));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.fault("a key in double quotes is expected"));
            }
            let start = self.at;
            let key = self.text()?;
            let key_at = self.place(start);
            self.space();
            if !self.eat(b':') {
                return Err(self.fault("a `:` is expected after the key"));
            }
            self.space();
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, key_at, value });
            self.space();
            if self.eat(b'}') {
                return Ok(Kind::Map(entries));
            }
            if !self.eat(b',') {
                return Err(self.fault("a `,` or `}` is expected"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Read<Kind> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Kind::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(b']') {
                return Ok(Kind::List(items));
            }
            if !self.eat(b',') {
                return Err(self.fault("a `,` or `]` is expected"));
            }
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Read<Kind> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(kind)
        } else {
            Err(self.fault("a value is expected (texts stand in double quotes)"))
        }
    }

    fn number(&mut self) -> Read<Number> {
        let start = self.at;
        self.eat(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.fault("a digit is expected")),
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        let spelling = &self.text[start..self.at];
        super::number(spelling, spelling, whole).ok_or_else(|| {
            Finding::error("syntax", "the number is too large")
                .at(self.place(start))
                .into()
        })
    }

    fn some_digits(&mut self) -> Read<()> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.fault("a digit is expected"));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn text(&mut self) -> Read<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let plain = rest
                .iter()
                .take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f))
                .count();
            out.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(self.fault("a control character stands in a text; write it as \\u00…")),
                None => return Err(self.fault("a text is not closed")),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match letter {
            Some(b @ (b'"' | b'\\' | b'/')) => b as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.fault("this escape is not known in JSON")),
        };
        self.at += 2;
        Ok(plain)
    }

    fn unicode(&mut self) -> Read<char> {
        let high = self
            .hex4(self.at + 2)
            .ok_or_else(|| self.fault("four hexadecimal digits are expected"))?;
        let (code, length) = match high {
            0xd800..=0xdbff => {
                let follows = self.text.as_bytes().get(self.at + 6..self.at + 8) == Some(b"\\u");
                let low = self
                    .hex4(self.at + 8)
                    .filter(|low| follows && (0xdc00..=0xdfff).contains(low));
                let low = low.ok_or_else(|| self.fault("half of a surrogate pair stands alone"))?;
                (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
            }
            other => (other, 6),
        };
        let c = char::from_u32(code).ok_or_else(|| self.fault("half of a surrogate pair stands alone"))?;
        self.at += length;
        Ok(c)
    }

    fn hex4(&self, from: usize) -> Option<u32> {
        let digits = self.text.as_bytes().get(from..from + 4)?;
        digits
            .iter()
            .try_fold(0, |sum, b| Some(sum * 16 + (*b as char).to_digit(16)?))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn place(&self, start: usize) -> Place {
        Place {
            file: self.file,
            start: start as u32,
            end: self.at as u32,
        }
    }

    fn fault(&self, what: &str) -> Box<Finding> {
        let at = Place {
            file: self.file,
            start: self.at as u32,
            end: self.at as u32 + 1,
        };
        let rest = self.text.get(self.at..).unwrap_or_default();
        let found = match rest.chars().next() {
            Some(c) => format!("`{}`", c.escape_debug()),
            None => "the end of the document".to_owned(),
        };
        Finding::error("syntax", format!("not JSON: {what}"))
            .at(at)
            .found(found)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Value;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    fn same(node: &Node, json: &Json) -> bool {
        match (&node.kind, json) {
            (Kind::Null, Json::Null) => true,
            (Kind::Bool(a), Json::Bool(b)) => a == b,
            (Kind::Text(a), Json::String(b)) => a == b,
            (Kind::Number(a), Json::Number(b)) => match a.value {
                Value::Integer(a) => b
                    .as_i64()
                    .map(i128::from)
                    .or(b.as_u64().map(i128::from))
                    .is_none_or(|b| a == b),
                Value::Float(a) => b.as_f64() == Some(a),
            },
            (Kind::List(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            // A key that stands twice is told later; there the last one wins.
            (Kind::Map(a), Json::Object(b)) => b.iter().all(|(key, value)| {
                a.iter()
                    .rev()
                    .find(|e| e.key == *key)
                    .is_some_and(|e| same(&e.value, value))
            }),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_json_is_read_and_nothing_else(
            text in "[ \\n]?[\\[{\"]?([0-9eE.+\\-]{1,5}|true|null|\"[a-zé]?(\\\\[nu\"\\\\x]|\\\\u[dD0][8-9c]0[0-9])?\"|[:,\\[\\]{} ]|\"a\":){0,6}"
        ) {
            let json: Result<Json, _> = serde_json::from_str(&text);
            match (read(&text, 0), json) {
                (Ok(node), Ok(json)) => prop_assert!(same(&node, &json), "{:?}", text),
                (Err(_), Err(_)) => {}
                // Nothing at all is an empty document, which is told in its own words; and a whole number beyond 64
                // bits is not taken for a float.
                (Ok(node), Err(_)) => prop_assert!(matches!(node.kind, Kind::Null) && text.trim().is_empty(), "{:?}", text),
                (Err(findings), Ok(_)) => prop_assert!(findings[0].message.contains("too large"), "{:?}", text),
            }
        }
    }
}
