//! Names of targets, looked up by the system, off the workers.

use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often a known name is looked up again.
pub const REFRESH: Duration = Duration::from_secs(30);

/// A name that could not be looked up is tried again at the next need, but not more often.
const RETRY: Duration = Duration::from_secs(1);

/// Looks names up, once for all workers that need them: at once when a name becomes known, then
/// every [`REFRESH`]. The last good answer stays when a later look-up fails. A name that nobody
/// needs any more is forgotten. Clones share.
#[derive(Clone)]
pub struct Resolver(Arc<Names>);

/// How a name becomes addresses.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `host`, the preferred first.
    fn lookup(&self, host: Arc<str>) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver, its hosts file included (`getaddrinfo`, on a thread that may block).
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

struct Names {
    runtime: Handle,
    lookup: Box<dyn Lookup>,
    refresh: Duration,
    names: Mutex<HashMap<Arc<str>, Weak<Name>>>,
}

/// One name, for as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Name {
    known: watch::Receiver<Known>,
    wanted: Arc<Notify>,
}

#[derive(Debug, Clone)]
enum Known {
    NotYet,
    Addresses(Arc<[IpAddr]>),
    Failed { why: Arc<str>, at: Instant },
}

// === impl Resolver ===

impl Resolver {
    /// By the system's resolver, on `runtime`, which is not a worker's.
    #[must_use]
    pub fn system(runtime: Handle) -> Self {
        Self::new(runtime, REFRESH, System)
    }

    /// By `lookup`, every `refresh`.
    #[must_use]
    pub fn new(runtime: Handle, refresh: Duration, lookup: impl Lookup) -> Self {
        Self(Arc::new(Names {
            runtime,
            lookup: Box::new(lookup),
            refresh,
            names: Mutex::default(),
        }))
    }

    pub(crate) fn name(&self, host: &str) -> Arc<Name> {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host).and_then(Weak::upgrade) {
            return name;
        }
        names.retain(|_, name| name.strong_count() > 0);
        let host: Arc<str> = host.into();
        let (tell, known) = watch::channel(Known::NotYet);
        let wanted = Arc::new(Notify::new());
        let name = Arc::new(Name {
            known,
            wanted: Arc::clone(&wanted),
        });
        names.insert(Arc::clone(&host), Arc::downgrade(&name));
        self.0.runtime.spawn(keep(Arc::clone(&self.0), host, tell, wanted));
        name
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("refresh", &self.0.refresh)
            .finish_non_exhaustive()
    }
}

impl Lookup for System {
    fn lookup(&self, host: Arc<str>) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((&*host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The life of a name: ends when nobody listens.
async fn keep(names: Arc<Names>, host: Arc<str>, tell: watch::Sender<Known>, wanted: Arc<Notify>) {
    loop {
        let found = tokio::select! {
            found = names.lookup.lookup(Arc::clone(&host)) => found,
            () = tell.closed() => return,
        };
        let failed = match found.map(distinct) {
            Ok(addresses) if addresses.is_empty() => Some("no addresses".into()),
            Ok(addresses) => {
                tell.send_replace(Known::Addresses(addresses));
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = failed {
            let keeps = matches!(&*tell.borrow(), Known::Addresses(_));
            if keeps {
                tracing::warn!(
                    host = &*host,
                    error = why,
                    "a target's name cannot be looked up; its last addresses stay"
                );
            } else {
                tracing::warn!(host = &*host, error = why, "a target's name cannot be looked up");
                tell.send_replace(Known::Failed {
                    why: why.into(),
                    at: Instant::now(),
                });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(names.refresh) => {}
            () = wanted.notified() => {}
            () = tell.closed() => return,
        }
    }
}

fn distinct(mut addresses: Vec<IpAddr>) -> Arc<[IpAddr]> {
    let mut seen = Vec::with_capacity(addresses.len());
    addresses.retain(|address| {
        let new = !seen.contains(address);
        seen.push(*address);
        new
    });
    addresses.into()
}

// === impl Name ===

impl Name {
    /// The addresses, never none. Waits where the first look-up is under way, and looks up again
    /// where the last one failed.
    ///
    /// # Errors
    ///
    /// What the look-up said.
    pub(crate) async fn addresses(&self) -> Result<Arc<[IpAddr]>, Arc<str>> {
        let mut known = self.known.clone();
        loop {
            match &*known.borrow_and_update() {
                Known::Addresses(addresses) => return Ok(Arc::clone(addresses)),
                Known::NotYet => {}
                Known::Failed { why, at } if at.elapsed() < RETRY => return Err(Arc::clone(why)),
                Known::Failed { .. } => self.wanted.notify_one(),
            }
            if known.changed().await.is_err() {
                return Err("the resolver has stopped".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::VecDeque;

    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<VecDeque<io::Result<Vec<IpAddr>>>>>, Arc<Mutex<u32>>);

    impl Script {
        fn then(self, answer: Result<&[u8], &str>) -> Self {
            let answer = match answer {
                Ok(last) => Ok(last.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect()),
                Err(why) => Err(io::Error::other(why.to_owned())),
            };
            self.0.lock().unwrap().push_back(answer);
            self
        }

        fn asked(&self) -> u32 {
            *self.1.lock().unwrap()
        }
    }

    impl Lookup for Script {
        fn lookup(&self, _: Arc<str>) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            *self.1.lock().unwrap() += 1;
            let answer = self
                .0
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or_else(|| Err(io::Error::other("script ended")));
            Box::pin(std::future::ready(answer))
        }
    }

    fn resolver(script: &Script, refresh: Duration) -> Resolver {
        Resolver::new(Handle::current(), refresh, script.clone())
    }

    #[tokio::test]
    async fn an_answer_is_looked_up_once_for_all_and_its_doubles_dropped() {
        let script = Script::default().then(Ok(&[1, 2, 1]));
        let resolver = resolver(&script, REFRESH);
        let (one, two) = (resolver.name("a"), resolver.name("a"));
        assert_eq!(one.addresses().await.unwrap().len(), 2);
        assert_eq!(two.addresses().await.unwrap().len(), 2);
        assert_eq!(script.asked(), 1);
    }

    #[tokio::test]
    async fn the_last_good_answer_stays_and_the_next_good_one_replaces_it() {
        let script = Script::default()
            .then(Ok(&[1]))
            .then(Err("down"))
            .then(Ok(&[]))
            .then(Ok(&[2]));
        let resolver = resolver(&script, Duration::from_millis(1));
        let name = resolver.name("a");
        let mut seen = Vec::new();
        while seen.last() != Some(&IpAddr::from([127, 0, 0, 2])) {
            seen.push(name.addresses().await.unwrap()[0]);
            tokio::task::yield_now().await;
        }
        assert_eq!(seen[0], IpAddr::from([127, 0, 0, 1]));
    }

    #[tokio::test]
    async fn a_failure_without_an_answer_is_told() {
        let script = Script::default().then(Err("no such host"));
        let name = resolver(&script, REFRESH).name("a");
        assert_eq!(&*name.addresses().await.unwrap_err(), "no such host");
        assert_eq!(&*name.addresses().await.unwrap_err(), "no such host");
        assert_eq!(script.asked(), 1);
    }

    #[tokio::test]
    async fn a_name_that_nobody_needs_is_forgotten() {
        let script = Script::default().then(Ok(&[1])).then(Ok(&[2]));
        let resolver = resolver(&script, REFRESH);
        let name = resolver.name("a");
        name.addresses().await.unwrap();
        let task = Arc::downgrade(&name);
        drop(name);
        assert!(task.upgrade().is_none());
        assert_eq!(
            resolver.name("a").addresses().await.unwrap()[0],
            IpAddr::from([127, 0, 0, 2])
        );
    }

    #[tokio::test]
    async fn the_system_knows_localhost() {
        let name = Resolver::system(Handle::current()).name("localhost");
        assert!(name.addresses().await.unwrap().iter().all(IpAddr::is_loopback));
    }
}
