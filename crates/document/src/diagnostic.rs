//! What is wrong with a document, and where.

use crate::source::{Place, Sources};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is taken, but probably does not say what was meant.
    Warning,
}

/// One thing that is wrong with a document.
///
/// The same members stand in `check --json`, in `apply --json` and in the `errors` of a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable word for the kind of fault, such as `unknown_field`; docs/document.md lists them.
    pub code: Cow<'static, str>,
    /// What is wrong and what to do, one sentence without an end stop.
    pub message: String,
    /// The file's name as it was handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The place in the document, such as `gateways.web.routes[2].path`. Empty: the document as a whole.
    pub path: String,
    /// What stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What may stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The known name that is nearest to what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// The line of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

/// A fault before its place is told in lines.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) path: String,
    pub(crate) place: Option<Place>,
    /// The other of two things that collide.
    pub(crate) other: Option<Place>,
    pub(crate) found: Option<String>,
    pub(crate) expected: Option<String>,
    pub(crate) nearest: Option<String>,
}

// === impl Diagnostic ===

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.message)
    }
}

// === impl Finding ===

impl Finding {
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            path: String::new(),
            place: None,
            other: None,
            found: None,
            expected: None,
            nearest: None,
        }
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    pub(crate) fn at(self, place: Place) -> Self {
        Self {
            place: Some(place),
            ..self
        }
    }

    pub(crate) fn other(self, place: Place) -> Self {
        Self {
            other: Some(place),
            ..self
        }
    }

    pub(crate) fn path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    pub(crate) fn found(self, found: impl Into<String>) -> Self {
        Self {
            found: Some(found.into()),
            ..self
        }
    }

    pub(crate) fn expected(self, expected: impl Into<String>) -> Self {
        Self {
            expected: Some(expected.into()),
            ..self
        }
    }

    pub(crate) fn nearest(self, nearest: Option<impl Into<String>>) -> Self {
        Self {
            nearest: nearest.map(Into::into),
            ..self
        }
    }

    /// Tells the place in lines and columns.
    pub(crate) fn place_in(self, sources: &Sources<'_>) -> Diagnostic {
        let at = self.place.and_then(|place| sources.position(place));
        let mut message = self.message;
        if let Some(other) = self.other.and_then(|place| sources.spoken(place)) {
            message.push_str("; the other is at ");
            message.push_str(&other);
        }
        Diagnostic {
            severity: self.severity,
            code: Cow::Borrowed(self.code),
            message,
            file: at.as_ref().and_then(|at| at.file.map(str::to_owned)),
            line: at.as_ref().map(|at| at.line),
            column: at.as_ref().map(|at| at.column),
            path: self.path,
            found: self.found,
            expected: self.expected,
            nearest: self.nearest,
            excerpt: at.map(|at| at.excerpt),
        }
    }
}
