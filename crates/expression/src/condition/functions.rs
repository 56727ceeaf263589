//! What operators and functions take and give. All else of CEL's library is refused: what joins, splits or formats texts
//! could take much of a node's time.

use super::TEXT_STEPS;
use super::error::{ConditionError, ConditionErrorKind};
use super::kind::Kind;
use super::resolve::Resolver;
use crate::parse;
use cel::common::ast::operators;
use std::ops::Range;

/// Functions on a text, as they are told to who writes another.
const FUNCTIONS: [&str; 9] = [
    "contains",
    "endsWith",
    "has",
    "int",
    "lowerAscii",
    "matches",
    "size",
    "startsWith",
    "upperAscii",
];
/// All of them, with the macros and what few need.
const KNOWN: [&str; 20] = [
    "all",
    "contains",
    "double",
    "endsWith",
    "exists",
    "exists_one",
    "existsOne",
    "filter",
    "has",
    "hasValue",
    "int",
    "lowerAscii",
    "map",
    "matches",
    "orValue",
    "size",
    "startsWith",
    "string",
    "uint",
    "upperAscii",
];
/// What the parser puts around the condition on an item in `all` and `exists`.
const NOT_STRICTLY_FALSE: &str = operators::NOT_STRICTLY_FALSE;

// === impl Resolver ===

impl Resolver<'_> {
    /// What a function or operator gives of values of these kinds.
    pub(super) fn applied(
        &mut self,
        id: u64,
        at: Range<usize>,
        name: &str,
        target: Option<Kind>,
        kinds: &[Kind],
    ) -> Kind {
        let truth = |kind: &Kind| kind.fits(Kind::Truth);
        let written = match name {
            operators::LOGICAL_AND => "&&",
            operators::LOGICAL_OR => "||",
            operators::LOGICAL_NOT => "!",
            operators::CONDITIONAL => "?:",
            operators::IN => "in",
            operators::INDEX => "[]",
            operators::NEGATE => "-",
            name => name.trim_matches('_'),
        };
        let refused = match (name, target, kinds) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, None, kinds) => {
                if kinds.iter().all(truth) {
                    return Kind::Truth;
                }
                "takes what is true or false"
            }
            (NOT_STRICTLY_FALSE, None, _) => return Kind::Truth,
            (operators::EQUALS | operators::NOT_EQUALS, None, [a, b]) => {
                if !a.compares_with(*b) {
                    let (left, right) = (a.name(), b.name());
                    self.error(at, ConditionErrorKind::Incomparable { left, right });
                }
                return Kind::Truth;
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                None,
                [a, b],
            ) => {
                let ordered = |kind: Kind| kind.is_number() || kind.fits(Kind::Text);
                if a.compares_with(*b) && ordered(*a) && ordered(*b) {
                    return Kind::Truth;
                }
                "compares two texts or two numbers; int(…) makes a number of a text"
            }
            (operators::IN, None, [_, list]) if list.fits(Kind::List) => return Kind::Truth,
            (operators::IN, ..) => "asks for a text in a list, or for a name in request.headers or request.query",
            (operators::CONDITIONAL, None, [asked, yes, no]) => {
                if truth(asked) {
                    return yes.or(*no);
                }
                "asks what is true or false"
            }
            (operators::INDEX, None, [list, index]) if list.fits(Kind::List) && index.is_number() => return Kind::Any,
            (operators::INDEX, ..) => "takes an item of a list, or a member of a map of the request",
            (operators::ADD, None, [a, b]) => {
                self.step(TEXT_STEPS);
                let added = [Kind::Text, Kind::Int, Kind::Uint, Kind::Double, Kind::List];
                match added.into_iter().find(|kind| a.fits(*kind) && b.fits(*kind)) {
                    Some(_) => return a.or(*b),
                    None => "joins two texts or two lists, or adds two numbers of one kind",
                }
            }
            (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO, None, [a, b]) => {
                let numbers = [Kind::Int, Kind::Uint, Kind::Double];
                match numbers.into_iter().find(|kind| a.fits(*kind) && b.fits(*kind)) {
                    Some(_) => return a.or(*b),
                    None => "takes two numbers of one kind",
                }
            }
            (operators::NEGATE, None, [a]) if a.fits(Kind::Int) || a.fits(Kind::Double) => return *a,
            (operators::NEGATE, None, _) => "takes a number",
            ("startsWith" | "endsWith" | "contains", target, kinds) => {
                self.step(TEXT_STEPS);
                match (target, kinds) {
                    (Some(target), [kind]) if target.fits(Kind::Text) && kind.fits(Kind::Text) => return Kind::Truth,
                    _ => "is asked of a text, and takes one text",
                }
            }
            ("matches", ..) => "is asked of a value of the request, and takes one regular expression",
            ("lowerAscii" | "upperAscii", target, kinds) => {
                self.step(TEXT_STEPS);
                match (target, kinds) {
                    (Some(target), []) if target.fits(Kind::Text) => return Kind::Text,
                    _ => "is asked of a text, and takes nothing",
                }
            }
            ("size", target, kinds) => {
                self.step(TEXT_STEPS);
                match (target, kinds) {
                    (Some(kind), []) | (None, &[kind]) if kind.fits(Kind::Text) || kind.fits(Kind::List) => {
                        return Kind::Int;
                    }
                    _ => "takes a text or a list",
                }
            }
            ("int" | "uint" | "double" | "string", None, [kind]) if kind.is_number() || kind.fits(Kind::Text) => {
                return match name {
                    "int" => Kind::Int,
                    "uint" => Kind::Uint,
                    "double" => Kind::Double,
                    _ => Kind::Text,
                };
            }
            ("int" | "uint" | "double" | "string", ..) => "takes a number or a text",
            ("orValue", Some(target), [kind]) if target.fits(Kind::Maybe) && kind.fits(Kind::Text) => {
                return Kind::Text;
            }
            ("orValue", ..) => "is asked of a value that may be missing, as request.headers[?'x'], and takes a text",
            ("hasValue", Some(target), []) if target.fits(Kind::Maybe) => return Kind::Truth,
            ("hasValue", ..) => "is asked of a value that may be missing, as request.headers[?'x']",
            ("all" | "exists" | "exists_one" | "existsOne" | "map" | "filter", ..) => {
                "is asked of a list, and takes a name and a condition on each item, as in ['a', 'b'].exists(x, …)"
            }
            ("has", ..) => "takes one member of a map of the request, as has(request.query.page)",
            (other, ..) => {
                let at = self.places.function(id, other);
                let found = other.to_owned();
                let nearest = parse::nearest(other, &KNOWN).map(str::to_owned);
                self.errors.push(ConditionError {
                    at,
                    kind: ConditionErrorKind::UnknownFunction {
                        found,
                        expected: FUNCTIONS.join(", "),
                    },
                    nearest,
                });
                return Kind::Any;
            }
        };
        self.error(at, arguments(written, refused))
    }
}

pub(super) fn arguments(function: &str, takes: &'static str) -> ConditionErrorKind {
    ConditionErrorKind::Arguments {
        function: function.to_owned(),
        takes,
    }
}
