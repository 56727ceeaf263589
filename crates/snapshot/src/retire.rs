//! Where old snapshots end: on a thread of their own, never on a worker.

use crate::snapshot::Body;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The right to be freed elsewhere. One per published snapshot, and counted.
#[derive(Debug)]
pub(crate) struct Retire {
    yard: Arc<Yard>,
}

/// What waits to be freed, and how many snapshots are alive.
#[derive(Default)]
pub(crate) struct Yard {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Held by whoever frees, so that another who comes to help knows afterwards that all is freed.
    freeing: Mutex<()>,
    alive: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    bodies: Vec<Arc<Body>>,
    closed: bool,
}

/// Ends the thread once everything before was freed.
#[derive(Debug)]
pub(crate) struct Closing(Arc<Yard>);

// === impl Yard ===

impl Yard {
    /// With its thread.
    pub(crate) fn open() -> io::Result<(Arc<Self>, Closing)> {
        let yard = Arc::new(Self::default());
        let mine = Arc::clone(&yard);
        std::thread::Builder::new()
            .name("sluice-retire".into())
            .spawn(move || mine.run())?;
        Ok((Arc::clone(&yard), Closing(yard)))
    }

    pub(crate) fn admit(self: &Arc<Self>) -> Retire {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Retire { yard: Arc::clone(self) }
    }

    /// Published snapshots that are not freed yet.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Returns when all is freed that was handed over before, and does its share: whoever makes new snapshots faster
    /// than one thread frees them is held up here.
    pub(crate) fn help(&self) {
        self.free_waiting();
    }

    fn run(&self) {
        loop {
            let mut queue = self.lock();
            while queue.bodies.is_empty() && !queue.closed {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let over = queue.bodies.is_empty();
            drop(queue);
            if over {
                return;
            }
            self.free_waiting();
        }
    }

    fn free_waiting(&self) {
        let _one = self.freeing.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut self.lock().bodies);
        for body in waiting {
            self.free(body);
        }
    }

    fn free(&self, body: Arc<Body>) {
        drop(body);
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Yard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Yard")
            .field("alive", &self.alive())
            .finish_non_exhaustive()
    }
}

// === impl Retire ===

impl Retire {
    /// Hands the rest of a snapshot over. A lock for the length of one push; once per snapshot, not per request.
    pub(crate) fn free(self, body: Arc<Body>) {
        let mut queue = self.yard.lock();
        if queue.closed {
            drop(queue);
            self.yard.free(body);
            return;
        }
        queue.bodies.push(body);
        drop(queue);
        self.yard.arrived.notify_one();
    }
}

// === impl Closing ===

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.arrived.notify_all();
    }
}
