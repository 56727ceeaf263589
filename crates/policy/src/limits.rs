//! What a request has to pass before it goes on: the limits of its route, those of the gateway first.
//!
//! `rate_limits` and `concurrency` say what each limit is; here is what they
//! have in common: under which key a request is counted, and what answers tell of them. Whether it passes is for those
//! who hold the counts.

use crate::fault::{Fault, FaultKind};
use crate::values::Plain;
use bytes::Bytes;
use http::HeaderValue;
use sluice_expression::{Field, Inputs, Scope, Value};
use sluice_http_semantics::rate_limit::{Policy, Quota, Standing};
use sluice_shared_state::{Rule, Scope as CountedOver};
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// All limits of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    list: Box<[Limit]>,
    /// None where nobody can be refused.
    policy: Option<HeaderValue>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What is counted, and how.
    pub rule: Arc<Rule>,
    /// What a request counts; at least 1, and at most what a single one may.
    pub cost: u32,
    /// How long a request may be held back instead of refused.
    pub patience: Duration,
    /// Counted, and never refused: clients are told nothing of it.
    pub dry_run: bool,
    /// What answers tell of it.
    pub quota: Quota,
    pub(crate) key: Key,
}

/// Under which value a request is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// `client.ip`, what stands where nothing is said.
    Client,
    /// Anything else.
    Value(Value),
}

/// How one limit stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// What is left.
    pub remaining: u64,
    /// Whole seconds until there is more, or until the count is whole again.
    pub reset: u64,
    /// Nobody counts at present.
    pub uncounted: bool,
}

/// What limits are compiled with.
#[derive(Debug, Clone)]
pub(crate) struct Around<'c> {
    /// What is limited.
    pub(crate) over: CountedOver,
    /// What keys may name.
    pub(crate) scope: &'c Scope,
    /// The version of the configuration.
    pub(crate) version: u64,
}

/// Bits of an IPv6 address that are one client: what a network at a home or in a data centre is given at least
/// (RFC 6177), and whoever has it chooses the other half at will.
const PREFIX: u32 = 64;

// === impl Limits ===

impl Limits {
    /// Those of a gateway, and of one of its routes. None where there are none.
    #[must_use]
    pub fn join(gateway: &[Limit], route: &[Limit]) -> Option<Self> {
        let list: Box<[Limit]> = gateway.iter().chain(route).cloned().collect();
        if list.is_empty() {
            return None;
        }
        let mut policy = Vec::new();
        for limit in list.iter().filter(|limit| !limit.dry_run) {
            let (name, quota) = (&*limit.rule.name, limit.quota);
            Policy { name, quota }.push(&mut policy);
        }
        let policy = field(policy);
        Some(Self { list, policy })
    }

    /// All, in the order in which they are asked.
    pub fn iter(&self) -> std::slice::Iter<'_, Limit> {
        self.list.iter()
    }

    /// The field `RateLimit-Policy`. None where nobody can be refused.
    #[must_use]
    pub fn policy(&self) -> Option<&HeaderValue> {
        self.policy.as_ref()
    }

    /// The field `RateLimit`, of how each stands, in their order. The limit `first` is told first: the one that refused.
    /// Allocates the field's value and no more.
    pub fn standing(&self, stands: impl Iterator<Item = Stand> + Clone, first: Option<usize>) -> Option<HeaderValue> {
        let policy = self.policy.as_ref()?;
        let mut list = Vec::with_capacity(policy.len() + 24 * self.list.len());
        let told = || self.list.iter().zip(stands.clone()).enumerate();
        let told = told()
            .filter(|(at, _)| Some(*at) == first)
            .chain(told().filter(|(at, _)| Some(*at) != first));
        for (_, (limit, stand)) in told.filter(|(_, (limit, _))| !limit.dry_run) {
            limit.standing(stand).push(&mut list);
        }
        field(list)
    }

    /// A limit of the route has the name of one of the gateway.
    #[must_use]
    pub fn named_twice<'l>(gateway: &[Limit], route: &'l [Limit]) -> Option<&'l str> {
        let taken = |limit: &&Limit| gateway.iter().any(|other| other.rule.name == limit.rule.name);
        route.iter().find(taken).map(|limit| &*limit.rule.name)
    }

    /// Bytes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let policy = self.policy.as_ref().map_or(0, HeaderValue::len);
        size_of::<Self>() + policy + self.list.iter().map(Limit::memory).sum::<usize>()
    }
}

impl<'l> IntoIterator for &'l Limits {
    type Item = &'l Limit;
    type IntoIter = std::slice::Iter<'l, Limit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What is written of structured fields is ASCII without control characters.
fn field(list: Vec<u8>) -> Option<HeaderValue> {
    match list.is_empty() {
        true => None,
        false => HeaderValue::from_maybe_shared(Bytes::from(list)).ok(),
    }
}

// === impl Limit ===

impl Limit {
    /// Appends the value under which a request is counted. A request that lacks what the key names has none: it is
    /// counted under the empty value, together with all others that have none.
    pub fn key<I: Inputs + Sync>(&self, inputs: &I, client: IpAddr, out: &mut String) {
        match &self.key {
            Key::Client => network(client, out),
            Key::Value(value) => {
                let inputs = Plain(inputs);
                value.append(&Counted { inputs, client }, out);
            }
        }
    }

    fn standing(&self, stand: Stand) -> Standing<'_> {
        Standing {
            name: &self.rule.name,
            // Of a bucket there may be more than a window's worth.
            remaining: stand.remaining.min(self.quota.most()),
            reset: match self.quota {
                Quota::Requests { .. } => Some(stand.reset),
                Quota::InFlight { .. } => None,
            },
            uncounted: stand.uncounted,
        }
    }

    /// The number that was declared.
    #[must_use]
    pub fn number(&self) -> u64 {
        use sluice_shared_state::Algorithm;
        match self.rule.algorithm {
            Algorithm::SlidingWindow { limit, .. }
            | Algorithm::TokenBucket { limit, .. }
            | Algorithm::Concurrency { limit, .. } => limit.into(),
            Algorithm::FixedWindow { limit, .. } => limit,
        }
    }

    /// Whether it limits what is under way, not what comes.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        matches!(self.quota, Quota::InFlight { .. })
    }

    /// What it counts over, as a path of the admin API.
    #[must_use]
    pub fn scope(&self) -> impl fmt::Display {
        ScopePath(&self.rule.scope)
    }

    /// Keeps the rules of `before` where nothing of them changed but the version: a limit's numbers are as old as they
    /// are, and all routes that share it share its rule.
    pub fn keep(now: &mut [Self], before: &[Self]) {
        for limit in now {
            let same = before.iter().find(|old| {
                old.rule.id == limit.rule.id
                    && Rule {
                        version: old.rule.version,
                        ..Rule::clone(&limit.rule)
                    } == *old.rule
            });
            if let Some(old) = same {
                limit.rule = Arc::clone(&old.rule);
            }
        }
    }

    /// Bytes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let key = match &self.key {
            Key::Client => 0,
            Key::Value(value) => value.memory(),
        };
        size_of::<Self>() + size_of::<Rule>() + 2 * self.rule.name.len() + key
    }
}

struct ScopePath<'l>(&'l CountedOver);

impl fmt::Display for ScopePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CountedOver::Gateway(gateway) => write!(f, "gateways/{gateway}"),
            CountedOver::Route(gateway, route) => write!(f, "gateways/{gateway}/routes/{route}"),
        }
    }
}

// === impl Key ===

impl Key {
    /// What is declared, or `client.ip`.
    pub(crate) fn compile(declared: Option<&str>, place: &str, around: &Around<'_>, faults: &mut Vec<Fault>) -> Self {
        let Some(text) = declared else {
            return Self::Client;
        };
        match Value::parse(text, around.scope) {
            Ok(value) if value.as_field() == Some(&Field::ClientIp) => Self::Client,
            Ok(value) => Self::Value(value),
            Err(errors) => {
                let field = format!("{place}.key");
                faults.extend(errors.into_iter().map(|error| Fault::new(&*field, error)));
                Self::Client
            }
        }
    }
}

/// Names that stand twice among the limits of one scope.
pub(crate) fn names_twice(limits: &[Limit], field: &str, faults: &mut Vec<Fault>) {
    for (i, limit) in limits.iter().enumerate() {
        if limits[..i].iter().any(|other| other.rule.name == limit.rule.name) {
            let kind = FaultKind::Limit(format!("two limits have the name {:?}", limit.rule.name));
            faults.push(Fault::new(field, kind));
        }
    }
}

/// The values of a request, by whom it is counted.
struct Counted<'a, I> {
    inputs: Plain<'a, I>,
    client: IpAddr,
}

impl<I: Inputs> Inputs for Counted<'_, I> {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::ClientIp => {
                let mut text = String::new();
                network(self.client, &mut text);
                Some(Cow::Owned(text))
            }
            field => self.inputs.field(field),
        }
    }
}

/// Who a client is to limits: its IPv4 address, however it was written, or its network of IPv6 as `2001:db8::/64`.
fn network(client: IpAddr, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match client.to_canonical() {
        IpAddr::V4(address) => write!(out, "{address}"),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - PREFIX)));
            write!(out, "{network}/{PREFIX}")
        }
    };
}

#[cfg(test)]
mod tests;
