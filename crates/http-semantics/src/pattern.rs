//! What a route's `path` says: segments, or a regular expression.
//!
//! `/orders/{id}` has a literal and a parameter; `/orders/**` takes `/orders`, `/orders/` and all below, and calls what
//! it took `rest`; `regex:^/v[0-9]+/` is matched against the normalised path. Literals are brought to the form in which
//! [`crate::path::Path`] gives paths, so that the two are compared byte for byte. A slash at the end is significant: it
//! is an empty literal at the end of the segments.

use crate::path::{EncodedSlash, Path, PathError};
use crate::percent;
use std::fmt;

/// What begins a regular expression.
const REGEX: &str = "regex:";
/// The parameter that holds what `/**` took.
pub const REST: &str = "rest";
const LONGEST: usize = 8 * 1024;
const MOST_SEGMENTS: usize = 64;

/// A route's `path`, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// By segments.
    Tree {
        /// What stands between the slashes; never empty. `/` is one empty literal.
        segments: Vec<Segment>,
    },
    /// The expression, not compiled. It has no parameters.
    Regex(String),
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Equal to this, which is normal (still encoded). Empty only at the end: a slash there.
    Literal(Box<str>),
    /// Any one segment that is not empty.
    Param(Box<str>),
    /// `**`, only at the end: nothing, or a slash and whatever follows.
    Rest,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Neither a path nor a regular expression.
    #[error("a path begins with a slash (or with regex: for a regular expression)")]
    NotAbsolute,
    /// More than 8 KiB or 64 segments.
    #[error("the path is longer than {LONGEST} bytes or {MOST_SEGMENTS} segments")]
    TooLong,
    /// `regex:` and nothing.
    #[error("nothing follows regex:")]
    EmptyRegex,
    /// `//`.
    #[error("the path has an empty segment; requests never have one, since their slashes are merged")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path has a dot segment; requests never have one, since they are resolved")]
    DotSegment,
    /// `*` in a segment, or `**` not at the end.
    #[error("{0:?}: a parameter is written {{name}}, and ** stands only at the end of a path")]
    Star(String),
    /// Braces that are not the whole of a segment.
    #[error("{0:?}: a parameter is a whole segment, written {{name}}")]
    Braces(String),
    /// Not `[A-Za-z_][A-Za-z0-9_]*`.
    #[error("{0:?} is no name of a parameter: letters, digits and _, not beginning with a digit")]
    Name(String),
    /// Twice the same name.
    #[error("the path has two parameters called {0:?}")]
    Duplicate(String),
    /// `{rest}` beside `**`.
    #[error("the path has {{rest}} beside **, which is called rest itself")]
    RestTwice,
    /// `?` or `#`.
    #[error("a path has no {0:?}; what a query must hold is said in `match`")]
    NotOfThePath(char),
    /// What no request's path can hold.
    #[error("no request can match: {0}")]
    Unmatchable(#[from] PathError),
    /// `..%2F` and the like: such requests are refused.
    #[error("no request can match: a dot segment hides behind %2F")]
    HiddenDotSegment,
}

// === impl Pattern ===

impl Pattern {
    /// Reads a pattern. Literals may hold plain spaces and characters beyond ASCII; they are encoded.
    ///
    /// # Errors
    ///
    /// [`PatternError`], the first that is found.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > LONGEST {
            return Err(PatternError::TooLong);
        }
        if let Some(expression) = text.strip_prefix(REGEX) {
            return if expression.is_empty() {
                Err(PatternError::EmptyRegex)
            } else {
                Ok(Self::Regex(expression.to_owned()))
            };
        }
        let path = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        let count = path.split('/').count();
        if count > MOST_SEGMENTS {
            return Err(PatternError::TooLong);
        }
        let mut segments = Vec::with_capacity(count);
        for (index, segment) in path.split('/').enumerate() {
            let parsed = Segment::parse(segment, index + 1 == count)?;
            if let Segment::Param(name) = &parsed
                && segments.contains(&parsed)
            {
                return Err(PatternError::Duplicate(name.to_string()));
            }
            segments.push(parsed);
        }
        if segments.contains(&Segment::Rest) && segments.contains(&Segment::Param(REST.into())) {
            return Err(PatternError::RestTwice);
        }
        Ok(Self::Tree { segments })
    }

    /// The names of its parameters, in their order; `rest` last, where it has `**`.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        let segments = match self {
            Self::Tree { segments } => segments.as_slice(),
            Self::Regex(_) => &[],
        };
        segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Param(name) => Some(&**name),
            Segment::Rest => Some(REST),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree { segments } => segments.iter().try_for_each(|segment| write!(f, "/{segment}")),
            Self::Regex(expression) => write!(f, "{REGEX}{expression}"),
        }
    }
}

// === impl Segment ===

impl Segment {
    fn parse(text: &str, last: bool) -> Result<Self, PatternError> {
        if text.is_empty() {
            return if last {
                Ok(Self::Literal("".into()))
            } else {
                Err(PatternError::EmptySegment)
            };
        }
        if text == "**" && last {
            return Ok(Self::Rest);
        }
        if text.contains('*') {
            return Err(PatternError::Star(text.to_owned()));
        }
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            return if is_name(name) {
                Ok(Self::Param(name.into()))
            } else {
                Err(PatternError::Name(name.to_owned()))
            };
        }
        if text.contains(['{', '}']) {
            return Err(PatternError::Braces(text.to_owned()));
        }
        if let Some(found) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(PatternError::NotOfThePath(found));
        }
        Self::literal(text)
    }

    fn literal(text: &str) -> Result<Self, PatternError> {
        let mut raw = String::with_capacity(text.len() + 1);
        raw.push('/');
        for byte in text.bytes() {
            if byte == b' ' || !byte.is_ascii() {
                percent::push_escape(byte, &mut raw);
            } else {
                raw.push(char::from(byte));
            }
        }
        let path = match Path::normalize(&raw) {
            Err(PathError::AboveRoot) => return Err(PatternError::DotSegment),
            path => path?,
        };
        if path.encoded_slash() == EncodedSlash::HidesDotSegment {
            return Err(PatternError::HiddenDotSegment);
        }
        match path.as_str().strip_prefix('/') {
            Some("") | None => Err(PatternError::DotSegment),
            Some(segment) => Ok(Self::Literal(segment.into())),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Param(name) => write!(f, "{{{name}}}"),
            Self::Rest => f.write_str("**"),
        }
    }
}

/// What can stand behind `params.` in an expression.
fn is_name(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn segments(text: &str) -> Vec<Segment> {
        match Pattern::parse(text).unwrap() {
            Pattern::Tree { segments } => segments,
            Pattern::Regex(expression) => panic!("{expression}"),
        }
    }

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.into())
    }

    #[test]
    fn segments_are_literals_parameters_and_the_rest() {
        assert_eq!(segments("/"), [literal("")]);
        assert_eq!(segments("/orders"), [literal("orders")]);
        assert_eq!(segments("/orders/"), [literal("orders"), literal("")]);
        assert_eq!(segments("/**"), [Segment::Rest]);
        assert_eq!(
            segments("/orders/{id}/**"),
            [literal("orders"), Segment::Param("id".into()), Segment::Rest]
        );
        let pattern = Pattern::parse("/a/{x}/{y_2}/**").unwrap();
        assert_eq!(pattern.params().collect::<Vec<_>>(), ["x", "y_2", "rest"]);
    }

    #[test]
    fn literals_are_normalised_as_paths_are() {
        assert_eq!(segments("/caf%c3%a9"), segments("/café"));
        assert_eq!(segments("/a b"), [literal("a%20b")]);
        assert_eq!(segments("/%7Euser"), [literal("~user")]);
        assert_eq!(segments("/a%2fb"), [literal("a%2Fb")]);
    }

    #[test]
    fn a_regular_expression_is_kept_as_it_is() {
        let pattern = Pattern::parse("regex:^/v[0-9]+/").unwrap();
        assert_eq!(pattern, Pattern::Regex("^/v[0-9]+/".to_owned()));
        assert_eq!(pattern.to_string(), "regex:^/v[0-9]+/");
        assert_eq!(pattern.params().count(), 0);
        assert_eq!(Pattern::parse("regex:"), Err(PatternError::EmptyRegex));
    }

    #[test]
    fn what_no_request_can_match_is_refused() {
        let refused = |text: &str| Pattern::parse(text).unwrap_err();
        assert_eq!(refused(""), PatternError::NotAbsolute);
        assert_eq!(refused("orders"), PatternError::NotAbsolute);
        assert_eq!(refused("*"), PatternError::NotAbsolute);
        assert_eq!(refused("/a//b"), PatternError::EmptySegment);
        assert_eq!(refused("//"), PatternError::EmptySegment);
        for text in ["/a/../b", "/.", "/a/..", "/%2e%2E"] {
            assert_eq!(refused(text), PatternError::DotSegment, "{text}");
        }
        assert_eq!(refused("/a/*"), PatternError::Star("*".to_owned()));
        assert_eq!(refused("/**/a"), PatternError::Star("**".to_owned()));
        assert_eq!(refused("/a{id}"), PatternError::Braces("a{id}".to_owned()));
        assert_eq!(refused("/{id"), PatternError::Braces("{id".to_owned()));
        assert_eq!(refused("/{}"), PatternError::Name(String::new()));
        assert_eq!(refused("/{user-id}"), PatternError::Name("user-id".to_owned()));
        assert_eq!(refused("/{a}/{a}"), PatternError::Duplicate("a".to_owned()));
        assert_eq!(refused("/{rest}/**"), PatternError::RestTwice);
        assert_eq!(refused("/a?b=1"), PatternError::NotOfThePath('?'));
        assert_eq!(refused("/a%"), PatternError::Unmatchable(PathError::BadEscape));
        assert_eq!(refused("/a\\b"), PatternError::Unmatchable(PathError::Backslash));
        assert_eq!(refused("/..%2Fx"), PatternError::HiddenDotSegment);
        assert_eq!(refused(&"/a".repeat(65)), PatternError::TooLong);
    }

    proptest! {
        #[test]
        fn a_pattern_prints_as_it_reads(text in "(/([a-z.%~é ]{0,3}|\\{[a-c]\\}|\\*\\*|%2[fF]|%41)){1,5}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                let again = Pattern::parse(&pattern.to_string());
                prop_assert_eq!(again, Ok(pattern));
            }
        }

        #[test]
        fn a_pattern_of_literals_is_the_path_that_it_matches(text in "(/[a-zA-Z0-9.~%-]{0,4}){1,4}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                let path = Path::normalize(&text).unwrap();
                prop_assert_eq!(path.as_str(), pattern.to_string());
            }
        }

        #[test]
        fn any_text_at_all_is_answered(text in any::<String>()) {
            let _ = Pattern::parse(&text);
            let _ = Pattern::parse(&format!("/{text}"));
        }
    }
}
