//! Where Sentinels say that the primary is.

use super::live::{Door, Live};
use super::primary::Primary;
use super::trouble::{Failing, Trouble};
use crate::config::RedisUrl;
use redis::{PushInfo, PushKind, Value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// After which a Sentinel that does not answer is passed over.
const ASK: Duration = Duration::from_millis(300);

/// Between two tries to hear the Sentinels' news.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a Sentinel that is listened to has to show that it lives.
const ALIVE: Duration = Duration::from_secs(5);

/// What Sentinels publish when the primary is another one.
const SWITCH: &str = "+switch-master";

/// Sentinels that know a primary by a name.
#[derive(Debug)]
pub(super) struct Sentinels {
    urls: Vec<RedisUrl>,
    name: String,
    /// Which one answered last: it is asked first.
    turn: AtomicUsize,
    /// Where the primary was said to be.
    last: Mutex<Option<RedisUrl>>,
}

// === impl Sentinels ===

impl Sentinels {
    /// At least one url.
    pub(super) fn new(urls: Vec<RedisUrl>, name: String) -> Self {
        Self {
            urls,
            name,
            turn: AtomicUsize::new(0),
            last: Mutex::new(None),
        }
    }

    /// Asks one after the other until one knows.
    pub(super) async fn primary(&self, door: &Door) -> Result<RedisUrl, Trouble> {
        let first = self.turn.load(Ordering::Relaxed);
        let mut why = None;
        let mut known = true;
        for index in (first..first + self.urls.len()).map(|index| index % self.urls.len()) {
            let url = &self.urls[index];
            match timeout(ASK, self.ask(url, door)).await {
                Ok(Ok(Some(primary))) => {
                    self.turn.store(index, Ordering::Relaxed);
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(primary.clone());
                    return Ok(primary);
                }
                Ok(Ok(None)) => known = false,
                Ok(Err(trouble)) => why = Some(trouble),
                Err(_) => why = Some(Trouble::Late(url.clone(), ASK.as_millis())),
            }
        }
        let urls = self.urls.clone();
        Err(match why {
            Some(why) if known => Trouble::NoSentinel {
                urls,
                why: why.to_string(),
            },
            _ => Trouble::NotKnown {
                urls,
                name: self.name.clone(),
            },
        })
    }

    /// Where the primary was said to be; before that, the first Sentinel.
    pub(super) fn last(&self) -> RedisUrl {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().unwrap_or_else(|| self.urls[0].clone())
    }

    async fn ask(&self, url: &RedisUrl, door: &Door) -> Result<Option<RedisUrl>, Trouble> {
        let (live, _driver) = open(url, door, |_| ()).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let reply = live
            .send(&command)
            .await
            .map_err(|error| Failing::of(&error, url, None).trouble(url))?;
        let address: Option<(String, u16)> =
            redis::from_redis_value(reply).map_err(|error| Trouble::Answered(url.clone(), error.to_string()))?;
        Ok(address.map(|(host, port)| RedisUrl {
            tls: url.tls,
            host,
            port,
        }))
    }

    /// Hears of a switch, and lets the primary's keeper look again. Without it a switch is found when the old primary
    /// fails or refuses to write.
    pub(super) async fn follow(urls: Vec<RedisUrl>, name: String, door: Door, primary: Arc<Primary>) {
        for url in urls.iter().cycle() {
            let (name, keeper) = (name.clone(), Arc::clone(&primary));
            let heard = move |push: &PushInfo| {
                // name, old host, old port, new host, new port
                if let (PushKind::Message, [_, Value::BulkString(text)]) = (&push.kind, push.data.as_slice())
                    && text.split(|byte| *byte == b' ').next() == Some(name.as_bytes())
                {
                    tracing::info!(switch = %String::from_utf8_lossy(text), "the Sentinels made another Redis the primary");
                    keeper.leave();
                }
            };
            if let Ok(Ok((live, driver))) = timeout(ASK, open(url, &door, heard)).await
                && live.send(redis::cmd("SUBSCRIBE").arg(SWITCH)).await.is_ok()
            {
                listen(&live, driver).await;
            }
            sleep(AGAIN).await;
        }
    }
}

/// Until the connection ends, or nothing comes of it any more.
async fn listen(live: &Live, mut driver: JoinHandle<()>) {
    loop {
        tokio::select! {
            _ = &mut driver => return,
            () = sleep(ALIVE) => {
                if !matches!(timeout(ASK, live.send(&redis::cmd("PING"))).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}

/// With the user and password of the primary; where the Sentinel knows no such user, as nobody.
async fn open(
    url: &RedisUrl,
    door: &Door,
    heard: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
) -> Result<(Live, JoinHandle<()>), Trouble> {
    let push = |heard: &(dyn Fn(&PushInfo) + Send + Sync), push: PushInfo| {
        heard(&push);
        Ok::<(), ()>(())
    };
    let first = heard.clone();
    match door.connect(url, move |info| push(&first, info)).await {
        Err(Trouble::WrongPassword(..)) => {
            let nobody = Door {
                user: None,
                password_file: None,
                ..door.clone()
            };
            nobody.connect(url, move |info| push(&heard, info)).await
        }
        opened => opened,
    }
}
