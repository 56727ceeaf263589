//! How much a compilation may take.

use crate::error::OverBudget;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// What a compilation may take before it is given up; nothing of it is kept then.
#[derive(Debug, Clone, Copy)]
pub struct CompileBudget {
    /// From its start. Looked at between parts, and between sets of expressions; no step between two looks is
    /// unbounded.
    pub time: Duration,
    /// What the whole snapshot may weigh, shared parts included: an estimate from the sizes of what it holds.
    pub max_bytes: usize,
}

/// One compilation's.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: CompileBudget,
    began: Instant,
    /// What the snapshot weighs as far as it is made.
    weight: Cell<usize>,
}

// === impl CompileBudget ===

impl Default for CompileBudget {
    /// 10 s, as long as a node may take to answer whether it can serve a change, and 1 GiB.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            max_bytes: 1 << 30,
        }
    }
}

// === impl Budget ===

impl Budget {
    /// With what the snapshot before weighs.
    pub(crate) fn start(limits: &CompileBudget, weight: usize) -> Self {
        Self {
            limits: *limits,
            began: Instant::now(),
            weight: Cell::new(weight),
        }
    }

    pub(crate) fn time_is_left(&self) -> Result<(), OverBudget> {
        if self.began.elapsed() < self.limits.time {
            Ok(())
        } else {
            Err(OverBudget::Time(self.limits.time))
        }
    }

    /// Whether so much more would do.
    pub(crate) fn room_for(&self, bytes: usize) -> Result<(), OverBudget> {
        let needed = self.weight.get().saturating_add(bytes);
        if needed <= self.limits.max_bytes {
            Ok(())
        } else {
            Err(OverBudget::Bytes {
                needed,
                limit: self.limits.max_bytes,
            })
        }
    }

    pub(crate) fn grow(&self, bytes: usize) -> Result<(), OverBudget> {
        self.room_for(bytes)?;
        self.weight.set(self.weight.get() + bytes);
        Ok(())
    }

    pub(crate) fn shrink(&self, bytes: usize) {
        self.weight.set(self.weight.get() - bytes);
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight.get()
    }
}
