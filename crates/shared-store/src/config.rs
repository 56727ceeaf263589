//! What shared state is started with.

use crate::memory::SharedMemory;
use sluice_telemetry::Metrics;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What shared state is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// The cluster's name: keys of different clusters in one Redis do not meet.
    pub cluster: String,
    /// What the nodes of the cluster alone know, or nothing: salts the keys.
    pub secret: Vec<u8>,
    /// Where the state is.
    pub driver: Driver,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Keys that this node may ask the store about for the first time in one second.
    pub new_keys_per_second: u32,
    /// Keys that this node keeps at once.
    pub keys: usize,
}

/// Where the shared state is.
#[derive(Debug, Clone)]
pub enum Driver {
    /// In this process, shared by the nodes that hold clones of it.
    Memory(SharedMemory),
    /// In Redis.
    Redis(RedisSettings),
}

/// Where Redis is, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisSettings {
    /// One; of a Sentinel or a Cluster, one or more.
    pub urls: Vec<RedisUrl>,
    /// Read at each connecting, so that it may change.
    pub password_file: Option<PathBuf>,
    /// An ACL user.
    pub user: Option<String>,
    /// The certificates that `rediss` trusts in place of the system's.
    pub ca: Option<PathBuf>,
    /// The name of the primary that the urls, which are Sentinels, know.
    pub sentinel: Option<String>,
    /// The urls are nodes of a Redis Cluster.
    pub cluster: bool,
}

/// `redis://host:port`, or `rediss://host:port` for TLS. Without a port it is 6379. Holds no secret, because none may
/// stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RedisUrl {
    /// Whether it is spoken to in TLS.
    pub tls: bool,
    /// A name or an address; of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no [`RedisUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme, or none.
    #[error("it begins with neither redis:// nor rediss:// (for TLS)")]
    Scheme,
    /// A user or a password in it.
    #[error("a user or a password may not stand in it: give these as redis.user and redis.password_file")]
    Secret,
    /// No host.
    #[error("it names no host")]
    Host,
    /// No port from 1 to 65535 behind the colon.
    #[error("{0:?} is no port")]
    Port(String),
    /// A path behind the address: a database's number.
    #[error("{0:?} behind the address: keys are kept in database 0, apart by the name of the cluster")]
    Path(String),
}

// === impl Config ===

impl Config {
    /// New keys a second, where no setting says otherwise.
    pub const NEW_KEYS_PER_SECOND: u32 = 20_000;
    /// Keys at once, where no setting says otherwise.
    pub const KEYS: usize = 100_000;

    /// A node that counts for itself alone, in memory.
    #[must_use]
    pub fn alone(node: &str, metrics: Metrics) -> Self {
        Self {
            node: node.to_owned(),
            cluster: String::new(),
            secret: Vec::new(),
            driver: Driver::Memory(SharedMemory::default()),
            metrics,
            new_keys_per_second: Self::NEW_KEYS_PER_SECOND,
            keys: Self::KEYS,
        }
    }
}

// === impl RedisUrl ===

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let (tls, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(RedisUrlError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(RedisUrlError::Secret);
        }
        if !matches!(path, "" | "/" | "/0") {
            return Err(RedisUrlError::Path(path.to_owned()));
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() {
            return Err(RedisUrlError::Host);
        }
        let port = match port {
            "" => 6379,
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or_else(|| RedisUrlError::Port(port.trim_start_matches(':').to_owned()))?,
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<RedisUrl, RedisUrlError> {
        text.parse()
    }

    #[test]
    fn urls_are_read_and_written() {
        for (text, written) in [
            ("redis://10.0.0.9:6379", "redis://10.0.0.9:6379"),
            ("redis://cache", "redis://cache:6379"),
            ("rediss://cache.internal:6380/", "rediss://cache.internal:6380"),
            ("redis://[::1]:7000/0", "redis://[::1]:7000"),
            ("redis://[::1]", "redis://[::1]:6379"),
        ] {
            assert_eq!(url(text).map(|url| url.to_string()), Ok(written.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (text, error) in [
            ("10.0.0.9:6379", RedisUrlError::Scheme),
            ("http://10.0.0.9", RedisUrlError::Scheme),
            ("redis://:secret@10.0.0.9", RedisUrlError::Secret),
            ("redis://", RedisUrlError::Host),
            ("redis://:6379", RedisUrlError::Host),
            ("redis://cache:http", RedisUrlError::Port("http".into())),
            ("redis://cache:0", RedisUrlError::Port("0".into())),
            ("redis://cache:70000", RedisUrlError::Port("70000".into())),
            ("redis://[::1]6379", RedisUrlError::Port("6379".into())),
            ("redis://cache/3", RedisUrlError::Path("/3".into())),
        ] {
            assert_eq!(url(text), Err(error), "{text}");
        }
    }
}
