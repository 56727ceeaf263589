//! What a node's call tells, and what that does to the books.

use super::{Measures, Node, add};
use crate::broken::{Broken, broken};
use crate::ledger::epoch::{At, learn};
use crate::ledger::sliding::{Call, Declared, Numbers, Told};
use std::time::Duration;

impl Node {
    /// All that the node knows replaces what is known. While the store learns, what the node may do is set aside, and
    /// the rest of that time is returned.
    pub(super) fn declare(
        &mut self,
        spent: &mut Vec<(u64, u64)>,
        declared: &Declared,
        seq: u64,
        at: &At<'_>,
        measures: &Measures,
        numbers: &Numbers,
    ) -> Option<u64> {
        let rest = at.learning(learn(Duration::from_micros(numbers.window)));
        self.sure.clear();
        self.pending.clear();
        self.instant = (0, 0);
        (self.heard, self.since) = (0, 0);
        if !rest.is_zero() {
            self.reserve = Some(declared.reserve);
            self.seq = seq;
            return Some(u64::try_from(rest.as_micros()).unwrap_or(u64::MAX));
        }
        for &(age, tokens) in &declared.spent {
            add(spent, at.now.0.saturating_sub(age) / measures.slot, tokens);
        }
        self.reserve = None;
        if declared.held > 0 {
            self.sure.push((at.now.0 / measures.slot, declared.held));
        }
        None
    }

    /// The last grant was seen, or is void.
    pub(super) fn acknowledge(&mut self, spent: &mut [(u64, u64)], call: &Call) {
        if call.ack == self.seq {
            self.sure.append(&mut self.pending);
            self.sure.sort_unstable();
            let (slot, given) = self.instant;
            if let Some((_, tokens)) = spent.iter_mut().rev().find(|(other, _)| *other == slot) {
                *tokens = tokens.saturating_sub(given.min(call.unused));
            }
        }
        self.pending.clear();
        self.instant = (0, 0);
    }

    /// What became of tokens. Heard like a stream: what was heard before is skipped.
    pub(super) fn hear(
        &mut self,
        spent: &mut Vec<(u64, u64)>,
        call: &Call,
        fresh: bool,
        now: u64,
        measures: &Measures,
    ) {
        let mut index = call.first;
        for &Told(age, tokens, kind) in &call.stream {
            let from = if broken(Broken::HeardTwice) {
                index
            } else {
                index.max(self.heard)
            };
            index += tokens;
            let new = index.saturating_sub(from);
            // Of a lease that has ended all was charged.
            if new == 0 || (fresh && kind != Told::OWN) {
                continue;
            }
            match kind {
                Told::SPENT | Told::BACK => take_near(&mut self.sure, new),
                Told::FAR => take_far(&mut self.sure, new),
                _ => {}
            }
            if matches!(kind, Told::SPENT | Told::OWN) {
                add(spent, now.saturating_sub(age) / measures.slot, new);
            }
        }
        self.heard = self.heard.max(index);
        self.seq = call.seq;
        self.demand = call.demand;
    }
}

fn take_near(pieces: &mut Vec<(u64, u64)>, mut tokens: u64) {
    let mut gone = 0;
    for piece in pieces.iter_mut() {
        let part = piece.1.min(tokens);
        piece.1 -= part;
        tokens -= part;
        if piece.1 > 0 {
            break;
        }
        gone += 1;
    }
    pieces.drain(..gone);
}

fn take_far(pieces: &mut Vec<(u64, u64)>, mut tokens: u64) {
    while tokens > 0 {
        let Some(piece) = pieces.last_mut() else { return };
        let part = piece.1.min(tokens);
        piece.1 -= part;
        tokens -= part;
        if piece.1 == 0 {
            pieces.pop();
        }
    }
}
