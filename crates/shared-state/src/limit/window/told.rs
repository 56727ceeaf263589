//! What the store tells of its windows.

use super::{Machine, SETTLED, Window};
use crate::ledger::window::{Reply, Span};
use crate::limit::node::View;
use crate::limit::talk::{at_least, at_most, micros, next_call, some_of};
use crate::time::Moment;
use std::time::Duration;

impl Machine {
    pub(super) fn granted(&mut self, sent: Moment, now: Moment, reply: &Reply, view: &View<'_>) -> u64 {
        self.talk.held(view);
        self.heard = self.told;
        // The window may have ended while the reply was on its way: nobody uses at once what it granted there.
        let past = now >= sent + at_least(micros(reply.present.closes));
        let present = self.places[self.present].filter(|present| past && present.name > reply.present.start);
        let mut instant = 0;
        let (span, next) = match present {
            // It has, as this node knows.
            Some(present) if present.name == reply.next.start => (Some(&reply.next), None),
            Some(present) if present.name < reply.next.start => (None, Some(&reply.next)),
            Some(_) => (None, None),
            None => (Some(&reply.present), Some(&reply.next)),
        };
        if let Some(span) = span {
            self.meet(span);
            self.know(self.present, span, sent, now);
            self.free = span.free;
        }
        if let Some(next) = next {
            self.know(1 - self.present, next, sent, now);
        }
        if !past && let Some(present) = &mut self.places[self.present] {
            instant = reply.instant.min(self.waited);
            self.demand.add(now, instant);
            present.used += instant;
            present.held = present.held.saturating_sub(instant);
            if instant > 0 {
                self.settled = now + SETTLED;
            }
        }
        self.nodes = reply.nodes;
        self.horizon = micros(reply.horizon);
        self.lease = sent + at_least(micros(reply.life));
        self.next = next_call(sent, now, self.horizon, view);
        if reply.learning > 0 {
            let until = sent + at_least(micros(reply.learning));
            match &mut self.alone {
                Some(alone) => alone.learns = Some(until),
                None => self.be_alone(now, Some(until)),
            }
            self.next = until + some_of(Duration::from_millis(20), view);
            return instant;
        }
        self.alone = None;
        self.spent = Moment(0);
        if let Some(span) = span.filter(|span| span.free == 0) {
            let ends = sent + at_least(micros(span.closes));
            self.spent = if span.used >= self.limit {
                // Nothing is out that could come back.
                ends
            } else {
                ends.min(now + self.horizon + some_of(self.horizon, view))
            };
        }
        self.over = self.over.min(self.overdraft());
        instant
    }

    // The store's present window has the present place: where it is another one than was thought, that one is over.
    fn meet(&mut self, span: &Span) {
        let named = |window: &Option<Window>| window.is_some_and(|window| window.name == span.start);
        let place = self.places.iter().position(named);
        let unnamed = self.places[self.present].is_some_and(|present| present.name == 0);
        if place != Some(self.present) && !unnamed {
            self.places[self.present] = None;
            self.present = place.unwrap_or(self.present);
            self.over = self.overdraft();
        }
    }

    fn know(&mut self, place: usize, span: &Span, sent: Moment, now: Moment) {
        let (opens, closes) = (micros(span.opens), micros(span.closes));
        let known =
            self.places[place].filter(|window| window.name == span.start || (window.name == 0 && span.opens == 0));
        let from = if span.opens == 0 {
            sent.min(now)
        } else {
            now + at_most(opens)
        };
        let (used, held, level) = known.map_or((0, 0, 0), |known| (known.used, known.held, known.level));
        let until = sent + at_least(closes);
        if known.is_none() {
            self.turns[place] = self.turns[place].wrapping_add(1);
        }
        // When one without a name begins and ends was a guess.
        let bounds = known.filter(|known| known.name != 0);
        self.places[place] = Some(Window {
            name: span.start,
            from: bounds.map_or(from, |known| known.from.min(from)),
            until: bounds.map_or(until, |known| known.until.max(until)),
            closes: now + closes,
            used,
            held: held + span.granted,
            level,
        });
    }
}
