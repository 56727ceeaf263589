//! `request.headers` and `response.headers`: fields removed, set and added, in this order.

use crate::fault::{Fault, FaultKind, header_name, template};
use crate::values::Plain;
use http::{HeaderMap, HeaderName, HeaderValue};
use sluice_document::declared::HeaderChanges;
use sluice_expression::{Inputs, Scope, Template};
use std::collections::BTreeMap;

/// Changes to the fields of a message, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transform {
    remove: Box<[HeaderName]>,
    set: Box<[(HeaderName, Value)]>,
    add: Box<[(HeaderName, Value)]>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// The same for every request.
    Fixed(HeaderValue),
    /// Made for each.
    Made(Template),
}

// === impl Transform ===

impl Transform {
    /// Compiles what is declared under `field` (`request.headers`); nothing where nothing is.
    pub fn compile(declared: &HeaderChanges, field: &str, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        if declared.is_empty() {
            return None;
        }
        let mut remove = Vec::with_capacity(declared.remove.len());
        for (index, name) in declared.remove.iter().enumerate() {
            match header_name(name) {
                Ok(name) => remove.push(name),
                Err(kind) => faults.push(Fault::new(format!("{field}.remove[{index}]"), kind)),
            }
        }
        Some(Self {
            remove: remove.into(),
            set: fields(&declared.set, &format!("{field}.set"), scope, faults),
            add: fields(&declared.add, &format!("{field}.add"), scope, faults),
        })
    }

    /// Whether it changes every message alike: then no value of a request is asked for.
    pub fn is_fixed(&self) -> bool {
        let mut values = self.set.iter().chain(&self.add);
        values.all(|(_, value)| value.is_fixed())
    }

    /// Changes the fields. A value that no field can hold (a line break) is not sent, and one that is nothing but one
    /// `${…}` which the request does not have is not either; a `set` then still takes the old fields away, so that
    /// nobody keeps a value by spoiling the new one. Gives how many were left out for what they hold.
    pub fn apply(&self, headers: &mut HeaderMap, inputs: &impl Inputs) -> usize {
        let mut spoilt = 0;
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            match value.render(inputs) {
                Ok(Some(value)) => drop(headers.insert(name, value)),
                Ok(None) => drop(headers.remove(name)),
                Err(Spoilt) => {
                    headers.remove(name);
                    spoilt += 1;
                }
            }
        }
        for (name, value) in &self.add {
            match value.render(inputs) {
                Ok(Some(value)) => drop(headers.append(name, value)),
                Ok(None) => {}
                Err(Spoilt) => spoilt += 1,
            }
        }
        spoilt
    }
}

/// A rendered value has bytes that no field can hold.
pub(crate) struct Spoilt;

// === impl Value ===

impl Value {
    /// Whether it is the same for every request.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    pub(crate) fn compile(text: &str, field: &str, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        let template = template(field, text, scope, faults)?;
        let Some(literal) = template.as_literal() else {
            return Some(Self::Made(template));
        };
        match HeaderValue::from_bytes(literal.as_bytes()) {
            Ok(value) => Some(Self::Fixed(value)),
            Err(_) => {
                faults.push(Fault::new(field, FaultKind::HeaderValue));
                None
            }
        }
    }

    /// Nothing where it is nothing but one value that the request does not have.
    pub(crate) fn render(&self, inputs: &impl Inputs) -> Result<Option<HeaderValue>, Spoilt> {
        let template = match self {
            Self::Fixed(value) => return Ok(Some(value.clone())),
            Self::Made(template) => template,
        };
        let inputs = Plain(inputs);
        if template.as_field().is_some_and(|field| inputs.field(field).is_none()) {
            return Ok(None);
        }
        let mut text = String::new();
        template.render(&inputs, &mut text);
        HeaderValue::from_bytes(text.trim_matches([' ', '\t']).as_bytes())
            .map(Some)
            .map_err(|_| Spoilt)
    }
}

pub(crate) fn fields(
    declared: &BTreeMap<String, String>,
    field: &str,
    scope: &Scope,
    faults: &mut Vec<Fault>,
) -> Box<[(HeaderName, Value)]> {
    let mut fields = Vec::with_capacity(declared.len());
    for (text, value) in declared {
        let field = format!("{field}.{text}");
        let name = header_name(text).map_err(|kind| faults.push(Fault::new(field.as_str(), kind)));
        let value = Value::compile(value, &field, scope, faults);
        if let (Ok(name), Some(value)) = (name, value) {
            fields.push((name, value));
        }
    }
    fields.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::values::fixture::Request;
    use sluice_http_semantics::reserved::Forbidden;

    fn declared(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderChanges {
        let map = |fields: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            fields.iter().map(owned).collect()
        };
        HeaderChanges {
            set: map(set),
            add: map(add),
            remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn compiled(declared: &HeaderChanges) -> Transform {
        let mut faults = Vec::new();
        let transform = Transform::compile(declared, "request.headers", &Scope::with_params(["id"]), &mut faults);
        assert_eq!(faults, []);
        transform.unwrap()
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let transform = compiled(&declared(
            &[("X-Set", "${client.ip}")],
            &[("x-set", "more"), ("X-Add", "a ${params.id}")],
            &["X-Gone", "x-set"],
        ));
        let mut headers = map(&[
            ("x-set", "1"),
            ("x-set", "2"),
            ("x-gone", "1"),
            ("x-add", "0"),
            ("a", "b"),
        ]);
        let request = Request::new([("client.ip", "192.0.2.1"), ("params.id", "b%20c")]);
        assert_eq!(transform.apply(&mut headers, &request), 0);
        assert_eq!(
            headers,
            map(&[
                ("x-add", "0"),
                ("x-add", "a b c"),
                ("a", "b"),
                ("x-set", "192.0.2.1"),
                ("x-set", "more"),
            ])
        );
    }

    #[test]
    fn a_value_that_would_break_the_line_is_not_sent_and_the_old_one_neither() {
        let transform = compiled(&declared(
            &[("x-id", "${params.id}")],
            &[("x-more", "${params.id}")],
            &[],
        ));
        let mut headers = map(&[("x-id", "forged"), ("x-more", "kept")]);
        let request = Request::new([("params.id", "a%0D%0AX-Evil:%201")]);
        assert_eq!(transform.apply(&mut headers, &request), 2);
        assert_eq!(headers, map(&[("x-more", "kept")]));
    }

    #[test]
    fn a_value_that_is_not_there_makes_no_field() {
        let transform = compiled(&declared(
            &[
                ("x-a", "${request.headers['x-b']}"),
                ("x-c", "[${request.headers['x-b']}]"),
            ],
            &[("x-d", "${request.headers['x-b']}")],
            &[],
        ));
        let mut headers = map(&[("x-a", "old")]);
        assert_eq!(transform.apply(&mut headers, &Request::default()), 0);
        assert_eq!(headers, map(&[("x-c", "[]")]));
    }

    #[test]
    fn every_fault_is_told_with_its_field() {
        let declared = declared(
            &[("Host", "a"), ("bad name", "${nope}"), ("x-a", "a\nb")],
            &[("X-Forwarded-For", "1.2.3.4")],
            &["Connection", "ok", ""],
        );
        let mut faults = Vec::new();
        Transform::compile(&declared, "request.headers", &Scope::default(), &mut faults);
        let found: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(
            found,
            [
                "request.headers.remove[0]",
                "request.headers.remove[2]",
                "request.headers.set.Host",
                "request.headers.set.bad name",
                "request.headers.set.bad name",
                "request.headers.set.x-a",
                "request.headers.add.X-Forwarded-For",
            ]
        );
        assert_eq!(
            faults[2].kind,
            FaultKind::Forbidden {
                name: "Host".to_owned(),
                why: Forbidden::Host
            }
        );
        assert_eq!(faults[5].kind, FaultKind::HeaderValue);
    }

    #[test]
    fn nothing_declared_is_nothing_to_do() {
        let mut faults = Vec::new();
        let transform = Transform::compile(&HeaderChanges::default(), "x", &Scope::default(), &mut faults);
        assert_eq!((transform, faults), (None, vec![]));
    }
}
