//! From what was given to typed settings.

use super::fault::{Fault, Faults, Name, Origin};
use super::registry::{self, Built, Kind};
use super::sources::{Gathered, Given, Sources};
use super::{Advertise, Edge, HostPort, Listen, Listener, Loaded, Row, Settings, tokens, units};
use sluice_dataplane::MaxMemory;
use sluice_shared_store::{RedisSettings, RedisUrl};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The http crate takes no longer request target.
const LONGEST_URI: u64 = 65_534;
const MOST_WORKERS: u64 = 1024;
/// In bytes.
const LEAST_MEMORY: u64 = 64 << 20;

struct Reader {
    all: Gathered,
}

pub(super) fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let mut all = sources.gather();
    fill_defaults(&mut all, sources);
    let mut reader = Reader { all };
    let settings = reader.settings(sources);
    let Gathered {
        given,
        faults,
        warnings,
    } = reader.all;
    match settings {
        Some(settings) if faults.is_empty() => Ok(Loaded {
            settings,
            rows: rows(&given),
            warnings,
        }),
        _ => Err(Faults(faults)),
    }
}

/// Puts defaults where nothing was given, and takes out what cannot do anything yet.
fn fill_defaults(all: &mut Gathered, sources: &Sources) {
    for setting in registry::all() {
        let default = match (setting.key, setting.kind) {
            ("name", _) => sources.host_name.iter().cloned().collect(),
            (_, Kind::List | Kind::Pairs) if setting.default.is_empty() => Vec::new(),
            _ if setting.default.is_empty() => Vec::new(),
            _ => vec![setting.default.to_owned()],
        };
        if let (Built::Later(feature), Some(given)) = (setting.built, all.given.get(setting.key)) {
            // Saying what is so anyway asks for nothing.
            if given.items != default {
                all.faults.push(Fault::NotBuilt {
                    key: setting.key,
                    origin: given.origin.clone(),
                    feature,
                });
            }
            all.given.remove(setting.key);
        }
        if setting.built == Built::Yes && !setting.secret() {
            all.given.entry(setting.key).or_insert(Given {
                items: default,
                origin: Origin::Default,
            });
        }
    }
}

fn rows(given: &BTreeMap<&'static str, Given>) -> Vec<Row> {
    let rows = registry::all().filter_map(|setting| {
        let given = given.get(setting.key)?;
        let (origin, from) = match &given.origin {
            Origin::Flag(_) => ("flag", Some(given.origin.to_string())),
            Origin::Variable(_) => ("environment", Some(given.origin.to_string())),
            Origin::File { .. } => ("file", Some(given.origin.to_string())),
            Origin::Default => ("default", None),
        };
        Some(Row {
            name: setting.key,
            value: if setting.secret() {
                "(not shown)".to_owned()
            } else {
                given.items.join(",")
            },
            origin,
            from,
        })
    });
    rows.collect()
}

impl Reader {
    fn given(&self, key: &'static str) -> Given {
        self.all.given.get(key).cloned().unwrap_or(Given {
            items: Vec::new(),
            origin: Origin::Default,
        })
    }

    fn invalid(&mut self, key: &'static str, why: String) {
        let origin = self.given(key).origin;
        self.all.faults.push(Fault::Invalid { key, origin, why });
    }

    /// The one value, or nothing where none is given or it was refused (then the fault is kept).
    fn one<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.given(key);
        let text = given.items.last()?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.invalid(key, why);
                None
            }
        }
    }

    fn list<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut values = Vec::new();
        for item in self.given(key).items {
            match parse(&item) {
                Ok(value) => values.push(value),
                Err(why) => self.invalid(key, why),
            }
        }
        values
    }

    fn pairs<T>(&mut self, key: &'static str, parse: impl Fn(&str, &str) -> Result<T, String>) -> BTreeMap<String, T> {
        let mut values = BTreeMap::new();
        for item in self.given(key).items {
            let pair = match item.split_once('=') {
                Some((name, value)) => parse(name, value).map(|value| (name.to_owned(), value)),
                None => Err(format!("{item:?} is not NAME=VALUE")),
            };
            match pair {
                Ok((name, value)) => {
                    if values.insert(name.clone(), value).is_some() {
                        self.invalid(key, format!("{name:?} is there twice"));
                    }
                }
                Err(why) => self.invalid(key, why),
            }
        }
        values
    }

    fn token(&mut self, direct: &'static str, file: &'static str) -> Option<super::Token> {
        let said = |key: &'static str| {
            self.all
                .given
                .get(key)
                .filter(|given| !given.items.is_empty())
                .map(|given| (key, given))
        };
        tokens::token(said(direct), said(file), &mut self.all.faults, &mut self.all.warnings)
    }

    fn settings(&mut self, sources: &Sources) -> Option<Settings> {
        let cluster = self.one("cluster", units::name);
        let name = self.one("name", units::name);
        if self.given("name").items.is_empty() {
            self.all.faults.push(Fault::Missing {
                key: Name("name"),
                why: "the machine does not tell its own".to_owned(),
            });
        }
        let data = self.one("data", |text| match text {
            "" => Err("it is empty: name a folder".to_owned()),
            path => Ok(PathBuf::from(path)),
        });
        let workers = self.one("workers", |text| match units::count(text)? {
            0 => Ok(sources.cores),
            n if n <= MOST_WORKERS => Ok(NonZeroUsize::new(n as usize).unwrap_or(NonZeroUsize::MIN)),
            n => Err(format!("{n} is more than {MOST_WORKERS}; 0 takes one per core")),
        });
        let zone = self.one("zone", units::name);
        let labels = self.pairs("labels", |name, value| {
            units::name(name)?;
            match value {
                value if value.len() <= 63 && value.chars().all(|c| !c.is_control()) => Ok(value.to_owned()),
                _ => Err(format!(
                    "the value of {name:?} has more than 63 bytes, or control characters"
                )),
            }
        });
        let ephemeral = self.one("ephemeral", units::switch);
        let listen = self.listen();
        let advertise = Advertise {
            peer: self.one("advertise.peer", units::host_port),
            admin: self.one("advertise.admin", units::host_port),
        };
        let edge = self.edge();
        let redis = self.redis();
        let new_keys = self.one("redis.new_keys", |text| match units::count(text)? {
            0 => Err("it may not be 0: no limit would ever be counted together".to_owned()),
            n => u32::try_from(n).map_err(|_| format!("{n} is more than {}", u32::MAX)),
        });
        let initial = self.pairs("initial", |name, address| {
            units::name(name)?;
            units::host_port(address)
        });
        let join = self.list("join", units::host_port);
        let cluster_token = self.token("cluster_token", "cluster_token_file");
        let admin_token = self.token("admin_token", "admin_token_file");

        let settings = Settings {
            cluster: cluster?,
            name: name?,
            data: data?,
            zone,
            labels,
            ephemeral: ephemeral?,
            workers: workers?,
            initial,
            join,
            cluster_token,
            admin_token,
            listen: listen?,
            advertise,
            edge: edge?,
            redis,
            new_keys: new_keys?,
        };
        self.membership(&settings);
        self.reachable(&settings);
        self.ports(&settings.listen);
        Some(settings)
    }

    fn listen(&mut self) -> Option<Listen> {
        let public = self.list("listen.http", units::address);
        let named = self.pairs("listen.named", |name, url| {
            if matches!(name, "public" | "admin" | "peer") {
                return Err(format!(
                    "{name:?} is the name of a listener that every node has: choose another"
                ));
            }
            if name.is_empty()
                || name.len() > 63
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            {
                return Err(format!(
                    "{name:?} is not the name of a listener: write lower-case letters, digits and dashes"
                ));
            }
            if url.starts_with("https://") {
                return Err(format!(
                    "{name:?}: TLS listeners are not built yet: write http://IP:PORT"
                ));
            }
            let address = url
                .strip_prefix("http://")
                .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
            let address = address.ok_or_else(|| format!("{url:?} has no scheme: write http://IP:PORT"))?;
            units::address(address)
        });
        if public.is_empty() && named.is_empty() && self.given("listen.http").items.is_empty() {
            self.invalid(
                "listen.http",
                "without any listener the node cannot serve: write at least one address".to_owned(),
            );
        }
        let admin = self.one("listen.admin", units::address);
        let peer = self.one("listen.peer", units::address);
        let public = public.into_iter().map(|address| Listener {
            name: "public".to_owned(),
            address,
        });
        let named = named.into_iter().map(|(name, address)| Listener { name, address });
        Some(Listen {
            traffic: public.chain(named).collect(),
            admin: admin?,
            peer: peer?,
        })
    }

    fn edge(&mut self) -> Option<Edge> {
        let between = |low: u64, high: u64| {
            move |n: u64| {
                if (low..=high).contains(&n) {
                    Ok(n as usize)
                } else {
                    Err(format!("{n} is not between {low} and {high}"))
                }
            }
        };
        let h2c = self.one("edge.h2c", units::switch);
        let at_most = |high: u64| {
            move |n: u64| match n {
                n if n <= high => Ok(n),
                n => Err(format!("{n} is more than {high}")),
            }
        };
        let drain_delay = self.one("edge.drain_delay", units::duration);
        let drain_timeout = self.one("edge.drain_timeout", units::duration);
        let max_uri = self.one("edge.max_uri", |text| {
            units::size(text).and_then(between(64, LONGEST_URI))
        });
        let max_header_bytes = self.one("edge.max_header_bytes", |text| {
            units::size(text).and_then(between(1024, 1 << 20))
        });
        let max_headers = self.one("edge.max_headers", |text| {
            units::count(text).and_then(between(1, 10_000))
        });
        let header_timeout = self.one("edge.header_timeout", units::some_duration);
        let body_idle = self.one("edge.body_idle", units::some_duration);
        let min_rate = self.one("edge.min_rate", |text| units::size(text).and_then(at_most(1 << 30)));
        let write_stall = self.one("edge.write_stall", units::some_duration);
        let idle = self.one("edge.idle", units::some_duration);
        let max_connections = self.one("edge.max_connections", |text| {
            units::count(text).and_then(between(1, 10_000_000))
        });
        let per_address = self.one("edge.per_address", |text| match text {
            "off" => Ok(None),
            text => match units::count(text)? {
                0 => Err("it may not be 0: nobody could connect; leave it out to switch it off".to_owned()),
                n => u32::try_from(n)
                    .map(Some)
                    .map_err(|_| format!("{n} is more than {}", u32::MAX)),
            },
        });
        let proxy_protocol = self.list("edge.proxy_protocol", units::network);
        let max_memory = self.one("edge.max_memory", |text| match text {
            "off" => Ok(MaxMemory::Unbounded),
            text => units::size(text).and_then(|bytes| match bytes {
                ..LEAST_MEMORY => Err(format!(
                    "{bytes} bytes are less than a node needs by itself: give it at least 64MiB"
                )),
                bytes => Ok(MaxMemory::Bytes(bytes)),
            }),
        });
        let edge = Edge {
            h2c: h2c?,
            drain_delay: drain_delay?,
            drain_timeout: drain_timeout?,
            max_uri: max_uri?,
            max_header_bytes: max_header_bytes?,
            max_headers: max_headers?,
            header_timeout: header_timeout?,
            body_idle: body_idle?,
            min_rate: min_rate?,
            write_stall: write_stall?,
            idle: idle?,
            max_connections: max_connections?,
            per_address: per_address.flatten(),
            proxy_protocol,
            max_memory: max_memory.unwrap_or(MaxMemory::Found),
        };
        if edge.max_uri > edge.max_header_bytes {
            self.invalid(
                "edge.max_uri",
                format!(
                    "it is larger than edge.max_header_bytes ({} bytes), which holds the request's first line too",
                    edge.max_header_bytes
                ),
            );
        }
        Some(edge)
    }

    fn redis(&mut self) -> Option<RedisSettings> {
        let urls = self.one("redis.url", |text| {
            let url = |url: &str| {
                url.parse()
                    .map_err(|why| format!("{url:?} is no address of a Redis: {why}"))
            };
            text.split(',')
                .map(str::trim)
                .map(url)
                .collect::<Result<Vec<RedisUrl>, _>>()
        });
        let word = |text: &str| match text {
            "" => Err("it is empty".to_owned()),
            text => Ok(text.to_owned()),
        };
        let path = |text: &str| word(text).map(PathBuf::from);
        let settings = RedisSettings {
            urls: urls.unwrap_or_default(),
            user: self.one("redis.user", word),
            password_file: self.one("redis.password_file", path),
            sentinel: self.one("redis.sentinel", word),
            ca: self.one("redis.ca", path),
            cluster: self.one("redis.cluster", units::switch).unwrap_or_default(),
        };
        let RedisSettings { urls, .. } = &settings;
        let said = [
            ("redis.user", settings.user.is_some()),
            ("redis.password_file", settings.password_file.is_some()),
            ("redis.sentinel", settings.sentinel.is_some()),
            ("redis.ca", settings.ca.is_some()),
            ("redis.cluster", settings.cluster),
        ];
        if urls.is_empty() {
            // One that cannot be read was told already.
            if self.given("redis.url").items.is_empty() {
                for (key, _) in said.iter().filter(|(_, said)| *said) {
                    self.invalid(
                        key,
                        "it says how Redis is reached, but not where: set redis.url too".to_owned(),
                    );
                }
            }
            return None;
        }
        if settings.sentinel.is_some() && settings.cluster {
            self.all.faults.push(Fault::Clash(
                "redis.sentinel and redis.cluster are both set: a Redis Cluster has no Sentinels; leave one out"
                    .to_owned(),
            ));
        }
        if urls.len() > 1 && settings.sentinel.is_none() && !settings.cluster {
            let why =
                "it names several: say what they are by redis.sentinel or redis.cluster, or name the primary alone";
            self.invalid("redis.url", why.to_owned());
        }
        if settings.ca.is_some() && !urls.iter().any(|url| url.tls) {
            self.invalid(
                "redis.ca",
                "redis.url does not begin with rediss://, so nothing is held against it".to_owned(),
            );
        }
        Some(settings)
    }

    fn membership(&mut self, settings: &Settings) {
        let Settings {
            name, initial, join, ..
        } = settings;
        if !initial.is_empty() && !join.is_empty() {
            self.all.faults.push(Fault::Clash(
                "initial and join are both set: initial is for the first members of a new cluster, join for a node that comes later; leave one out".to_owned(),
            ));
        }
        if !initial.is_empty() && !initial.contains_key(name) {
            let names = initial.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.invalid("initial", format!("it names {names}, but this node is {name:?}: add it, or set name; a node that comes later uses join"));
        }
        let mut seen: BTreeMap<&HostPort, &String> = BTreeMap::new();
        for (name, address) in initial {
            if let Some(other) = seen.insert(address, name) {
                self.invalid("initial", format!("{other} and {name} have the same address {address}"));
            }
        }
        let alone = join.is_empty() && initial.len() <= 1;
        if !alone && settings.cluster_token.is_none() && !self.all.faults.iter().any(about_cluster_token) {
            self.all.faults.push(Fault::Missing {
                key: Name("cluster_token_file"),
                why: "members show each other a secret; put the same 32 or more random characters into a file of each node (`openssl rand -hex 32`), or into SLUICE_CLUSTER_TOKEN".to_owned(),
            });
        }
    }

    fn reachable(&mut self, settings: &Settings) {
        let mut check = |key, listen: SocketAddr, said: &Option<HostPort>, what: &str, known: Option<&HostPort>| {
            if listen.ip().is_unspecified() && said.is_none() {
                let hint = known.map_or_else(String::new, |address| format!(" (initial calls this node {address})"));
                self.all.faults.push(Fault::Missing {
                    key: Name(key),
                    why: format!("{what} listens on every address ({listen}), and the others must be told one that they can reach{hint}"),
                });
            }
        };
        let own = settings.initial.get(&settings.name);
        check(
            "advertise.peer",
            settings.listen.peer,
            &settings.advertise.peer,
            "listen.peer",
            own,
        );
        check(
            "advertise.admin",
            settings.listen.admin,
            &settings.advertise.admin,
            "listen.admin",
            None,
        );
        let loopback = settings.advertise.peer.is_none() && settings.listen.peer.ip().is_loopback();
        let elsewhere = |address: &HostPort| {
            address
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| !ip.is_loopback())
        };
        if loopback && settings.initial.values().chain(&settings.join).any(elsewhere) {
            self.all.warnings.push(format!(
                "listen.peer is {}, which only this machine can reach, yet other members are elsewhere: set listen.peer to an address of the network",
                settings.listen.peer
            ));
        }
    }

    fn ports(&mut self, listen: &Listen) {
        let traffic = listen.traffic.iter().map(|listener| match listener.name.as_str() {
            "public" => ("listen.http".to_owned(), listener.address),
            name => (format!("listen.named {name}"), listener.address),
        });
        let others = [
            ("listen.admin".to_owned(), listen.admin),
            ("listen.peer".to_owned(), listen.peer),
        ];
        let all: Vec<_> = traffic.chain(others).collect();
        for (n, (name, address)) in all.iter().enumerate() {
            for (other_name, other) in all.iter().skip(n + 1) {
                let same_host =
                    address.ip() == other.ip() || address.ip().is_unspecified() || other.ip().is_unspecified();
                if address.port() != 0 && address.port() == other.port() && same_host {
                    self.all.faults.push(Fault::Clash(format!(
                        "{name} ({address}) and {other_name} ({other}) take the same port: give one of them another"
                    )));
                }
            }
        }
    }
}

fn about_cluster_token(fault: &Fault) -> bool {
    match fault {
        Fault::Invalid { key, .. } => key.starts_with("cluster_token"),
        Fault::Clash(why) => why.contains("cluster_token"),
        _ => false,
    }
}
