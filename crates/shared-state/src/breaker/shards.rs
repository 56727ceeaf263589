//! Counters that threads add to without meeting, and one task collects.

use super::state::{Counts, Trace};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How many there are: threads beyond that share.
const SHARDS: usize = 8;

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
    /// Somebody writes or reads the trace. Who finds it so goes without: another failure is as good.
    busy: AtomicBool,
    /// Whether there is one.
    told: AtomicBool,
    trace: [AtomicU64; 3],
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

    /// Takes what is there, and the trace of a failure among it.
    pub(super) fn drain(&self) -> (Counts, Option<Trace>) {
        let mut trace = None;
        let counts = self.0.iter().fold(Counts::default(), |sum, shard| {
            // Bad ones first: one that is added in between is a call now and bad the next time, never the other way.
            let (failed, slow) = (take(&shard.failed), take(&shard.slow));
            trace = shard.take_trace().or(trace);
            sum.and(Counts {
                calls: take(&shard.calls),
                failed,
                slow,
                run: 0,
            })
        });
        (counts, trace)
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

    pub(super) fn bad(&self, failed: bool, slow: bool, trace: Option<Trace>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if slow {
            self.slow.fetch_add(1, Ordering::Release);
        }
        if failed {
            self.failed.fetch_add(1, Ordering::Release);
            self.traced(trace);
        }
    }

    /// Keeps the trace of a failure.
    pub(super) fn traced(&self, trace: Option<Trace>) {
        let Some(Trace { trace, span }) = trace else { return };
        if self.busy.swap(true, Ordering::Acquire) {
            return;
        }
        let id = u128::from_be_bytes(trace);
        let words = [(id >> 64) as u64, id as u64, u64::from_be_bytes(span)];
        for (cell, word) in self.trace.iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
        self.told.store(true, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
    }

    fn take_trace(&self) -> Option<Trace> {
        if !self.told.load(Ordering::Relaxed) || self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        let [high, low, span] = [0, 1, 2].map(|part: usize| self.trace[part].load(Ordering::Relaxed));
        self.told.store(false, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
        Some(Trace {
            trace: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(),
            span: span.to_be_bytes(),
        })
    }
}
