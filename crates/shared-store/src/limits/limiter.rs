//! What a worker asks.

use super::charge::{Charge, Held};
use super::engine::{AskedPart, Asking, Message};
use super::handle::Shared;
use super::known::{Known, Slot};
use super::tally::{Counts, Tally};
use super::waiting::{Part, Waiting};
use super::{Ask, Decision, Outcome, Source, Standing, Verdict, holds, whole_seconds};
use foldhash::fast::RandomState;
use sluice_shared_state::limit::{Cell, Refusal, Take, Token};
use sluice_shared_state::{KeyId, Moment, OnFailure, Rule, RuleId, limit};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Limits on one request before memory is allocated for them.
const LIMITS: usize = 4;

/// What one worker asks its limits through. Lives on the worker's thread.
#[derive(Debug)]
pub struct Limiter {
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    tables: RefCell<Tables>,
}

#[derive(Debug)]
struct Tables {
    known: Known,
    tallies: HashMap<RuleId, Arc<Tally>, RandomState>,
}

/// One ask, under way.
#[derive(Debug)]
struct Tried {
    key: KeyId,
    /// In the worker's table.
    place: Option<u32>,
    take: Take,
}

type AllTried = SmallVec<[Tried; LIMITS]>;

// === impl Limiter ===

impl Limiter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let known = Known::new(shared.common.most_keys);
        Self {
            counts: shared.common.book.counts(),
            tables: RefCell::new(Tables {
                known,
                tallies: HashMap::default(),
            }),
            shared,
        }
    }

    /// This node's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.shared.common.clock.now()
    }

    /// Takes from all limits, or from none. Does not block, and locks nothing that another worker locks, where this
    /// worker knows the keys: some 100 ns a limit then.
    #[must_use]
    pub fn decide(&self, asks: &[Ask<'_>]) -> Decision {
        let now = self.now();
        let tables = &mut *self.tables.borrow_mut();
        let mut tried = self.find(tables, asks, now);
        if let Some(refused) = self.look(tables, asks, &mut tried, now) {
            return Decision::Ready(self.refuse(tables, asks, &tried, refused, now));
        }
        let mut waits = false;
        for i in 0..tried.len() {
            let (ask, this) = (&asks[i], &mut tried[i]);
            if let Some(place) = this.place {
                let slot = tables.known.at(place);
                let (mut take, mut nudge) = slot.cell.take(now, ask.cost);
                // The engine may have forgotten the key and met it again.
                if take == Take::Unknown && self.renew(slot) {
                    (take, nudge) = slot.cell.take(now, ask.cost);
                }
                if nudge {
                    self.shared.tell(Message::Nudge(this.key));
                }
                this.take = take;
            }
            match this.take {
                Take::Taken(_) => {}
                _ if ask.dry_run => {}
                Take::Unknown => waits = true,
                Take::Refused(why) if is_patient(ask, why) => waits = true,
                Take::Refused(_) => {
                    for earlier in &tried[..i] {
                        if let (Some(place), Take::Taken(token)) = (earlier.place, earlier.take) {
                            tables.known.at(place).cell.give_back(now, token);
                        }
                    }
                    return Decision::Ready(self.refuse(tables, asks, &tried, i, now));
                }
            }
        }
        match waits {
            false => Decision::Ready(self.admit(tables, asks, &tried, now)),
            true => Decision::Wait(self.wait(tables, asks, &tried, now)),
        }
    }

    /// Finds the cells of all keys.
    #[inline]
    fn find(&self, tables: &mut Tables, asks: &[Ask<'_>], now: Moment) -> AllTried {
        let mut current = true;
        let tried = asks
            .iter()
            .map(|ask| {
                let key = self.shared.common.salt.key(ask.rule.id, ask.value.as_bytes());
                let place = tables.known.find(key);
                current &= place.is_some_and(|place| {
                    let slot = tables.known.at(place);
                    slot.version >= ask.rule.version && !slot.tally.is_gone()
                });
                let take = Take::Unknown;
                Tried { key, place, take }
            })
            .collect();
        match current {
            true => tried,
            false => self.learn(tables, asks, tried, now),
        }
    }

    /// Looks up among the node's keys those that this worker does not know, and tells the engine of new numbers.
    #[cold]
    fn learn(&self, tables: &mut Tables, asks: &[Ask<'_>], mut tried: AllTried, now: Moment) -> AllTried {
        for (ask, this) in asks.iter().zip(&mut tried) {
            let slot = this.place.and_then(|_| tables.known.find(this.key));
            let slot = slot.map(|place| tables.known.at(place));
            // A full table may have forgotten one for another of the same request.
            let old = slot.map(|slot| (Arc::clone(&slot.cell), slot.version, slot.tally.is_gone()));
            let (cell, version) = match old {
                Some((_, version, false)) if version >= ask.rule.version => continue,
                Some((cell, version, _)) => (cell, version),
                None => match self.elsewhere(ask.rule, this, now) {
                    // The node may know it by the limit's old numbers.
                    Some(cell) => (cell, 0),
                    None => continue,
                },
            };
            let told =
                version >= ask.rule.version || self.shared.tell(Message::Numbers(this.key, Arc::clone(ask.rule)));
            let version = if told { ask.rule.version } else { version };
            let tally = tables.tally(&self.shared, &self.counts, ask.rule);
            tables.known.insert(this.key, cell, tally, version);
        }
        for this in &mut tried {
            this.place = tables.known.find(this.key);
        }
        tried
    }

    /// Whether the node has another cell for the key than this worker thought.
    #[cold]
    fn renew(&self, slot: &mut Slot) -> bool {
        match self.shared.common.cells.get(slot.key) {
            Some(cell) if !Arc::ptr_eq(&cell, &slot.cell) => {
                slot.cell = cell;
                true
            }
            _ => false,
        }
    }

    /// The cell of a key that this worker does not know. While too many are new to the node, keys that nobody knows
    /// are judged together, by what their limit says of a store that cannot be asked.
    fn elsewhere(&self, rule: &Rule, this: &mut Tried, now: Moment) -> Option<Arc<Cell>> {
        let common = &self.shared.common;
        if let Some(cell) = common.cells.get(this.key) {
            return Some(cell);
        }
        if !common.sheds(now) {
            return None;
        }
        common.book.shed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match rule.on_failure {
            OnFailure::Local => {
                this.key = common.overflow(rule);
                return common.cells.get(this.key);
            }
            OnFailure::Open => {
                this.take = Take::Taken(Token {
                    cost: 0,
                    source: limit::Source::Open,
                    generation: 0,
                    taken: now,
                });
            }
            OnFailure::Closed => this.take = Take::Refused(Refusal::NoStore),
        }
        None
    }

    /// Whether any limit is known to refuse, before anything is taken. Of one limit alone taking tells the same.
    fn look(&self, tables: &mut Tables, asks: &[Ask<'_>], tried: &mut AllTried, now: Moment) -> Option<usize> {
        if asks.len() < 2 {
            return None;
        }
        let mut refused = None;
        for (i, (ask, this)) in asks.iter().zip(tried).enumerate() {
            if let Some(place) = this.place {
                this.take = tables.known.at(place).cell.peek(now, ask.cost);
            }
            if let Take::Refused(why) = this.take
                && !ask.dry_run
                && !is_patient(ask, why)
            {
                refused.get_or_insert(i);
            }
        }
        refused
    }

    /// All limits admit, or only try to.
    fn admit(&self, tables: &mut Tables, asks: &[Ask<'_>], tried: &AllTried, now: Moment) -> Verdict {
        let mut held = Held::default();
        let standings = asks.iter().zip(tried).map(|(ask, this)| {
            let (outcome, source) = match this.take {
                Take::Taken(token) => (Outcome::Admitted, token.source.into()),
                Take::Refused(why) => self.refusal(ask, this, why, now),
                // A limit that is only tried keeps nobody waiting: the engine counts it when it knows.
                Take::Unknown => {
                    self.ask_for_nobody(ask, this, now);
                    return Standing::unknown(Outcome::Admitted, Source::Local);
                }
            };
            if holds(ask.rule)
                && let (Some(place), Take::Taken(token)) = (this.place, this.take)
            {
                let cell = &tables.known.at(place).cell;
                held.hold(Charge::new(self.shared.common.clock, cell, Some(token)));
            }
            self.stand(tables, ask.rule, this, outcome, source, now)
        });
        let standings = standings.collect();
        Verdict { standings, held }
    }

    /// The limit at `by` refuses.
    fn refuse(&self, tables: &mut Tables, asks: &[Ask<'_>], tried: &AllTried, by: usize, now: Moment) -> Verdict {
        let standings = asks.iter().zip(tried).enumerate().map(|(i, (ask, this))| {
            let (outcome, source) = match this.take {
                Take::Refused(why) if i == by || !is_patient(ask, why) => self.refusal(ask, this, why, now),
                Take::Taken(token) => (Outcome::Spared, token.source.into()),
                _ => (Outcome::Spared, self.shared.common.judge()),
            };
            self.stand(tables, ask.rule, this, outcome, source, now)
        });
        Verdict {
            standings: standings.collect(),
            held: Held::default(),
        }
    }

    fn refusal(&self, ask: &Ask<'_>, this: &Tried, why: Refusal, now: Moment) -> (Outcome, Source) {
        self.counts.refused().count(now, this.key, ask.rule, ask.value);
        match why {
            Refusal::Spent(_) => (Outcome::Spent, self.shared.common.judge()),
            Refusal::NoStore => (Outcome::NoStore, Source::Local),
        }
    }

    fn stand(
        &self,
        tables: &mut Tables,
        rule: &Arc<Rule>,
        this: &Tried,
        outcome: Outcome,
        source: Source,
        now: Moment,
    ) -> Standing {
        let Some(place) = this.place else {
            tables.tally(&self.shared, &self.counts, rule).add(outcome, source);
            return Standing::unknown(outcome, source);
        };
        let slot = tables.known.at(place);
        slot.tally.add(outcome, source);
        standing(&slot.cell, this.take, outcome, source, now)
    }

    /// Some limits are not known, or their tokens are on their way: those are asked for, the others stay charged.
    fn wait(&self, tables: &mut Tables, asks: &[Ask<'_>], tried: &AllTried, now: Moment) -> Waiting {
        let common = &self.shared.common;
        let mut asked = SmallVec::new();
        let parts = asks.iter().zip(tried).map(|(ask, this)| {
            let tally = tables.tally(&self.shared, &self.counts, ask.rule);
            let mut part = Part::new(ask, this.key, tally);
            match (this.take, this.place) {
                (Take::Taken(token), Some(place)) => {
                    let charge = Charge::new(common.clock, &tables.known.at(place).cell, Some(token));
                    part.taken(charge, token.source.into());
                }
                (Take::Taken(token), None) => part.passed(Outcome::Admitted, token.source.into()),
                (Take::Refused(Refusal::NoStore), _) => part.passed(Outcome::NoStore, Source::Local),
                (Take::Refused(_), _) if ask.dry_run => part.passed(Outcome::Spent, common.judge()),
                (Take::Unknown, _) if ask.dry_run => {
                    self.ask_for_nobody(ask, this, now);
                    part.passed(Outcome::Admitted, Source::Local);
                }
                _ => asked.push(self.part(ask, this, now)),
            }
            part
        });
        let parts = parts.collect();
        let (to, answer) = oneshot::channel();
        let most = asks.iter().map(|ask| ask.patience).max().unwrap_or_default();
        self.shared.tell(Message::Ask(Asking {
            parts: asked,
            answer: Some(to),
            since: now,
        }));
        Waiting::new(Arc::clone(common), Arc::clone(&self.counts), parts, answer, now, most)
    }

    fn ask_for_nobody(&self, ask: &Ask<'_>, this: &Tried, now: Moment) {
        self.shared.tell(Message::Ask(Asking {
            parts: SmallVec::from_iter([self.part(ask, this, now)]),
            answer: None,
            since: now,
        }));
    }

    fn part(&self, ask: &Ask<'_>, this: &Tried, now: Moment) -> AskedPart {
        AskedPart {
            rule: Arc::clone(ask.rule),
            key: this.key,
            cost: ask.cost,
            counted: this.place.is_some(),
            patient_until: now + ask.patience,
        }
    }
}

// === impl Tables ===

impl Tables {
    /// Where this worker counts the decisions of a limit.
    fn tally(&mut self, shared: &Shared, counts: &Counts, rule: &Arc<Rule>) -> Arc<Tally> {
        match self.tallies.get(&rule.id) {
            Some(tally) if !tally.is_gone() => Arc::clone(tally),
            _ => {
                shared.common.book.meet(rule);
                let tally = counts.tally(rule.id);
                self.tallies.retain(|_, tally| !tally.is_gone());
                self.tallies.insert(rule.id, Arc::clone(&tally));
                tally
            }
        }
    }
}

/// How a limit stands, by its cell.
pub(super) fn standing(cell: &Cell, take: Take, outcome: Outcome, source: Source, now: Moment) -> Standing {
    let (remaining, reset) = match take {
        Take::Refused(Refusal::Spent(next)) => (0, next),
        _ => cell.standing(now),
    };
    Standing {
        outcome,
        remaining,
        reset: whole_seconds(reset),
        source,
    }
}

/// Whether the request would rather wait than be refused.
fn is_patient(ask: &Ask<'_>, why: Refusal) -> bool {
    matches!(why, Refusal::Spent(next) if next <= ask.patience && !ask.patience.is_zero())
}
