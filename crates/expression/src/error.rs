//! What can be wrong with a text.

use crate::{DEEPEST_JSON, LONGEST_EXPRESSION, LONGEST_TEMPLATE, MOST_EXPRESSIONS};
use std::fmt;
use std::ops::Range;

/// One fault of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Where, in bytes of the text.
    pub at: Range<usize>,
    /// What.
    pub kind: ErrorKind,
    /// The known name that is nearest to the one found.
    pub nearest: Option<String>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// `${` without its `}`.
    #[error("`${{` is never closed; write `$${{` for a plain `${{`")]
    Unclosed,
    /// `${}`.
    #[error("nothing stands between `${{` and `}}`")]
    Empty,
    /// The text is too long.
    #[error("the text has more than {LONGEST_TEMPLATE} bytes")]
    TooLong,
    /// One expression is too long.
    #[error("the expression has more than {LONGEST_EXPRESSION} bytes")]
    ExpressionTooLong,
    /// Too many expressions.
    #[error("the text has more than {MOST_EXPRESSIONS} expressions")]
    TooMany,
    /// Not a selection.
    #[error("expected {expected}, found {found}")]
    Syntax {
        /// What could have stood there.
        expected: &'static str,
        /// What stood there.
        found: String,
    },
    /// No such name.
    #[error("{found} is not known; expected one of {expected}")]
    UnknownName {
        /// The name, with what stands before it.
        found: String,
        /// The names that are known there.
        expected: String,
    },
    /// A map where a text is needed.
    #[error("{found} is not a text; name one of its members as in {example}")]
    NotAText {
        /// What was named.
        found: String,
        /// How a member of it is named.
        example: &'static str,
    },
    /// Something behind a text.
    #[error("{found} is a text and has no members")]
    NoMembers {
        /// What was named.
        found: String,
    },
    /// The name of a header that no header has.
    #[error("{found:?} is no name of a header")]
    HeaderName {
        /// What was named.
        found: String,
    },
    /// JSON nested too deeply.
    #[error("lists and objects are nested more than {DEEPEST_JSON} deep")]
    TooDeep,
}

/// One fault in a text of a JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {error}")]
pub struct JsonTemplateError {
    /// The text's place in the value, as `.user.tags[0]`; empty for the value itself.
    pub path: String,
    /// The fault.
    pub error: TemplateError,
}

// === impl TemplateError ===

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TemplateError {}
