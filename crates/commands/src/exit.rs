//! Exit codes, so that scripts need not read words.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused, invalid, or `diff` differs.
    Refused = 1,
    /// Wrong usage.
    Usage = 2,
    /// Nobody could be reached, or there is no leader or no majority.
    Unreachable = 3,
    /// Another version or a pending change is in the way.
    Conflict = 4,
    /// Committed but not yet live everywhere, or nobody knows whether it was done.
    NotEverywhere = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
