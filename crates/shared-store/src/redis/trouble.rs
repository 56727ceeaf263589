//! What can be wrong with a Redis, in words that say what to do.

use crate::config::RedisUrl;
use redis::RedisError;
use std::path::PathBuf;

/// What is wrong with a Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no connection to {0}: {1}")]
    NoConnection(RedisUrl, String),
    #[error("no TLS with {0}: {1}")]
    Tls(RedisUrl, String),
    #[error("redis.ca {path} cannot be used: {1}", path = .0.display())]
    Ca(PathBuf, String),
    #[error("the system's certificates cannot be used: {0}; name your own by redis.ca")]
    Roots(String),
    #[error("redis.password_file {path} cannot be read: {1}", path = .0.display())]
    PasswordFile(PathBuf, String),
    #[error("{0} refuses user {user} with this password; redis.password_file is read again at each try", user = .1.as_deref().unwrap_or("default"))]
    WrongPassword(RedisUrl, Option<String>),
    #[error("{0} wants a password: set redis.password_file")]
    NoPassword(RedisUrl),
    #[error("{0} does not let user {user} do what is needed: {2}", user = .1.as_deref().unwrap_or("default"))]
    NotAllowed(RedisUrl, Option<String>, String),
    #[error("{0} is Redis {1}; {2} or later is needed")]
    TooOld(RedisUrl, String, &'static str),
    #[error("{0} is a read-only replica{1}; a primary is needed")]
    Replica(RedisUrl, String),
    #[error("{0} is a Sentinel: say the name of its primary by redis.sentinel")]
    IsSentinel(RedisUrl),
    #[error("{0} is a node of a Redis Cluster: set redis.cluster")]
    IsCluster(RedisUrl),
    #[error("{0} is not a node of a Redis Cluster, as redis.cluster says")]
    NoCluster(RedisUrl),
    #[error("{0} still loads its data")]
    Loading(RedisUrl),
    #[error("{0} is out of memory and refuses to write: {1}")]
    OutOfMemory(RedisUrl, String),
    #[error("{0} did not answer within {1} ms")]
    Late(RedisUrl, u128),
    #[error("the connection to {0} ended")]
    Ended(RedisUrl),
    #[error("{0} answered: {1}")]
    Answered(RedisUrl, String),
    #[error("no Sentinel of {urls} could be asked: {why}", urls = list(.urls))]
    NoSentinel { urls: Vec<RedisUrl>, why: String },
    #[error("no Sentinel of {urls} knows a primary named {name:?}", urls = list(.urls))]
    NotKnown { urls: Vec<RedisUrl>, name: String },
    #[error("no node of the Redis Cluster {urls} could be asked: {why}", urls = list(.urls))]
    NoNode { urls: Vec<RedisUrl>, why: String },
    #[error("the Redis Cluster has no primary for slot {0}")]
    NoPrimary(u16),
}

/// What an error means for the connection on which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failing {
    /// The script is not known there: send its text.
    NoScript,
    /// The key is at another node of the Cluster.
    Elsewhere,
    /// The key's slot is on its way to that node of the Cluster, and the key is not here any more, or not yet anywhere.
    Ask(RedisUrl),
    /// The connection ended; its keeper counts that once for all calls.
    Ended,
    /// Wrong here, and a new connection may find it right: another primary, another password.
    Here(Trouble),
    /// Wrong, but the connection is as good as any.
    Now(Trouble),
}

// === impl Failing ===

impl Failing {
    pub(super) fn of(error: &RedisError, url: &RedisUrl, user: Option<&str>) -> Self {
        let Some(code) = error.code() else {
            return Self::Ended;
        };
        let said = || match error.detail() {
            Some(detail) => format!("{code} {detail}"),
            None => code.to_owned(),
        };
        let (url, user) = (url.clone(), user.map(str::to_owned));
        match code {
            "NOSCRIPT" => Self::NoScript,
            "ASK" => named(error, &url).map_or(Self::Elsewhere, Self::Ask),
            "MOVED" | "TRYAGAIN" => Self::Elsewhere,
            "READONLY" => Self::Here(Trouble::Replica(url, String::new())),
            "WRONGPASS" => Self::Here(Trouble::WrongPassword(url, user)),
            "NOAUTH" => Self::Here(Trouble::NoPassword(url)),
            "NOPERM" => Self::Now(Trouble::NotAllowed(url, user, said())),
            "LOADING" => Self::Now(Trouble::Loading(url)),
            "OOM" => Self::Now(Trouble::OutOfMemory(url, said())),
            // A script tells the code of what it called within its own error.
            "ERR" if error.detail().is_some_and(|detail| detail.contains("OOM ")) => {
                Self::Now(Trouble::OutOfMemory(url, said()))
            }
            "ERR"
                if error
                    .detail()
                    .is_some_and(|detail| detail.contains("NOPERM ") || detail.contains("ACL failure")) =>
            {
                Self::Now(Trouble::NotAllowed(url, user, said()))
            }
            "ERR" if error.detail().is_some_and(|detail| detail.contains("READONLY ")) => {
                Self::Here(Trouble::Replica(url, String::new()))
            }
            _ => Self::Now(Trouble::Answered(url, said())),
        }
    }

    /// In words, where it is a trouble.
    pub(super) fn trouble(self, url: &RedisUrl) -> Trouble {
        match self {
            Self::Here(trouble) | Self::Now(trouble) => trouble,
            Self::Ended => Trouble::Ended(url.clone()),
            Self::NoScript => Trouble::Answered(url.clone(), "NOSCRIPT".to_owned()),
            Self::Elsewhere => Trouble::Answered(url.clone(), "MOVED".to_owned()),
            Self::Ask(to) => Trouble::Answered(url.clone(), format!("ASK {to}")),
        }
    }
}

/// The node that `asked` has named. One without a host is on the same.
fn named(error: &RedisError, asked: &RedisUrl) -> Option<RedisUrl> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(RedisUrl {
        tls: asked.tls,
        host: match host {
            "" | "?" => asked.host.clone(),
            host => host.to_owned(),
        },
        port: port.parse().ok()?,
    })
}

fn list(urls: &[RedisUrl]) -> String {
    urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
