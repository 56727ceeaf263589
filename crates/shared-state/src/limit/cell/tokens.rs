//! Tokens that may be taken from some moments on, as workers take them: a counter, and a plan that says how far it may
//! be by when.
//!
//! ```text
//!   word  [generation 24 | taken 40]     plan  generation, how many in all from which moment on, until when
//! ```
//!
//! A worker reads the word, then the plan; where both are of one generation, and the count of what was taken stays
//! within the plan, it moves the word. The machine gives more by a greater plan of the same generation: whoever still
//! reads the lesser one takes less than he may. It takes something away by ending the generation: it moves the word to the
//! next, after which no worker can take by the plan before, and then reads in the old word exactly what was taken.
//! Until the new plan is there workers wait a few hundred nanoseconds, then ask as if nothing were known.

mod plan;

pub use plan::{Otherwise, Piece, Plan};

use super::demand::Demand;
use super::spends::Spends;
use super::{Refusal, Source, Take, Token};
use crate::rule::{Algorithm, Mode, Rule};
use crate::time::Moment;
use arc_swap::ArcSwap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const TAKEN_BITS: u32 = 40;
const TAKEN: u64 = (1 << TAKEN_BITS) - 1;
const GENERATIONS: u32 = 1 << (64 - TAKEN_BITS);
const RETURNED_BITS: u32 = 20;
const RETURNED: u64 = (1 << RETURNED_BITS) - 1;
const RETURNED_TICK: u64 = (1 << (64 - RETURNED_BITS)) - 1;
/// How often a worker looks for the plan of a new generation before it asks.
const LOOKS: u32 = 64;
/// The greatest total of a plan: a worker's addition never reaches the generation.
pub const MOST: u64 = TAKEN - u32::MAX as u64;

/// One count of tokens on one node.
#[derive(Debug)]
pub struct TokenCell {
    word: AtomicU64,
    plan: ArcSwap<Plan>,
    /// Taken without a token: overdrawn, or while the limit is open. Counts all that ever were.
    beyond: AtomicU64,
    /// Given back, of the present generation: the tick in which the first of them was taken (44 bits), how many (20 bits).
    returned: AtomicU64,
    /// Of which grant instant tokens come back (its number in the upper half), and how many did.
    unused: AtomicU64,
    /// When the first token was taken since the plan was published, in nanoseconds; 0: none was.
    first: AtomicU64,
    demand: Demand,
    /// Somebody is to look, and has not yet.
    nudged: AtomicBool,
    /// A request came for which nobody knew.
    asked: AtomicBool,
    /// Made when the first token is taken: most keys are cold.
    spends: OnceLock<Box<Spends>>,
    tick: Duration,
}

// === impl TokenCell ===

impl TokenCell {
    /// Nothing is known.
    #[must_use]
    pub fn new(rule: &Rule, _: Moment) -> Self {
        let (window, most) = match &rule.algorithm {
            Algorithm::SlidingWindow { window, limit } => (*window, u64::from(*limit)),
            _ => (Duration::from_secs(1), rule.most()),
        };
        let mut plan = Plan::unknown(most, window);
        if rule.mode == Mode::Fast {
            // One overdraft there always is, by however many nodes they are shared.
            plan.otherwise = Otherwise::Ask {
                spent_until: Moment(0),
                overdraft: 1,
                waits: false,
            };
        }
        Self {
            word: AtomicU64::new(0),
            plan: ArcSwap::from_pointee(plan),
            beyond: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            unused: AtomicU64::new(0),
            first: AtomicU64::new(0),
            demand: Demand::new(window),
            nudged: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            spends: OnceLock::new(),
            // A quarter of a slot.
            tick: window / 400,
        }
    }

    /// See [`Cell::take`](super::Cell::take).
    pub fn take(&self, now: Moment, cost: u32) -> (Take, bool) {
        let rate = self.demand.asked(now, cost);
        self.attempt(now, cost, rate)
    }

    /// See [`Cell::take_again`](super::Cell::take_again).
    pub fn take_again(&self, now: Moment, cost: u32) -> (Take, bool) {
        self.attempt(now, cost, None)
    }

    fn attempt(&self, now: Moment, cost: u32, rate: Option<f64>) -> (Take, bool) {
        let mut looks = 0;
        loop {
            let word = self.word.load(Ordering::Acquire);
            let plan = self.plan.load();
            let generation = (word >> TAKEN_BITS) as u32;
            if plan.generation != generation {
                looks += 1;
                if looks > LOOKS {
                    return (Take::Unknown, self.nudge());
                }
                std::hint::spin_loop();
                continue;
            }
            let (taken, there) = (word & TAKEN, plan.there(now));
            if taken + u64::from(cost) > there {
                return self.without(now, cost, &plan, rate);
            }
            let next = word + u64::from(cost);
            if self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            self.spends().add(now, cost);
            if self.first.load(Ordering::Relaxed) == 0 {
                self.first.store(now.0, Ordering::Relaxed);
            }
            let left = there - taken - u64::from(cost);
            let low = plan.low.is_some_and(|low| left <= low) && plan.last() == there;
            let nudge = (low || plan.is_rising(now, rate)) && self.nudge();
            let token = Token {
                cost,
                source: plan.source,
                generation,
                taken: now,
            };
            return (Take::Taken(token), nudge);
        }
    }

    /// There is no token by the plan.
    fn without(&self, now: Moment, cost: u32, plan: &Plan, rate: Option<f64>) -> (Take, bool) {
        let token = |source| {
            Take::Taken(Token {
                cost,
                source,
                generation: plan.generation,
                taken: now,
            })
        };
        let spent = |nudge| (Take::Refused(Refusal::Spent(self.until_next(now, plan))), nudge);
        match plan.otherwise {
            Otherwise::Ask { spent_until, .. } if now < spent_until && cost >= plan.unit => {
                spent(plan.is_rising(now, rate) && self.nudge())
            }
            Otherwise::Ask { overdraft, waits, .. } => {
                let over = self
                    .beyond
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, |over| {
                        over.checked_add(u64::from(cost)).filter(|over| *over <= overdraft)
                    })
                    .is_ok();
                if waits && !over {
                    // Whoever waits is seen by that.
                    return (Take::Unknown, false);
                }
                self.asked.store(true, Ordering::Release);
                let nudge = self.nudge();
                if over {
                    (token(Source::Local), nudge)
                } else {
                    spent(nudge)
                }
            }
            Otherwise::Closed => (Take::Refused(Refusal::NoStore), false),
            Otherwise::Open => {
                self.beyond.fetch_add(u64::from(cost), Ordering::AcqRel);
                (token(Source::Open), false)
            }
        }
    }

    /// See [`Cell::peek`](super::Cell::peek).
    #[must_use]
    pub fn peek(&self, now: Moment, cost: u32) -> Take {
        let mut looks = 0;
        loop {
            let word = self.word.load(Ordering::Acquire);
            let plan = self.plan.load();
            let generation = (word >> TAKEN_BITS) as u32;
            if plan.generation != generation {
                looks += 1;
                if looks > LOOKS {
                    return Take::Unknown;
                }
                std::hint::spin_loop();
                continue;
            }
            let token = |source| {
                Take::Taken(Token {
                    cost,
                    source,
                    generation,
                    taken: now,
                })
            };
            if (word & TAKEN) + u64::from(cost) <= plan.there(now) {
                return token(plan.source);
            }
            return match plan.otherwise {
                Otherwise::Ask { spent_until, .. } if now < spent_until && cost >= plan.unit => {
                    Take::Refused(Refusal::Spent(self.until_next(now, &plan)))
                }
                Otherwise::Ask { overdraft, .. } if self.beyond() + u64::from(cost) <= overdraft => {
                    token(Source::Local)
                }
                Otherwise::Ask { waits: true, .. } => Take::Unknown,
                Otherwise::Ask { .. } => Take::Refused(Refusal::Spent(self.until_next(now, &plan))),
                Otherwise::Closed => Take::Refused(Refusal::NoStore),
                Otherwise::Open => token(Source::Open),
            };
        }
    }

    /// See [`Cell::give_back`](super::Cell::give_back). What was taken by an earlier plan is not missed.
    pub fn give_back(&self, _: Moment, token: Token) {
        if token.source == Source::Store {
            let grant = u64::from(token.generation);
            // Of an earlier grant: it is charged, and stays so.
            let _ = self.unused.fetch_update(Ordering::AcqRel, Ordering::Acquire, |unused| {
                (unused >> 32 == grant).then(|| unused.saturating_add(u64::from(token.cost)))
            });
            return;
        }
        let word = self.word.load(Ordering::Acquire);
        if (word >> TAKEN_BITS) as u32 == token.generation && token.source != Source::Open {
            let tick = (token.taken.0 / self.tick()) & RETURNED_TICK;
            let _ = self
                .returned
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |returned| {
                    let (first, count) = (returned >> RETURNED_BITS, returned & RETURNED);
                    let first = if count == 0 { tick } else { first.min(tick) };
                    Some(first << RETURNED_BITS | (count + u64::from(token.cost)).min(RETURNED))
                });
        }
    }

    /// See [`Cell::standing`](super::Cell::standing).
    #[must_use]
    pub fn standing(&self, now: Moment) -> (u64, Duration) {
        let plan = self.plan.load();
        let word = self.word.load(Ordering::Acquire);
        let taken = if (word >> TAKEN_BITS) as u32 == plan.generation {
            word & TAKEN
        } else {
            0
        };
        let left = plan.there(now).saturating_sub(taken) + plan.elsewhere;
        let (most, whole) = plan.whole;
        if left > 0 {
            (left.min(most), whole)
        } else {
            (0, self.until_next(now, &plan))
        }
    }

    /// How long until a token comes that is not there now.
    fn until_next(&self, now: Moment, plan: &Plan) -> Duration {
        let scheduled = plan.after(now).map(|piece| piece.from);
        let first = self.first.load(Ordering::Relaxed);
        let comes_back = (first != 0).then(|| Moment(first) + plan.comes_back);
        let known = comes_back.map_or(plan.next, |back| plan.next.min(back));
        // No refusal is taken back before it runs out.
        let known = match plan.otherwise {
            Otherwise::Ask { spent_until, .. } => known.max(spent_until),
            _ => known,
        };
        scheduled.map_or(known, |piece| piece.min(known)).since(now)
    }

    /// See [`Cell::instant`](super::Cell::instant).
    #[must_use]
    pub fn instant(&self, now: Moment, cost: u32) -> Token {
        Token {
            cost,
            source: Source::Store,
            generation: (self.unused.load(Ordering::Acquire) >> 32) as u32,
            taken: now,
        }
    }

    // --- what the machine asks and says

    /// Instant tokens that come back are of this grant from now on.
    pub fn instants(&self, grant: u64) {
        self.unused.store(grant << 32, Ordering::Release);
    }

    /// Instant tokens of the present grant that came back since this was asked last.
    pub fn unused(&self) -> u64 {
        self.unused.fetch_and(!u64::from(u32::MAX), Ordering::AcqRel) & u64::from(u32::MAX)
    }

    /// Ends the generation: nothing more can be taken by the present plan. Returns what was taken in it. Publish soon.
    pub fn end(&self) -> u64 {
        let old = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let next = ((word >> TAKEN_BITS) as u32 + 1) % GENERATIONS;
                Some(u64::from(next) << TAKEN_BITS)
            })
            .unwrap_or_else(|word| word);
        old & TAKEN
    }

    /// What may be taken from now on. Of the present generation, unless [`end`](Self::end) was called, it must not be
    /// less than before.
    pub fn publish(&self, mut plan: Plan) {
        plan.generation = (self.word.load(Ordering::Acquire) >> TAKEN_BITS) as u32;
        self.first.store(0, Ordering::Relaxed);
        self.plan.store(std::sync::Arc::new(plan));
    }

    /// See [`Cell::forget`](super::Cell::forget).
    pub(super) fn forget(&self) {
        self.end();
        let (limit, window) = self.plan.load().whole;
        self.publish(Plan::unknown(limit, window));
    }

    /// The present plan.
    #[must_use]
    pub fn plan(&self) -> std::sync::Arc<Plan> {
        self.plan.load_full()
    }

    /// Taken in the present generation.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.word.load(Ordering::Acquire) & TAKEN
    }

    /// Taken beyond plans, ever.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond.load(Ordering::Acquire)
    }

    /// What was given back since this was asked last: how many, and by when the first of them was taken (the end of the
    /// tick). Ask it before [`gather`](Self::gather): a token's spend is there when its return is.
    pub fn returned(&self) -> Option<(Moment, u64)> {
        let returned = self.returned.swap(0, Ordering::AcqRel);
        let (first, count) = (returned >> RETURNED_BITS, returned & RETURNED);
        (count > 0).then(|| (Moment((first + 1).saturating_mul(self.tick())), count))
    }

    /// Nanoseconds of a tick.
    fn tick(&self) -> u64 {
        u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// Takes out the spends by plan that workers have told so far: by when, how many; oldest first.
    pub fn gather(&self, now: Moment, each: impl FnMut(Moment, u64)) {
        if let Some(spends) = self.spends.get() {
            spends.gather(now, each);
        }
    }

    /// Within which spends should be gathered.
    #[must_use]
    pub fn reach(&self) -> Duration {
        self.spends.get().map_or(self.tick * 100, |spends| spends.reach())
    }

    /// What requests ask for.
    #[must_use]
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Somebody looks: the next nudge is told again.
    pub fn looked(&self) {
        self.nudged.store(false, Ordering::Release);
    }

    /// Whether a request came for which nobody knew, since this was asked last.
    pub fn asked(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }

    /// Whether this nudge is the first since somebody looked.
    fn nudge(&self) -> bool {
        !self.nudged.load(Ordering::Relaxed) && !self.nudged.swap(true, Ordering::AcqRel)
    }

    fn spends(&self) -> &Spends {
        self.spends.get_or_init(|| Box::new(Spends::new(self.tick)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::RuleId;
    use crate::rule::{OnFailure, Scope};
    use std::sync::atomic::AtomicU64;

    fn rule(mode: Mode) -> Rule {
        Rule {
            name: "r".into(),
            scope: Scope::Gateway("g".into()),
            algorithm: Algorithm::SlidingWindow {
                limit: 100,
                window: Duration::from_secs(1),
            },
            mode,
            on_failure: OnFailure::Local,
            version: 1,
            id: RuleId(0),
        }
    }

    fn at(millis: u64) -> Moment {
        Moment(1_000_000_000 + millis * 1_000_000)
    }

    fn plan(pieces: &[(u64, u64)], ends: u64) -> Plan {
        Plan {
            pieces: pieces
                .iter()
                .map(|(from, total)| Piece {
                    from: at(*from),
                    total: *total,
                })
                .collect(),
            ends: at(ends),
            otherwise: Otherwise::Ask {
                spent_until: at(500),
                overdraft: 0,
                waits: true,
            },
            next: at(300),
            ..Plan::unknown(100, Duration::from_secs(1))
        }
    }

    fn takes(cell: &TokenCell, millis: u64, cost: u32) -> bool {
        matches!(cell.take(at(millis), cost).0, Take::Taken(_))
    }

    #[test]
    fn a_piece_is_taken_from_its_moment_on_and_until_the_end() {
        let cell = TokenCell::new(&rule(Mode::Exact), at(0));
        cell.publish(plan(&[(0, 2), (100, 3)], 400));
        assert!(takes(&cell, 0, 1) && takes(&cell, 0, 1));
        assert!(!takes(&cell, 99, 1), "the third one is not there yet");
        assert!(takes(&cell, 100, 1));
        cell.publish(plan(&[(0, 2), (100, 9)], 400));
        assert!(takes(&cell, 399, 1));
        assert!(!takes(&cell, 400, 1), "it has ended");
    }

    #[test]
    fn a_cost_is_taken_whole_or_not_at_all() {
        let cell = TokenCell::new(&rule(Mode::Exact), at(0));
        cell.publish(plan(&[(0, 5)], 400));
        assert!(!takes(&cell, 0, 6));
        assert!(takes(&cell, 0, 5));
        assert_eq!(cell.taken(), 5);
    }

    #[test]
    fn a_refusal_tells_when_the_next_token_is_due() {
        let cell = TokenCell::new(&rule(Mode::Exact), at(0));
        cell.publish(plan(&[(0, 1), (100, 2)], 400));
        assert!(takes(&cell, 0, 1));
        let soon = Take::Refused(Refusal::Spent(Duration::from_millis(60)));
        assert_eq!(cell.take(at(40), 1).0, soon);
        assert!(takes(&cell, 100, 1));
        // Nothing is scheduled: no sooner than asking helps, and no later than the own spend comes back.
        let later = Take::Refused(Refusal::Spent(Duration::from_millis(390)));
        assert_eq!(cell.take(at(110), 1).0, later);
        assert_eq!(cell.peek(at(110), 1), later);
        assert_eq!(cell.take(at(500), 1).0, Take::Unknown);
    }

    #[test]
    fn what_is_taken_away_cannot_be_taken_by_the_plan_before() {
        let cell = TokenCell::new(&rule(Mode::Exact), at(0));
        cell.publish(plan(&[(0, 10)], 400));
        assert!(takes(&cell, 0, 4));
        assert_eq!(cell.end(), 4);
        assert_eq!(cell.take(at(0), 1).0, Take::Unknown, "there is no plan yet");
        cell.publish(plan(&[(0, 1)], 400));
        assert!(takes(&cell, 0, 1));
        assert!(!takes(&cell, 0, 1));
    }

    #[test]
    fn it_is_overdrawn_as_far_as_it_says_and_nobody_waits() {
        let cell = TokenCell::new(&rule(Mode::Fast), at(0));
        let (take, nudge) = cell.take(at(0), 1);
        assert!(
            matches!(take, Take::Taken(token) if token.source == Source::Local),
            "{take:?}"
        );
        assert!(nudge && cell.asked());
        let (take, nudge) = cell.take(at(0), 1);
        assert!(matches!(take, Take::Refused(Refusal::Spent(_))), "{take:?}");
        assert!(!nudge, "whoever looks was told already");
        assert_eq!(cell.beyond(), 1);
    }

    #[test]
    fn a_nudge_is_told_once_until_somebody_looks() {
        let cell = TokenCell::new(&rule(Mode::Exact), at(0));
        let low = Plan {
            low: Some(5),
            ..plan(&[(0, 10)], 400)
        };
        cell.publish(low);
        let nudges = |times: usize| (0..times).filter(|_| cell.take(at(0), 1).1).count();
        assert_eq!(nudges(4), 0);
        assert_eq!(nudges(3), 1);
        cell.looked();
        assert_eq!(nudges(2), 1);
    }

    /// Workers take while the machine gives more and takes away. What was given is what was taken and what is left: no
    /// token is taken twice, none by a plan that has ended.
    #[test]
    fn no_token_is_taken_twice_while_plans_change() {
        const WORKERS: u64 = 3;
        let cell = TokenCell::new(&rule(Mode::Exact), at(0));
        let (got, gathered) = (AtomicU64::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        let (mut taken, mut given_back, mut given) = (0u64, 0u64, 0u64);
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (cell, got, stop) = (&cell, &got, &stop);
                scope.spawn(move || {
                    let mut moment = 0;
                    while !stop.load(Ordering::Relaxed) {
                        moment += 1;
                        let cost = 1 + (moment % (worker + 1)) as u32;
                        if let Take::Taken(token) = cell.take(Moment(at(0).0 + moment), cost).0 {
                            got.fetch_add(u64::from(token.cost), Ordering::Relaxed);
                        }
                    }
                });
            }
            // What may have been taken of the present generation.
            let mut total = 0u64;
            let mut round = 0u64;
            // And on until a worker has had its turn.
            while round < 20_000 || got.load(Ordering::Relaxed) == 0 {
                round += 1;
                if round.is_multiple_of(7) {
                    let of_it = cell.end();
                    assert!(of_it <= total, "{of_it} of {total}");
                    taken += of_it;
                    given_back += total - of_it;
                    total = 0;
                }
                total += round % 40;
                given += round % 40;
                cell.publish(plan(&[(0, total)], 1_000_000));
                cell.gather(at(1), |_, tokens| {
                    gathered.fetch_add(tokens, Ordering::Relaxed);
                });
            }
            stop.store(true, Ordering::Relaxed);
            let of_it = cell.end();
            assert!(of_it <= total, "{of_it} of {total}");
            taken += of_it;
            given_back += total - of_it;
        });
        cell.gather(at(1), |_, tokens| {
            gathered.fetch_add(tokens, Ordering::Relaxed);
        });
        let got = got.into_inner();
        assert!(got > 0);
        assert_eq!(got, taken, "all that workers got is known when a generation ends");
        assert_eq!(got, gathered.into_inner(), "each spend is told once");
        assert_eq!(given, taken + given_back);
    }
}
