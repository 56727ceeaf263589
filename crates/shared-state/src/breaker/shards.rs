//! Counters that threads add to without meeting, and one task collects.

use super::state::Counts;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, TryLockError};

/// How many there are: threads beyond that share.
const SHARDS: usize = 8;
/// The most bytes of a request's id that are kept.
const LONGEST: usize = 128;

/// Counters in lines of their own.
#[derive(Debug, Default)]
pub(super) struct Shards([Shard; SHARDS]);

/// What one thread adds to. Its own pair of cache lines, as processors fetch them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Shard {
    calls: AtomicU32,
    failed: AtomicU32,
    slow: AtomicU32,
    /// The request whose attempt failed last, or was slow where none failed; empty for none. Who finds it locked goes
    /// without: another one is as good.
    request_id: Mutex<String>,
}

/// The calling thread's number, dealt in the order in which threads first ask.
pub(super) fn slot() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
    }
    MINE.with(|mine| *mine)
}

// === impl Shards ===

impl Shards {
    pub(super) fn of(&self, slot: usize) -> &Shard {
        &self.0[slot % SHARDS]
    }

    /// What is there, without taking it.
    pub(super) fn sum(&self) -> Counts {
        self.0.iter().fold(Counts::default(), |sum, shard| {
            sum.and(Counts {
                calls: shard.calls.load(Ordering::Relaxed),
                failed: shard.failed.load(Ordering::Relaxed),
                slow: shard.slow.load(Ordering::Relaxed),
                run: 0,
            })
        })
    }

    /// Takes what is there, and the request of a failure among it.
    pub(super) fn drain(&self) -> (Counts, Option<String>) {
        let mut request_id = None;
        let counts = self.0.iter().fold(Counts::default(), |sum, shard| {
            // Bad ones first: one that is added in between is a call now and bad the next time, never the other way.
            let (failed, slow) = (take(&shard.failed), take(&shard.slow));
            request_id = shard.take_request_id().or(request_id.take());
            sum.and(Counts {
                calls: take(&shard.calls),
                failed,
                slow,
                run: 0,
            })
        });
        (counts, request_id)
    }
}

fn take(counter: &AtomicU32) -> u32 {
    match counter.load(Ordering::Acquire) {
        0 => 0,
        _ => counter.swap(0, Ordering::AcqRel),
    }
}

// === impl Shard ===

impl Shard {
    pub(super) fn succeeded(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bad(&self, failed: bool, slow: bool, request_id: &str) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if slow {
            self.slow.fetch_add(1, Ordering::Release);
        }
        if failed {
            self.failed.fetch_add(1, Ordering::Release);
        }
        self.note(failed, request_id);
    }

    /// Keeps the id of a request; of one that did not fail, where there is none.
    pub(super) fn note(&self, failed: bool, request_id: &str) {
        let kept = match self.request_id.try_lock() {
            Ok(kept) => Some(kept),
            Err(TryLockError::Poisoned(kept)) => Some(kept.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut kept) = kept.filter(|kept| failed || kept.is_empty()) {
            kept.clear();
            kept.push_str(request_id.get(..LONGEST).unwrap_or(request_id));
        }
    }

    fn take_request_id(&self) -> Option<String> {
        let mut kept = self.request_id.try_lock().ok()?;
        (!kept.is_empty()).then(|| std::mem::take(&mut *kept))
    }
}
