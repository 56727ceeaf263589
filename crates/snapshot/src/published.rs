//! From the thread that compiles to the workers that serve.
//!
//! The publisher swaps one pointer and raises one number; a worker looks at the number once per request and takes the
//! pointer when the number moved. What a worker has taken it writes to a cell of its own; *live* is what all have taken.

use crate::retire::{Closing, Yard};
use crate::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Counts what was published by this process, from 1; never falls, where a version may (a rollback of a node).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u64);

/// What every worker of this node serves by, at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// The configuration's number.
    pub version: u64,
    /// Of its content.
    pub digest: [u8; 16],
    /// Which publishing it was.
    pub serial: Serial,
    /// When the last worker took it.
    pub since: Instant,
}

/// The snapshot that this node serves by, and who has taken it. One per node; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Published(Arc<Shared>);

/// A worker's hold on the current snapshot.
#[derive(Debug)]
pub struct Front {
    shared: Arc<Shared>,
    worker: usize,
    serial: u64,
    snapshot: Arc<Snapshot>,
}

#[derive(Debug)]
struct Shared {
    /// Raised after `current` was swapped: who sees the number finds that snapshot or a later one.
    serial: AtomicU64,
    current: ArcSwap<Numbered>,
    seen: Box<[Seen]>,
    changed: watch::Sender<Serial>,
    live: watch::Sender<Live>,
    /// One publishes at a time.
    publishing: Mutex<()>,
    yard: Arc<Yard>,
    _closing: Closing,
}

#[derive(Debug)]
struct Numbered {
    serial: u64,
    snapshot: Arc<Snapshot>,
}

/// Of one worker, on a cache line of its own: the others' swaps do not slow its reads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Seen {
    serial: AtomicU64,
    /// What that was; locked at a swap only.
    taken: Mutex<(u64, [u8; 16])>,
}

/// In the place of a snapshot for the length of a swap.
static NONE: LazyLock<Arc<Snapshot>> = LazyLock::new(|| Arc::new(Snapshot::empty()));

// === impl Published ===

impl Published {
    /// `first` is live once each of the `workers` has made its [`Front`].
    ///
    /// # Errors
    ///
    /// When the system gives no thread for the freeing of old snapshots.
    pub fn new(workers: usize, first: Snapshot) -> io::Result<Self> {
        let (yard, closing) = Yard::open()?;
        let live = Live {
            version: 0,
            digest: [0; 16],
            serial: Serial(0),
            since: Instant::now(),
        };
        let shared = Arc::new(Shared {
            serial: AtomicU64::new(1),
            current: ArcSwap::from_pointee(Numbered {
                serial: 1,
                snapshot: admit(&yard, first),
            }),
            seen: (0..workers).map(|_| Seen::default()).collect(),
            changed: watch::Sender::new(Serial(1)),
            live: watch::Sender::new(live),
            publishing: Mutex::new(()),
            yard,
            _closing: closing,
        });
        shared.look_for_live();
        Ok(Self(shared))
    }

    /// Makes `next` what all workers take from now on. Frees what nobody took, and what waits to be freed: call it on a
    /// thread that may take a moment.
    pub fn publish(&self, next: Snapshot) -> Serial {
        let shared = &self.0;
        let one = shared.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let serial = shared.serial.load(Ordering::Relaxed) + 1;
        let old = shared.current.swap(Arc::new(Numbered {
            serial,
            snapshot: admit(&shared.yard, next),
        }));
        shared.serial.store(serial, Ordering::Release);
        drop(one);
        shared.changed.send_if_modified(|told| {
            let later = serial > told.0;
            *told = Serial(serial.max(told.0));
            later
        });
        shared.look_for_live();
        drop(old);
        shared.yard.help();
        Serial(serial)
    }

    /// The last published one, whoever has taken it.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.current.load().snapshot)
    }

    /// The hold of the worker of this number, from 0. A worker that died and was started again asks again.
    ///
    /// The number must be one of the `workers` of [`Published::new`]; another one's hold counts for no [`Live`].
    #[must_use]
    pub fn front(&self, worker: usize) -> Front {
        let current = self.0.current.load_full();
        let front = Front {
            shared: Arc::clone(&self.0),
            worker,
            serial: current.serial,
            snapshot: Arc::clone(&current.snapshot),
        };
        front.tell();
        front
    }

    /// What all workers have taken; serial 0 until each has taken its first.
    #[must_use]
    pub fn live(&self) -> Live {
        *self.0.live.borrow()
    }

    /// Wakes when [`Published::live`] moves.
    #[must_use]
    pub fn live_changed(&self) -> watch::Receiver<Live> {
        self.0.live.subscribe()
    }

    /// Wakes when something was published: an idle worker that waits on it takes what is new without a request.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Serial> {
        self.0.changed.subscribe()
    }

    /// Published snapshots that are not freed yet, the current one included.
    #[must_use]
    pub fn snapshots_live(&self) -> usize {
        self.0.yard.alive()
    }
}

fn admit(yard: &Arc<Yard>, snapshot: Snapshot) -> Arc<Snapshot> {
    // Empty until now: a snapshot is published once, by value.
    let _ = snapshot.retire.set(yard.admit());
    Arc::new(snapshot)
}

// === impl Shared ===

impl Shared {
    fn look_for_live(&self) {
        self.live.send_if_modified(|live| {
            // Read under the channel's lock, so that what is told never goes back.
            let Some(least) = self.seen.iter().min_by_key(|seen| seen.serial.load(Ordering::Acquire)) else {
                let current = self.current.load();
                let (version, digest) = (current.snapshot.version(), current.snapshot.digest());
                return live.advance(current.serial, version, digest);
            };
            let taken = least.taken.lock().unwrap_or_else(PoisonError::into_inner);
            // Read again beside what it names: it may have moved on, and then the next call finds more.
            let serial = least.serial.load(Ordering::Acquire);
            if self
                .seen
                .iter()
                .any(|seen| seen.serial.load(Ordering::Acquire) < serial)
            {
                return false;
            }
            let (version, digest) = *taken;
            live.advance(serial, version, digest)
        });
    }
}

// === impl Live ===

impl Live {
    fn advance(&mut self, serial: u64, version: u64, digest: [u8; 16]) -> bool {
        let later = serial > self.serial.0;
        if later {
            *self = Self {
                version,
                digest,
                serial: Serial(serial),
                since: Instant::now(),
            };
        }
        later
    }
}

// === impl Front ===

impl Front {
    /// The current snapshot. One atomic load, except right after something was published.
    #[inline]
    pub fn get(&mut self) -> &Arc<Snapshot> {
        if self.shared.serial.load(Ordering::Acquire) != self.serial {
            self.take();
        }
        &self.snapshot
    }

    /// Which publishing [`Front::get`] gave last.
    #[must_use]
    pub fn serial(&self) -> Serial {
        Serial(self.serial)
    }

    #[cold]
    fn take(&mut self) {
        // Let go first: a worker that is held up right here holds one snapshot, not two.
        self.snapshot = Arc::clone(&NONE);
        let current = self.shared.current.load_full();
        self.serial = current.serial;
        self.snapshot = Arc::clone(&current.snapshot);
        self.tell();
    }

    fn tell(&self) {
        let Some(seen) = self.shared.seen.get(self.worker) else {
            return;
        };
        {
            let mut taken = seen.taken.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.serial.load(Ordering::Relaxed) >= self.serial {
                return;
            }
            *taken = (self.snapshot.version(), self.snapshot.digest());
            seen.serial.store(self.serial, Ordering::Release);
        }
        self.shared.look_for_live();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::snapshot::Body;
    use sluice_upstream::{Balance, HostPolicy, PoolSpec, Protocol, Spec, Timeouts};
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    fn version(version: u64) -> Snapshot {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&version.to_be_bytes());
        Snapshot::of(Body {
            version,
            digest,
            ..Body::default()
        })
    }

    /// Waits for what another thread does in its own time.
    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn live_is_what_the_slowest_worker_has_taken() {
        let published = Published::new(2, version(1)).unwrap();
        assert_eq!(published.live().serial, Serial(0));
        let (mut a, mut b) = (published.front(0), published.front(1));
        assert_eq!((published.live().version, published.live().serial), (1, Serial(1)));
        let mut told = published.live_changed();
        published.publish(version(2));
        assert_eq!(a.get().version(), 2);
        assert_eq!(published.live().version, 1);
        assert!(!told.has_changed().unwrap());
        published.publish(version(3));
        assert_eq!(b.get().version(), 3);
        assert_eq!(published.live().version, 2);
        assert_eq!(told.borrow_and_update().version, 2);
        assert_eq!(a.get().version(), 3);
        assert_eq!(published.live().version, 3);
        assert_eq!(&published.live().digest[..8], 3u64.to_be_bytes());
        assert!(told.has_changed().unwrap());
    }

    #[test]
    fn an_older_version_is_published_like_any_other() {
        let published = Published::new(1, version(9)).unwrap();
        let mut front = published.front(0);
        published.publish(version(4));
        assert_eq!(front.get().version(), 4);
        assert_eq!((published.live().version, published.live().serial), (4, Serial(2)));
    }

    #[test]
    fn a_worker_that_was_started_again_does_not_turn_live_back() {
        let published = Published::new(1, version(1)).unwrap();
        let mut first = published.front(0);
        published.publish(version(2));
        first.get();
        drop(first);
        published.publish(version(3));
        assert_eq!(published.live().version, 2);
        let _second = published.front(0);
        assert_eq!(published.live().version, 3);
    }

    #[test]
    fn without_workers_what_is_published_is_live() {
        let published = Published::new(0, version(1)).unwrap();
        published.publish(version(2));
        assert_eq!(published.live().version, 2);
    }

    #[test]
    fn a_request_may_outlive_its_version_and_everything_else() {
        let published = Published::new(1, version(1)).unwrap();
        let mut front = published.front(0);
        let request = Arc::clone(front.get());
        published.publish(version(2));
        front.get();
        until("the old one waits for its request alone", || {
            published.snapshots_live() == 2
        });
        assert_eq!(request.version(), 1);
        drop((published, front));
        assert_eq!(request.version(), 1);
    }

    /// Tells where it is dropped.
    struct Probe(std::sync::mpsc::Sender<Option<String>>);

    impl AsRef<[u8]> for Probe {
        fn as_ref(&self) -> &[u8] {
            b"probe"
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn what_a_worker_lets_go_of_last_is_freed_elsewhere() {
        let (dropped, told) = std::sync::mpsc::channel();
        let probe = http::HeaderValue::from_maybe_shared(bytes::Bytes::from_owner(Probe(dropped)));
        let spec = Spec {
            name: "probe".into(),
            targets: Vec::new(),
            host: HostPolicy::Literal(probe.unwrap()),
            balance: Balance::RoundRobin,
            protocol: Protocol::Http1,
            timeouts: Timeouts::default(),
            pool: PoolSpec::default(),
            retry: Default::default(),
            health: Default::default(),
            breaker: None,
            digest: 0,
        };
        let first = Snapshot::of(Body {
            upstreams: Arc::new(vec![Arc::new(spec)]),
            ..Body::default()
        });
        let published = Published::new(1, first).unwrap();
        let mut front = published.front(0);
        published.publish(version(2));
        assert!(told.try_recv().is_err());
        front.get();
        let place = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(place.as_deref(), Some("sluice-retire"));
    }

    #[test]
    fn thousands_of_versions_leave_one_for_each_worker_and_the_current_one() {
        const WORKERS: usize = 2;
        let published = Published::new(WORKERS, version(1)).unwrap();
        let done = AtomicBool::new(false);
        let most = std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (mut front, done) = (published.front(worker), &done);
                scope.spawn(move || {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let now = front.get().version();
                        assert!(now >= last, "{now} after {last}");
                        last = now;
                        // Slow, so that most versions are never seen.
                        for _ in 0..worker * 5_000 {
                            std::hint::spin_loop();
                        }
                    }
                    front.get();
                });
            }
            let mut most = 0;
            for next in 2..=5_000 {
                published.publish(version(next));
                most = most.max(published.snapshots_live());
            }
            done.store(true, Ordering::Relaxed);
            most
        });
        // The current one, and one that each worker has not let go of yet.
        assert!(most <= WORKERS + 1, "{most}");
        assert_eq!(published.live().version, 5_000);
        until("all but the last are freed", || published.snapshots_live() == 1);
    }

    #[test]
    fn live_reaches_the_last_whatever_the_workers_do_at_once() {
        const WORKERS: usize = 4;
        let published = Published::new(WORKERS, version(0)).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let mut front = published.front(worker);
                scope.spawn(move || while front.get().version() < 2_000 {});
            }
            for next in 1..=2_000 {
                published.publish(version(next));
                let live = published.live();
                assert!(live.version <= next);
                assert_eq!(&live.digest[..8], live.version.to_be_bytes());
            }
        });
        assert_eq!(published.live().version, 2_000);
    }
}
