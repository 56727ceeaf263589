//! A text with `${…}` in it.

use crate::error::{ErrorKind, TemplateError};
use crate::field::{Field, Inputs, Scope};
use crate::{LONGEST_EXPRESSION, LONGEST_TEMPLATE, MOST_EXPRESSIONS, parse};

/// A text with values of the request put into it. `$${` in the source is a plain `${`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Template {
    /// No two texts beside each other, and none that is empty.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Text(Box<str>),
    Field(Field),
}

/// A piece of a text, as it is seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// Plain text.
    Text(&'t str),
    /// A value.
    Field(&'t Field),
}

// === impl Template ===

impl Template {
    /// Compiles a text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(text: &str, scope: &Scope) -> Result<Self, Vec<TemplateError>> {
        if text.len() > LONGEST_TEMPLATE {
            return Err(vec![error(0..text.len(), ErrorKind::TooLong)]);
        }
        let mut pieces = Vec::new();
        let mut errors = Vec::new();
        let mut plain = String::new();
        let mut count = 0;
        let mut at = 0;
        while let Some(found) = text[at..].find("${") {
            let start = at + found;
            // Of any number of dollars before the brace, the last two make it a plain one.
            if text[at..start].ends_with('$') {
                plain.push_str(&text[at..start - 1]);
                plain.push_str("${");
                at = start + 2;
                continue;
            }
            plain.push_str(&text[at..start]);
            let Some(length) = closing(&text[start + 2..]) else {
                errors.push(error(start..text.len(), ErrorKind::Unclosed));
                return Err(errors);
            };
            let source = &text[start + 2..start + 2 + length];
            at = start + 2 + length + 1;
            count += 1;
            if count > MOST_EXPRESSIONS {
                errors.push(error(start..at, ErrorKind::TooMany));
                return Err(errors);
            }
            if source.len() > LONGEST_EXPRESSION {
                errors.push(error(start..at, ErrorKind::ExpressionTooLong));
                continue;
            }
            match parse::expression(source, start + 2, scope) {
                Ok(field) => {
                    push_text(&mut pieces, &mut plain);
                    pieces.push(Piece::Field(field));
                }
                Err(error) => errors.push(error),
            }
        }
        plain.push_str(&text[at..]);
        push_text(&mut pieces, &mut plain);
        if errors.is_empty() {
            Ok(Self { pieces })
        } else {
            Err(errors)
        }
    }

    /// A text that holds no expression, whatever is in it.
    pub fn literal(text: &str) -> Self {
        let mut pieces = Vec::new();
        push_text(&mut pieces, &mut text.to_owned());
        Self { pieces }
    }

    /// The text, where it is the same for every request.
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The value, where the text is nothing but one `${…}`.
    pub fn as_field(&self) -> Option<&Field> {
        match self.pieces.as_slice() {
            [Piece::Field(field)] => Some(field),
            _ => None,
        }
    }

    /// What stands before the first expression.
    pub fn leading_text(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// What stands behind the last expression.
    pub fn trailing_text(&self) -> &str {
        match self.pieces.last() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// The values that it names, in the order of the text.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Field(field) => Some(field),
        })
    }

    /// Its parts, in their order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Part::Text(text),
            Piece::Field(field) => Part::Field(field),
        })
    }

    /// Parts it at the first `mark` that stands in its plain text; the mark goes. Expressions are not looked into.
    pub fn split_once(&self, mark: char) -> Option<(Self, Self)> {
        let (index, text, at) = self.pieces.iter().enumerate().find_map(|(index, piece)| match piece {
            Piece::Text(text) => text.find(mark).map(|at| (index, text, at)),
            Piece::Field(_) => None,
        })?;
        let mut before = self.pieces[..index].to_vec();
        push_text(&mut before, &mut text[..at].to_owned());
        let mut after = Vec::new();
        push_text(&mut after, &mut text[at + mark.len_utf8()..].to_owned());
        after.extend_from_slice(&self.pieces[index + 1..]);
        Some((Self { pieces: before }, Self { pieces: after }))
    }

    /// Appends the text with its values; a missing value is empty.
    pub fn render(&self, inputs: &impl Inputs, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(field) => {
                    if let Some(value) = inputs.field(field) {
                        out.push_str(&value);
                    }
                }
            }
        }
    }
}

impl<'t> FromIterator<Part<'t>> for Template {
    fn from_iter<I: IntoIterator<Item = Part<'t>>>(parts: I) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        for part in parts {
            match part {
                Part::Text(text) => plain.push_str(text),
                Part::Field(field) => {
                    push_text(&mut pieces, &mut plain);
                    pieces.push(Piece::Field(field.clone()));
                }
            }
        }
        push_text(&mut pieces, &mut plain);
        Self { pieces }
    }
}

fn error(at: std::ops::Range<usize>, kind: ErrorKind) -> TemplateError {
    TemplateError {
        at,
        kind,
        nearest: None,
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text).into()));
    }
}

/// Where the `}` is that closes an expression; one in quotes does not.
fn closing(source: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in source.bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'}') => return Some(at),
            (None, _) => {}
        }
    }
    // An unclosed quote took the brace: end at it, and let the expression say what is wrong.
    source.find('}')
}

#[cfg(test)]
mod tests;
