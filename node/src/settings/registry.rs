//! Every setting of a node, in the order in which people read of them.
//!
//! The one place where a setting's name, form, default and meaning stand. Flags, variables, the keys of the file,
//! `sluice node --help` and docs/settings.md all come from here.

/// The form of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Text,
    /// The name of a file or folder.
    Path,
    /// `true` or `false`; as a flag it may stand alone.
    Switch,
    /// A whole number.
    Count,
    /// Bytes: `512KiB`, `1MiB`.
    Size,
    /// `300ms`, `2s`, `1m`, `1h`.
    Duration,
    /// `IP:PORT`.
    Address,
    /// Values with commas between; a list in the file.
    List,
    /// `name=value`, with commas between; a table in the file.
    Pairs,
}

/// Whether a setting does something already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// It does.
    Yes,
    /// It is known by name, and refused until this is built.
    Later(&'static str),
}

/// Where a setting may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Flag, variable and file.
    Anywhere,
    /// In a variable alone: a secret has no place in a command line that others can list, nor in a file that is shared.
    Variable,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// As in the file, with dots: `edge.drain_delay`.
    pub key: &'static str,
    /// The form of its value.
    pub kind: Kind,
    /// The default in the form of a flag; empty where there is none (an empty list, or off).
    pub default: &'static str,
    /// The default in words, where the text of `default` does not say it.
    pub default_words: Option<&'static str>,
    /// What stands for the value in help.
    pub value: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Whether it does something already.
    pub built: Built,
    /// Where it may be said.
    pub said: Said,
}

/// A group of settings, under one heading of the help.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// A sentence on the whole.
    pub doc: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
}

/// Other names of settings, as flags and as keys of the file.
pub(super) const SHORT: &[(&str, &str)] = &[("redis", "redis.url"), ("otlp", "otlp.endpoint")];

const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    value: &'static str,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        default,
        default_words: None,
        value,
        doc,
        built: Built::Yes,
        said: Said::Anywhere,
    }
}

impl Setting {
    const fn words(mut self, words: &'static str) -> Self {
        self.default_words = Some(words);
        self
    }

    const fn later(mut self, what: &'static str) -> Self {
        self.built = Built::Later(what);
        self
    }

    const fn variable(mut self) -> Self {
        self.said = Said::Variable;
        self
    }

    /// The flag: `edge.drain_delay` is `edge-drain-delay` (written with two dashes before it).
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The variable: `edge.drain_delay` is `SLUICE_EDGE_DRAIN_DELAY`.
    #[must_use]
    pub fn variable_name(&self) -> String {
        format!("SLUICE_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The default as people read it.
    #[must_use]
    pub fn default_shown(&self) -> &'static str {
        match self.default_words {
            Some(words) => words,
            None if self.default.is_empty() => "none",
            None => self.default,
        }
    }

    /// Whether its value is never shown.
    #[must_use]
    pub fn secret(&self) -> bool {
        self.said == Said::Variable
    }
}

/// All settings.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Identity",
        doc: "Who this node is and where it keeps its memory.",
        settings: &[
            setting("cluster", Kind::Text, "sluice", "NAME", "Name of the cluster. Nodes of different clusters do not talk to each other."),
            setting("name", Kind::Text, "", "NAME", "Name of this node, unique in its cluster and the same after a restart.").words("the host's name"),
            setting("data", Kind::Path, "./sluice-data", "DIR", "Folder of this node alone: its identity, the log and the configuration. Made if it is not there. Losing it makes this another node of the same name."),
            setting("zone", Kind::Text, "", "NAME", "Where the node stands (a rack, an availability zone); shown by `sluice status`."),
            setting("labels", Kind::Pairs, "", "KEY=VALUE,...", "Free labels of the node."),
            setting("ephemeral", Kind::Switch, "false", "true|false", "A node that will not come back: it only ever receives the configuration and never votes."),
            setting("workers", Kind::Count, "0", "N", "Threads that serve traffic; 0 is one per core that the process may use (a cgroup's quota is honoured).").words("0: one per core"),
        ],
    },
    Group {
        title: "Forming and joining",
        doc: "Without either list the node is a cluster of one.",
        settings: &[
            setting("initial", Kind::List, "", "NAME=HOST:PORT,...", "The first members with their peer addresses, this node among them; the same on each of them. Used at the first start only: the cluster forms when all of them are up."),
            setting("join", Kind::List, "", "HOST:PORT,...", "Peer addresses of any members: this node enters their cluster as a learner."),
            setting("cluster_token_file", Kind::Path, "", "FILE", "File with the secret that all members share; needed as soon as the cluster is more than this node."),
            setting("cluster_token", Kind::Text, "", "SECRET", "The same secret itself, in the environment alone.").variable(),
        ],
    },
    Group {
        title: "Addresses",
        doc: "An address is IP:PORT; 0.0.0.0 or [::] is every address of the machine.",
        settings: &[
            setting("listen.http", Kind::List, "0.0.0.0:8080", "IP:PORT,...", "Where traffic comes in: the listener that gateways call `public`."),
            setting("listen.https", Kind::List, "", "IP:PORT,...", "Where traffic comes in over TLS.").later("TLS listeners"),
            setting("listen.named", Kind::Pairs, "", "NAME=http://IP:PORT,...", "More listeners, for gateways whose `listen` names them."),
            setting("listen.admin", Kind::Address, "127.0.0.1:9080", "IP:PORT", "The admin API, /metrics, /healthz and /readyz. Keep it away from the internet."),
            setting("listen.peer", Kind::Address, "127.0.0.1:7080", "IP:PORT", "Where the other members connect."),
            setting("advertise.peer", Kind::Text, "", "HOST:PORT", "Where the other members reach `listen.peer`; must be given where that is 0.0.0.0 or [::].").words("the listen address"),
            setting("advertise.admin", Kind::Text, "", "HOST:PORT", "Where people and other members reach `listen.admin`; must be given where that is 0.0.0.0 or [::].").words("the listen address"),
        ],
    },
    Group {
        title: "Who may operate it",
        doc: "The owner of the process may always operate it through the Unix socket in the data folder.",
        settings: &[
            setting("admin_token_file", Kind::Path, "", "FILE", "File with a token that the admin API takes as administrator, beside those made by `sluice token create`."),
            setting("admin_token", Kind::Text, "", "SECRET", "The same token itself, in the environment alone. The commands send it too.").variable(),
        ],
    },
    Group {
        title: "Edge",
        doc: "What holds on every connection before a route is known.",
        settings: &[
            setting("edge.h2c", Kind::Switch, "false", "true|false", "HTTP/2 with prior knowledge on cleartext listeners."),
            setting("edge.drain_delay", Kind::Duration, "5s", "DURATION", "How long a draining node goes on accepting after /readyz turned, so that balancers can see it."),
            setting("edge.drain_timeout", Kind::Duration, "30s", "DURATION", "How long a draining node waits for requests to end before it cuts them off."),
            setting("edge.max_uri", Kind::Size, "8KiB", "SIZE", "Longest request target; a longer one is a 414."),
            setting("edge.max_header_bytes", Kind::Size, "32KiB", "SIZE", "Largest request head; a larger one is a 431."),
            setting("edge.max_headers", Kind::Count, "100", "N", "Most header fields of a request; more are a 431."),
            setting("edge.header_timeout", Kind::Duration, "10s", "DURATION", "How long a client may take to send a request's head."),
            setting("edge.body_idle", Kind::Duration, "60s", "DURATION", "How long a request's body may stand still."),
            setting("edge.min_rate", Kind::Size, "512B", "SIZE", "Bytes a second that a request's body must bring, beyond its first 5 s, on average of the time for which the client is waited for; a slower one is a 408. Holds until the answer begins, and not for gRPC; 0 asks for nothing."),
            setting("edge.write_stall", Kind::Duration, "30s", "DURATION", "How long a client may take nothing of its answer; then its connection is closed."),
            setting("edge.idle", Kind::Duration, "60s", "DURATION", "How long a connection is kept between two requests."),
            setting("edge.max_connections", Kind::Count, "10000", "N", "Most connections of one listener; more are closed at once."),
            setting("edge.per_address", Kind::Count, "", "N", "Most connections of one client address; trusted proxies and loopback are not counted.").words("off"),
            setting("edge.proxy_protocol", Kind::List, "", "ADDRESS,...", "Peers, by IP or CIDR, whose connections begin with a header of the PROXY protocol (version 1 or 2) that tells the client's address; one without it is closed. The connections of others never do."),
            setting("edge.max_memory", Kind::Size, "", "SIZE", "Resident memory near which load is shed; `off` for none.").words("what the control group or the machine has"),
        ],
    },
    Group {
        title: "Shared state",
        doc: "Limits and breakers counted together by all nodes.",
        settings: &[
            setting("redis.url", Kind::Text, "", "URL", "The Redis that all nodes count in: `redis://HOST:PORT`, or `rediss://HOST:PORT` for TLS; several, with commas between, where they are Sentinels or a Cluster. `--redis` for short.").words("none: each node counts for itself"),
            setting("redis.user", Kind::Text, "", "NAME", "ACL user at Redis.").words("Redis's default user"),
            setting("redis.password_file", Kind::Path, "", "FILE", "File with the password at Redis; read again at each connecting, so that it may change."),
            setting("redis.sentinel", Kind::Text, "", "NAME", "Name of the primary, where `redis.url` leads to Sentinels."),
            setting("redis.cluster", Kind::Switch, "false", "true|false", "`redis.url` leads to nodes of a Redis Cluster."),
            setting("redis.ca", Kind::Path, "", "FILE", "Certificates that a `rediss://` is held against.").words("the system's"),
            setting("redis.new_keys", Kind::Count, "20000", "N", "Keys of limits that this node may ask Redis about for the first time in one second; what is above it is judged without asking."),
        ],
    },
    Group {
        title: "Traces",
        doc: "Where traces go.",
        settings: &[
            setting("otlp.endpoint", Kind::Text, "", "URL", "OpenTelemetry collector; `--otlp` for short.").later("export of traces"),
        ],
    },
];

/// Every setting, in order.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The setting of this key, by its own or its short name.
#[must_use]
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    let key = SHORT
        .iter()
        .find(|(short, _)| *short == key)
        .map_or(key, |(_, long)| long);
    all().find(|setting| setting.key == key)
}

/// The known key that is most like `key`, if any is like it at all.
#[must_use]
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    // The right word in the wrong table is nearer than any other word.
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    if let Some(setting) = all().find(|setting| last(setting.key) == last(key)) {
        return Some(setting.key);
    }
    all()
        .map(|setting| (strsim::damerau_levenshtein(setting.key, key), setting.key))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .map(|(_, known)| known)
}
