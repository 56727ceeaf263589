//! From text to a compiled condition: names become variables, kinds are checked, and the cost is counted.

use super::error::{ConditionError, ConditionErrorKind};
use super::functions::arguments;
use super::interpret::{self, Variable};
use super::kind::Kind;
use super::pattern::Pattern;
use super::places::{Places, syntax};
use super::{DEEPEST_CONDITION, MOST_STEPS, TEXT_STEPS};
use crate::error::TemplateError;
use crate::field::{Field, Scope};
use crate::parse::{self, Step};
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use std::ops::Range;

/// Reads an expression whose names are resolved: the variables, and what names them. For a stack of
/// [`STACK`](super::compiled::STACK) bytes.
pub(super) fn resolved(
    text: &str,
    scope: &Scope,
    wanted: Kind,
) -> Result<(Vec<Variable>, IdedExpr), Vec<ConditionError>> {
    let parsed = interpret::COMPILER.parser().parse_with_source_info(text);
    let (mut root, info) = parsed.map_err(|errors| vec![syntax(text, errors)])?;
    let mut resolver = Resolver {
        places: Places { text, info: &info },
        scope,
        locals: Vec::new(),
        variables: Vec::new(),
        errors: Vec::new(),
        depth: 0,
        looping: 1,
        steps: 0,
    };
    let kind = resolver.expression(&mut root);
    if resolver.errors.is_empty() && !kind.fits(wanted) {
        let found = kind.name();
        let told = match wanted {
            Kind::Text => ConditionErrorKind::NotText { found },
            _ => ConditionErrorKind::NotTruth { found },
        };
        resolver.error(0..text.len(), told);
    }
    if resolver.errors.is_empty() && resolver.steps > MOST_STEPS {
        resolver.error(0..text.len(), ConditionErrorKind::TooCostly);
    }
    if !resolver.errors.is_empty() {
        return Err(resolver.errors);
    }
    Ok((resolver.variables, root))
}

/// The whole of a sound expression as cel evaluates it.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn for_the_interpreter(text: &str, scope: &Scope, wanted: Kind) -> (Vec<Variable>, IdedExpr) {
    let big = std::thread::Builder::new().stack_size(super::compiled::STACK);
    std::thread::scope(|threads| {
        let compiler = big.spawn_scoped(threads, || resolved(text, scope, wanted).unwrap());
        compiler.unwrap().join().unwrap()
    })
}

pub(super) struct Resolver<'s> {
    pub(super) places: Places<'s>,
    scope: &'s Scope,
    /// Names of `exists(x, …)` and its kin, the innermost last.
    locals: Vec<(String, Kind)>,
    variables: Vec<Variable>,
    pub(super) errors: Vec<ConditionError>,
    depth: usize,
    /// How often the present part is evaluated at most.
    looping: usize,
    steps: usize,
}

// === impl Resolver ===

impl<'s> Resolver<'s> {
    /// Makes the names in it variables, and says what it gives.
    fn expression(&mut self, expression: &mut IdedExpr) -> Kind {
        if self.depth == DEEPEST_CONDITION {
            // Told once: all that is deeper is not looked at.
            if !self.errors.iter().any(|e| e.kind == ConditionErrorKind::TooDeep) {
                self.error(self.places.all(), ConditionErrorKind::TooDeep);
            }
            return Kind::Any;
        }
        self.depth += 1;
        self.step(1);
        let kind = self.inner(expression);
        self.depth -= 1;
        kind
    }

    fn inner(&mut self, expression: &mut IdedExpr) -> Kind {
        match self.selection(expression) {
            Err(told) => return told,
            Ok(Some(steps)) => {
                return match parse::resolve(&steps, self.scope) {
                    Ok(field) => self.variable(expression, Variable::Text(field), Kind::Text),
                    Err(error) => self.told(error),
                };
            }
            Ok(None) => {}
        }
        let at = self.places.span(expression);
        let id = expression.id;
        match &mut expression.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Kind::Truth,
                LiteralValue::Int(_) => Kind::Int,
                LiteralValue::UInt(_) => Kind::Uint,
                LiteralValue::Double(_) => Kind::Double,
                LiteralValue::String(_) => Kind::Text,
                LiteralValue::Null => self.unsupported(
                    at,
                    "no value of a request is ever null; ask whether it is there, as in 'x-canary' in request.headers",
                ),
                LiteralValue::Bytes(_) => {
                    self.unsupported(at, "bytes cannot be written here: values of a request are texts")
                }
            },
            Expr::Ident(name) => {
                let known = self.locals.iter().rev().find(|(local, _)| local == name);
                known.map_or(Kind::Any, |(_, kind)| *kind)
            }
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return self.unsupported(at, "a list has no items that may be missing");
                }
                for item in &mut list.elements {
                    self.expression(item);
                }
                Kind::List
            }
            Expr::Select(select) if select.test => match self.presence(select) {
                Ok(field) => self.variable(expression, Variable::There(field), Kind::Truth),
                Err(told) => told,
            },
            Expr::Select(_) => self.unsupported(at, "only values of the request have members"),
            Expr::Call(call) => {
                let mut taken = std::mem::take(call);
                let (kind, variable) = self.call(id, at, &mut taken);
                match variable {
                    Some(variable) => self.variable(expression, variable, kind),
                    None => {
                        expression.expr = Expr::Call(taken);
                        kind
                    }
                }
            }
            Expr::Comprehension(comprehension) => self.comprehension(at, comprehension),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => self.unsupported(
                at,
                "maps cannot be written here; conditions know texts, numbers, truth values and lists",
            ),
        }
    }

    /// The steps of a selection that begins with a name of the request (or with one that is none); none where it is
    /// something else.
    fn selection(&mut self, expression: &IdedExpr) -> Result<Option<Vec<Step<'s>>>, Kind> {
        let (mut steps, mut at) = (Vec::new(), expression);
        loop {
            match &at.expr {
                Expr::Ident(name) if !self.locals.iter().any(|(local, _)| local == name) => {
                    let mut steps: Vec<Step<'s>> = steps;
                    steps.push(Step {
                        name: name.clone().into(),
                        at: self.places.own_span(at),
                    });
                    steps.reverse();
                    return Ok(Some(steps));
                }
                Expr::Select(select) if !select.test => {
                    steps.push(Step {
                        name: select.field.clone().into(),
                        at: self.places.member(at, &select.field),
                    });
                    at = &select.operand;
                }
                Expr::Call(call) if call.func_name == operators::INDEX => {
                    let [operand, key] = call.args.as_slice() else {
                        return Ok(None);
                    };
                    match &key.expr {
                        Expr::Literal(LiteralValue::String(name)) => steps.push(Step {
                            name: name.inner().to_owned().into(),
                            at: self.places.span(key),
                        }),
                        _ if self.begins_with_name(operand) => {
                            let at = self.places.span(key);
                            return Err(self.error(at, ConditionErrorKind::ComputedName));
                        }
                        _ => return Ok(None),
                    }
                    at = operand;
                }
                _ => return Ok(None),
            }
        }
    }

    fn begins_with_name(&self, expression: &IdedExpr) -> bool {
        match &expression.expr {
            Expr::Ident(name) => !self.locals.iter().any(|(local, _)| local == name),
            Expr::Select(select) if !select.test => self.begins_with_name(&select.operand),
            Expr::Call(call) if call.func_name == operators::INDEX => {
                call.args.first().is_some_and(|operand| self.begins_with_name(operand))
            }
            _ => false,
        }
    }

    /// `has(map.name)`.
    fn presence(&mut self, select: &SelectExpr) -> Result<Field, Kind> {
        let at = self.places.span(&select.operand);
        let name = Step {
            name: select.field.clone().into(),
            at: self.places.member(&select.operand, &select.field),
        };
        self.entry(&select.operand, at, name)
    }

    /// The member `name` of the map that `operand` selects.
    fn entry(&mut self, operand: &IdedExpr, at: Range<usize>, name: Step<'s>) -> Result<Field, Kind> {
        match self.selection(operand)? {
            Some(mut steps) => {
                steps.push(name);
                parse::resolve(&steps, self.scope).map_err(|error| self.told(error))
            }
            None => Err(self.unsupported(at, "only values of the request have members")),
        }
    }

    /// What a call gives, and the variable that it is in truth, if it is one.
    fn call(&mut self, id: u64, at: Range<usize>, call: &mut CallExpr) -> (Kind, Option<Variable>) {
        let variable = match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            // A member of a map of the request: is it there, and what is it if it is there.
            (operators::IN, None, [key, map]) if self.begins_with_name(map) => {
                Some(self.keyed(key, map).map(|field| (Kind::Truth, Variable::There(field))))
            }
            (operators::OPT_INDEX | operators::OPT_SELECT, None, [map, key]) => {
                Some(self.keyed(key, map).map(|field| (Kind::Maybe, Variable::Maybe(field))))
            }
            ("matches", Some(target), [pattern]) => Some(self.matches(id, target, pattern)),
            _ => None,
        };
        match variable {
            Some(Ok((kind, variable))) => return (kind, Some(variable)),
            Some(Err(told)) => return (told, None),
            None => {}
        }
        let target = call.target.as_mut().map(|target| self.expression(target));
        let kinds: Vec<Kind> = call.args.iter_mut().map(|argument| self.expression(argument)).collect();
        if call.func_name == operators::IN
            && let [_, list] = call.args.as_slice()
            && let Expr::List(list) = &list.expr
        {
            self.step(list.elements.len());
        }
        (self.applied(id, at, &call.func_name, target, &kinds), None)
    }

    fn keyed(&mut self, key: &IdedExpr, map: &IdedExpr) -> Result<Field, Kind> {
        let (at, place) = (self.places.span(key), self.places.span(map));
        match &key.expr {
            Expr::Literal(LiteralValue::String(name)) => {
                let name = name.inner().to_owned().into();
                self.entry(map, place, Step { name, at })
            }
            _ => Err(self.error(at, ConditionErrorKind::ComputedName)),
        }
    }

    fn matches(&mut self, id: u64, target: &IdedExpr, pattern: &IdedExpr) -> Result<(Kind, Variable), Kind> {
        self.step(TEXT_STEPS);
        let text = match &pattern.expr {
            Expr::Literal(LiteralValue::String(text)) => text.inner(),
            _ => {
                let takes = "takes a regular expression that is written out";
                let at = self.places.span(pattern);
                return Err(self.error(at, arguments("matches", takes)));
            }
        };
        let Some(steps) = self.selection(target)? else {
            let at = self.places.function(id, "matches");
            return Err(self.error(at, arguments("matches", "is asked of a value of the request itself")));
        };
        let field = parse::resolve(&steps, self.scope).map_err(|error| self.told(error))?;
        match Pattern::new(text) {
            Ok(pattern) => Ok((Kind::Truth, Variable::Matches(field, pattern))),
            Err(why) => {
                let at = self.places.span(pattern);
                Err(self.error(at, ConditionErrorKind::Regex(why)))
            }
        }
    }

    /// `list.exists(x, …)` and its kin, as the parser writes them out.
    fn comprehension(&mut self, at: Range<usize>, comprehension: &mut ComprehensionExpr) -> Kind {
        if self.looping > 1 {
            return self.unsupported(at, "lists cannot be gone through inside of each other");
        }
        let items = match &comprehension.iter_range.expr {
            Expr::List(list) => list.elements.len(),
            _ => {
                let at = self.places.span(&comprehension.iter_range);
                return self.unsupported(at, "only a list that is written out can be gone through");
            }
        };
        if comprehension.iter_var2.is_some() {
            return self.unsupported(at, "a list is gone through with one name");
        }
        let texts = match &comprehension.iter_range.expr {
            Expr::List(list) => list
                .elements
                .iter()
                .all(|item| matches!(&item.expr, Expr::Literal(LiteralValue::String(_)))),
            _ => false,
        };
        self.expression(&mut comprehension.iter_range);
        let gathered = self.expression(&mut comprehension.accu_init);
        self.locals.push((comprehension.accu_var.clone(), gathered));
        let item = if texts { Kind::Text } else { Kind::Any };
        self.locals.push((comprehension.iter_var.clone(), item));
        self.looping = items.max(2);
        self.expression(&mut comprehension.loop_cond);
        self.expression(&mut comprehension.loop_step);
        self.looping = 1;
        self.locals.pop();
        let result = self.expression(&mut comprehension.result);
        self.locals.pop();
        result
    }

    fn variable(&mut self, expression: &mut IdedExpr, variable: Variable, kind: Kind) -> Kind {
        expression.expr = Expr::Ident(interpret::name(self.variables.len()));
        self.variables.push(variable);
        kind
    }

    pub(super) fn step(&mut self, steps: usize) {
        self.steps = self.steps.saturating_add(steps.saturating_mul(self.looping));
    }

    pub(super) fn error(&mut self, at: Range<usize>, kind: ConditionErrorKind) -> Kind {
        self.errors.push(ConditionError {
            at,
            kind,
            nearest: None,
        });
        Kind::Any
    }

    fn unsupported(&mut self, at: Range<usize>, why: &'static str) -> Kind {
        self.error(at, ConditionErrorKind::Unsupported(why))
    }

    /// A fault of a selection, which has its place already.
    fn told(&mut self, error: TemplateError) -> Kind {
        self.errors.push(ConditionError {
            at: error.at,
            kind: error.kind.into(),
            nearest: error.nearest,
        });
        Kind::Any
    }
}
