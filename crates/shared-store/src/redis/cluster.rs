//! Which primary of a Redis Cluster has which partition: asked at the start, when a call was sent astray or a primary
//! fails, and now and then.

use super::live::Door;
use super::parts::Parts;
use super::primary::{Primary, Whereabouts};
use super::slot::slot;
use super::trouble::{Failing, Trouble};
use crate::backend::{Partition, Reach};
use crate::config::RedisUrl;
use crate::store_metrics::StoreMetrics;
use redis::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// After which a node that does not tell is passed over.
const ASK: Duration = Duration::from_millis(500);

/// How often it is asked while all is well.
const NOW_AND_THEN: Duration = Duration::from_secs(10);

/// How often while it is not, before chance shortens it.
const SOON: Duration = Duration::from_millis(400);

/// The primaries of a Cluster that have partitions of ours.
#[derive(Debug, Default)]
pub(super) struct Primaries(Mutex<BTreeMap<RedisUrl, Arc<Primary>>>);

/// Keeps it as the Cluster is.
#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<RedisUrl>,
    door: Door,
    parts: Arc<Parts>,
    metrics: Arc<StoreMetrics>,
    primaries: Arc<Primaries>,
    astray: Arc<Notify>,
}

// === impl Primaries ===

impl Primaries {
    pub(super) fn all(&self) -> Vec<Arc<Primary>> {
        self.locked().values().cloned().collect()
    }

    pub(super) fn add(&self, url: RedisUrl, primary: Arc<Primary>) {
        self.locked().insert(url, primary);
    }

    /// The one at `url`, where a slot is on its way to, as `by` said.
    pub(super) fn named(&self, url: RedisUrl, by: &Primary) -> Arc<Primary> {
        let primary = Arc::clone(self.locked().entry(url.clone()).or_insert_with(|| by.beside(url)));
        primary.note_named();
        primary
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<RedisUrl, Arc<Primary>>> {
        // A map is whole between any two of its statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Cluster ===

impl Cluster {
    pub(super) fn new(
        seeds: Vec<RedisUrl>,
        door: Door,
        parts: Arc<Parts>,
        metrics: Arc<StoreMetrics>,
        primaries: Arc<Primaries>,
    ) -> Self {
        Self {
            seeds,
            door,
            parts,
            metrics,
            primaries,
            astray: Arc::new(Notify::new()),
        }
    }

    pub(super) async fn follow(self) {
        loop {
            match self.ask().await {
                Ok(owners) => self.take(owners),
                Err(trouble) => {
                    tracing::debug!(why = %trouble, "the Redis Cluster does not tell who has which slots");
                    self.tell_unowned(&trouble);
                }
            }
            let sound = self.parts.all_reached();
            let pause = if sound {
                NOW_AND_THEN
            } else {
                SOON.mul_f64(0.5 + fastrand::f64() / 2.0)
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.astray.notified() => {
                    // Calls that went astray together are one reason to ask.
                    sleep(SOON.mul_f64(fastrand::f64() / 8.0)).await;
                }
            }
        }
    }

    /// The owner of each partition, by the first node that tells.
    async fn ask(&self) -> Result<BTreeMap<Partition, RedisUrl>, Trouble> {
        let known: Vec<RedisUrl> = self.primaries.locked().keys().cloned().collect();
        let mut why = None;
        for url in known.iter().chain(&self.seeds) {
            match timeout(ASK, self.slots(url)).await {
                Ok(Ok(ranges)) => return Ok(self.owners(&ranges)),
                Ok(Err(trouble)) => why = Some(trouble),
                Err(_) => why = Some(Trouble::Late(url.clone(), ASK.as_millis())),
            }
        }
        Err(Trouble::NoNode {
            urls: self.seeds.clone(),
            why: why.map_or_else(String::new, |why| why.to_string()),
        })
    }

    async fn slots(&self, url: &RedisUrl) -> Result<Vec<Range>, Trouble> {
        let nothing = |_: redis::PushInfo| Ok::<(), ()>(());
        let (live, _driver) = self.door.connect(url, nothing).await?;
        let reply = live.send(redis::cmd("CLUSTER").arg("SLOTS")).await.map_err(|error| {
            match Failing::of(&error, url, self.door.user.as_deref()) {
                Failing::Now(Trouble::Answered(_, said)) if said.contains("cluster support disabled") => {
                    Trouble::NoCluster(url.clone())
                }
                failing => failing.trouble(url),
            }
        })?;
        Ok(ranges(reply, url))
    }

    fn owners(&self, ranges: &[Range]) -> BTreeMap<Partition, RedisUrl> {
        let owner = |partition| {
            let slot = slot(self.parts.names().tag(partition).as_bytes());
            let range = ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
            range.map(|range| (partition, range.owner.clone()))
        };
        self.parts.all().filter_map(owner).collect()
    }

    /// Makes it so: who has lost partitions gives them up before another takes them.
    fn take(&self, owners: BTreeMap<Partition, RedisUrl>) {
        let mut wanted: BTreeMap<RedisUrl, Vec<Partition>> = BTreeMap::new();
        for (partition, url) in &owners {
            wanted.entry(url.clone()).or_default().push(*partition);
        }
        let mut primaries = self.primaries.locked();
        primaries.retain(|url, primary| {
            let stays = wanted.contains_key(url) || primary.is_named();
            if !stays {
                primary.set_mine(Vec::new());
                primary.end();
            }
            stays
        });
        for (url, primary) in primaries.iter() {
            let wanted = wanted.get(url).into_iter().flatten();
            let keeps = wanted.filter(|partition| primary.has(**partition)).copied();
            primary.set_mine(keeps.collect());
        }
        for (url, partitions) in wanted {
            let primary = primaries.entry(url.clone()).or_insert_with(|| {
                Primary::start(
                    self.door.clone(),
                    Whereabouts::Fixed(url),
                    Arc::clone(&self.parts),
                    Arc::clone(&self.metrics),
                    Arc::clone(&self.astray),
                )
            });
            for partition in &partitions {
                self.parts.give(*partition, Some(Arc::clone(primary)));
            }
            primary.set_mine(partitions);
        }
        drop(primaries);
        for partition in self.parts.all().filter(|partition| !owners.contains_key(partition)) {
            self.parts.give(partition, None);
            let slot = slot(self.parts.names().tag(partition).as_bytes());
            self.parts.set_reach(partition, &away(&Trouble::NoPrimary(slot)));
        }
    }

    /// Nobody tells: of what has no primary that is said.
    fn tell_unowned(&self, trouble: &Trouble) {
        for partition in self
            .parts
            .all()
            .filter(|partition| self.parts.primary(*partition).is_none())
        {
            self.parts.set_reach(partition, &away(trouble));
        }
    }
}

fn away(trouble: &Trouble) -> Reach {
    Reach::Away {
        since: SystemTime::now(),
        why: Arc::from(trouble.to_string()),
    }
}

/// Slots that one primary has.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    owner: RedisUrl,
}

/// `CLUSTER SLOTS`: `[first, last, [host, port, …], replicas …]`. A host that is empty or none is the one that was asked.
fn ranges(reply: Value, asked: &RedisUrl) -> Vec<Range> {
    let Value::Array(ranges) = reply else {
        return Vec::new();
    };
    let range = |range: Value| {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(owner), ..] = range.as_slice() else {
            return None;
        };
        let [host, Value::Int(port), ..] = owner.as_slice() else {
            return None;
        };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => String::from_utf8(host.clone()).ok()?,
            _ => asked.host.clone(),
        };
        Some(Range {
            first: u16::try_from(*first).ok()?,
            last: u16::try_from(*last).ok()?,
            owner: RedisUrl {
                tls: asked.tls,
                host,
                port: u16::try_from(*port).ok()?,
            },
        })
    };
    ranges.into_iter().filter_map(range).collect()
}
