//! A rate of requests that does not wait for answers: what comes in is given, and each answer is noted with its times.
//!
//! [`Load`](crate::Load) asks as fast as it is answered; a limit has to be measured against what is offered.

use crate::call::{Answer, connect};
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A client waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Which node a request goes to.
#[derive(Debug, Clone, Copy)]
pub enum Spread {
    /// One after the other.
    RoundRobin,
    /// All to the first.
    One,
    /// All to one, and to the next one after this long.
    Shift(Duration),
}

/// A rate of requests.
#[derive(Clone)]
pub struct Offered {
    to: Vec<SocketAddr>,
    spread: Spread,
    per_second: u32,
    clients: u32,
    host: String,
    path: Arc<dyn Fn(u64) -> String + Send + Sync>,
    fields: Vec<(String, String)>,
}

/// A rate that is being offered. Dropping it ends it.
#[derive(Debug)]
pub struct Offering {
    samples: Arc<Mutex<Vec<Sample>>>,
    clients: JoinSet<()>,
    began: Instant,
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// To which address, by its place.
    pub node: usize,
    /// Since the rate began.
    pub sent: Duration,
    /// From the request to the whole answer.
    pub took: Duration,
    /// 0 where there was none.
    pub status: u16,
    /// The fields of the answer that tell of limits, and its code: `ratelimit`, `retry-after`, `code`.
    pub told: Told,
}

/// What an answer tells of limits.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The field `RateLimit`.
    pub rate_limit: String,
    /// The field `Retry-After`.
    pub retry_after: String,
    /// `code` of a problem document; of no answer, why.
    pub code: String,
}

// === impl Offered ===

impl Offered {
    /// So many requests a second for `/`, spread over these addresses.
    pub fn at(per_second: u32, to: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            to: to.into_iter().collect(),
            spread: Spread::RoundRobin,
            per_second,
            clients: 48,
            host: "shop.example.com".into(),
            path: Arc::new(|_| "/".into()),
            fields: Vec::new(),
        }
    }

    /// Which node a request goes to.
    pub fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    /// How many clients offer it; each has a connection to each node.
    pub fn clients(mut self, clients: u32) -> Self {
        self.clients = clients;
        self
    }

    /// The path of the request of this number.
    pub fn path(mut self, path: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        self.path = Arc::new(path);
        self
    }

    /// A field of each request.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Begins, for so long.
    pub fn start(self, length: Duration) -> Offering {
        let samples = Arc::default();
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            clients.spawn(client(self.clone(), number, began, length, Arc::clone(&samples)));
        }
        Offering {
            samples,
            clients,
            began,
        }
    }
}

impl Offering {
    /// Waits for its end.
    pub async fn end(mut self) -> Vec<Sample> {
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut *self.samples.lock().expect("no holder panics"))
    }

    /// When it began: what [`Sample::sent`] counts from.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The samples so far.
    pub fn so_far(&self) -> Vec<Sample> {
        self.samples.lock().expect("no holder panics").clone()
    }
}

/// One client's share: every so often a request, on time or at once where it is late.
async fn client(offered: Offered, number: u32, began: Instant, length: Duration, samples: Arc<Mutex<Vec<Sample>>>) {
    let mut connections: HashMap<usize, SendRequest<Empty<bytes::Bytes>>> = HashMap::new();
    let mut turn = u64::from(number);
    loop {
        let due = Duration::from_nanos(turn * 1_000_000_000 / u64::from(offered.per_second));
        if due >= length {
            return;
        }
        tokio::time::sleep_until((began + due).into()).await;
        let node = match offered.spread {
            Spread::RoundRobin => usize::try_from(turn % offered.to.len() as u64).expect("below the nodes' number"),
            Spread::One => 0,
            Spread::Shift(after) => {
                let shifts = due.as_nanos() / after.as_nanos();
                usize::try_from(shifts % offered.to.len() as u128).expect("below the nodes' number")
            }
        };
        let sent = began.elapsed();
        let asked = exchange(&offered, node, turn, &mut connections);
        let outcome = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let took = began.elapsed() - sent;
        let (status, told) = match outcome {
            Ok(answer) => (answer.status.as_u16(), Told::of(&answer)),
            Err(why) => {
                connections.remove(&node);
                let told = Told {
                    code: why,
                    ..Told::default()
                };
                (0, told)
            }
        };
        samples.lock().expect("no holder panics").push(Sample {
            node,
            sent,
            took,
            status,
            told,
        });
        turn += u64::from(offered.clients);
    }
}

async fn exchange(
    offered: &Offered,
    node: usize,
    turn: u64,
    connections: &mut HashMap<usize, SendRequest<Empty<bytes::Bytes>>>,
) -> Result<Answer, String> {
    let open = connections.get(&node).is_some_and(|sender| !sender.is_closed());
    if !open {
        let stream = connect(offered.to[node], None)
            .await
            .map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        connections.insert(node, sender);
    }
    let sender = connections.get_mut(&node).ok_or("no connection")?;
    let mut request = Request::get((offered.path)(turn)).header("host", &offered.host);
    for (name, value) in &offered.fields {
        request = request.header(name, value);
    }
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    sender.ready().await.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let answer = Answer::read(response).await.map_err(|error| error.to_string())?;
    if answer.header("connection") == "close" {
        connections.remove(&node);
    }
    Ok(answer)
}

// === impl Told ===

impl Told {
    fn of(answer: &Answer) -> Self {
        let code = match answer.status.as_u16() {
            200 => String::new(),
            _ => serde_json::from_slice::<serde_json::Value>(answer.text().as_bytes())
                .ok()
                .and_then(|problem| problem["code"].as_str().map(str::to_owned))
                .unwrap_or_default(),
        };
        Self {
            rate_limit: answer.header("ratelimit").to_owned(),
            retry_after: answer.header("retry-after").to_owned(),
            code,
        }
    }
}

/// The greatest number of these moments within any `window`, its end included and its beginning not.
pub fn most_within(moments: &[Duration], window: Duration) -> usize {
    let mut sorted = moments.to_vec();
    sorted.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for (place, moment) in sorted.iter().enumerate() {
        while sorted[first] + window <= *moment {
            first += 1;
        }
        most = most.max(place + 1 - first);
    }
    most
}

/// The value below which this share of the durations lies.
pub fn percentile(durations: impl IntoIterator<Item = Duration>, share: f64) -> Duration {
    let mut sorted: Vec<Duration> = durations.into_iter().collect();
    sorted.sort_unstable();
    let place = ((sorted.len() as f64) * share) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, World};

    #[test]
    fn a_window_takes_its_end_and_not_its_beginning() {
        let at = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let second = Duration::from_secs(1);
        assert_eq!(most_within(&at(&[0, 1000]), second), 1);
        assert_eq!(most_within(&at(&[0, 999]), second), 2);
        assert_eq!(most_within(&at(&[0, 500, 1000, 1400, 1499]), second), 4);
        assert_eq!(most_within(&[], second), 0);
    }

    #[tokio::test]
    async fn what_is_offered_comes_in_whatever_the_answers_are() {
        let world = World::new();
        let (a, b) = (
            Backend::fixed(world.service(), "a").await,
            Backend::fixed(world.service(), "b").await,
        );
        let samples = Offered::at(400, [a.address(), b.address()])
            .clients(8)
            .start(Duration::from_millis(500))
            .end()
            .await;
        assert_eq!(samples.len(), 200);
        assert!(samples.iter().all(|sample| sample.status == 200), "{samples:?}");
        assert_eq!((a.journal().count(), b.journal().count()), (100, 100));
        let shifted = Offered::at(400, [a.address(), b.address()])
            .clients(8)
            .spread(Spread::Shift(Duration::from_millis(250)))
            .start(Duration::from_millis(500))
            .end()
            .await;
        let first = shifted.iter().filter(|sample| sample.node == 0).count();
        assert_eq!((first, shifted.len()), (100, 200));
    }
}
