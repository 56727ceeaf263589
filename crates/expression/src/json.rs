//! A JSON value whose texts hold `${…}`.

use crate::DEEPEST_JSON;
use crate::error::{ErrorKind, JsonTemplateError, TemplateError};
use crate::field::{Field, Inputs, Scope};
use crate::template::Template;
use serde_json::Value;
use std::fmt::Write as _;

/// A JSON value with values of the request put into its texts. Names of members are taken as they are.
///
/// A text that is nothing but one `${…}` becomes the value itself: a text, or `null` where the request has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct JsonTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    /// JSON as it is sent.
    Json(Box<str>),
    /// Goes into quotes.
    Text(Template),
    /// A text in quotes, or `null`.
    Value(Field),
}

struct Builder<'a> {
    scope: &'a Scope,
    pieces: Vec<Piece>,
    json: String,
    path: String,
    errors: Vec<JsonTemplateError>,
}

// === impl JsonTemplate ===

impl JsonTemplate {
    /// Compiles a value.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its texts.
    pub fn parse(value: &Value, scope: &Scope) -> Result<Self, Vec<JsonTemplateError>> {
        let mut builder = Builder {
            scope,
            pieces: Vec::new(),
            json: String::new(),
            path: String::new(),
            errors: Vec::new(),
        };
        builder.value(value, 0);
        builder.flush();
        if builder.errors.is_empty() {
            Ok(Self { pieces: builder.pieces })
        } else {
            Err(builder.errors)
        }
    }

    /// The JSON, where it is the same for every request.
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Json(json)] => Some(json),
            _ => None,
        }
    }

    /// The values that it names.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.pieces.iter().flat_map(|piece| {
            let (text, value) = match piece {
                Piece::Json(_) => (None, None),
                Piece::Text(template) => (Some(template.fields()), None),
                Piece::Value(field) => (None, Some(field)),
            };
            text.into_iter().flatten().chain(value)
        })
    }

    /// Appends the JSON with its values, without spaces.
    pub fn render(&self, inputs: &impl Inputs, out: &mut String) {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Json(json) => out.push_str(json),
                Piece::Text(template) => {
                    text.clear();
                    template.render(inputs, &mut text);
                    push_quoted(&text, out);
                }
                Piece::Value(field) => match inputs.field(field) {
                    Some(value) => push_quoted(&value, out),
                    None => out.push_str("null"),
                },
            }
        }
    }
}

// === impl Builder ===

impl Builder<'_> {
    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                // Writing to a String cannot fail.
                let _ = write!(self.json, "{value}");
            }
            Value::String(text) => self.text(text),
            Value::Array(_) | Value::Object(_) if depth == DEEPEST_JSON => self.error(TemplateError {
                at: 0..0,
                kind: ErrorKind::TooDeep,
                nearest: None,
            }),
            Value::Array(items) => {
                self.json.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.json.push(',');
                    }
                    self.at(&format!("[{index}]"), item, depth);
                }
                self.json.push(']');
            }
            Value::Object(members) => {
                self.json.push('{');
                for (index, (name, member)) in members.iter().enumerate() {
                    if index > 0 {
                        self.json.push(',');
                    }
                    push_quoted(name, &mut self.json);
                    self.json.push(':');
                    self.at(&format!(".{name}"), member, depth);
                }
                self.json.push('}');
            }
        }
    }

    fn at(&mut self, step: &str, value: &Value, depth: usize) {
        let length = self.path.len();
        self.path.push_str(step);
        self.value(value, depth + 1);
        self.path.truncate(length);
    }

    fn text(&mut self, text: &str) {
        match Template::parse(text, self.scope) {
            Ok(template) => {
                if let Some(literal) = template.as_literal() {
                    push_quoted(literal, &mut self.json);
                } else {
                    self.flush();
                    self.pieces.push(match template.as_field() {
                        Some(field) => Piece::Value(field.clone()),
                        None => Piece::Text(template),
                    });
                }
            }
            Err(errors) => errors.into_iter().for_each(|error| self.error(error)),
        }
    }

    fn error(&mut self, error: TemplateError) {
        self.errors.push(JsonTemplateError {
            path: self.path.clone(),
            error,
        });
    }

    fn flush(&mut self) {
        if !self.json.is_empty() {
            self.pieces.push(Piece::Json(std::mem::take(&mut self.json).into()));
        }
    }
}

/// A text as JSON has it (RFC 8259 §7).
fn push_quoted(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::borrow::Cow;

    struct Client(Option<&'static str>);

    impl Inputs for Client {
        fn field(&self, _: &Field) -> Option<Cow<'_, str>> {
            self.0.map(Cow::Borrowed)
        }
    }

    fn rendered(value: &Value, client: Option<&'static str>) -> Value {
        let mut out = String::new();
        JsonTemplate::parse(value, &Scope::default())
            .unwrap()
            .render(&Client(client), &mut out);
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn values_stand_in_the_texts_and_cannot_leave_them() {
        let value = json!({"a": ["x ${client.ip}", 1, null], "b": "${client.ip}", "$${c}": "$${d}"});
        assert_eq!(
            rendered(&value, Some("q\"\\\n\u{1}é")),
            json!({"a": ["x q\"\\\n\u{1}é", 1, null], "b": "q\"\\\n\u{1}é", "$${c}": "${d}"})
        );
    }

    #[test]
    fn a_lone_value_that_is_missing_is_null_and_one_in_a_text_is_empty() {
        let value = json!(["${client.ip}", "[${client.ip}]"]);
        assert_eq!(rendered(&value, None), json!([null, "[]"]));
    }

    #[test]
    fn what_never_changes_is_one_literal() {
        let template = JsonTemplate::parse(&json!({"a": [true, 1.5, {}], "b": "x"}), &Scope::default()).unwrap();
        assert_eq!(template.as_literal(), Some(r#"{"a":[true,1.5,{}],"b":"x"}"#));
        let named = JsonTemplate::parse(&json!(["${client.ip}", "a${request.id}"]), &Scope::default()).unwrap();
        assert_eq!(
            named.fields().collect::<Vec<_>>(),
            [&Field::ClientIp, &Field::RequestId]
        );
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let value = json!({"user": {"tags": ["ok", "${nope}"]}, "x": "${"});
        let errors = JsonTemplate::parse(&value, &Scope::default()).unwrap_err();
        let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, [".user.tags[1]", ".x"]);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(JsonTemplate::parse(&deep(DEEPEST_JSON), &Scope::default()).is_ok());
        let errors = JsonTemplate::parse(&deep(DEEPEST_JSON + 1), &Scope::default()).unwrap_err();
        assert_eq!(errors[0].error.kind, ErrorKind::TooDeep);
    }

    proptest! {
        #[test]
        fn a_value_without_expressions_stays_as_it_is(text in "[^$]*", number in any::<i64>()) {
            let value = json!({"a": [text, number, {"b": text}]});
            prop_assert_eq!(rendered(&value, None), value);
        }
    }
}
