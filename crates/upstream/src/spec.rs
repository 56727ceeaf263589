//! What an upstream is, compiled: the form in which a snapshot hands it to the workers.

use crate::guard::Guard;
use crate::health::HealthRule;
use crate::retry::Retry;
use http::HeaderValue;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A named set of targets. Immutable; shared between snapshots where nothing changed.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Unique in the document; keys what outlives a snapshot.
    pub name: Arc<str>,
    /// In the document's order.
    pub targets: Vec<TargetSpec>,
    /// The Host that the target gets.
    pub host: HostPolicy,
    /// How a target is chosen.
    pub balance: Balance,
    /// What is spoken with the targets.
    pub protocol: Protocol,
    /// Time-outs where the route has none of its own.
    pub timeouts: Timeouts,
    /// Kept connections.
    pub pool: PoolSpec,
    /// What is tried again, where the route has nothing of its own.
    pub retry: Retry,
    /// How targets are judged.
    pub health: HealthRule,
    /// What leaves the upstream alone, where the route has nothing of its own.
    pub breaker: Option<Arc<Guard>>,
    /// Equal for equal content, as [`Spec::seal`] makes it. Two specs of one name and one digest
    /// are taken for the same.
    pub digest: u64,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetSpec {
    /// As declared; with the upstream's name the key of its pool and statistics.
    pub url: Arc<str>,
    /// How it is reached.
    pub scheme: Scheme,
    /// A name, or an address without brackets.
    pub host: Box<str>,
    /// Of the URL, or the scheme's own.
    pub port: u16,
    /// Put in front of the request's path; empty, or begins with a slash and does not end in one.
    pub base_path: Box<str>,
    /// For [`HostPolicy::Target`], and for a request that brings no Host.
    pub authority: HeaderValue,
    /// Share of the traffic; 0 gets nothing.
    pub weight: u16,
}

/// How a target is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear text.
    Http,
}

/// What is spoken with a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, by prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// The Host that the target gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPolicy {
    /// The request's own.
    Preserve,
    /// The target's authority.
    Target,
    /// This one.
    Literal(HeaderValue),
}

/// How a target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The less busy of two that are drawn by weight.
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
}

/// Time-outs of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// To a connection, all addresses of the target's name together.
    pub connect: Duration,
    /// One attempt, from its start to the head of its answer. While a request's body is under way
    /// the clock stands still, and `idle` holds.
    pub attempt: Option<Duration>,
    /// All attempts, from the start to the head; stands still as `attempt` does.
    pub first_byte: Duration,
    /// Between bytes: of the answer's body from the target, and of the request's body to it.
    pub idle: Duration,
    /// From the start to the last byte of the answer.
    pub total: Option<Duration>,
    /// Without a byte in either direction, once the protocol was switched; the others are over then.
    pub tunnel: Duration,
}

/// Kept connections of one worker to one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolSpec {
    /// A kept connection is closed after this long unused; up to a tenth less, so that those made
    /// together do not end together.
    pub idle: Duration,
    /// How many are kept for longer than a moment: what a burst made beyond this number is closed
    /// once it stayed unused for a second. 0 keeps none at all.
    pub max_idle: usize,
    /// No connection is used again this long after it was made; up to a tenth less.
    pub max_age: Duration,
}

/// Why a text is not the URL of a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL at all.
    #[error("{url:?} is not a URL; expected http://host[:port][/base]")]
    NotAUrl {
        /// The text.
        url: String,
    },
    /// Another scheme.
    #[error("{url:?} has the scheme {scheme:?}; only http is built yet")]
    Scheme {
        /// The text.
        url: String,
        /// What it had.
        scheme: String,
    },
    /// Parts that a target cannot have.
    #[error("{url:?} has {what}, which a target cannot have")]
    Superfluous {
        /// The text.
        url: String,
        /// A user, a query.
        what: &'static str,
    },
}

// === impl Spec ===

impl Spec {
    /// Sets the digest from all other fields.
    #[must_use]
    pub fn seal(mut self) -> Self {
        // Fixed, so that equal content has an equal digest in every snapshot of a process.
        let mut hasher = foldhash::quality::FixedState::with_seed(0x5_1u64).build_hasher();
        self.name.hash(&mut hasher);
        self.targets.hash(&mut hasher);
        self.host.hash(&mut hasher);
        self.balance.hash(&mut hasher);
        self.protocol.hash(&mut hasher);
        self.timeouts.hash(&mut hasher);
        self.pool.hash(&mut hasher);
        self.retry.hash(&mut hasher);
        self.health.hash(&mut hasher);
        self.breaker.is_some().hash(&mut hasher);
        if let Some(breaker) = &self.breaker {
            breaker.hash_content(&mut hasher);
        }
        self.digest = hasher.finish();
        self
    }
}

// === impl TargetSpec ===

impl TargetSpec {
    /// Reads `http://host[:port][/base]`.
    ///
    /// # Errors
    ///
    /// [`TargetError`] where it is something else.
    pub fn parse(url: &str, weight: u16) -> Result<Self, TargetError> {
        let not_a_url = || TargetError::NotAUrl { url: url.to_owned() };
        let uri: http::Uri = url.parse().map_err(|_| not_a_url())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(not_a_url());
        };
        if scheme != "http" {
            return Err(TargetError::Scheme {
                url: url.to_owned(),
                scheme: scheme.to_owned(),
            });
        }
        let superfluous = |what| TargetError::Superfluous {
            url: url.to_owned(),
            what,
        };
        if authority.as_str().contains('@') {
            return Err(superfluous("a user"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(superfluous("a query or fragment"));
        }
        let host = authority.host();
        // `http` hands over a port that is no number, or none, as if there were none at all.
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => 80,
            Some(port) => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or_else(not_a_url)?,
            None => return Err(not_a_url()),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(not_a_url());
        }
        Ok(Self {
            url: url.into(),
            scheme: Scheme::Http,
            host: host.into(),
            port,
            base_path: uri.path().trim_end_matches('/').into(),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| not_a_url())?,
            weight,
        })
    }

    /// The host, where it needs no resolving.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

// === impl Timeouts ===

impl Default for Timeouts {
    /// As docs/document.md promises: connect 1 s, first byte 30 s, idle 60 s, tunnel 1 h, the others off.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            attempt: None,
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: None,
            tunnel: Duration::from_secs(3600),
        }
    }
}

// === impl PoolSpec ===

impl Default for PoolSpec {
    /// 15 s, 64, 5 min.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            max_idle: 64,
            max_age: Duration::from_secs(300),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = TargetSpec::parse("http://10.0.0.1:9101/base/", 2).unwrap();
        assert_eq!(&*target.host, "10.0.0.1");
        assert_eq!(target.port, 9101);
        assert_eq!(&*target.base_path, "/base");
        assert_eq!(target.authority, "10.0.0.1:9101");
        let target = TargetSpec::parse("http://[::1]", 1).unwrap();
        assert_eq!(&*target.host, "::1");
        assert_eq!(target.port, 80);
        assert_eq!(target.literal(), Some(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        assert_eq!(&*target.base_path, "");
        assert_eq!(target.authority, "[::1]");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for url in [
            "",
            "orders",
            "/x",
            "http://",
            "http://a:",
            "http://a:0",
            "http://a:99999",
            "http://a b",
        ] {
            assert!(
                matches!(TargetSpec::parse(url, 1), Err(TargetError::NotAUrl { .. })),
                "{url}"
            );
        }
        assert!(matches!(
            TargetSpec::parse("https://a", 1),
            Err(TargetError::Scheme { .. })
        ));
        for url in ["http://u:p@a", "http://a/?q", "http://a/#f"] {
            assert!(
                matches!(TargetSpec::parse(url, 1), Err(TargetError::Superfluous { .. })),
                "{url}"
            );
        }
    }

    #[test]
    fn the_digest_follows_the_content() {
        let spec = Spec {
            name: "a".into(),
            targets: vec![TargetSpec::parse("http://a", 1).unwrap()],
            host: HostPolicy::Preserve,
            balance: Balance::RoundRobin,
            protocol: Protocol::Http1,
            timeouts: Timeouts::default(),
            pool: PoolSpec::default(),
            retry: Retry::default(),
            health: HealthRule::default(),
            breaker: None,
            digest: 0,
        }
        .seal();
        assert_eq!(spec.digest, spec.clone().seal().digest);
        let mut other = spec.clone();
        other.pool.max_idle = 3;
        assert_ne!(spec.digest, other.seal().digest);
    }
}
