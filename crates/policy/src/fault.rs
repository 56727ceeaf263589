//! What can be wrong with a declared policy.

use http::header::{HeaderName, InvalidHeaderName};
use sluice_expression::{ConditionError, JsonTemplateError, TemplateError};
use sluice_http_semantics::path::PathError;
use sluice_http_semantics::reserved::{self, Forbidden};
use std::fmt;

/// One fault, and the field that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field's place within the route, as `request.headers.set.X-Region`.
    pub field: String,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Not a token (RFC 9110 §5.1).
    #[error("{0:?} is no name of a header")]
    HeaderName(String),
    /// A header that a document may not change.
    #[error("{name} cannot be changed here: {why}")]
    Forbidden {
        /// The header.
        name: String,
        /// Why not.
        why: Forbidden,
    },
    /// A fixed value with a control character.
    #[error("the value has a character that no header can hold")]
    HeaderValue,
    /// The name of a query parameter is empty.
    #[error("a parameter has a name")]
    EmptyName,
    /// The text has an expression that is none.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// A text inside the JSON has.
    #[error("{0}")]
    Json(#[from] JsonTemplateError),
    /// The condition is none.
    #[error("{0}")]
    Condition(#[from] ConditionError),
    /// No arm of a split would ever get a request.
    #[error("no arm has a weight above 0")]
    NoWeight,
    /// Not a token (RFC 6265 §4.1.1).
    #[error("{0:?} is no name of a cookie")]
    CookieName(String),
    /// A limit that nothing could count.
    #[error("{0}")]
    Limit(String),
    /// The path cannot be sent.
    #[error("{0}")]
    Path(#[from] PathError),
    /// The path has a `.` or `..`, or hides one behind `%2F`.
    #[error("the path has a dot segment")]
    DotSegment,
    /// The path is no path.
    #[error("the path must begin with a slash (or with ${{request.path}})")]
    NotAPath,
    /// The target of a redirect could become anything.
    #[error("expected a path (/…, ${{request.path}}…), or a URL with http, https or ${{request.scheme}}")]
    NotALocation,
    /// Of the host of a redirect, a value is the end, which says whose host it is.
    #[error("a value of the request ends the host, so that anybody can send people anywhere; write its end out")]
    HostOfAValue,
    /// The target of a redirect has a character that a URL cannot have.
    #[error("the target has {0:?}, which must be percent-encoded")]
    LocationCharacter(char),
    /// Not a status that such an answer can have.
    #[error("{found} is not a status of {of}; expected {expected}")]
    Status {
        /// What was declared.
        found: u16,
        /// Of which answer.
        of: &'static str,
        /// What could have been.
        expected: &'static str,
    },
    /// 204, 205 or 304 with a body.
    #[error("an answer of status {0} has no body")]
    Body(u16),
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(field: impl Into<String>, kind: impl Into<FaultKind>) -> Self {
        Self {
            field: field.into(),
            kind: kind.into(),
        }
    }

    /// The known name that is nearest to the one found, where there is such a thing.
    pub fn nearest(&self) -> Option<&str> {
        match &self.kind {
            FaultKind::Template(error) => error.nearest.as_deref(),
            FaultKind::Json(error) => error.error.nearest.as_deref(),
            FaultKind::Condition(error) => error.nearest.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.kind)
    }
}

impl std::error::Error for Fault {}

/// A header that a document may change.
pub(crate) fn header_name(text: &str) -> Result<HeaderName, FaultKind> {
    if let Some(why) = reserved::forbidden(text) {
        return Err(FaultKind::Forbidden {
            name: text.to_owned(),
            why,
        });
    }
    text.parse()
        .map_err(|_: InvalidHeaderName| FaultKind::HeaderName(text.to_owned()))
}

/// Adds the faults of a text; gives the template where there are none.
pub(crate) fn template(
    field: &str,
    text: &str,
    scope: &sluice_expression::Scope,
    faults: &mut Vec<Fault>,
) -> Option<sluice_expression::Template> {
    match sluice_expression::Template::parse(text, scope) {
        Ok(template) => Some(template),
        Err(errors) => {
            faults.extend(errors.into_iter().map(|error| Fault::new(field, error)));
            None
        }
    }
}
