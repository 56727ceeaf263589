//! The values that an expression can name.

use std::borrow::Cow;
use std::fmt;

/// A value of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// `params.NAME`: what the route's path took under this name.
    Param(Box<str>),
    /// `request.path`: the normalised path.
    RequestPath,
    /// `request.method`.
    RequestMethod,
    /// `request.host`: lower case, without a port.
    RequestHost,
    /// `request.scheme`: `http` or `https`.
    RequestScheme,
    /// `request.query`: the query as it came, without the `?`.
    RequestQueryString,
    /// `request.query['NAME']`: the first parameter of this name, decoded.
    RequestQuery(Box<str>),
    /// `request.headers['NAME']`: the first field of this name, in lower case.
    RequestHeader(Box<str>),
    /// `request.id`.
    RequestId,
    /// `client.ip`.
    ClientIp,
}

/// Where values come from.
///
/// Parameters, the path and the whole query come still percent-encoded, as they stand in the normalised request, so
/// that nothing is lost before it is known where they go; all else comes plain.
pub trait Inputs {
    /// The value of `field`; none where the request has none.
    fn field(&self, field: &Field) -> Option<Cow<'_, str>>;
}

/// Which names an expression may use beside those that every request has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The parameters of the route's path; of several paths, those that all of them have.
    pub params: Vec<String>,
}

// === impl Field ===

impl fmt::Display for Field {
    /// As it is written between the braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Param(name) => write!(f, "params.{name}"),
            Self::RequestPath => f.write_str("request.path"),
            Self::RequestMethod => f.write_str("request.method"),
            Self::RequestHost => f.write_str("request.host"),
            Self::RequestScheme => f.write_str("request.scheme"),
            Self::RequestQueryString => f.write_str("request.query"),
            Self::RequestQuery(name) => write!(f, "request.query[{}]", Quoted(name)),
            Self::RequestHeader(name) => write!(f, "request.headers[{}]", Quoted(name)),
            Self::RequestId => f.write_str("request.id"),
            Self::ClientIp => f.write_str("client.ip"),
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for c in self.0.chars() {
            if matches!(c, '\'' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("'")
    }
}

// === impl Inputs ===

impl<T: Inputs + ?Sized> Inputs for &T {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        (**self).field(field)
    }
}

// === impl Scope ===

impl Scope {
    /// A scope with these parameters.
    pub fn with_params<S: Into<String>>(params: impl IntoIterator<Item = S>) -> Self {
        Self {
            params: params.into_iter().map(Into::into).collect(),
        }
    }
}
