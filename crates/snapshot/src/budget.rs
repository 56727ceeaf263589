//! How much a compilation may take.

use crate::error::OverBudget;
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
    pub(crate) fn start(limits: &CompileBudget) -> Self {
        Self {
            limits: *limits,
            began: Instant::now(),
        }
    }

    pub(crate) fn time_is_left(&self) -> Result<(), OverBudget> {
        if self.began.elapsed() < self.limits.time {
            Ok(())
        } else {
            Err(OverBudget::Time(self.limits.time))
        }
    }

    pub(crate) fn holds(&self, bytes: usize) -> Result<(), OverBudget> {
        if bytes <= self.limits.max_bytes {
            Ok(())
        } else {
            Err(OverBudget::Bytes {
                needed: bytes,
                limit: self.limits.max_bytes,
            })
        }
    }
}
