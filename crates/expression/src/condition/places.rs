//! Where the parts of a condition stand in its text. The parser tells one token of each.

use super::error::{ConditionError, ConditionErrorKind};
use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use cel::parser::ParseErrors;
use std::ops::Range;

/// A text and what the parser said of it, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Places<'s> {
    pub(super) text: &'s str,
    pub(super) info: &'s SourceInfo,
}

// === impl Places ===

impl Places<'_> {
    /// All of the text.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.text.len()
    }

    /// Where `.field` names it; the parser tells where the dot is.
    pub(super) fn member(&self, select: &IdedExpr, field: &str) -> Range<usize> {
        let dot = self.own_span(select).start;
        let found = self
            .text
            .get(dot..)
            .and_then(|rest| rest.find(field))
            .map_or(dot, |at| dot + at);
        found..self.text.len().min(found + field.len())
    }

    /// Where the function of a call is named: before the parenthesis, which is all that the parser tells.
    pub(super) fn function(&self, id: u64, name: &str) -> Range<usize> {
        let open = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        let before = self.text.get(..open).unwrap_or_default();
        match before.rfind(name) {
            Some(at) => at..at + name.len(),
            None => 0..self.text.len(),
        }
    }

    /// Where the parser saw the one token of it.
    pub(super) fn own_span(&self, expression: &IdedExpr) -> Range<usize> {
        match self.info.offset_for(expression.id) {
            Some((start, stop)) => {
                let start = floor(self.text, start as usize);
                start..floor(self.text, stop as usize + 1).max(start)
            }
            None => 0..self.text.len(),
        }
    }

    /// From its first token to its last.
    pub(super) fn span(&self, expression: &IdedExpr) -> Range<usize> {
        let mut own = self.own_span(expression);
        if let Expr::Select(select) = &expression.expr {
            own.end = own.end.max(self.member(expression, &select.field).end);
        }
        if let Expr::Call(call) = &expression.expr
            && call.func_name.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            own.start = self.function(expression.id, &call.func_name).start;
        }
        let parts: Vec<&IdedExpr> = match &expression.expr {
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
            Expr::Select(select) => vec![&select.operand],
            Expr::List(list) => list.elements.iter().collect(),
            Expr::Comprehension(comprehension) => vec![&comprehension.iter_range],
            _ => Vec::new(),
        };
        parts.into_iter().fold(own, |all, part| {
            let part = self.span(part);
            all.start.min(part.start)..all.end.max(part.end)
        })
    }
}

/// The greatest place not beyond `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// What the parser says first, in words for people.
pub(super) fn syntax(text: &str, errors: ParseErrors) -> ConditionError {
    let first = errors.errors.into_iter().next();
    let (position, message) = first.map_or(((1, 1), String::new()), |error| (error.pos, error.msg));
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let line = usize::try_from(position.0.max(1) - 1).unwrap_or(0);
    let start = line_starts.into_iter().nth(line).unwrap_or(0);
    let column = usize::try_from(position.1.max(1) - 1).unwrap_or(0);
    // The parser counts in characters.
    let at = text[start..]
        .char_indices()
        .nth(column)
        .map_or(text.len(), |(at, _)| start + at);
    let message = message.trim_start_matches("Syntax error: ");
    let (what, _) = message.split_once(" expecting ").unwrap_or((message, ""));
    let what = what
        .replace("mismatched input ", "unexpected ")
        .replace("extraneous input ", "unexpected ")
        .replace("token recognition error at: ", "unexpected ")
        .replace("no viable alternative at input ", "unexpected ")
        .replace("'<EOF>'", "end");
    let length = text[at..].chars().next().map_or(0, char::len_utf8);
    ConditionError {
        at: at..at + length,
        kind: ConditionErrorKind::Syntax(what),
        nearest: None,
    }
}
