//! The registry of fields: what each map of a document may hold, and what it will hold once it is built.

/// One field of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) state: State,
}

/// Whether a field can be used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum State {
    /// Built, and known to clusters of this feature level and above.
    Built {
        /// The lowest feature level whose nodes know the field.
        level: u32,
    },
    /// Planned; what it will do.
    Planned(&'static str),
}

const fn built(name: &'static str) -> Field {
    Field {
        name,
        state: State::Built { level: 1 },
    }
}

/// Known to clusters of feature level `level` and above alone.
const fn built_in(name: &'static str, level: u32) -> Field {
    Field {
        name,
        state: State::Built { level },
    }
}

const fn planned(name: &'static str, feature: &'static str) -> Field {
    Field {
        name,
        state: State::Planned(feature),
    }
}

pub(crate) const ROOT: &[Field] = &[
    built("format"),
    built("upstreams"),
    built("gateways"),
    built("cluster"),
    planned("consumers", "consumers with their keys and groups"),
    built_in("telemetry", 2),
];

pub(crate) const TELEMETRY: &[Field] = &[built_in("access_log", 2), planned("traces", "export of traces")];
pub(crate) const ACCESS_LOG: &[Field] = &[built_in("on", 2)];

pub(crate) const CLUSTER: &[Field] = &[built("stale")];
pub(crate) const STALE: &[Field] = &[built("warn"), built("unready_after")];

pub(crate) const UPSTREAM: &[Field] = &[
    built("targets"),
    built("host"),
    built("balance"),
    built("timeout"),
    built("pool"),
    built("protocol"),
    built("retry"),
    planned("health", "active and passive health checks"),
    planned("breaker", "circuit breakers"),
    planned("tls", "TLS to targets"),
];
pub(crate) const TARGET: &[Field] = &[built("url"), built("weight")];
pub(crate) const TIMEOUT: &[Field] = &[
    built("connect"),
    built("try"),
    built("first_byte"),
    built("idle"),
    built("total"),
    built_in("tunnel", 2),
];
pub(crate) const POOL: &[Field] = &[built("idle"), built("max_idle"), built("max_age")];
pub(crate) const RETRY: &[Field] = &[
    built("attempts"),
    planned("on", "retries"),
    planned("budget", "retries"),
    planned("backoff", "retries"),
];

pub(crate) const GATEWAY: &[Field] = &[
    built("hosts"),
    built("routes"),
    built("listen"),
    built("expose"),
    built("trusted_proxies"),
    planned("auth", "authentication"),
    planned("cors", "cross-origin rules"),
    planned("rate_limits", "rate limits"),
    planned("concurrency", "limits of requests in flight"),
];

pub(crate) const ROUTE: &[Field] = &[
    built("path"),
    built("paths"),
    built("id"),
    built("methods"),
    built("hosts"),
    built("match"),
    built("priority"),
    built("upstream"),
    built_in("split", 2),
    built("redirect"),
    built("respond"),
    built("rewrite"),
    built("request"),
    built("response"),
    built("timeout"),
    built("retry"),
    built("max_body"),
    built("encoded_slash"),
    built_in("upgrade", 2),
    planned("aggregate", "composing an answer of several calls"),
    planned("breaker", "circuit breakers"),
    planned("rate_limits", "rate limits"),
    planned("concurrency", "limits of requests in flight"),
    planned("auth", "authentication"),
    planned("require", "scopes and groups that a caller must have"),
    planned("allow", "conditions that a request must meet"),
    planned("cors", "cross-origin rules"),
    planned("cache", "caching"),
];
pub(crate) const SPLIT: &[Field] = &[built_in("to", 2), built_in("sticky", 2)];
pub(crate) const ARM: &[Field] = &[built_in("upstream", 2), built_in("weight", 2), built_in("when", 2)];
pub(crate) const STICKY: &[Field] = &[built_in("cookie", 2)];
pub(crate) const MATCH: &[Field] = &[built("headers"), built("query"), built("client")];
pub(crate) const FIELD_MATCH: &[Field] = &[
    built("exact"),
    built("prefix"),
    built("regex"),
    built("present"),
    built("not"),
];
pub(crate) const REDIRECT: &[Field] = &[built("to"), built("status")];
pub(crate) const RESPOND: &[Field] = &[
    built("status"),
    built("text"),
    built("json"),
    built("html"),
    built("headers"),
];
pub(crate) const REWRITE: &[Field] = &[built("strip_prefix"), built("path")];
pub(crate) const REQUEST: &[Field] = &[built("headers"), built("query")];
pub(crate) const RESPONSE: &[Field] = &[
    built("headers"),
    planned("pick", "choosing members of an answer's JSON"),
];
pub(crate) const CHANGES: &[Field] = &[built("set"), built("add"), built("remove")];

/// The highest level that any field or value needs.
pub(crate) const fn highest_level() -> u32 {
    const ALL: [&[Field]; 23] = [
        ROOT,
        TELEMETRY,
        ACCESS_LOG,
        CLUSTER,
        STALE,
        UPSTREAM,
        TARGET,
        TIMEOUT,
        POOL,
        RETRY,
        GATEWAY,
        ROUTE,
        SPLIT,
        ARM,
        STICKY,
        MATCH,
        FIELD_MATCH,
        REDIRECT,
        RESPOND,
        REWRITE,
        REQUEST,
        RESPONSE,
        CHANGES,
    ];
    let (mut highest, mut table) = (H2C_LEVEL, 0);
    while table < ALL.len() {
        let mut field = 0;
        while field < ALL[table].len() {
            if let State::Built { level } = ALL[table][field].state
                && level > highest
            {
                highest = level;
            }
            field += 1;
        }
        table += 1;
    }
    highest
}

/// Values that are planned beside those that are taken.
pub(crate) const BALANCE_PLANNED: &[&str] = &["ewma", "random", "consistent_hash"];

/// The level of `protocol: h2c`, whose field is older.
pub(crate) const H2C_LEVEL: u32 = 2;

/// The name of `names` that was probably meant by `found`, if any is near.
pub(crate) fn nearest<'n>(found: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let found = found.to_lowercase();
    // A name is compared only where its length allows nearness: what stands in a document may be long.
    if found.len() > 100 {
        return None;
    }
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(found.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_near_enough_is_found_and_a_far_one_is_not() {
        let names = || UPSTREAM.iter().map(|field| field.name);
        assert_eq!(nearest("tagrets", names()), Some("targets"));
        assert_eq!(nearest("Host", names()), Some("host"));
        assert_eq!(nearest("consumer", names()), None);
    }
}
