//! Room for connections: a bounded number, and who idles gives way to who comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Room for the connections of one door.
#[derive(Debug)]
pub(crate) struct Room {
    places: Arc<Semaphore>,
    /// Who has a place, the longest there first. Those that ended are swept out when room is needed.
    taken: Mutex<VecDeque<Weak<Guest>>>,
    size: usize,
}

/// A connection that has a place.
#[derive(Debug)]
pub(crate) struct Guest {
    requests: AtomicUsize,
    leave: Notify,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) guest: Arc<Guest>,
    _permit: OwnedSemaphorePermit,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Guest>);

// === impl Room ===

impl Room {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(size)),
            taken: Mutex::default(),
            size,
        }
    }

    /// A place. Where none is left, the connection that is there longest of those without a request is asked to leave;
    /// where all have one, this waits.
    pub(crate) async fn enter(&self) -> Place {
        let free = Arc::clone(&self.places).try_acquire_owned();
        let permit = match free {
            Ok(permit) => permit,
            Err(_) => {
                self.make_room();
                match Arc::clone(&self.places).acquire_owned().await {
                    Ok(permit) => permit,
                    // The semaphore is never closed.
                    Err(_) => std::future::pending().await,
                }
            }
        };
        let guest = Arc::new(Guest {
            requests: AtomicUsize::new(0),
            leave: Notify::new(),
        });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= 2 * self.size {
            taken.retain(|guest| guest.strong_count() > 0);
        }
        taken.push_back(Arc::downgrade(&guest));
        Place { guest, _permit: permit }
    }

    fn make_room(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|guest| guest.strong_count() > 0);
        let idle = taken
            .iter()
            .position(|guest| guest.upgrade().is_some_and(|guest| guest.idle()));
        if let Some(guest) = idle.and_then(|at| taken.remove(at)).and_then(|guest| guest.upgrade()) {
            guest.leave.notify_one();
        }
    }
}

// === impl Guest ===

impl Guest {
    /// A request begins.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Ends when this connection is to leave.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    fn idle(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn who_idles_gives_way_and_who_works_does_not() {
        let room = Room::new(2);
        let (works, idles) = (room.enter().await, room.enter().await);
        let _request = works.guest.busy();
        let guest = Arc::clone(&idles.guest);
        let leaving = async move {
            guest.asked_to_leave().await;
            drop((guest, idles));
        };
        let (third, ()) = tokio::join!(room.enter(), leaving);
        let _request = third.guest.busy();
        let fourth = timeout(Duration::from_millis(20), room.enter()).await;
        assert!(fourth.is_err(), "all have a request: the fourth waits");
        drop(works);
        room.enter().await;
    }
}
