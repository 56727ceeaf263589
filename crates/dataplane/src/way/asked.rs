//! The values of a request that expressions name.

use http::{HeaderMap, Method};
use sluice_expression::{Field, Inputs};
use sluice_http_semantics::forwarded::Scheme;
use sluice_http_semantics::query;
use sluice_http_semantics::request_id::RequestId;
use sluice_http_semantics::reserved::is_hidden;
use sluice_snapshot::{Destination, Params, Route, Snapshot};
use std::borrow::Cow;
use std::net::IpAddr;

/// A request as it came, while it is still as it came.
pub(super) struct Asked<'a> {
    pub(super) params: Params<'a, 'a>,
    /// Normalised.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) method: &'a Method,
    pub(super) host: &'a str,
    pub(super) scheme: Scheme,
    pub(super) headers: &'a HeaderMap,
    pub(super) id: &'a RequestId,
    pub(super) client: IpAddr,
    /// Whether the client's peer is believed in what it says of others.
    pub(super) trusted: bool,
}

/// What is kept of a request for the time when it is no longer as it came. Most routes need nothing
/// of it, and then nothing is copied.
pub(super) enum Kept {
    Nothing,
    All(Box<Copied>),
}

pub(super) struct Copied {
    params: Vec<(Box<str>, Box<str>)>,
    path: Box<str>,
    query: Option<Box<str>>,
    method: Method,
    host: Box<str>,
    scheme: Scheme,
    headers: HeaderMap,
    id: RequestId,
    client: IpAddr,
    trusted: bool,
}

// === impl Asked ===

impl Inputs for Asked<'_> {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        let text = match field {
            Field::Param(name) => self.params.get(name)?,
            Field::RequestPath => self.path,
            Field::RequestMethod => self.method.as_str(),
            Field::RequestHost => self.host,
            Field::RequestScheme => self.scheme.as_str(),
            Field::RequestQueryString => self.query?,
            Field::RequestQuery(name) => return query::first(self.query?, name),
            Field::RequestHeader(name) => {
                return header(self.headers, name, self.trusted);
            }
            Field::RequestId => self.id.as_str(),
            Field::ClientIp => return Some(Cow::Owned(self.client.to_string())),
        };
        Some(Cow::Borrowed(text))
    }
}

/// The first value of a field, unless nobody is to hear it from this client.
fn header<'h>(headers: &'h HeaderMap, name: &str, trusted: bool) -> Option<Cow<'h, str>> {
    let value = headers.get(name)?;
    let shown = !is_hidden(name, trusted);
    shown.then(|| String::from_utf8_lossy(value.as_bytes()))
}

// === impl Kept ===

impl Kept {
    /// What the header changes of `route` will ask for, and what answers where a breaker is open.
    pub(super) fn for_route(route: &Route, to: &Destination, snapshot: &Snapshot, asked: &Asked<'_>) -> Self {
        let mut changes = [&route.request_headers, &route.response_headers].into_iter().flatten();
        if changes.all(|change| change.is_fixed()) && !route.falls_back_by_values(snapshot, to) {
            return Self::Nothing;
        }
        Self::All(Box::new(Copied {
            params: asked
                .params
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            path: asked.path.into(),
            query: asked.query.map(Into::into),
            method: asked.method.clone(),
            host: asked.host.into(),
            scheme: asked.scheme,
            headers: asked.headers.clone(),
            id: asked.id.clone(),
            client: asked.client,
            trusted: asked.trusted,
        }))
    }
}

impl Inputs for Kept {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        let Self::All(copied) = self else { return None };
        let text = match field {
            Field::Param(name) => &*copied.params.iter().find(|(known, _)| known == name)?.1,
            Field::RequestPath => &copied.path,
            Field::RequestMethod => copied.method.as_str(),
            Field::RequestHost => &copied.host,
            Field::RequestScheme => copied.scheme.as_str(),
            Field::RequestQueryString => copied.query.as_deref()?,
            Field::RequestQuery(name) => return query::first(copied.query.as_deref()?, name),
            Field::RequestHeader(name) => {
                return header(&copied.headers, name, copied.trusted);
            }
            Field::RequestId => copied.id.as_str(),
            Field::ClientIp => return Some(Cow::Owned(copied.client.to_string())),
        };
        Some(Cow::Borrowed(text))
    }
}
