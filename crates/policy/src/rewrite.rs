//! `rewrite`: the path (and query) that the upstream gets.
//!
//! Works on the normalised path and gives a normalised one. Whatever values go into a path, it has no dot segment that
//! was not resolved before the match: a request whose values would make one gets a 400, so that nobody leaves the place
//! that the template names.

use crate::fault::{Fault, FaultKind, template};
use crate::values::{Harmless, InPath, InQuery};
use sluice_document::declared;
use sluice_expression::{Field, Inputs, Scope, Template};
use sluice_http_semantics::path::{EncodedSlash, Path, PathError};
use std::borrow::Cow;

/// How the path changes on its way upstream, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// Cut this off; it begins with a slash and does not end in one.
    Strip(Box<str>),
    /// Make it anew.
    Make {
        /// The path.
        path: Template,
        /// The query; where there is none, the client's goes on.
        query: Option<Template>,
    },
}

/// What the upstream gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten<'a> {
    /// Normalised.
    pub path: Cow<'a, str>,
    /// Without the `?`.
    pub query: Option<Cow<'a, str>>,
    /// Nothing at all was left of the path: a `/` that nobody wrote, which a target's base path takes the place of.
    pub bare: bool,
}

/// The values of a request make a path that cannot be sent. The request gets a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// A value made a `.` or `..` segment, or hides one behind `%2F`.
    #[error("the rewritten path would have a dot segment")]
    DotSegment,
    /// A value made something else that no path can hold.
    #[error("rewriting the path: {0}")]
    Path(#[from] PathError),
}

// === impl Rewrite ===

impl Rewrite {
    /// Compiles what is declared.
    pub fn compile(declared: &declared::Rewrite, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        match declared {
            declared::Rewrite::StripPrefix(prefix) => strip(prefix)
                .map_err(|kind| faults.push(Fault::new("rewrite.strip_prefix", kind)))
                .ok(),
            declared::Rewrite::Path(text) => {
                let whole = template("rewrite.path", text, scope, faults)?;
                make(whole)
                    .map_err(|kind| faults.push(Fault::new("rewrite.path", kind)))
                    .ok()
            }
        }
    }

    /// Rewrites a target. A path that does not have the prefix stays, and so does `*`. Borrows where it can.
    ///
    /// # Errors
    ///
    /// [`RewriteError`].
    pub fn apply<'a>(
        &self,
        path: &'a Path<'_>,
        query: Option<&'a str>,
        inputs: &impl Inputs,
    ) -> Result<Rewritten<'a>, RewriteError> {
        let query = query.map(Cow::Borrowed);
        if path.is_asterisk() {
            return Ok(Rewritten {
                path: Cow::Borrowed(path.as_str()),
                query,
                bare: false,
            });
        }
        match self {
            // What is left is normal: it begins at a slash of a normal path, and no segment of it was changed.
            Self::Strip(prefix) => Ok(match path.as_str().strip_prefix(&**prefix) {
                Some("") => Rewritten {
                    path: Cow::Borrowed("/"),
                    query,
                    bare: true,
                },
                Some(rest) if rest.starts_with('/') => Rewritten {
                    path: Cow::Borrowed(rest),
                    query,
                    bare: false,
                },
                _ => Rewritten {
                    path: Cow::Borrowed(path.as_str()),
                    query,
                    bare: false,
                },
            }),
            Self::Make { path, query: made } => {
                let mut text = String::new();
                path.render(&InPath(inputs), &mut text);
                let query = match made {
                    None => query,
                    Some(template) => {
                        let mut text = String::new();
                        template.render(&InQuery(inputs), &mut text);
                        (!text.is_empty()).then_some(Cow::Owned(text))
                    }
                };
                Ok(Rewritten {
                    path: Cow::Owned(checked(text)?),
                    query,
                    bare: false,
                })
            }
        }
    }
}

fn strip(prefix: &str) -> Result<Rewrite, FaultKind> {
    let path = Path::normalize(prefix)?;
    if path.is_asterisk() {
        return Err(FaultKind::NotAPath);
    }
    if has_dot_segment(prefix) || path.encoded_slash() == EncodedSlash::HidesDotSegment {
        return Err(FaultKind::DotSegment);
    }
    Ok(Rewrite::Strip(path.as_str().trim_end_matches('/').into()))
}

fn make(whole: Template) -> Result<Rewrite, FaultKind> {
    let (path, query) = match whole.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (whole, None),
    };
    let from_path = path.leading_text().is_empty() && path.fields().next() == Some(&Field::RequestPath);
    if !path.leading_text().starts_with('/') && !from_path {
        return Err(FaultKind::NotAPath);
    }
    // With harmless values: what is wrong now is wrong in the text itself.
    let mut text = String::new();
    path.render(&Harmless, &mut text);
    match checked(text) {
        Ok(_) => {}
        Err(RewriteError::DotSegment) => return Err(FaultKind::DotSegment),
        Err(RewriteError::Path(error)) => return Err(error.into()),
    }
    if let Some(query) = &query {
        let mut text = String::new();
        query.render(&Harmless, &mut text);
        if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
            return Err(FaultKind::LocationCharacter(found));
        }
    }
    Ok(Rewrite::Make { path, query })
}

/// The normal form, of a path that has no dot segments before.
fn checked(text: String) -> Result<String, RewriteError> {
    if has_dot_segment(&text) {
        return Err(RewriteError::DotSegment);
    }
    let path = Path::normalize(&text)?;
    if path.encoded_slash() == EncodedSlash::HidesDotSegment {
        return Err(RewriteError::DotSegment);
    }
    Ok(match path.into_text() {
        Cow::Borrowed(_) => text,
        Cow::Owned(normal) => normal,
    })
}

/// Dots may be encoded in the text of a document; in values they never are.
fn has_dot_segment(text: &str) -> bool {
    text.split('/').any(|segment| {
        let plain = match segment.contains('%') {
            true => Cow::Owned(segment.replace("%2e", ".").replace("%2E", ".")),
            false => Cow::Borrowed(segment),
        };
        matches!(&*plain, "." | "..")
    })
}

#[cfg(test)]
mod tests;
