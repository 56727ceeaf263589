//! One target of one upstream on one worker: where it is, what is under way to it, what is kept.

use crate::clock::Deadline;
use crate::error::Which;
use crate::health::Standing;
use crate::meters::Entry;
use crate::multiplexed::Multiplexed;
use crate::pool::Pool;
use crate::resolve::{Name, Resolver};
use crate::spec::{PoolSpec, TargetSpec};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// An address that took no connection is tried last for so long.
const AVOID: Duration = Duration::from_secs(10);

pub(crate) struct Target {
    pub(crate) spec: TargetSpec,
    /// Connections of HTTP/1.1; of HTTP/2. A target has the one or the other.
    pub(crate) pool: Pool,
    pub(crate) multiplexed: Multiplexed,
    pub(crate) entry: Rc<Entry>,
    /// What this node thinks of it.
    pub(crate) standing: Arc<Standing>,
    /// Requests under way, answers included.
    pub(crate) busy: Cell<u32>,
    place: Place,
}

enum Place {
    At(IpAddr),
    Named {
        name: Arc<Name>,
        /// Where the next connection begins to look, so that all addresses get their share.
        turn: Cell<usize>,
        avoid: RefCell<SmallVec<[(IpAddr, Instant); 2]>>,
    },
}

/// Why there is no connection.
pub(crate) enum NoConnection {
    Failed(Arc<str>),
    TooLate(Which),
}

// === impl Target ===

impl Target {
    pub(crate) fn new(
        spec: &TargetSpec,
        pool: PoolSpec,
        closed: bool,
        entry: Rc<Entry>,
        standing: Arc<Standing>,
        resolver: &Resolver,
    ) -> Self {
        let place = match spec.literal() {
            Some(address) => Place::At(address),
            None => Place::Named {
                name: resolver.name(&spec.host),
                turn: Cell::new(0),
                avoid: RefCell::default(),
            },
        };
        Self {
            spec: spec.clone(),
            pool: Pool::new(pool, closed),
            multiplexed: Multiplexed::new(pool, closed),
            entry,
            standing,
            busy: Cell::new(0),
            place,
        }
    }

    /// New bounds for what is kept.
    pub(crate) fn set(&self, pool: PoolSpec, now: Instant) {
        self.pool.set(pool, now);
        self.multiplexed.set(pool, now);
    }

    /// Closes what is kept and keeps nothing more.
    pub(crate) fn close(&self) {
        self.pool.close();
        self.multiplexed.close();
    }

    /// Closes what is kept for too long. Says whether any is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        self.pool.sweep(now) | self.multiplexed.sweep(now)
    }

    /// A connection to the first address that gives one, by `deadline`.
    pub(crate) async fn connect(&self, deadline: Deadline) -> Result<TcpStream, NoConnection> {
        match deadline {
            None => self.dial(None).await.map_err(NoConnection::Failed),
            Some((at, which)) => match timeout_at(at, self.dial(Some(at))).await {
                Ok(result) => result.map_err(NoConnection::Failed),
                Err(_) => Err(NoConnection::TooLate(which)),
            },
        }
    }

    async fn dial(&self, deadline: Option<Instant>) -> Result<TcpStream, Arc<str>> {
        match &self.place {
            Place::At(address) => {
                let address = SocketAddr::new(*address, self.spec.port);
                TcpStream::connect(address)
                    .await
                    .map_err(|error| format!("{address}: {error}").into())
            }
            Place::Named { name, turn, avoid } => {
                let known = name
                    .addresses()
                    .await
                    .map_err(|why| format!("cannot look up {}: {why}", self.spec.host))?;
                let order = order(&known, turn.get(), avoid, Instant::now());
                turn.set(turn.get().wrapping_add(1));
                self.dial_each(&order, deadline, avoid).await
            }
        }
    }

    async fn dial_each(
        &self,
        order: &[IpAddr],
        deadline: Option<Instant>,
        avoid: &RefCell<SmallVec<[(IpAddr, Instant); 2]>>,
    ) -> Result<TcpStream, Arc<str>> {
        let mut why = String::new();
        for (i, ip) in order.iter().enumerate() {
            let address = SocketAddr::new(*ip, self.spec.port);
            let dial = TcpStream::connect(address);
            let left = order.len() - i;
            // A silent address may use up its share of the time, not that of the next ones.
            let dialled = match deadline {
                Some(deadline) if left > 1 => {
                    let share =
                        deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
                    match timeout(share, dial).await {
                        Ok(dialled) => dialled.map_err(|error| error.to_string()),
                        Err(_) => Err(format!("no answer within {share:?}")),
                    }
                }
                _ => dial.await.map_err(|error| error.to_string()),
            };
            match dialled {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    let mut avoid = avoid.borrow_mut();
                    avoid.retain(|(avoided, _)| avoided != ip);
                    avoid.push((*ip, Instant::now() + AVOID));
                    if !why.is_empty() {
                        why.push_str(", ");
                    }
                    why.push_str(&format!("{address}: {error}"));
                }
            }
        }
        Err(why.into())
    }
}

/// From the `turn`th on and around, those that lately failed last.
fn order(
    known: &[IpAddr],
    turn: usize,
    avoid: &RefCell<SmallVec<[(IpAddr, Instant); 2]>>,
    now: Instant,
) -> SmallVec<[IpAddr; 4]> {
    let mut avoid = avoid.borrow_mut();
    avoid.retain(|(_, until)| *until > now);
    let mut order: SmallVec<[IpAddr; 4]> = (0..known.len())
        .map(|i| known[(turn % known.len() + i) % known.len()])
        .collect();
    order.sort_by_key(|address| avoid.iter().any(|(avoided, _)| avoided == address));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_turns_and_the_failed_go_last() {
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let known = [address(1), address(2), address(3)];
        let (avoid, now) = (RefCell::default(), Instant::now());
        assert_eq!(&order(&known, 0, &avoid, now)[..], [address(1), address(2), address(3)]);
        assert_eq!(&order(&known, 5, &avoid, now)[..], [address(3), address(1), address(2)]);
        avoid.borrow_mut().push((address(1), now + AVOID));
        assert_eq!(&order(&known, 0, &avoid, now)[..], [address(2), address(3), address(1)]);
        assert_eq!(
            &order(&known, 0, &avoid, now + AVOID)[..],
            [address(1), address(2), address(3)]
        );
    }
}
