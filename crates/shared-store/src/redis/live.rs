//! A connection to one Redis: made and looked at before anything relies on it, then shared by all calls.

use super::script::Script;
use super::scripts;
use super::stream::{Heard, Stream};
use super::trouble::{Failing, Trouble};
use crate::clock::Clock;
use crate::config::{RedisSettings, RedisUrl};
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, Value,
};
use sluice_shared_state::Moment;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

/// After which a Redis that was connected to, and does not say what it is, is given up. Nobody waits for it.
const GREETING: Duration = Duration::from_secs(1);

/// Calls that may be written and not yet sent.
const BACKLOG: usize = 1024;

/// A connection. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Live {
    connection: MultiplexedConnection,
    facts: Facts,
    heard: Heard,
    driver: AbortHandle,
    misaligned: Arc<AtomicBool>,
}

/// A script, the keys that it is about, and what is said to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'c> {
    pub(super) script: &'static Script,
    /// The partition's epoch, which comes before all other keys.
    pub(super) epoch: &'c str,
    pub(super) keys: &'c [String],
    pub(super) said: &'c [u8],
    /// The keys' slot is on its way to who is called, and is another's still.
    pub(super) asking: bool,
}

/// As whom a Redis is spoken to.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cluster: bool,
    pub(super) clock: Clock,
}

/// What a Redis says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// Random for each process.
    pub(super) run: String,
    version: String,
    mode: String,
    role: String,
    primary: String,
    /// Why what is kept in it may vanish.
    pub(super) doubt: Option<String>,
}

// === impl Door ===

impl Door {
    pub(super) fn new(settings: &RedisSettings, clock: Clock) -> Self {
        Self {
            user: settings.user.clone(),
            password_file: settings.password_file.clone(),
            ca: settings.ca.clone(),
            cluster: settings.cluster,
            clock,
        }
    }

    /// Connects to a primary, makes sure that it is one, and makes the scripts known to it. The task ends when the
    /// connection does.
    pub(super) async fn primary(
        &self,
        url: &RedisUrl,
        push: impl AsyncPushSender,
    ) -> Result<(Live, JoinHandle<()>), Trouble> {
        let greeting = async {
            let (mut live, driver) = self.connect(url, push).await?;
            live.facts = live.ask_facts(url, self.user.as_deref()).await?;
            live.facts.check(url, self.cluster)?;
            live.prepare().await;
            Ok((live, driver))
        };
        timeout(GREETING, greeting)
            .await
            .unwrap_or_else(|_| Err(Trouble::Late(url.clone(), GREETING.as_millis())))
    }

    /// Connects to whatever it is: a Sentinel, any node of a Cluster.
    pub(super) async fn connect(
        &self,
        url: &RedisUrl,
        push: impl AsyncPushSender,
    ) -> Result<(Live, JoinHandle<()>), Trouble> {
        let password = self.password().await?;
        match self.greet(url, ProtocolVersion::RESP3, password.as_deref(), push).await {
            Ok(greeted) => Ok(greeted),
            Err(Greeting::Connecting(trouble)) => Err(trouble),
            Err(Greeting::Refused(error)) if error.kind() == ErrorKind::RESP3NotSupported => {
                Err(self.too_old(url, password.as_deref()).await)
            }
            Err(Greeting::Refused(error)) => Err(Failing::of(&error, url, self.user.as_deref()).trouble(url)),
        }
    }

    async fn greet(
        &self,
        url: &RedisUrl,
        protocol: ProtocolVersion,
        password: Option<&str>,
        push: impl AsyncPushSender,
    ) -> Result<(Live, JoinHandle<()>), Greeting> {
        let stream = Stream::connect(url, self.ca.as_deref(), self.clock)
            .await
            .map_err(Greeting::Connecting)?;
        let heard = stream.heard();
        let mut info = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_skip_set_lib_name();
        if let Some(password) = password {
            info = info.set_password(password);
            if let Some(user) = &self.user {
                info = info.set_username(user);
            }
        }
        // Times are kept by who calls; the crate's would only end what it shares.
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(BACKLOG);
        let misaligned = Arc::new(AtomicBool::new(false));
        if protocol == ProtocolVersion::RESP3 {
            let misaligned = Arc::clone(&misaligned);
            config = config.set_push_sender(move |info: PushInfo| {
                // A node of a Cluster that gives a slot away ends what is subscribed of it, unasked. The crate takes that
                // for the reply to the oldest call under way, so that each call would get the reply of the one before it.
                if info.kind == PushKind::SUnsubscribe {
                    misaligned.store(true, Ordering::Release);
                }
                push.send(info)
            });
        }
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(Greeting::Refused)?;
        let driver = tokio::spawn(driver);
        let live = Live {
            connection,
            facts: Facts::default(),
            heard,
            driver: driver.abort_handle(),
            misaligned,
        };
        Ok((live, driver))
    }

    /// The password, as it is now. Reads a file: not on a runtime's thread.
    async fn password(&self) -> Result<Option<String>, Trouble> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| Trouble::PasswordFile(path.clone(), error.to_string()))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// It does not know the greeting of 6.0: what it is, it tells in the older protocol.
    async fn too_old(&self, url: &RedisUrl, password: Option<&str>) -> Trouble {
        let nobody = |_: PushInfo| Ok::<(), ()>(());
        let version = match self.greet(url, ProtocolVersion::RESP2, password, nobody).await {
            Ok((live, _)) => live.ask_facts(url, None).await.map(|facts| facts.version).ok(),
            Err(_) => None,
        };
        let version = version.filter(|version| !version.is_empty());
        Trouble::TooOld(
            url.clone(),
            version.unwrap_or_else(|| "of an unknown version".to_owned()),
            OLDEST,
        )
    }
}

/// Why no connection came about.
enum Greeting {
    Connecting(Trouble),
    Refused(RedisError),
}

// === impl Live ===

impl Live {
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// When something last came from it.
    pub(super) fn heard(&self) -> Moment {
        self.heard.last()
    }

    /// Ends it for all who hold it.
    pub(super) fn end(&self) {
        self.driver.abort();
    }

    /// Runs a script. One that is not known there is sent whole.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Vec<u8>, RedisError> {
        let by_hash = self.eval(call, "EVALSHA", call.script.hash()).await;
        let reply = match by_hash {
            Err(error) if error.code() == Some("NOSCRIPT") => self.eval(call, "EVAL", call.script.text()).await?,
            other => other?,
        };
        match reply {
            Value::BulkString(bytes) => Ok(bytes),
            // Not what a script of ours answers: nothing that comes of this connection can be believed.
            _ => Err(self.disbelieve()),
        }
    }

    async fn eval(&self, call: &Call<'_>, how: &str, what: &str) -> Result<Value, RedisError> {
        let mut command = redis::cmd(how);
        command
            .arg(what)
            .arg(call.keys.len() + 1)
            .arg(call.epoch)
            .arg(call.keys);
        command.arg(self.facts.run.as_str()).arg(call.said);
        if !call.asking {
            return self.send(&command).await;
        }
        // It holds for the one command that follows on the connection: they are written together, so that no other call
        // comes between.
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command);
        let mut replies = self.connection.clone().send_packed_commands(&both, 1, 1).await?;
        self.believed(replies.pop().unwrap_or(Value::Nil))
    }

    /// Makes every script known there, so that no request pays for a key's first call with a second one and with the time
    /// that Redis takes to compile. Where it is not allowed, or lost later, a call sends the text.
    async fn prepare(&self) {
        let mut all = redis::pipe();
        for script in scripts::ALL {
            all.cmd("SCRIPT").arg("LOAD").arg(script.text());
        }
        let loaded = self
            .connection
            .clone()
            .send_packed_commands(&all, 0, scripts::ALL.len())
            .await;
        let refused = match loaded {
            Ok(replies) => replies.into_iter().find_map(|reply| reply.extract_error().err()),
            Err(error) => Some(error),
        };
        if let Some(why) = refused {
            tracing::debug!(%why, "scripts are not known to Redis before they are called");
        }
    }

    /// Any command.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        // The handle of a shared connection; cloning it opens none.
        let reply = self.connection.clone().send_packed_command(command).await?;
        self.believed(reply)
    }

    fn believed(&self, reply: Value) -> Result<Value, RedisError> {
        // Set before the first reply that went to the wrong call was handed over.
        if self.misaligned.load(Ordering::Acquire) {
            return Err(self.disbelieve());
        }
        reply.extract_error()
    }

    /// Ends the connection.
    fn disbelieve(&self) -> RedisError {
        self.end();
        (ErrorKind::Client, "a reply was not to what was asked").into()
    }

    async fn ask_facts(&self, url: &RedisUrl, user: Option<&str>) -> Result<Facts, Trouble> {
        let info = self
            .send(&redis::cmd("INFO"))
            .await
            .map_err(|error| Failing::of(&error, url, user).trouble(url))?;
        let text: String =
            redis::from_redis_value(info).map_err(|error| Trouble::Answered(url.clone(), error.to_string()))?;
        Ok(Facts::read(&text))
    }

    /// Whether what is kept there may vanish, as of now.
    pub(super) async fn doubt(&self, url: &RedisUrl) -> Option<String> {
        let asked = timeout(GREETING, self.ask_facts(url, None)).await;
        match asked {
            Ok(Ok(facts)) => facts.doubt,
            // It answered when it was connected to.
            _ => self.facts.doubt.clone(),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The oldest Redis that speaks RESP3 and has ACLs.
const OLDEST: &str = "6.0";
/// The oldest whose Cluster publishes within a shard.
const OLDEST_CLUSTER: &str = "7.0";

// === impl Facts ===

impl Facts {
    fn read(info: &str) -> Self {
        let fields: HashMap<&str, &str> = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let policy = field("maxmemory_policy");
        let bounded = !matches!(field("maxmemory"), "0" | "");
        let doubt = (bounded && policy.starts_with("allkeys")).then(|| {
            format!(
                "it evicts any key when its memory is full (maxmemory-policy {policy}): counts may vanish, and limits \
                 admit too much then; use noeviction or volatile-ttl"
            )
        });
        Self {
            run: field("run_id").to_owned(),
            version: field("redis_version").to_owned(),
            mode: field("redis_mode").to_owned(),
            role: field("role").to_owned(),
            primary: match field("master_host") {
                "" => String::new(),
                host => format!(" of {host}:{}", field("master_port")),
            },
            doubt,
        }
    }

    fn check(&self, url: &RedisUrl, cluster: bool) -> Result<(), Trouble> {
        let url = || url.clone();
        let oldest = if cluster { OLDEST_CLUSTER } else { OLDEST };
        if number(&self.version) < number(oldest) {
            return Err(Trouble::TooOld(url(), self.version.clone(), oldest));
        }
        match (self.mode.as_str(), cluster) {
            ("sentinel", _) => Err(Trouble::IsSentinel(url())),
            ("cluster", false) => Err(Trouble::IsCluster(url())),
            (mode, true) if mode != "cluster" => Err(Trouble::NoCluster(url())),
            _ if self.role == "slave" => Err(Trouble::Replica(url(), self.primary.clone())),
            _ => Ok(()),
        }
    }
}

/// The first two numbers of a version; zeros where it has none.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> RedisUrl {
        RedisUrl {
            tls: false,
            host: "cache".into(),
            port: 6379,
        }
    }

    fn facts(text: &str) -> Facts {
        Facts::read(&text.replace(' ', "\r\n"))
    }

    const SOUND: &str = "redis_version:7.0.15 redis_mode:standalone run_id:ab12 role:master";

    #[test]
    fn a_primary_of_its_own_is_taken() {
        let facts = facts(SOUND);
        assert_eq!(facts.check(&url(), false), Ok(()));
        assert_eq!((facts.run.as_str(), &facts.doubt), ("ab12", &None));
    }

    #[test]
    fn what_is_no_primary_for_us_is_named() {
        for (change, cluster, told) in [
            (
                ("7.0.15", "5.0.14"),
                false,
                "redis://cache:6379 is Redis 5.0.14; 6.0 or later is needed",
            ),
            (
                ("7.0.15", "6.2.1"),
                true,
                "redis://cache:6379 is Redis 6.2.1; 7.0 or later is needed",
            ),
            (
                ("standalone", "sentinel"),
                false,
                "redis://cache:6379 is a Sentinel: say the name of its primary by redis.sentinel",
            ),
            (
                ("standalone", "cluster"),
                false,
                "redis://cache:6379 is a node of a Redis Cluster: set redis.cluster",
            ),
            (
                ("", ""),
                true,
                "redis://cache:6379 is not a node of a Redis Cluster, as redis.cluster says",
            ),
            (
                ("role:master", "role:slave master_host:10.0.0.7 master_port:6380"),
                false,
                "redis://cache:6379 is a read-only replica of 10.0.0.7:6380; a primary is needed",
            ),
        ] {
            let facts = facts(&SOUND.replace(change.0, change.1));
            let trouble = facts.check(&url(), cluster).map_err(|trouble| trouble.to_string());
            assert_eq!(trouble, Err(told.to_owned()));
        }
    }

    #[test]
    fn a_store_that_evicts_any_key_is_doubted() {
        let evicting = |memory| facts(&format!("{SOUND} {memory}")).doubt.is_some();
        assert!(evicting("maxmemory:1000 maxmemory_policy:allkeys-lru"));
        assert!(evicting("maxmemory:1000 maxmemory_policy:allkeys-random"));
        assert!(!evicting("maxmemory:1000 maxmemory_policy:noeviction"));
        assert!(!evicting("maxmemory:1000 maxmemory_policy:volatile-ttl"));
        assert!(
            !evicting("maxmemory:0 maxmemory_policy:allkeys-lru"),
            "it never fills up"
        );
    }
}
