//! A node's own account: what it may do by itself, alone or while the store learns.

use super::report::longer;
use crate::ledger::epoch::{learn, life};
use crate::limit::cell::tokens::Piece;
use crate::time::Moment;
use std::time::Duration;

/// A node that is alone takes its share of a longer window after this much and a lease's life.
const SHARE_AFTER: Duration = Duration::from_secs(1);

/// The own account.
#[derive(Debug)]
pub(super) struct Account {
    window: Duration,
    phase: Phase,
    /// When the published plan ends; None: none is published.
    planned: Option<Moment>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It lives on leases.
    None,
    /// The store is away: it lives on its level, at most its share; from a moment on on its share.
    Alone { level: u64, share_from: Moment },
    /// The store learns until then: it lives on its level.
    Learning { level: u64, until: Moment },
}

// === impl Account ===

impl Account {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            phase: Phase::None,
            planned: None,
        }
    }

    /// How long a lease lives at most.
    pub(super) fn life(&self) -> Duration {
        life(self.window)
    }

    /// The store is away, since then. When a time of learning and a window, of long windows a second, have passed, only
    /// shares count: until then another node, which had not noticed, may have lived on a level that is more than its share.
    /// Who lived on a level stays on it so long.
    ///
    /// Of a longer window nodes may together admit once more, at most, what they had admitted in the last window before
    /// the store went away; to turn all away who are new, for minutes, would be worse.
    pub(super) fn go_alone(&mut self, now: Moment, away: Moment, level: u64) {
        let level = match self.phase {
            Phase::Learning { level, until } if now < until => level,
            Phase::Alone { .. } => return,
            _ => level,
        };
        self.phase = Phase::Alone {
            level,
            share_from: away + longer(self.window.min(SHARE_AFTER) + learn(self.window)),
        };
        self.planned = None;
    }

    /// The store learns until then.
    pub(super) fn live_on(&mut self, until: Moment, level: u64) {
        self.phase = Phase::Learning { level, until };
        self.planned = None;
    }

    /// It lives on leases again.
    pub(super) fn end(&mut self) {
        self.phase = Phase::None;
        self.planned = None;
    }

    /// The published plan holds no more.
    pub(super) fn end_plan(&mut self) {
        self.planned = None;
    }

    /// The store is away.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.phase, Phase::Alone { .. })
    }

    /// The store learns, as far as this node knows.
    pub(super) fn is_learning(&self, now: Moment) -> bool {
        self.learning_until(now).is_some()
    }

    /// Until when.
    pub(super) fn learning_until(&self, now: Moment) -> Option<Moment> {
        match self.phase {
            Phase::Learning { until, .. } if now < until => Some(until),
            _ => None,
        }
    }

    /// It may admit by itself.
    pub(super) fn is_own(&self, now: Moment) -> bool {
        self.is_alone() || self.is_learning(now)
    }

    /// What it may spend in a window.
    pub(super) fn cap(&self, now: Moment, share: u64) -> u64 {
        match self.phase {
            Phase::None => 0,
            Phase::Learning { level, .. } => level,
            Phase::Alone { level, share_from } if now < share_from => level.min(share),
            Phase::Alone { .. } => share,
        }
    }

    /// While the store learns, what it lives on.
    #[cfg(test)]
    pub(super) fn level(&self, now: Moment) -> Option<u64> {
        match self.phase {
            Phase::Learning { level, until } if now < until => Some(level),
            _ => None,
        }
    }

    /// Something else is to be published.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        match (self.phase, self.planned) {
            (Phase::None, _) => false,
            (Phase::Learning { until, .. }, _) if now >= until => self.planned.is_some(),
            (_, None) => true,
            (_, Some(ends)) => now >= ends,
        }
    }

    /// When [`is_due`](Self::is_due) becomes true.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        match self.phase {
            Phase::None => None,
            _ => self.planned.filter(|ends| *ends > now),
        }
    }

    /// What may be taken, of a cap and what was spent in the last window; `comes_back`: when how much of it comes back.
    /// Then until when that holds, and when the first token comes.
    pub(super) fn plan(
        &mut self,
        now: Moment,
        cap: u64,
        mut own: u64,
        comes_back: impl Iterator<Item = (Moment, u64)>,
    ) -> (Vec<Piece>, Moment, Moment) {
        // What is spent by this plan comes back after it has ended.
        let mut ends = now + self.window / 2;
        match self.phase {
            Phase::Alone { share_from, .. } if now < share_from => ends = ends.min(share_from),
            Phase::Learning { until, .. } => ends = ends.min(until),
            _ => {}
        }
        self.planned = Some(ends);
        let mut pieces = Vec::new();
        let mut total = cap.saturating_sub(own);
        if total > 0 {
            pieces.push(Piece { from: Moment(0), total });
        }
        let mut next = None;
        for (from, tokens) in comes_back {
            own = own.saturating_sub(tokens);
            if cap.saturating_sub(own) > total {
                total = cap.saturating_sub(own);
                next = next.or(Some(from));
                if from >= ends {
                    break;
                }
                pieces.push(Piece { from, total });
            }
        }
        (pieces, ends, next.unwrap_or(now + self.window))
    }
}
