//! The tokens that a node holds: pieces, each from its moment on.

use super::report::{Of, Report};
use crate::ledger::sliding::Told;
use crate::limit::cell::tokens::{MOST, Piece, TokenCell};
use crate::time::Moment;

/// What is held of a lease. Counts as the cell does: from the beginning of its generation.
#[derive(Debug)]
pub(super) struct Lease {
    /// From when on, how many; by moment. What was taken came off the first ones.
    pieces: Vec<(Moment, u64)>,
    /// When all of it ends.
    pub(super) ends: Moment,
    /// Taken in this generation of the cell, as far as it was read.
    read: u64,
    /// Whose what is taken in this generation is.
    of: Of,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new() -> Self {
        Self {
            pieces: Vec::new(),
            ends: Moment(0),
            read: 0,
            of: Of::Lease,
        }
    }

    /// Reads what workers took and told.
    pub(super) fn gather(&mut self, now: Moment, cell: &TokenCell, report: &mut Report) {
        let returned = cell.returned();
        let mut told: smallvec::SmallVec<[(Moment, u64); 8]> = smallvec::SmallVec::new();
        cell.gather(now, |when, tokens| told.push((when, tokens)));
        // After what was told: nothing is told that was not taken before.
        self.read(cell.taken(), report);
        for (when, tokens) in told {
            report.spent(when, tokens);
        }
        if let Some((taken, tokens)) = returned {
            report.returned(now, taken, tokens);
        }
    }

    fn read(&mut self, taken: u64, report: &mut Report) {
        let mut new = taken.saturating_sub(self.read);
        report.taken(self.of, new);
        self.read = taken;
        if self.of == Of::Lease {
            let mut gone = 0;
            for (_, tokens) in &mut self.pieces {
                let part = new.min(*tokens);
                *tokens -= part;
                new -= part;
                if *tokens > 0 {
                    break;
                }
                gone += 1;
            }
            self.pieces.drain(..gone);
        }
    }

    /// Ends the cell's generation: what is held is exact, and stays so until something is published.
    pub(super) fn settle(&mut self, cell: &TokenCell, report: &mut Report) {
        let taken = cell.end();
        self.read(taken, report);
        self.read = 0;
    }

    /// What is held, as far as it was read.
    pub(super) fn held(&self) -> u64 {
        self.pieces.iter().map(|(_, tokens)| tokens).sum()
    }

    /// Whether something held is still to come.
    pub(super) fn has_future(&self, now: Moment) -> bool {
        self.pieces.last().is_some_and(|(from, _)| *from > now)
    }

    /// Drops all where it has ended: the tokens stay dead, and nobody else has them either. The cell has a new generation
    /// then. `charged`: the store had them as given to this node.
    pub(super) fn expire(&mut self, now: Moment, charged: bool, cell: &TokenCell, report: &mut Report) -> bool {
        if now < self.ends || self.held() == 0 {
            return false;
        }
        self.settle(cell, report);
        report.lapse(self.ends, self.held(), charged);
        self.pieces.clear();
        true
    }

    /// All of it goes back. The cell has a new generation then.
    pub(super) fn give_back(&mut self, now: Moment, cell: &TokenCell, report: &mut Report) {
        self.settle(cell, report);
        report.back(now, self.held(), Told::BACK);
        self.pieces.clear();
    }

    /// So many of those that come last go back, as far as they are not there yet. The cell has a new generation then.
    pub(super) fn give_back_far(&mut self, now: Moment, mut excess: u64, cell: &TokenCell, report: &mut Report) {
        self.settle(cell, report);
        while excess > 0 {
            let Some((from, tokens)) = self.pieces.last_mut() else {
                break;
            };
            if *from <= now {
                break;
            }
            let part = excess.min(*tokens);
            *tokens -= part;
            excess -= part;
            report.back(now, part, Told::FAR);
            if *tokens == 0 {
                self.pieces.pop();
            }
        }
    }

    /// More is held.
    pub(super) fn add(&mut self, pieces: impl Iterator<Item = (Moment, u64)>) {
        self.pieces.extend(pieces);
        self.pieces.sort_unstable_by_key(|(from, _)| *from);
    }

    /// What may be taken, as a plan says it. Ends the generation first where its counter would grow too great.
    pub(super) fn curve(&mut self, now: Moment, cell: &TokenCell, report: &mut Report) -> Vec<Piece> {
        if self.read + self.held() > MOST / 2 {
            self.settle(cell, report);
        }
        let mut total = self.read;
        let mut curve: Vec<Piece> = Vec::with_capacity(self.pieces.len());
        for &(from, tokens) in &self.pieces {
            total += tokens;
            let from = if from <= now { Moment(0) } else { from };
            match curve.last_mut() {
                Some(last) if last.from == from => last.total = total,
                _ => curve.push(Piece { from, total }),
            }
        }
        curve
    }

    /// Whose what is taken from now on is; the generation must have ended.
    pub(super) fn belongs(&mut self, of: Of) {
        self.of = of;
    }

    /// Whose what is taken is.
    pub(super) fn of(&self) -> Of {
        self.of
    }

    #[cfg(test)]
    pub(super) fn taken_read(&self) -> u64 {
        self.read
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }
}
