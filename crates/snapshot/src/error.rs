//! Why there is no snapshot.

use sluice_document::PartKey;
use std::fmt;
use std::time::Duration;

/// Why changed parts make no snapshot. Nothing was kept: the snapshot before goes on as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// The configuration is sound, but this node lacks something that it names. All faults.
    Unserveable(Vec<Fault>),
    /// The configuration is not sound. All faults that could be told at once.
    Invalid(Vec<Fault>),
    /// It would take more than a node may spend on it.
    OverBudget {
        /// What, and how much there is.
        what: OverBudget,
    },
}

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Which part.
    pub part: PartKey,
    /// For people; says what to do where that can be known.
    pub why: String,
}

/// What was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// The time.
    #[error("it takes longer than {0:?}; make it smaller, or split the regular expressions")]
    Time(Duration),
    /// The memory.
    #[error("it needs about {needed} bytes of memory and may have {limit}; make it smaller")]
    Bytes {
        /// About as many.
        needed: usize,
        /// At most so many.
        limit: usize,
    },
}

// === impl CompileError ===

impl From<OverBudget> for CompileError {
    fn from(what: OverBudget) -> Self {
        Self::OverBudget { what }
    }
}

impl std::error::Error for CompileError {}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, faults) = match self {
            Self::Unserveable(faults) => ("this node cannot serve the configuration", faults),
            Self::Invalid(faults) => ("the configuration is not valid", faults),
            Self::OverBudget { what } => return write!(f, "the configuration cannot be compiled: {what}"),
        };
        f.write_str(head)?;
        for (i, fault) in faults.iter().enumerate() {
            write!(f, "{} {fault}", if i == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.why)
    }
}
