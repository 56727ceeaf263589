//! `respond`: a fixed answer, with values of the request in it.

use crate::Answer;
use crate::fault::{Fault, FaultKind, template};
use crate::headers::{Value, fields};
use crate::values::{Html, Plain};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sluice_document::declared::{self, Payload};
use sluice_expression::{Inputs, JsonTemplate, Scope, Template};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A fixed answer, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    status: StatusCode,
    body: Body,
    headers: Box<[(HeaderName, Value)]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    None,
    /// The same for every request.
    Fixed(Bytes, HeaderValue),
    Text(Template),
    Html(Template),
    Json(JsonTemplate),
}

// === impl Respond ===

impl Respond {
    /// Compiles what is declared under `field` (`respond`).
    pub fn compile(declared: &declared::Respond, field: &str, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        let status = status(declared, field, faults);
        let body = match &declared.payload {
            None => Some(Body::None),
            Some(payload) => Body::compile(payload, field, scope, faults),
        };
        let headers = fields(&declared.headers, &format!("{field}.headers"), scope, faults);
        Some(Self {
            status: status?,
            body: body?,
            headers,
        })
    }

    /// Whether it answers every request alike: then no value of a request is asked for.
    pub fn is_fixed(&self) -> bool {
        let body = matches!(self.body, Body::None | Body::Fixed(..));
        body && self.headers.iter().all(|(_, value)| value.is_fixed())
    }

    /// The answer; for HEAD that of a GET, without its body (RFC 9110 §9.3.2).
    pub fn answer(&self, method: &Method, inputs: &impl Inputs) -> Answer {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 4);
        let (body, media_type) = self.body.render(inputs);
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, media_type);
        }
        for (name, value) in &self.headers {
            // One that cannot be sent is left out, as in `headers::Transform`.
            if let Ok(Some(value)) = value.render(inputs) {
                headers.insert(name, value);
            }
        }
        if !bodiless(self.status) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Answer {
            status: self.status,
            headers,
            body: if *method == Method::HEAD { Bytes::new() } else { body },
        }
    }
}

/// RFC 9110 §6.4.1; a 205 has none either (§15.3.6).
fn bodiless(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

fn status(declared: &declared::Respond, field: &str, faults: &mut Vec<Fault>) -> Option<StatusCode> {
    let found = declared.status.unwrap_or(200);
    let place = format!("{field}.status");
    match StatusCode::from_u16(found) {
        Ok(status) if (200..=599).contains(&found) => {
            if bodiless(status) && declared.payload.is_some() {
                faults.push(Fault::new(place, FaultKind::Body(found)));
                return None;
            }
            Some(status)
        }
        _ => {
            let (of, expected) = ("an answer", "200 to 599");
            faults.push(Fault::new(place, FaultKind::Status { found, of, expected }));
            None
        }
    }
}

// === impl Body ===

impl Body {
    fn compile(payload: &Payload, field: &str, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        match payload {
            Payload::Text(text) => {
                let template = template(&format!("{field}.text"), text, scope, faults)?;
                Some(Self::of_text(template, TEXT, Self::Text))
            }
            Payload::Html(text) => {
                let template = template(&format!("{field}.html"), text, scope, faults)?;
                Some(Self::of_text(template, HTML, Self::Html))
            }
            Payload::Json(value) => match JsonTemplate::parse(value, scope) {
                Ok(template) => Some(match template.as_literal() {
                    Some(json) => Self::Fixed(Bytes::copy_from_slice(json.as_bytes()), JSON),
                    None => Self::Json(template),
                }),
                Err(errors) => {
                    faults.extend(errors.into_iter().map(|error| {
                        let place = format!("{field}.json{}", error.path);
                        Fault::new(place, error.error)
                    }));
                    None
                }
            },
        }
    }

    fn of_text(template: Template, media_type: HeaderValue, made: impl FnOnce(Template) -> Self) -> Self {
        match template.as_literal() {
            Some(text) => Self::Fixed(Bytes::copy_from_slice(text.as_bytes()), media_type),
            None => made(template),
        }
    }

    fn render(&self, inputs: &impl Inputs) -> (Bytes, Option<HeaderValue>) {
        let mut text = String::new();
        let media_type = match self {
            Self::None => return (Bytes::new(), None),
            Self::Fixed(body, media_type) => return (body.clone(), Some(media_type.clone())),
            Self::Text(template) => {
                template.render(&Plain(inputs), &mut text);
                TEXT
            }
            Self::Html(template) => {
                template.render(&Html(inputs), &mut text);
                HTML
            }
            Self::Json(template) => {
                template.render(&Plain(inputs), &mut text);
                JSON
            }
        };
        (text.into(), Some(media_type))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::values::fixture::Request;
    use serde_json::json;

    fn compiled(declared: &declared::Respond) -> Result<Respond, Vec<Fault>> {
        let mut faults = Vec::new();
        Respond::compile(declared, "respond", &Scope::with_params(["x"]), &mut faults).ok_or(faults)
    }

    fn with(payload: Payload) -> declared::Respond {
        declared::Respond {
            payload: Some(payload),
            ..declared::Respond::default()
        }
    }

    fn answer(declared: &declared::Respond) -> (String, String) {
        let request = Request::new([("params.x", "%3Cb%3E%22")]);
        let answer = compiled(declared).unwrap().answer(&Method::GET, &request);
        assert_eq!(answer.headers[CONTENT_LENGTH], answer.body.len().to_string());
        let media_type = answer.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        (String::from_utf8(answer.body.to_vec()).unwrap(), media_type)
    }

    #[test]
    fn a_body_has_its_type_and_its_values_in_their_form() {
        let pair = |body: &str, media_type: &str| (body.to_owned(), media_type.to_owned());
        let text = "text/plain; charset=utf-8";
        let html = "text/html; charset=utf-8";
        assert_eq!(answer(&with(Payload::Text("hé".to_owned()))), pair("hé", text));
        assert_eq!(
            answer(&with(Payload::Text("${params.x}".to_owned()))),
            pair("<b>\"", text)
        );
        assert_eq!(
            answer(&with(Payload::Html("<p>${params.x}".to_owned()))),
            pair("<p>&lt;b&gt;&quot;", html)
        );
        assert_eq!(answer(&with(Payload::Html("<p>".to_owned()))), pair("<p>", html));
        assert_eq!(
            answer(&with(Payload::Json(json!({"x": "${params.x}"})))),
            pair(r#"{"x":"<b>\""}"#, "application/json")
        );
        assert_eq!(
            answer(&with(Payload::Json(json!({"a": 1})))),
            pair(r#"{"a":1}"#, "application/json")
        );
    }

    #[test]
    fn an_answer_with_values_anywhere_is_not_the_same_for_every_request() {
        let fixed = |payload, header: Option<&str>| {
            let headers = header.map(|value| ("X-V".to_owned(), value.to_owned()));
            let declared = declared::Respond {
                headers: headers.into_iter().collect(),
                ..with(payload)
            };
            compiled(&declared).unwrap().is_fixed()
        };
        let text = |text: &str| Payload::Text(text.to_owned());
        assert!(fixed(text("a"), Some("b")) && fixed(Payload::Json(json!({"a": 1})), None));
        assert!(!fixed(text("${params.x}"), None) && !fixed(text("a"), Some("${params.x}")));
        assert!(!fixed(Payload::Json(json!({"a": "${params.x}"})), None));
    }

    #[test]
    fn a_head_is_answered_as_a_get_without_its_body() {
        let respond = compiled(&with(Payload::Text("hello".to_owned()))).unwrap();
        let answer = respond.answer(&Method::HEAD, &Request::default());
        assert!(answer.body.is_empty());
        assert_eq!(answer.headers[CONTENT_LENGTH], "5");
    }

    #[test]
    fn fields_are_set_over_the_default_ones() {
        let declared = declared::Respond {
            status: Some(503),
            headers: [("Content-Type", "text/x"), ("Retry-After", "5"), ("X-V", "${params.x}")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..with(Payload::Text("x".to_owned()))
        };
        let request = Request::new([("params.x", "a%0Ab")]);
        let answer = compiled(&declared).unwrap().answer(&Method::GET, &request);
        assert_eq!(answer.status, 503);
        assert_eq!(answer.headers[CONTENT_TYPE], "text/x");
        assert_eq!(answer.headers["retry-after"], "5");
        assert!(!answer.headers.contains_key("x-v"));
    }

    #[test]
    fn an_answer_without_a_body_says_so() {
        let empty = compiled(&declared::Respond::default()).unwrap();
        let answer = empty.answer(&Method::GET, &Request::default());
        assert_eq!(answer.headers[CONTENT_LENGTH], "0");
        let declared = declared::Respond {
            status: Some(204),
            ..declared::Respond::default()
        };
        let answer = compiled(&declared).unwrap().answer(&Method::GET, &Request::default());
        assert!(answer.headers.is_empty());
    }

    #[test]
    fn every_fault_is_told_with_its_field() {
        let declared = declared::Respond {
            status: Some(600),
            headers: [("Content-Length".to_owned(), "5".to_owned())].into(),
            ..with(Payload::Json(json!({"a": ["${y}"]})))
        };
        let found: Vec<String> = compiled(&declared)
            .unwrap_err()
            .into_iter()
            .map(|fault| fault.field)
            .collect();
        assert_eq!(
            found,
            ["respond.status", "respond.json.a[0]", "respond.headers.Content-Length"]
        );
        let declared = declared::Respond {
            status: Some(304),
            ..with(Payload::Text("x".to_owned()))
        };
        assert_eq!(compiled(&declared).unwrap_err()[0].kind, FaultKind::Body(304));
    }
}
