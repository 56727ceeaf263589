//! A condition as a tree of comparisons with what is written out: the way without an interpreter.

use super::interpret::{self, Variable};
use crate::field::Inputs;
use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use cel::parser::Expression;

/// A part of a condition that is true or false. Values are named by the number of their variable.
#[derive(Debug)]
pub(super) enum Node {
    Always(bool),
    Not(Box<Node>),
    And(Box<(Node, Node)>),
    Or(Box<(Node, Node)>),
    /// A variable that is itself true or false.
    Is(usize),
    Equals(usize, Box<str>),
    OneOf(usize, Box<[Box<str>]>),
    StartsWith(usize, Box<str>),
    EndsWith(usize, Box<str>),
    Contains(usize, Box<str>),
    /// All else.
    Interpreted(Box<Expression>),
}

/// It is neither true nor false of this request: a value is missing, or an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

// === impl Node ===

impl Node {
    /// Of an expression whose names are resolved.
    pub(super) fn of(expression: IdedExpr) -> Self {
        match &expression.expr {
            Expr::Literal(LiteralValue::Boolean(truth)) => return Self::Always(*truth.inner()),
            Expr::Ident(name) => {
                if let Some(index) = interpret::index(name) {
                    return Self::Is(index);
                }
            }
            Expr::Call(call) => {
                let compared = match (&call.target, call.args.as_slice()) {
                    (None, [a, b]) => comparison(&call.func_name, a, b),
                    (Some(target), [argument]) => search(&call.func_name, target, argument),
                    _ => None,
                };
                if let Some(compared) = compared {
                    return compared;
                }
            }
            _ => {}
        }
        match expression.expr {
            Expr::Call(mut call) if call.target.is_none() => match (call.func_name.as_str(), call.args.len()) {
                (operators::LOGICAL_NOT, 1) => Self::Not(Box::new(Self::of(call.args.remove(0)))),
                (operators::LOGICAL_AND, 2) => {
                    let right = Self::of(call.args.remove(1));
                    Self::And(Box::new((Self::of(call.args.remove(0)), right)))
                }
                (operators::LOGICAL_OR, 2) => {
                    let right = Self::of(call.args.remove(1));
                    Self::Or(Box::new((Self::of(call.args.remove(0)), right)))
                }
                _ => Self::interpreted(expression.id, Expr::Call(call)),
            },
            other => Self::interpreted(expression.id, other),
        }
    }

    fn interpreted(id: u64, expr: Expr) -> Self {
        Self::Interpreted(Box::new(IdedExpr { id, expr }))
    }

    /// As CEL says: `&&` and `||` are decided by one side where it alone decides, also where the other fails.
    pub(super) fn evaluate<I: Inputs + Sync>(&self, variables: &[Variable], inputs: &I) -> Result<bool, Failed> {
        let text = |index: &usize| {
            let variable = variables.get(*index).ok_or(Failed)?;
            inputs.field(variable.field()).ok_or(Failed)
        };
        match self {
            Self::Always(truth) => Ok(*truth),
            Self::Not(inner) => inner.evaluate(variables, inputs).map(|truth| !truth),
            Self::And(both) => match both.0.evaluate(variables, inputs) {
                Ok(false) => Ok(false),
                left => match both.1.evaluate(variables, inputs) {
                    Ok(true) => left,
                    right => right,
                },
            },
            Self::Or(both) => match both.0.evaluate(variables, inputs) {
                Ok(true) => Ok(true),
                left => match both.1.evaluate(variables, inputs) {
                    Ok(false) => left,
                    right => right,
                },
            },
            Self::Is(index) => match variables.get(*index) {
                Some(Variable::There(field)) => Ok(inputs.field(field).is_some()),
                Some(Variable::Matches(field, pattern)) => {
                    let value = inputs.field(field).ok_or(Failed)?;
                    Ok(pattern.is_match(&value))
                }
                _ => Err(Failed),
            },
            Self::Equals(index, wanted) => Ok(*text(index)? == **wanted),
            Self::OneOf(index, wanted) => {
                let value = text(index)?;
                Ok(wanted.iter().any(|wanted| **wanted == *value))
            }
            Self::StartsWith(index, wanted) => Ok(text(index)?.starts_with(&**wanted)),
            Self::EndsWith(index, wanted) => Ok(text(index)?.ends_with(&**wanted)),
            Self::Contains(index, wanted) => Ok(text(index)?.contains(&**wanted)),
            Self::Interpreted(expression) => interpret::evaluate(expression, variables, inputs),
        }
    }
}

fn comparison(operator: &str, a: &IdedExpr, b: &IdedExpr) -> Option<Node> {
    if operator == operators::IN {
        let Expr::List(list) = &b.expr else { return None };
        let wanted: Option<Vec<_>> = list.elements.iter().map(literal).collect();
        let wanted = wanted?.into_iter().map(Into::into).collect();
        return Some(Node::OneOf(variable(a)?, wanted));
    }
    let negated = match operator {
        operators::EQUALS => false,
        operators::NOT_EQUALS => true,
        _ => return None,
    };
    let (index, wanted) = match (variable(a), literal(b)) {
        (Some(index), Some(wanted)) => (index, wanted),
        _ => (variable(b)?, literal(a)?),
    };
    let equal = Node::Equals(index, wanted.into());
    Some(if negated { Node::Not(Box::new(equal)) } else { equal })
}

fn search(function: &str, target: &IdedExpr, argument: &IdedExpr) -> Option<Node> {
    let (index, wanted) = (variable(target)?, literal(argument)?.into());
    match function {
        "startsWith" => Some(Node::StartsWith(index, wanted)),
        "endsWith" => Some(Node::EndsWith(index, wanted)),
        "contains" => Some(Node::Contains(index, wanted)),
        _ => None,
    }
}

/// Resolved names stand beside literals of text only where they are texts themselves: kinds were checked.
pub(super) fn variable(expression: &IdedExpr) -> Option<usize> {
    match &expression.expr {
        Expr::Ident(name) => interpret::index(name),
        _ => None,
    }
}

pub(super) fn literal(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
