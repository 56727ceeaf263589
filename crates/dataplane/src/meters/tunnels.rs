//! Tunnels of a route.

use sluice_telemetry::cells::Count;
use std::time::Duration;

/// One worker's tunnels of one route.
#[derive(Debug, Default)]
pub(crate) struct OfTunnels {
    ended: [Count; TunnelEnd::ALL.len()],
    nanos: Count,
    bytes: [Count; Direction::ALL.len()],
}

/// How a tunnel ended: the label `why`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum TunnelEnd {
    /// By both sides, in order.
    Closed,
    ClientReset,
    UpstreamReset,
    /// One side took nothing for too long.
    Stalled,
    Idle,
    Drained,
    /// With its worker.
    Stopped,
}

/// Which way bytes went: the label `direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Direction {
    ToUpstream,
    ToClient,
}

/// The sum of the [`OfTunnels`] of several workers.
#[derive(Debug, Default)]
pub(super) struct TunnelsSum {
    pub(super) ended: [u64; TunnelEnd::ALL.len()],
    pub(super) nanos: u128,
    pub(super) bytes: [u64; Direction::ALL.len()],
}

// === impl OfTunnels ===

impl OfTunnels {
    /// Only its worker may.
    pub(crate) fn moved(&self, direction: Direction, bytes: u64) {
        self.bytes[direction as usize].add(bytes);
    }

    /// Only its worker may.
    pub(crate) fn ended(&self, end: TunnelEnd, duration: Duration) {
        self.ended[end as usize].add(1);
        self.nanos.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn add_to(&self, sum: &mut TunnelsSum) {
        for (to, from) in sum.ended.iter_mut().zip(&self.ended) {
            *to += from.get();
        }
        for (to, from) in sum.bytes.iter_mut().zip(&self.bytes) {
            *to += from.get();
        }
        sum.nanos += u128::from(self.nanos.get());
    }
}

// === impl TunnelEnd ===

impl TunnelEnd {
    pub(crate) const ALL: [Self; 7] = [
        Self::Closed,
        Self::ClientReset,
        Self::UpstreamReset,
        Self::Stalled,
        Self::Idle,
        Self::Drained,
        Self::Stopped,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::Stalled => "stalled",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::Stopped => "stopped",
        }
    }
}

// === impl Direction ===

impl Direction {
    pub(crate) const ALL: [Self; 2] = [Self::ToUpstream, Self::ToClient];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ToUpstream => "to_upstream",
            Self::ToClient => "to_client",
        }
    }
}
