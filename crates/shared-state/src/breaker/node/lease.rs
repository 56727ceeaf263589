//! The lease of probes that a node holds: begun by an answer, renewed while it is not used, ended in time.

use super::super::broken::{Broken, broken};
use super::super::ledger::BEGIN;
use super::super::probes::{MOST, Standing};
use super::super::wire::{Answer, Phase, Report, micros};
use super::{BreakerNode, View};
use crate::time::Moment;
use std::time::Duration;

/// The lease of probes that this node holds.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// By which decision; 0: none.
    pub(super) epoch: u64,
    /// This node's count of its leases.
    number: u32,
    probes: u8,
    pub(super) begin_by: Moment,
    /// What was last said of it, and when.
    pub(super) told: Option<(Standing, Moment)>,
    returned: bool,
    /// The last decision of the store that gave this node a lease: it gives none again, though the node gave it up.
    last: u64,
}

/// How often an unused lease is renewed.
const RENEW: Duration = Duration::from_millis(250);
/// Clocks err by less than one in so many.
const RATE: u32 = 1000;
// === impl BreakerNode ===

impl BreakerNode {
    /// What there is to say of a lease: something new, or that it is not used and wanted on.
    pub(super) fn report(&mut self, now: Moment) -> Option<Report> {
        if self.lease.epoch == 0 || self.lease.epoch != self.current().epoch {
            return None;
        }
        let standing = self.cell.probes().standing();
        let known = self
            .lease
            .told
            .is_some_and(|(told, at)| told == standing && now.since(at) < RENEW);
        if known && !self.lease.returned && !self.wish {
            return None;
        }
        self.lease.told = Some((standing, now));
        Some(Report {
            epoch: self.lease.epoch,
            left: standing.left.into(),
            succeeded: standing.succeeded.into(),
            failed: standing.failed.into(),
            nothing: standing.nothing.into(),
            returned: self.lease.returned,
        })
    }

    pub(super) fn end_lease(&mut self) {
        self.cell.probes().close();
        self.lease.epoch = 0;
        self.lease.returned = false;
    }

    /// Begins the lease that an answer gives, renews it, or gives it up.
    pub(super) fn use_lease(&mut self, sent: Moment, answer: &Answer, view: &View<'_>) {
        let told = &answer.told;
        let current = self.current();
        if told.phase != Phase::HalfOpen || told.holder != *view.from || told.epoch != current.epoch {
            return;
        }
        if self.lease.epoch != told.epoch || broken(Broken::BegunAgain) {
            let shared = self.local.is_none();
            if shared && told.epoch <= self.lease.last && !broken(Broken::BegunAgain) {
                return;
            }
            self.lease = Lease {
                epoch: told.epoch,
                number: self.lease.number.wrapping_add(1),
                probes: u8::try_from(told.probes).unwrap_or(MOST).min(MOST),
                last: if shared { told.epoch } else { self.lease.last },
                ..Lease::default()
            };
            self.cell.probes().begin(self.lease.number, self.lease.probes);
            self.lease.told = Some((self.cell.probes().standing(), sent));
        }
        if answer.missed && self.cell.probes().close_idle(self.lease.probes) {
            self.lease.returned = true;
            self.must_ask = true;
        }
        // A probe that begins by then is over when the lease is, by the store's clock and by this node's.
        let timeout = micros(self.cell.rule().probe_timeout);
        let begin = Duration::from_micros(told.left.saturating_sub(timeout).min(BEGIN));
        self.lease.begin_by = match broken(Broken::HeldForEver) {
            false => sent + begin - begin / RATE,
            true => Moment(u64::MAX >> 3),
        };
    }
}
