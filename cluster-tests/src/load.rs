//! Many clients at once, each on a connection that it keeps, all answers judged.

use crate::call::{Answer, connect};
use crate::http2::{Http2, whole};
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Reasons kept word for word; the rest is counted.
const KEPT: usize = 20;
/// A client waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

type Verdict = Arc<dyn Fn(&Answer) -> Result<(), String> + Send + Sync>;

/// A connection of one client.
enum Client {
    Http1(SendRequest<Empty<bytes::Bytes>>),
    Http2(Http2),
}

/// A load to be put on some addresses.
#[derive(Clone)]
pub struct Load {
    to: Vec<SocketAddr>,
    host: String,
    paths: Vec<String>,
    connections: usize,
    /// Requests at a time on a connection of HTTP/2; 0 is HTTP/1.1.
    streams: usize,
    every: Option<Duration>,
    fresh_after: Option<usize>,
    verdict: Verdict,
}

/// A load that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    tally: Arc<Shared>,
    clients: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: AtomicUsize,
    tally: Mutex<Tally>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Whole answers that the verdict let pass.
    pub good: usize,
    /// Whole answers that it did not.
    pub bad: usize,
    /// Exchanges that broke, were reset, or took longer than 15 s.
    pub broken: usize,
    /// Connections that were refused.
    pub refused: usize,
    /// Answers that told an older version than an answer of the same node before them on the same connection.
    pub back_in_time: usize,
    /// Good answers by `Sluice-Version`; 0 where they carried none.
    pub versions: BTreeMap<u64, usize>,
    /// Good answers by `Sluice-Node`.
    pub nodes: BTreeMap<String, usize>,
    /// The first reasons, word for word.
    pub reasons: Vec<String>,
    /// The longest time between two good answers, over all clients together.
    pub longest_gap: Duration,
    last_good: Option<Instant>,
}

impl Load {
    /// Clients that go round these addresses; each asks for `/` and wants a 200.
    pub fn on(to: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            to: to.into_iter().collect(),
            host: "shop.example.com".into(),
            paths: vec!["/".into()],
            connections: 8,
            streams: 0,
            every: None,
            fresh_after: None,
            verdict: Arc::new(|answer| match answer.status.as_u16() {
                200 => Ok(()),
                status => Err(format!("{status}: {}", answer.text())),
            }),
        }
    }

    /// The Host that they ask for.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    /// The paths that they ask for in turn.
    pub fn paths<I: IntoIterator<Item: Into<String>>>(mut self, paths: I) -> Self {
        self.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// How many clients there are, each with one connection.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// They speak HTTP/2 with prior knowledge, each with so many requests at a time on its connection.
    pub fn http2(mut self, streams: usize) -> Self {
        self.streams = streams;
        self
    }

    /// Each client pauses this long between two requests; without it, it asks as fast as it is answered.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = Some(every);
        self
    }

    /// Each client takes a fresh connection after so many requests.
    pub fn fresh_after(mut self, requests: usize) -> Self {
        self.fresh_after = Some(requests);
        self
    }

    /// What makes an answer good.
    pub fn verdict(mut self, verdict: impl Fn(&Answer) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.verdict = Arc::new(verdict);
        self
    }

    /// Begins.
    pub fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Shared::default());
        let mut clients = JoinSet::new();
        for number in 0..self.connections {
            clients.spawn(client(self.clone(), number, stop.clone(), tally.clone()));
        }
        Running { stop, tally, clients }
    }
}

impl Running {
    /// Waits until so many more answers have come, good or bad.
    pub async fn answers(&self, more: usize) {
        let from = self.tally.answers.load(Ordering::Relaxed);
        crate::eventually(&format!("{more} answers"), || async {
            let come = self.tally.answers.load(Ordering::Relaxed) - from;
            if come >= more {
                Ok(())
            } else {
                Err(format!("{come} came: {:?}", self.so_far()))
            }
        })
        .await;
    }

    /// What came of it until now.
    pub fn so_far(&self) -> Tally {
        self.tally.tally.lock().expect("no holder panics").clone()
    }

    /// Lets each client finish its request, and gives the tally.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.so_far()
    }
}

impl Tally {
    /// Panics unless there were answers and every one of them was good, on connections that held.
    pub fn expect_flawless(&self) {
        let flaws = self.bad + self.broken + self.refused + self.back_in_time;
        assert!(flaws == 0 && self.good > 0, "{self:#?}");
    }

    fn note(&mut self, reason: String) {
        if self.reasons.len() < KEPT {
            self.reasons.push(reason);
        }
    }

    fn note_good(&mut self, answer: &Answer) {
        let now = Instant::now();
        if let Some(last) = self.last_good.replace(now) {
            self.longest_gap = self.longest_gap.max(now - last);
        }
        self.good += 1;
        *self.versions.entry(told_version(answer)).or_default() += 1;
        *self.nodes.entry(answer.header("sluice-node").to_owned()).or_default() += 1;
    }
}

fn told_version(answer: &Answer) -> u64 {
    answer.header("sluice-version").parse().unwrap_or(0)
}

/// One client's life: a connection, requests on it, a fresh one when it ends.
async fn client(load: Load, number: usize, stop: Arc<AtomicBool>, shared: Arc<Shared>) {
    let mut pace = load.every.map(crate::wait::beat);
    let mut turn = number;
    // What each node told last on the connection in use.
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut connection: Option<(Client, usize)> = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let (mut sender, used) = match connection.take() {
            Some((sender, used)) if load.fresh_after != Some(used) && !sender.is_closed() => (sender, used),
            _ => {
                last.clear();
                match Client::open(load.to[turn % load.to.len()], load.streams > 0).await {
                    Ok(sender) => (sender, 0),
                    Err(why) => {
                        turn += 1;
                        shared.answers.fetch_add(1, Ordering::Relaxed);
                        let mut tally = shared.tally.lock().expect("no holder panics");
                        tally.refused += 1;
                        tally.note(why);
                        continue;
                    }
                }
            }
        };
        let path = &load.paths[turn % load.paths.len()];
        turn += 1;
        let mut kept = true;
        for outcome in sender.exchange(&load, path).await {
            shared.answers.fetch_add(1, Ordering::Relaxed);
            let mut tally = shared.tally.lock().expect("no holder panics");
            match outcome {
                Ok(answer) => {
                    let (node, version) = (answer.header("sluice-node").to_owned(), told_version(&answer));
                    // Answers that overtake each other are no step back.
                    if load.streams <= 1 && last.insert(node, version).is_some_and(|before| before > version) {
                        tally.back_in_time += 1;
                    }
                    match (load.verdict)(&answer) {
                        Ok(()) => tally.note_good(&answer),
                        Err(why) => {
                            tally.bad += 1;
                            tally.note(why);
                        }
                    }
                    kept &= answer.header("connection") != "close";
                }
                Err(why) => {
                    kept = false;
                    tally.broken += 1;
                    tally.note(format!("{path}, request {used} of its connection: {why}"));
                }
            }
        }
        if kept {
            connection = Some((sender, used + 1));
        }
    }
}

impl Client {
    async fn open(to: SocketAddr, http2: bool) -> Result<Self, String> {
        if http2 {
            return Http2::connect(to)
                .await
                .map(Self::Http2)
                .map_err(|error| error.to_string());
        }
        let stream = connect(to, None).await.map_err(|error| format!("{to}: {error}"))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("{to}: {error}"))?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(connection) => connection.is_closed(),
        }
    }

    /// As many requests as the load has at a time, and what came of each.
    async fn exchange(&mut self, load: &Load, path: &str) -> Vec<Result<Answer, String>> {
        match self {
            Self::Http1(sender) => {
                let exchange = one(sender, &load.host, path);
                let outcome = tokio::time::timeout(PATIENCE, exchange).await;
                vec![outcome.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))]
            }
            Self::Http2(connection) => {
                let mut streams = JoinSet::new();
                for _ in 0..load.streams {
                    let connection = connection.clone();
                    let request = Request::get(format!("http://{}{path}", load.host)).body(whole(""));
                    streams.spawn(async move {
                        let request = request.map_err(|error| error.to_string())?;
                        connection.ask(request).await.map_err(|error| spell(&error))
                    });
                }
                streams.join_all().await
            }
        }
    }
}

async fn one(sender: &mut SendRequest<Empty<bytes::Bytes>>, host: &str, path: &str) -> Result<Answer, String> {
    // A connection that the other side closed between two requests takes none: that is no broken exchange, but a
    // request that falls on it unseen is.
    let request = Request::get(path)
        .header("host", host)
        .body(Empty::new())
        .map_err(|e| e.to_string())?;
    sender.ready().await.map_err(|error| spell(&error))?;
    let response = sender.send_request(request).await.map_err(|error| spell(&error))?;
    Answer::read(response).await.map_err(|error| error.to_string())
}

/// An error with all that brought it about.
fn spell(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, World};

    #[tokio::test]
    async fn good_bad_and_broken_are_told_apart() {
        let world = World::new();
        let good = Backend::fixed(world.service(), "fine").await;
        let load = Load::on([good.address()]).connections(3).start();
        load.answers(300).await;
        let tally = load.stop().await;
        tally.expect_flawless();
        assert!(good.journal().connections() == 3 && tally.good >= 300);

        let rude = Backend::scripted(world.service(), |mut wire, _, number| async move {
            wire.head().await?;
            if number % 2 == 0 {
                wire.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
                    .await?;
                wire.head().await?;
            }
            Ok(())
        })
        .await;
        let load = Load::on([rude.address()]).connections(2).start();
        load.answers(20).await;
        let tally = load.stop().await;
        assert!(tally.good == 0 && tally.bad > 0 && tally.broken > 0, "{tally:?}");
    }

    #[tokio::test]
    async fn a_version_that_falls_on_one_connection_is_seen() {
        let world = World::new();
        let service = Backend::scripted(world.service(), |mut wire, _, _| async move {
            for version in [2, 1, 3].iter().cycle() {
                let Some(_) = wire.head().await? else { return Ok(()) };
                let fields = format!("sluice-version: {version}\r\ncontent-length: 0\r\n");
                wire.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).await?;
            }
            Ok(())
        })
        .await;
        let load = Load::on([service.address()]).connections(1).start();
        load.answers(30).await;
        assert!(load.stop().await.back_in_time >= 9);
    }
}
