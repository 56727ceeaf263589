//! What can be wrong with a condition, or with a value.

use super::{DEEPEST_CONDITION, LONGEST_CONDITION, MOST_STEPS};
use crate::error::ErrorKind;
use std::fmt;
use std::ops::Range;

/// One fault of a condition or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionError {
    /// Where, in bytes of the text.
    pub at: Range<usize>,
    /// What.
    pub kind: ConditionErrorKind,
    /// The known name that is nearest to the one found.
    pub nearest: Option<String>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionErrorKind {
    /// Nothing is there.
    #[error("the expression is empty")]
    Empty,
    /// The text is too long.
    #[error("the expression has more than {LONGEST_CONDITION} bytes")]
    TooLong,
    /// Nested too deeply, or a chain of operators that is too long.
    #[error(
        "the expression is nested more than {DEEPEST_CONDITION} deep (a long chain of one operator counts as well)"
    )]
    TooDeep,
    /// It would take too long.
    #[error("the expression could take more than {MOST_STEPS} steps")]
    TooCostly,
    /// Not CEL.
    #[error("this is no expression: {0}")]
    Syntax(String),
    /// A name, or a selection that cannot be.
    #[error("{0}")]
    Name(#[from] ErrorKind),
    /// A member of a map that is not written out.
    #[error("the name of a member is a text that is written out, as in request.headers['x-region']")]
    ComputedName,
    /// No such function.
    #[error("`{found}` is not a function that is known; expected one of {expected}")]
    UnknownFunction {
        /// The name.
        found: String,
        /// The names that are known there.
        expected: String,
    },
    /// A function with values that it does not take.
    #[error("`{function}` {takes}")]
    Arguments {
        /// The function or operator as it is written.
        function: String,
        /// What it takes.
        takes: &'static str,
    },
    /// Values of two kinds, which are never equal and in no order.
    #[error("{left} and {right} cannot be compared")]
    Incomparable {
        /// What stands on the left.
        left: &'static str,
        /// What stands on the right.
        right: &'static str,
    },
    /// The value of the whole is neither true nor false.
    #[error("a condition is true or false, this is {found}")]
    NotTruth {
        /// What it is.
        found: &'static str,
    },
    /// The whole is no text.
    #[error("a value is a text, this is {found}; string(…) makes a text of a number")]
    NotText {
        /// What it is.
        found: &'static str,
    },
    /// A regular expression that cannot be used.
    #[error("this is no regular expression that can be used: {0}")]
    Regex(String),
    /// A part of CEL that conditions do without.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The system has no thread for the compiler.
    #[error("the expression could not be compiled: {0}")]
    Compiler(String),
}

// === impl ConditionError ===

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConditionError {}
