//! A text that is made of a request's values.

use super::compiled::Compiled;
use super::error::ConditionError;
use super::interpret::{self, Variable};
use super::kind::Kind;
use super::native::{Failed, Node, literal, variable};
use crate::field::{Field, Inputs, Scope};
use cel::common::ast::{Expr, IdedExpr, operators};
use cel::parser::Expression;
use std::sync::Arc;

/// A text that is made of a request's values, such as `client.ip`, `'all'` or
/// `request.headers['x-tenant'] + ':' + params.id`. Bounded as a condition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(Arc<Compiled<Piece>>);

/// A part of a text that is a text itself. Values are named by the number of their variable.
#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Variable(usize),
    /// A value, or this in its place.
    OrElse(usize, Box<str>),
    Joined(Box<[Piece]>),
    Choice(Box<(Node, Piece, Piece)>),
    /// All else.
    Interpreted(Box<Expression>),
}

// === impl Value ===

impl Value {
    /// Compiles it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; of a text that is no CEL, the first.
    pub fn parse(text: &str, scope: &Scope) -> Result<Self, Vec<ConditionError>> {
        Compiled::parse(text, scope, Kind::Text, Piece::of).map(Self)
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        self.0.source()
    }

    /// The value, where it is nothing else.
    #[must_use]
    pub fn as_field(&self) -> Option<&Field> {
        match self.0.root() {
            Piece::Variable(index) => self.0.variables().get(*index).map(Variable::field),
            _ => None,
        }
    }

    /// Appends it. A request that lacks a value which it needs has none: then nothing is appended, and the answer is no.
    pub fn append<I: Inputs + Sync>(&self, inputs: &I, out: &mut String) -> bool {
        let before = out.len();
        let made = self.0.root().append(self.0.variables(), inputs, out).is_ok();
        if !made {
            out.truncate(before);
        }
        made
    }

    /// The values that it names, in the order of the text; some may be named twice.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.fields()
    }

    /// Bytes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.0.memory()
    }
}

// === impl Piece ===

impl Piece {
    /// Of an expression whose names are resolved.
    fn of(expression: IdedExpr) -> Self {
        if let Some(text) = literal(&expression) {
            return Self::Text(text.into());
        }
        if let Some(index) = variable(&expression) {
            return Self::Variable(index);
        }
        if let Expr::Call(call) = &expression.expr
            && let ("orValue", Some(target), [otherwise]) = (&*call.func_name, &call.target, call.args.as_slice())
            && let (Some(index), Some(otherwise)) = (variable(target), literal(otherwise))
        {
            return Self::OrElse(index, otherwise.into());
        }
        match expression.expr {
            Expr::Call(mut call) if call.target.is_none() => match (&*call.func_name, call.args.len()) {
                (operators::ADD, 2) => {
                    let mut pieces = Vec::new();
                    call.args.drain(..).for_each(|part| Self::of(part).flatten(&mut pieces));
                    Self::Joined(pieces.into())
                }
                (operators::CONDITIONAL, 3) => {
                    let otherwise = Self::of(call.args.remove(2));
                    let chosen = Self::of(call.args.remove(1));
                    Self::Choice(Box::new((Node::of(call.args.remove(0)), chosen, otherwise)))
                }
                _ => Self::interpreted(expression.id, Expr::Call(call)),
            },
            other => Self::interpreted(expression.id, other),
        }
    }

    fn interpreted(id: u64, expr: Expr) -> Self {
        Self::Interpreted(Box::new(IdedExpr { id, expr }))
    }

    fn flatten(self, into: &mut Vec<Self>) {
        match self {
            Self::Joined(pieces) => into.extend(pieces),
            piece => into.push(piece),
        }
    }

    fn append<I: Inputs + Sync>(&self, variables: &[Variable], inputs: &I, out: &mut String) -> Result<(), Failed> {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Variable(index) => match variables.get(*index) {
                Some(Variable::Text(field)) => out.push_str(&inputs.field(field).ok_or(Failed)?),
                // A choice may have a part that is no text.
                _ => return Err(Failed),
            },
            Self::OrElse(index, otherwise) => match variables.get(*index) {
                Some(Variable::Maybe(field)) => out.push_str(inputs.field(field).as_deref().unwrap_or(otherwise)),
                _ => return Err(Failed),
            },
            Self::Joined(pieces) => {
                for piece in pieces {
                    piece.append(variables, inputs, out)?;
                }
            }
            Self::Choice(choice) => {
                let (asked, chosen, otherwise) = &**choice;
                match asked.evaluate(variables, inputs)? {
                    true => chosen.append(variables, inputs, out)?,
                    false => otherwise.append(variables, inputs, out)?,
                }
            }
            Self::Interpreted(expression) => interpret::append(expression, variables, inputs, out)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::LONGEST_CONDITION;
    use super::super::resolve::for_the_interpreter;
    use super::super::tests::{Request, condition, literal, request, scope, value, values};
    use super::*;
    use proptest::prelude::*;

    fn compiled(text: &str) -> Value {
        Value::parse(text, &scope()).unwrap_or_else(|errors| panic!("{text}: {errors:#?}"))
    }

    fn made(value: &Value, request: &Request) -> Option<String> {
        let mut out = "before ".to_owned();
        let made = value.append(request, &mut out);
        let text = out.strip_prefix("before ").unwrap().to_owned();
        assert!(made || text.is_empty(), "{text}");
        made.then_some(text)
    }

    fn is_native(piece: &Piece) -> bool {
        match piece {
            Piece::Interpreted(_) => false,
            Piece::Joined(pieces) => pieces.iter().all(is_native),
            Piece::Choice(choice) => is_native(&choice.1) && is_native(&choice.2),
            Piece::Text(_) | Piece::Variable(_) | Piece::OrElse(..) => true,
        }
    }

    #[test]
    fn a_value_is_made_of_the_request() {
        for (text, expected) in [
            ("'all'", Some("all")),
            ("client.ip", Some("192.0.2.7")),
            ("request.headers['X-Canary'] + ':' + params.id", Some("1:42")),
            ("request.headers['x-other']", None),
            ("'a' + request.headers['x-other'] + 'b'", None),
            ("request.headers[?'x-other'].orValue('none')", Some("none")),
            ("request.headers[?'x-canary'].orValue('none')", Some("1")),
            ("request.headers['x-empty']", Some("")),
            ("'x-canary' in request.headers ? 'canary' : client.ip", Some("canary")),
            (
                "'x-other' in request.headers ? request.headers['x-other'] : client.ip",
                Some("192.0.2.7"),
            ),
            ("request.headers['x-other'] == '1' ? 'a' : 'b'", None),
            (
                "(request.method == 'GET' ? 'read' : 'write') + '/' + request.host",
                Some("read/shop.example.com"),
            ),
            ("request.host.upperAscii()", Some("SHOP.EXAMPLE.COM")),
            ("string(size(request.id)) + '-' + params.id", Some("4-42")),
        ] {
            assert_eq!(made(&compiled(text), &request()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_joined_and_chosen_needs_no_interpreter() {
        for text in [
            "client.ip",
            "'all'",
            "request.headers['x'] + ':' + params.id + '/' + request.query.page",
            "request.headers[?'x'].orValue('none') + client.ip",
            "request.method == 'GET' ? client.ip : (params.id == '1' ? 'a' : 'b')",
        ] {
            assert!(is_native(compiled(text).0.root()), "{text}");
        }
        assert!(!is_native(compiled("request.host.lowerAscii()").0.root()));
        assert_eq!(compiled("client.ip").as_field(), Some(&Field::ClientIp));
        assert_eq!(compiled("'' + client.ip").as_field(), None);
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        for (text, message) in [
            ("request.method == 'GET'", "a value is a text, this is a truth value"),
            ("int(params.id)", "a value is a text, this is a number"),
            ("['a']", "a value is a text, this is a list"),
            (
                "request.headers[?'x']",
                "a value is a text, this is a text that may be missing",
            ),
            ("", "the expression is empty"),
            (
                "client.ipp",
                "client.ipp is not known; expected one of client.ip; did you mean client.ip?",
            ),
            ("params.nr", "params.nr is not known"),
            ("request.headers", "is not a text"),
            (
                "claims.sub",
                "claims is not known; expected one of params, request, client",
            ),
            ("client.ip +", "this is no expression"),
        ] {
            let errors = Value::parse(text, &scope()).expect_err(text);
            assert!(errors[0].to_string().contains(message), "{text}: {errors:?}");
            assert!(text.get(errors[0].at.clone()).is_some(), "{text}: {errors:?}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let missing = (prop::sample::select(vec!["x-canary", "x-other"]), literal())
            .prop_map(|(name, otherwise)| format!("request.headers[?'{name}'].orValue({otherwise})"));
        let leaf = prop_oneof![
            value(),
            literal(),
            missing,
            value().prop_map(|value| format!("{value}.upperAscii()")),
            value().prop_map(|value| format!("string(int({value}))")),
        ];
        leaf.prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} + {b}")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
                (condition(), inner.clone(), inner.clone()).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
                (
                    condition(),
                    inner,
                    prop::sample::select(vec!["'x-canary' in request.headers", "request.headers[?'x-canary']"])
                )
                    .prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn the_pieces_say_what_the_interpreter_says(
            text in text().prop_filter("length", |text| text.len() <= LONGEST_CONDITION),
            requests in prop::collection::vec(values(), 4),
        ) {
            let value = compiled(&text);
            let (variables, whole) = for_the_interpreter(&text, &scope(), Kind::Text);
            for request in &requests {
                let mut out = String::new();
                let interpreted = interpret::append(&whole, &variables, request, &mut out).is_ok();
                prop_assert_eq!(made(&value, request), interpreted.then_some(out), "{} of {:?}", text, request);
            }
        }
    }
}
