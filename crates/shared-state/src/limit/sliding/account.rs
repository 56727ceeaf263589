//! A node's own account: what it may do by itself, alone or while the store learns.

use super::report::longer;
use crate::guard::FIRST_PAUSE;
use crate::ledger::epoch::{learn, life};
use crate::ledger::sliding::farthest;
use crate::limit::cell::tokens::Piece;
use crate::time::Moment;
use std::time::Duration;

/// A node that is alone takes its share of a longer window after this much and a lease's life.
const SHARE_AFTER: Duration = Duration::from_secs(1);
/// How long a node that lost its calls goes on alone before the store hears of it, where the first check after that is
/// answered: until then the store grants to others as if nothing had happened.
pub(crate) const UNTOLD: Duration = FIRST_PAUSE.saturating_add(Duration::from_millis(20));

/// The own account.
#[derive(Debug)]
pub(super) struct Account {
    window: Duration,
    phase: Phase,
    /// From when on it may live on its level: until then there may be tokens that are not to be spent yet, of this node
    /// or another, and spends that no level counts are still in the window.
    from: Moment,
    /// Of its level what was held or had lapsed when that was counted, and what had passed by then. These it may spend
    /// at once: they are charged as if it had.
    rest: (u64, u64),
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
            from: Moment(0),
            rest: (0, 0),
            planned: None,
        }
    }

    /// The store is away, since then; `level` as it was [counted](Self::count) now. When a time of learning and a window,
    /// of long windows a second, have passed, only shares count: until then another node, which had not noticed, may have
    /// lived on a level that is more than its share.
    ///
    /// Of a longer window nodes may together admit once more, at most, what they had admitted in the last window before
    /// the store went away; to turn all away who are new, for minutes, would be worse.
    pub(super) fn go_alone(&mut self, away: Moment, level: u64) {
        let share_from = away + longer(self.window.min(SHARE_AFTER) + learn(self.window));
        self.phase = Phase::Alone { level, share_from };
        // A key that is met later has its share at once.
        self.from = self.from.min(share_from);
        self.planned = None;
    }

    /// The level is counted now, while the store knows (`told`) or does not know that this node goes by it. The account
    /// begins when every lease has ended that the store may have granted without knowing. What was spent or charged by
    /// the moment that is returned leaves the window before that: others may have it by then, and it is no part of the
    /// level.
    pub(super) fn count(&mut self, now: Moment, told: bool) -> Moment {
        let leased = if told {
            life(self.window)
        } else {
            life(self.window).max(UNTOLD + farthest(self.window))
        };
        self.from = now + longer(leased);
        Moment(
            self.from
                .0
                .saturating_sub(u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How much of the level just counted was held or had lapsed, and all that had ever passed.
    pub(super) fn keep(&mut self, rest: u64, ever: u64) {
        self.rest = (rest, ever);
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

    /// The level it lives on while the store learns, if it does.
    pub(super) fn learning_level(&self, now: Moment) -> Option<u64> {
        match self.phase {
            Phase::Learning { level, until } if now < until => Some(level),
            _ => None,
        }
    }

    /// The level that the store has set aside for this node since it learnt, where the node has not been granted anything
    /// since: should the store have to learn once more, it is this node's still. Nobody else can have it before a window
    /// is over; half of one is left for what clocks and ways are off.
    pub(super) fn reserved_level(&self, now: Moment) -> Option<u64> {
        match self.phase {
            Phase::Learning { level, until } if now < until + self.window / 2 => Some(level),
            _ => None,
        }
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

    /// What may be taken, of a cap and what was spent in the last window; `ever`: all that ever passed; `comes_back`: when
    /// how much of what was spent comes back. Then until when that holds, and when the first token comes.
    pub(super) fn plan(
        &mut self,
        now: Moment,
        (cap, mut own): (u64, u64),
        ever: u64,
        comes_back: impl Iterator<Item = (Moment, u64)>,
    ) -> (Vec<Piece>, Moment, Moment) {
        // What is spent by this plan comes back after it has ended.
        let mut ends = now + self.window / 2;
        match self.phase {
            Phase::Alone { share_from, .. } if now < share_from => ends = ends.min(share_from),
            Phase::Learning { until, .. } => ends = ends.min(until),
            _ => {}
        }
        let begins = if self.from <= now { Moment(0) } else { self.from };
        if begins > now {
            ends = ends.min(begins);
        }
        self.planned = Some(ends);
        let mut pieces: Vec<Piece> = Vec::new();
        let mut total = 0;
        let mut next = None;
        let mut have = |from: Moment, all: u64| {
            if all > total {
                total = all;
                if from > now {
                    next = next.or(Some(from));
                }
                match pieces.last_mut() {
                    Some(last) if last.from == from => last.total = total,
                    _ if from < ends => pieces.push(Piece { from, total }),
                    _ => {}
                }
            }
            next.is_some()
        };
        if begins > now {
            // Until then others go by what this node was charged with: what it had left is its own, whatever it spent
            // before, and no more than that.
            let (rest, before) = self.rest;
            have(Moment(0), rest.saturating_sub(ever.saturating_sub(before)));
        }
        have(begins, cap.saturating_sub(own));
        for (from, tokens) in comes_back {
            let from = from.max(begins);
            own = own.saturating_sub(tokens);
            if have(from, cap.saturating_sub(own)) && from >= ends {
                break;
            }
        }
        (pieces, ends, next.unwrap_or(now + self.window))
    }
}
