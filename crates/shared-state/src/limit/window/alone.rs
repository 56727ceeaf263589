//! What the node grants itself while it is without the store.

use super::{Alone, Machine, Window};
use crate::limit::alone::share;
use crate::limit::node::View;
use crate::limit::talk::at_most;
use crate::rule::OnFailure;
use crate::time::Moment;

impl Machine {
    pub(super) fn go_alone(&mut self, view: &View<'_>) {
        match &mut self.alone {
            Some(alone) => alone.learns = None,
            None => self.be_alone(view.away, None),
        }
    }

    pub(super) fn be_alone(&mut self, since: Moment, learns: Option<Moment>) {
        for window in self.places.iter_mut().flatten() {
            window.level = window.used + window.held;
        }
        self.alone = Some(Alone { since, learns });
    }

    // The store has learnt. What it never heard of is nobody's.
    pub(super) fn end_alone(&mut self, now: Moment) {
        (self.alone, self.next) = (None, now);
        for window in self.places.iter_mut().flatten() {
            if window.name > self.heard {
                window.held = 0;
            }
        }
    }

    // What the node grants itself.
    pub(super) fn account(&mut self, now: Moment, view: &View<'_>) {
        let Some(alone) = self.alone else {
            return;
        };
        if self.on_failure != OnFailure::Local {
            return;
        }
        let safe = alone.since + at_most(self.notice);
        if self.places[self.present].is_none() {
            self.new_window(now.max(safe));
        }
        self.foresee(now);
        self.turn(now);
        self.foresee(now);
        let share = share(self.limit, self.key, view);
        let told = match (self.talk.busy(), alone.learns) {
            (true, _) => self.told,
            (false, Some(_)) => self.heard,
            (false, None) => 0,
        };
        for window in self.places.iter_mut().flatten() {
            let mut cap = if window.from < safe {
                window.level.min(share)
            } else {
                share
            };
            // What the store was told, or is being told, must not become more behind its back.
            if window.name <= told {
                cap = cap.min(window.used + window.held);
            }
            window.held = cap.saturating_sub(window.used);
        }
    }

    // A window of which the store never told: as long as one is, from now on.
    pub(super) fn new_window(&mut self, from: Moment) {
        self.places[self.present] = Some(Window {
            name: 0,
            from,
            until: from + self.length,
            closes: from + self.length,
            used: 0,
            held: 0,
            level: 0,
        });
        self.turns[self.present] = self.turns[self.present].wrapping_add(1);
    }

    // The window after the present one, by its length; the clocks' difference since the store was last heard makes its
    // beginning uncertain.
    fn foresee(&mut self, now: Moment) {
        let other = 1 - self.present;
        let Some(present) = self.places[self.present] else {
            return;
        };
        if self.places[other].is_some() || now >= present.closes + self.length {
            return;
        }
        let doubt = present.closes.since(present.until) + self.length / 1000;
        self.places[other] = Some(Window {
            name: if present.name == 0 {
                0
            } else {
                present.name + u64::try_from(self.length.as_micros()).unwrap_or(u64::MAX)
            },
            from: present.closes + present.closes.since(present.until),
            until: present.closes + self.length.saturating_sub(doubt),
            closes: present.closes + self.length,
            used: 0,
            held: 0,
            level: 0,
        });
        self.turns[other] = self.turns[other].wrapping_add(1);
    }
}
