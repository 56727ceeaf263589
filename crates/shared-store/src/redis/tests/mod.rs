//! The driver beside real servers.

mod doors;
mod faults;
pub(crate) mod proxy;
pub(crate) mod server;
mod several;
mod tls;

use super::*;
use crate::backend::Reach;
use sluice_telemetry::Metrics;
use std::future::Future;
use std::time::Duration;

/// Gives its keys and arguments back.
static ECHO: Script = Script::new("echo", &["return KEYS[1] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2]"]);

/// What never comes would hang a test.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .expect("it happens within a minute")
}

struct Driver {
    redis: Redis,
    state: watch::Sender<StoreState>,
    metrics: Metrics,
}

impl Driver {
    fn start(settings: &RedisSettings) -> Self {
        let metrics = Metrics::new();
        let counted = Arc::new(StoreMetrics::new(&metrics));
        let state = watch::Sender::new(StoreState::Memory);
        let redis = Redis::start(settings, "shop", Clock::start(), counted, state.clone());
        Self { redis, state, metrics }
    }

    fn at(url: &str) -> Self {
        Self::start(&settings(url))
    }

    /// Waits until partition 0 is asked.
    async fn reached(&self) {
        self.reached_at(Partition(0)).await;
    }

    async fn reached_at(&self, partition: Partition) {
        let mut reach = self.redis.reach(partition);
        let reached = soon(reach.wait_for(|reach| *reach == Reach::Reached)).await;
        reached.expect("the store is there");
    }

    /// Waits until partition 0 is not asked, for a reason that contains this.
    async fn away(&self, because: &str) {
        let mut reach = self.redis.reach(Partition(0));
        let wait = reach.wait_for(|reach| matches!(reach, Reach::Away { why, .. } if why.contains(because)));
        let found = tokio::time::timeout(PATIENCE, wait).await.map(|found| found.is_ok());
        assert_eq!(
            found,
            Ok(true),
            "{because:?} is not {:?}",
            self.redis.reach(Partition(0)).borrow()
        );
    }

    /// Waits until the whole is so.
    async fn is(&self, so: impl FnMut(&StoreState) -> bool) -> StoreState {
        let mut state = self.state.subscribe();
        soon(state.wait_for(so)).await.expect("it is told").clone()
    }

    async fn echo(&self, text: &str) -> Result<Vec<String>, CallError> {
        self.echo_at(Partition(0), text).await
    }

    async fn echo_at(&self, partition: Partition, text: &str) -> Result<Vec<String>, CallError> {
        let reply = self.redis.call(partition, &ECHO, &[], text.as_bytes()).await?;
        let reply = String::from_utf8(reply).expect("text");
        Ok(reply.split(' ').map(str::to_owned).collect())
    }

    /// The echo of a call. One that is lost or not made is made again: on a busy machine 20 ms may pass, and a connection
    /// may just be replaced.
    async fn answered(&self, text: &str) -> Vec<String> {
        self.answered_at(Partition(0), text).await
    }

    async fn answered_at(&self, partition: Partition, text: &str) -> Vec<String> {
        soon(async {
            loop {
                match self.echo_at(partition, text).await {
                    Ok(reply) => return reply,
                    Err(CallError::Refused(why)) => panic!("refused: {why}"),
                    Err(CallError::Away | CallError::Lost) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await
    }

    /// A counter of the node's, as scraped; 0 where it is not there.
    fn counted(&self, line: &str) -> u64 {
        let text = self.metrics.encode(false);
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }
}

/// Looks until it is so. For what a server tells only when it is asked.
async fn until(mut so: impl FnMut() -> bool) {
    soon(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn settings(url: &str) -> RedisSettings {
    RedisSettings {
        urls: vec![url.parse().expect("a url")],
        ..RedisSettings::default()
    }
}
