//! Which exchanges have a line in the access log.

use sluice_document::declared::{self, Logged};

/// What `telemetry.access_log` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// No exchange has a line.
    Off,
    /// Those have one that the gateway refused or failed, those that were broken off, and a service's own 5xx.
    #[default]
    Errors,
    /// Every exchange has one.
    All,
}

// === impl AccessLog ===

impl AccessLog {
    pub(crate) fn of(declared: declared::Telemetry) -> Self {
        match declared.access_log.and_then(|log| log.on) {
            Some(Logged::Off) => Self::Off,
            Some(Logged::All) => Self::All,
            Some(Logged::Errors) | None => Self::Errors,
        }
    }
}
