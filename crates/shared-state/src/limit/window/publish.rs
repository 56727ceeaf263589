//! What workers may take from now on.

use super::Machine;
use crate::limit::cell::spans::{Plan, SpanCell};
use crate::limit::cell::{Beyond, Source};
use crate::rule::OnFailure;
use crate::time::Moment;
use std::time::Duration;

/// How long a node may take to turn to a window that has begun.
const TURN: Duration = Duration::from_millis(20);

impl Machine {
    pub(super) fn publish(&mut self, now: Moment, cell: &SpanCell) {
        let lease = if self.alone.is_some() {
            Moment(u64::MAX)
        } else {
            self.lease
        };
        let learns = self.alone.is_some_and(|alone| alone.learns.is_some());
        let mut plan = Plan {
            source: if self.alone.is_some() {
                Source::Local
            } else {
                Source::Lease
            },
            windows: self.turns,
            low: if self.free > 0 {
                self.low(Duration::from_millis(1))
            } else {
                0
            },
            beyond: self.beyond(now),
            waits: !self.fast,
            closes: self.opens_again(now),
            free: if self.alone.is_some() { 0 } else { self.free },
            ..Plan::default()
        };
        for (span, window) in plan.spans.iter_mut().zip(&self.places) {
            // A store that learns must know what the node will live on before it does.
            if let Some(window) = window
                && (!learns || window.name <= self.heard)
            {
                *span = (window.from, window.until.min(lease));
            }
        }
        let held = [0, 1].map(|place: usize| self.places[place].map_or(0, |window| window.held));
        if self.alone.is_some() {
            self.over = 0;
        }
        if plan == self.plan && (held, self.over) == self.shown {
            return;
        }
        let shown = self.shown;
        let more = |place: usize, left: u64| (left + held[place]).saturating_sub(shown.0[place]);
        let over = self.over;
        let (left, overleft) = cell.publish(plan.clone(), more, |left| (left + over).saturating_sub(shown.1));
        self.plan = plan;
        self.see(now, left, overleft);
        // What is there now: what was taken between the look and this moment is seen above.
        self.shown = (
            [more(0, left[0]), more(1, left[1])],
            (overleft + over).saturating_sub(shown.1),
        );
        for (place, window) in self.places.iter_mut().enumerate() {
            if let Some(window) = window {
                window.held = self.shown.0[place];
            }
        }
        self.over = self.shown.1;
    }

    // When there will be tokens again. Who does not wait for the store finds the next window open only when this node has
    // turned to it.
    fn opens_again(&self, now: Moment) -> Moment {
        let closes = self.places[self.present].map_or(now, |present| present.closes);
        match self.places[1 - self.present] {
            Some(next) if self.fast && self.alone.is_none() => closes.max(next.from) + TURN.min(self.length / 100),
            _ => closes,
        }
    }

    fn beyond(&self, now: Moment) -> Beyond {
        match (self.alone, self.on_failure) {
            (Some(_), OnFailure::Open) => Beyond::Open,
            (Some(_), OnFailure::Closed) => Beyond::Closed,
            (Some(alone), OnFailure::Local) => Beyond::Spent {
                until: alone.learns.unwrap_or(Moment(u64::MAX)),
            },
            (None, _) if now < self.spent => Beyond::Spent { until: self.spent },
            (None, _) => Beyond::Ask,
        }
    }
}
