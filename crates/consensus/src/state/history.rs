//! Which versions there were, and what each changed.

use std::sync::Arc;

use crate::command::Author;

/// One version of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its number.
    pub version: u64,
    /// When it was proposed, by its leader's clock, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who made it.
    pub author: Author,
    /// By which request.
    pub request_id: String,
    /// The parts that it changed.
    pub changed: Vec<Arc<str>>,
    /// Whether it came with the operator's own text.
    pub original: bool,
}

/// How much history is kept. Whichever is reached first counts; what is live, or may come back to
/// be, stays in reach all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// So many versions. 1000.
    pub versions: u64,
    /// So many bytes of changes. 32 MiB.
    pub bytes: u64,
}

// === impl HistoryLimits ===

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            versions: 1000,
            bytes: 32 * 1024 * 1024,
        }
    }
}
