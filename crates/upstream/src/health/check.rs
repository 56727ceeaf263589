//! One target asked how it is, once and again and again.

use super::standing::Standing;
use super::{Active, Health, Upstream};
use crate::connection;
use crate::resolve::{Name, Resolver};
use crate::spec::{HostPolicy, Protocol, Spec, TargetSpec};
use http::header::{HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// The longest that a check takes.
const LONGEST: Duration = Duration::from_secs(5);

/// How long an opinion may take: who asks for it waits for a second.
pub(super) const OPINION: Duration = Duration::from_millis(900);

/// Targets that are asked for an opinion.
pub(super) const MOST_ASKED: usize = 16;

const AGENT: HeaderValue = HeaderValue::from_static("sluice");

/// What is asked, and of whom.
#[derive(Clone)]
pub(super) struct Check {
    url: Arc<str>,
    place: Place,
    port: u16,
    protocol: Protocol,
    host: HeaderValue,
    /// None: a connection is answer enough.
    path: Option<PathAndQuery>,
    patience: Duration,
}

#[derive(Clone)]
enum Place {
    At(IpAddr),
    Named(Arc<Name>),
}

/// A task that asks; dropping this ends it.
pub(super) struct Watch {
    pub(super) active: Active,
    task: AbortHandle,
}

// === impl Check ===

impl Check {
    pub(super) fn new(spec: &Spec, target: &TargetSpec, resolver: &Resolver) -> Self {
        let active = spec.health.active.as_ref();
        let path = active.map(|active| match &*target.base_path {
            "" => active.path.clone(),
            // Both were read as paths; together they may be longer than one may be, and then the base is left out.
            base => PathAndQuery::try_from(format!("{base}{}", active.path)).unwrap_or_else(|_| active.path.clone()),
        });
        Self {
            url: Arc::clone(&target.url),
            place: match target.literal() {
                Some(address) => Place::At(address),
                None => Place::Named(resolver.name(&target.host)),
            },
            port: target.port,
            protocol: spec.protocol,
            host: match &spec.host {
                HostPolicy::Literal(host) => host.clone(),
                HostPolicy::Preserve | HostPolicy::Target => target.authority.clone(),
            },
            path,
            patience: active.map_or(LONGEST, |active| active.every.min(LONGEST)),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// Why the target is not well.
    pub(super) async fn once(&self) -> Result<(), Arc<str>> {
        match timeout(self.patience, self.ask()).await {
            Ok(found) => found,
            Err(_) => Err(format!("no answer within {:?}", self.patience).into()),
        }
    }

    async fn ask(&self) -> Result<(), Arc<str>> {
        let addresses = match &self.place {
            Place::At(address) => Arc::from([*address]),
            Place::Named(name) => name.addresses().await?,
        };
        let mut why: Arc<str> = "no address".into();
        for address in addresses.iter() {
            match TcpStream::connect(SocketAddr::new(*address, self.port)).await {
                Ok(stream) => return self.ask_on(stream).await,
                Err(error) => why = format!("{address}: {error}").into(),
            }
        }
        Err(why)
    }

    async fn ask_on(&self, stream: TcpStream) -> Result<(), Arc<str>> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut request = Request::new(());
        *request.uri_mut() = path.clone().into();
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(USER_AGENT, AGENT);
        let status = connection::ask(stream, self.protocol, request).await?;
        match status.is_success() || status.is_redirection() {
            true => Ok(()),
            false => Err(format!("it answers {status}").into()),
        }
    }
}

impl PartialEq for Check {
    /// Whether both ask the same of the same.
    fn eq(&self, other: &Self) -> bool {
        // Names are of one upstream's spec: a host and a port are the URL's.
        self.url == other.url
            && self.protocol == other.protocol
            && self.host == other.host
            && self.path == other.path
            && self.patience == other.patience
    }
}

// === impl Watch ===

impl Watch {
    /// Begins to ask: at once where it was never asked, or when the next check is due since the last one.
    pub(super) fn begin(
        health: &Health,
        upstream: Arc<Upstream>,
        standing: Arc<Standing>,
        check: Check,
        active: Active,
    ) -> Self {
        let began = health.0.began;
        let asking = ask_again(
            Arc::downgrade(&health.0),
            began,
            upstream,
            standing,
            check,
            active.clone(),
        );
        Self {
            active,
            task: health.0.runtime.spawn(asking).abort_handle(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask_again(
    health: Weak<super::Inner>,
    began: Instant,
    upstream: Arc<Upstream>,
    standing: Arc<Standing>,
    check: Check,
    active: Active,
) {
    loop {
        if let Some(due) = standing
            .asked()
            .and_then(|asked| began.checked_add(Duration::from_nanos(asked).saturating_add(active.every)))
        {
            sleep_until(due).await;
        }
        let Some(now) = health.upgrade().map(|inner| Health(inner).at(Instant::now())) else {
            return;
        };
        standing.asks(now);
        let found = check.once().await;
        upstream.checked(&check.url, &standing, &found, &active);
    }
}
