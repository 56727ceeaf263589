//! The link's own tasks: letting others in, and telling them our status.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Lane;
use crate::guest::Guest;
use crate::line::Reach;
use crate::shake::{Greeted, Party, Turned, welcome};
use crate::shared::{Phase, Shared, lock};
use crate::wire::{End, Pulse};

/// A pause after a failed accept: descriptors that ran out come back in time only.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often what is old is thrown away.
const SWEEP: Duration = Duration::from_secs(1);

/// Takes connections until the link ends.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut phase = shared.phase();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
        };
        match accepted {
            Ok((tcp, from)) => admit(&shared, tcp, from),
            Err(error) => {
                tracing::warn!(%error, "a peer's connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Lets a connection stand on the porch until it has proved itself.
fn admit(shared: &Arc<Shared>, tcp: TcpStream, from: SocketAddr) {
    // The task begins when it knows its ticket, and so cannot leave before it has entered.
    let (ticket_of, ticket) = oneshot::channel();
    let inside = Arc::clone(shared);
    let greeting = async move {
        let Ok(ticket) = ticket.await else { return };
        let identity = inside.identity();
        let party = Party {
            tls: &inside.tls,
            secret: inside.secret.as_ref(),
            identity: &identity,
            timings: &inside.timings,
        };
        let full = lock(&inside.guests).is_full();
        let greeted = welcome(&party, tcp, full).await;
        lock(&inside.porch).leave(ticket);
        match greeted {
            Ok(greeted) => seat(&inside, greeted, identity.cluster_id, from).await,
            Err(turned) => report(&inside, from, &turned),
        }
    };
    let Some(task) = shared.spawn(greeting) else { return };
    let (ticket, displaced) = lock(&shared.porch).enter(from.ip(), task);
    if let Some(displaced) = displaced {
        displaced.abort();
    }
    // The task is gone only where the runtime is ending.
    let _ = ticket_of.send(ticket);
}

/// Carries a connection that has proved itself, until it ends.
async fn seat(shared: &Arc<Shared>, greeted: Greeted, told: Option<u128>, from: SocketAddr) {
    let Greeted { stream, theirs, lane } = greeted;
    let (id, name) = (theirs.id, theirs.name.clone());
    tracing::debug!(%from, %lane, peer = name, %id, "a peer connected");
    let wire = Guest::wire(lane, theirs, shared);
    let (number, gone) = lock(&shared.guests).seat(Arc::clone(&wire), id, lane);
    if let Some(gone) = gone {
        gone.end(End::lost("the same node has opened newer connections"));
    }
    let theirs = wire.look(|side| Arc::clone(side.theirs()));
    shared.catch_up(&wire, &theirs, told);
    let pulse = Pulse {
        ping: None,
        silence: shared.timings.silence,
    };
    let mut phase = shared.phase();
    let over = async move {
        // An error is the link's end as well.
        let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
    };
    wire.carry_until(over, stream, pulse).await;
    lock(&shared.guests).leave(number);
    let why = wire.ended().map(|end| end.why.clone()).unwrap_or_default();
    tracing::debug!(%from, %lane, peer = name, %id, why, "a peer's connection ended");
}

/// One line about somebody who was turned away; of a flood, one a second with a count.
fn report(shared: &Shared, from: SocketAddr, turned: &Turned) {
    // A peer that goes away during its greeting, or a probe of a port, is no news.
    if matches!(turned, Turned::Io(_) | Turned::Oneself) {
        tracing::debug!(%from, why = %turned, "a connection to the peer address came to nothing");
        return;
    }
    if let Some(kept_back) = lock(&shared.throttle).pass(Instant::now()) {
        tracing::warn!(%from, why = %turned, kept_back, "a connection to the peer address was turned away");
    }
}

/// Tells our status to the audience, at once on change and again and again; sweeps.
pub(crate) async fn tell(shared: Arc<Shared>) {
    let mut phase = shared.phase();
    let mut tick = interval(shared.timings.status);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shared.tell_now.notified() => {}
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
        }
        if let Some((encoded, audience)) = shared.next_telling() {
            let (encoded, own) = (Bytes::from(encoded), shared.identity().id);
            for peer in audience.iter().filter(|peer| peer.id != Some(own)) {
                let reach = shared.reach(peer, Lane::Control);
                let Reach::Up(connection) = reach else { continue };
                if peer.id.is_none_or(|id| id == connection.theirs().id) {
                    connection.wire.with(|side| side.status(encoded.clone()));
                }
            }
        }
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            shared.lines.sweep(shared.timings.unused);
            if lock(&shared.board).forget(swept) {
                shared.heard.send_modify(|n| *n += 1);
            }
        }
    }
}
