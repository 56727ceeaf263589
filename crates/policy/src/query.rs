//! `request.query`: parameters removed, set and added, in this order. What is not named keeps its bytes.

use crate::fault::{Fault, FaultKind, template};
use crate::values::Plain;
use sluice_document::declared::HeaderChanges;
use sluice_expression::{Inputs, Scope, Template};
use sluice_http_semantics::query;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Changes to a query, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transform {
    remove: Box<[Box<str>]>,
    set: Box<[(Box<str>, Template)]>,
    add: Box<[(Box<str>, Template)]>,
}

// === impl Transform ===

impl Transform {
    /// Compiles what is declared under `field` (`request.query`); nothing where nothing is.
    pub fn compile(declared: &HeaderChanges, field: &str, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        if declared.is_empty() {
            return None;
        }
        for (index, name) in declared.remove.iter().enumerate() {
            if name.is_empty() {
                faults.push(Fault::new(format!("{field}.remove[{index}]"), FaultKind::EmptyName));
            }
        }
        Some(Self {
            remove: declared.remove.iter().map(|name| name.as_str().into()).collect(),
            set: parameters(&declared.set, &format!("{field}.set"), scope, faults),
            add: parameters(&declared.add, &format!("{field}.add"), scope, faults),
        })
    }

    /// The query that goes on; none where nothing is left of one. A value that is nothing but one `${…}` which the
    /// request does not have makes no parameter.
    pub fn apply<'q>(&self, query: Option<Cow<'q, str>>, inputs: &impl Inputs) -> Option<Cow<'q, str>> {
        let before = query.unwrap_or_default();
        let mut after = before.clone().into_owned();
        for name in &self.remove {
            query::remove(&mut after, name);
        }
        for (name, value) in &self.set {
            match render(value, inputs) {
                Some(value) => query::set(&mut after, name, &value),
                None => query::remove(&mut after, name),
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = render(value, inputs) {
                query::add(&mut after, name, &value);
            }
        }
        if after == *before {
            return (!before.is_empty()).then_some(before);
        }
        (!after.is_empty()).then_some(Cow::Owned(after))
    }
}

fn render(value: &Template, inputs: &impl Inputs) -> Option<String> {
    let inputs = Plain(inputs);
    if value.as_field().is_some_and(|field| inputs.field(field).is_none()) {
        return None;
    }
    let mut text = String::new();
    value.render(&inputs, &mut text);
    Some(text)
}

fn parameters(
    declared: &BTreeMap<String, String>,
    field: &str,
    scope: &Scope,
    faults: &mut Vec<Fault>,
) -> Box<[(Box<str>, Template)]> {
    let mut parameters = Vec::with_capacity(declared.len());
    for (name, value) in declared {
        let field = format!("{field}.{name}");
        if name.is_empty() {
            faults.push(Fault::new(field.as_str(), FaultKind::EmptyName));
        }
        if let Some(value) = template(&field, value, scope, faults) {
            parameters.push((name.as_str().into(), value));
        }
    }
    parameters.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::values::fixture::Request;

    fn changes(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderChanges {
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

    fn applied(changes: &HeaderChanges, query: Option<&str>) -> Option<String> {
        let mut faults = Vec::new();
        let transform = Transform::compile(changes, "request.query", &Scope::with_params(["x"]), &mut faults).unwrap();
        assert_eq!(faults, []);
        let request = Request::new([("params.x", "a%2Bb%26c")]);
        transform.apply(query.map(Cow::Borrowed), &request).map(Cow::into_owned)
    }

    #[test]
    fn parameters_are_removed_then_set_then_added() {
        let changes = changes(&[("v", "2"), ("x", "${params.x}")], &[("x", "y")], &["debug"]);
        assert_eq!(
            applied(&changes, Some("debug=1&v=1&q=%7e+&v=3")).unwrap(),
            "v=2&q=%7e+&x=a%2Bb%26c&x=y"
        );
        assert_eq!(applied(&changes, None).unwrap(), "v=2&x=a%2Bb%26c&x=y");
    }

    #[test]
    fn nothing_left_is_no_query() {
        assert_eq!(applied(&changes(&[], &[], &["a"]), Some("a=1")), None);
        assert_eq!(
            applied(&changes(&[("a", "${request.query['b']}")], &[], &[]), Some("a=1")),
            None
        );
        assert_eq!(applied(&changes(&[], &[], &["a"]), Some("b&&")).unwrap(), "b&&");
    }

    #[test]
    fn every_fault_is_told_with_its_field() {
        let mut faults = Vec::new();
        let changes = changes(&[("a", "${"), ("", "x")], &[("b", "${params.y}")], &[""]);
        Transform::compile(&changes, "request.query", &Scope::default(), &mut faults);
        let found: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(
            found,
            [
                "request.query.remove[0]",
                "request.query.set.",
                "request.query.set.a",
                "request.query.add.b"
            ]
        );
    }
}
