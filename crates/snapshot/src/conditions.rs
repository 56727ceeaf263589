//! What a route asks of a request beyond path and method: fields, query parameters, the client's address, the host.

use crate::gateway::Lookup;
use crate::matcher::Matcher;
use http::HeaderName;
use ipnet::IpNet;
use sluice_http_semantics::query;
use sluice_http_semantics::reserved::is_hidden;
use std::net::IpAddr;

/// All of a route's `match`. Every one must hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    /// By name, as the declared ones are.
    pub(crate) headers: Box<[(HeaderName, Test)]>,
    /// By name.
    pub(crate) query: Box<[(Box<str>, Test)]>,
    /// Sorted; empty: any address.
    pub(crate) client: Box<[IpNet]>,
}

/// What the values of one name must be. Holds for a name of several values when one of them is right.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) compare: Compare,
    /// Turns the whole around: with `not` no value may be right.
    pub(crate) not: bool,
}

/// One comparison.
#[derive(Debug)]
pub(crate) enum Compare {
    Exact(Box<str>),
    Prefix(Box<str>),
    Regex { text: Box<str>, matcher: Matcher },
    Present(bool),
}

// === impl Conditions ===

impl Conditions {
    /// How many; the addresses together are one.
    pub(crate) fn count(&self) -> usize {
        self.headers.len() + self.query.len() + usize::from(!self.client.is_empty())
    }

    /// Bytes, about.
    pub(crate) fn memory(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, test)| name.as_str().len() + test.memory());
        let query = self.query.iter().map(|(name, test)| name.len() + test.memory());
        headers.chain(query).sum::<usize>() + size_of_val(&*self.client)
    }

    pub(crate) fn hold(&self, lookup: &Lookup<'_>) -> bool {
        self.client_is_right(lookup.client)
            && self.headers.iter().all(|(name, test)| {
                let values = lookup.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
                let shown = !is_hidden(name.as_str(), lookup.trusted);
                test.holds(values.filter(|_| shown))
            })
            && self.query.iter().all(|(name, test)| {
                let pairs = query::pairs(lookup.query.unwrap_or_default());
                test.holds(pairs.filter(|(known, _)| **known == **name).map(|(_, value)| value))
            })
    }

    fn client_is_right(&self, client: IpAddr) -> bool {
        // A listener for both families shows IPv4 clients in IPv6's clothes.
        let client = client.to_canonical();
        self.client.is_empty() || self.client.iter().any(|net| net.contains(&client))
    }
}

impl PartialEq for Conditions {
    fn eq(&self, other: &Self) -> bool {
        self.client == other.client && self.headers == other.headers && self.query == other.query
    }
}

// === impl Test ===

impl Test {
    /// Bytes, about.
    pub(crate) fn memory(&self) -> usize {
        let text = match &self.compare {
            Compare::Exact(text) | Compare::Prefix(text) => text.len(),
            Compare::Regex { text, matcher } => text.len() + matcher.memory(),
            Compare::Present(_) => 0,
        };
        size_of::<(HeaderName, Self)>() + text
    }

    fn holds<V: AsBytes>(&self, mut values: impl Iterator<Item = V>) -> bool {
        let right = match &self.compare {
            Compare::Present(there) => values.next().is_some() == *there,
            Compare::Exact(text) => values.any(|value| value.bytes() == text.as_bytes()),
            Compare::Prefix(text) => values.any(|value| value.bytes().starts_with(text.as_bytes())),
            Compare::Regex { matcher, .. } => values.any(|value| matcher.is_match(value.bytes())),
        };
        right != self.not
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        self.not == other.not
            && match (&self.compare, &other.compare) {
                (Compare::Exact(a), Compare::Exact(b)) | (Compare::Prefix(a), Compare::Prefix(b)) => a == b,
                (Compare::Regex { text: a, .. }, Compare::Regex { text: b, .. }) => a == b,
                (Compare::Present(a), Compare::Present(b)) => a == b,
                _ => false,
            }
    }
}

trait AsBytes {
    fn bytes(&self) -> &[u8];
}

impl AsBytes for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl AsBytes for std::borrow::Cow<'_, str> {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}
