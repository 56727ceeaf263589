//! What a node does with a concurrency limit.
//!
//! Places are taken and given back on the node; the store is asked for more when all are taken, and has back within a
//! second what is not needed. Who cannot reach the store goes on with no more than it had, and no more than its share; when all
//! nodes must have noticed, with its share. Requests that were under way before that are not ended: until they are over,
//! no longer than `hold`, a node that had more than its share may have more under way than that.

use super::alone::share;
use super::cell::permits::{PermitCell, Places, Plan};
use super::cell::{Beyond, Source};
use super::demand::Demand;
use super::node::{Heard, Look, Said, View, Waiters};
use super::talk::{Talk, at_least, at_most, micros, next_call, some_of};
use crate::key::KeyId;
use crate::ledger::permits::{Call, Reply, bounds};
use crate::ledger::{self, epoch};
use crate::rule::{Algorithm, Mode, OnFailure, Rule};
use crate::time::Moment;
use std::time::Duration;

/// How long a place is kept that nobody needs: once to twice this.
const KEEP: Duration = Duration::from_millis(500);
/// How soon the store is asked again that had nothing.
const AGAIN: Duration = Duration::from_millis(50);
/// Calls that no request waits for are no closer than this.
const PAUSE: Duration = Duration::from_millis(2);
/// What all nodes may overdraw together, as a share of the limit: one in so many.
const OVERDRAFT: u32 = 20;

/// A concurrency limit on one node.
#[derive(Debug)]
pub(super) struct Machine {
    key: KeyId,
    limit: u32,
    fast: bool,
    on_failure: OnFailure,
    /// How long until no lease holds that was granted before this node was left alone, and all nodes have noticed.
    notice: Duration,
    talk: Talk,
    demand: Demand,
    asked: bool,
    waited: u64,
    /// The most at once: of the present half second, of the one before; when the present one began.
    peaks: (u32, u32, Moment),
    /// How many it should have at most, since the limit was lowered.
    most: u32,
    lease: Moment,
    next: Moment,
    spent: Moment,
    free: u64,
    /// The node goes on by itself: since when, with how many places until all have noticed; and until when the store
    /// learns, where it is back.
    alone: Option<(Moment, u32, Option<Moment>)>,
    plan: Plan,
}

// === impl Machine ===

impl Machine {
    /// Nothing is known yet.
    #[must_use]
    pub(super) fn new(key: KeyId, rule: &Rule, now: Moment) -> Self {
        let mut machine = Self {
            key,
            limit: 0,
            fast: false,
            on_failure: OnFailure::Local,
            notice: epoch::learn(bounds().window),
            talk: Talk::default(),
            demand: Demand::new(now),
            asked: false,
            waited: 0,
            peaks: (0, 0, now),
            most: u32::MAX,
            lease: Moment(0),
            next: now,
            spent: Moment(0),
            free: 0,
            alone: None,
            plan: Plan::default(),
        };
        machine.adopt(rule);
        machine
    }

    /// The same limit with other numbers.
    pub(super) fn set_rule(&mut self, now: Moment, rule: &Rule, _: &PermitCell) {
        self.adopt(rule);
        (self.spent, self.next) = (Moment(0), now);
    }

    /// See [`KeyNode::poll`](super::KeyNode::poll).
    pub(super) fn poll(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, cell: &PermitCell) -> Look {
        self.look(now, cell);
        match self.alone {
            // Away again while it learnt.
            Some((_, _, Some(_))) if !view.reached => self.alone = Some((view.away, cell.places().has, None)),
            Some(_) if !view.reached => {}
            None if !view.reached => self.alone = Some((view.away, self.has(now, cell.places()), None)),
            Some((_, _, Some(until))) if now >= until => (self.alone, self.next) = (None, now),
            // It did nothing that anybody would have to know of.
            Some((_, _, None)) if !self.talk.was_alone() => self.alone = None,
            _ => {}
        }
        if self.alone.is_some() && cell.places().used > 0 && !view.reached {
            self.talk.alone();
        }
        let before = cell.places();
        let places = self.settle(now, view, cell);
        let back = places.has < before.has && self.alone.is_none();
        self.publish(now, view, cell);
        let due = view.reached && !self.talk.busy() && (back || self.due(now, waiters, places, view));
        let call = due.then(|| self.say(now, waiters, view, cell.places()));
        Look {
            call,
            next: self.next_look(now, places),
            idle: !self.talk.busy()
                && places.used == 0
                && match self.alone {
                    // What the store has set aside for this node nobody gets before it has said what became of it.
                    Some((.., learns)) => learns.is_none(),
                    None => places.has == 0,
                }
                && self.demand.quiet(now) > KEEP,
        }
    }

    /// See [`KeyNode::reply`](super::KeyNode::reply).
    pub(super) fn reply(&mut self, now: Moment, heard: Heard<Reply>, view: &View<'_>, cell: &PermitCell) -> u64 {
        let Some(sent) = self.talk.end() else {
            return 0;
        };
        self.look(now, cell);
        // Before the lease moves: nothing dead may come back to life.
        self.settle(now, view, cell);
        let mut instant = 0;
        match heard {
            Heard::Epoch | Heard::Stale => self.next = now,
            Heard::Own(reply) => {
                self.talk.held(view);
                instant = reply.instant.min(self.waited);
                self.demand.add(now, instant);
                self.granted(sent, now, &reply, instant, view, cell);
            }
        }
        self.publish(now, view, cell);
        instant
    }

    /// See [`KeyNode::lost`](super::KeyNode::lost).
    pub(super) fn lost(&mut self, now: Moment, view: &View<'_>, _: &PermitCell) {
        let _ = self.talk.end();
        self.next = now + (2 * view.round_trip).max(PAUSE);
    }

    /// See [`KeyNode::leave`](super::KeyNode::leave).
    pub(super) fn leave(&mut self, now: Moment, view: &View<'_>, cell: &PermitCell) -> Look {
        let had = cell.places().has;
        let places = cell.change(|places| Places {
            has: places.used,
            ..places
        });
        let _ = self.talk.end();
        let tells = view.reached && self.talk.begun() && had > 0;
        Look {
            call: tells.then(|| self.say(now, Waiters::default(), view, places)),
            next: None,
            idle: places.used == 0,
        }
    }

    fn adopt(&mut self, rule: &Rule) {
        if let Algorithm::Concurrency { limit, .. } = rule.algorithm {
            self.limit = limit;
        }
        (self.fast, self.on_failure) = (rule.mode == Mode::Fast, rule.on_failure);
    }

    fn look(&mut self, now: Moment, cell: &PermitCell) {
        let (asked, peak) = cell.looked();
        self.asked = self.demand.look(now, asked);
        let (present, before, began) = self.peaks;
        self.peaks = if now.since(began) < KEEP {
            (present.max(peak), before, began)
        } else if now.since(began) < 2 * KEEP {
            (cell.places().used, present.max(peak), now)
        } else {
            (cell.places().used, peak, now)
        };
    }

    // What it has by a lease that holds; without one, what is taken.
    fn has(&self, now: Moment, places: Places) -> u32 {
        if now < self.lease {
            places.has
        } else {
            places.has.min(places.used)
        }
    }

    // How many it needs: the most that it lately needed at once, and what chance adds.
    fn needs(&self) -> u32 {
        let most = self.peaks.0.max(self.peaks.1);
        let chance = if most < 4 { 0 } else { 2 * most.isqrt() };
        most.saturating_add(chance).min(self.limit)
    }

    // What it may have now: nothing new by a lease that has ended, its share where it is alone, no more than it needs.
    fn settle(&self, now: Moment, view: &View<'_>, cell: &PermitCell) -> Places {
        let needs = self.needs().min(self.most);
        match self.alone {
            // What the store was told, or is being told, must not become more behind its back.
            Some((since, had, None)) if self.on_failure == OnFailure::Local && !self.talk.busy() => {
                let share = u32::try_from(share(u64::from(self.limit), self.key, view)).unwrap_or(u32::MAX);
                let all_know = now >= since + at_most(self.notice);
                let has = if all_know { share } else { had.min(share) };
                cell.change(|places| Places { has, ..places })
            }
            Some(_) => cell.places(),
            None => cell.change(|places| {
                let has = if now >= self.lease {
                    places.has.min(places.used)
                } else if places.has.saturating_sub(needs.max(places.used)) * 4 > places.has {
                    needs.max(places.used)
                } else {
                    places.has
                };
                Places { has, ..places }
            }),
        }
    }

    fn granted(&mut self, sent: Moment, now: Moment, reply: &Reply, instant: u64, view: &View<'_>, cell: &PermitCell) {
        let count = |of: u64| u32::try_from(of).unwrap_or(u32::MAX);
        let places = cell.change(|places| Places {
            has: places.has.saturating_add(count(reply.granted)),
            used: places.used.saturating_add(count(instant)),
        });
        self.peaks.0 = self.peaks.0.max(places.used);
        self.free = reply.free;
        self.lease = sent + at_least(micros(reply.life));
        self.next = next_call(sent, now, micros(reply.horizon), view);
        self.spent = if reply.free == 0 {
            now + AGAIN + some_of(AGAIN, view)
        } else {
            Moment(0)
        };
        // A limit that was lowered: each gives up its part of what is too much.
        let (out, limit) = (reply.out.max(1), u64::from(self.limit));
        self.most = if out > limit {
            count(u64::from(places.has) * limit / out)
        } else {
            u32::MAX
        };
        if reply.learning > 0 {
            let until = sent + at_least(micros(reply.learning));
            let (since, had, _) = self.alone.unwrap_or((now, places.has, None));
            self.alone = Some((since, had, Some(until)));
            self.next = until + some_of(Duration::from_millis(20), view);
        } else {
            self.alone = None;
        }
    }

    fn due(&self, now: Moment, waiters: Waiters, places: Places, view: &View<'_>) -> bool {
        if waiters.requests > 0 {
            return true;
        }
        if self.talk.last() + PAUSE > now {
            return false;
        }
        let holds = places.has > 0 || places.used > 0;
        (self.talk.owes(view) && holds)
            || (now >= self.next && holds && self.alone.is_none())
            || (self.fast && self.asked && places.used >= places.has && now >= self.spent && self.alone.is_none())
    }

    fn say(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, places: Places) -> Said {
        let (seq, _) = self.talk.begin(now);
        self.waited = waiters.cost;
        // What was overdrawn is to become its own.
        let overdrawn = u64::from(places.used.saturating_sub(places.has));
        let waiting = if self.fast {
            waiters.cost + overdrawn
        } else {
            waiters.cost
        };
        let has = u64::from(places.has);
        let call = Call {
            seq,
            has,
            used: u64::from(places.used),
            waiting,
            unit: u64::from(waiters.unit.max(1)).min(waiters.cost),
            spare: u64::from(self.needs()).saturating_sub(has + waiting),
        };
        self.talk.say(view, ledger::Call::Permits(call))
    }

    fn next_look(&self, now: Moment, places: Places) -> Option<Moment> {
        if self.talk.busy() || (places.has == 0 && places.used == 0 && self.alone.is_none()) {
            return None;
        }
        let mut next = self.peaks.2 + KEEP;
        match self.alone {
            Some((since, _, learns)) => next = learns.unwrap_or(since + at_most(self.notice)),
            None => next = next.min(self.next).min(self.lease),
        }
        // What is taken beyond the lease is only waited for.
        Some(next.max(now + PAUSE * 5))
    }

    fn publish(&mut self, now: Moment, view: &View<'_>, cell: &PermitCell) {
        let nodes = u32::try_from(view.live.len()).unwrap_or(u32::MAX).max(1);
        let alone = self.alone.is_some();
        let plan = Plan {
            until: if alone { Moment(u64::MAX) } else { self.lease },
            source: if alone { Source::Local } else { Source::Lease },
            over: if self.fast && !alone {
                (self.limit / OVERDRAFT / nodes).max(1)
            } else {
                0
            },
            beyond: match (self.alone, self.on_failure) {
                (Some(_), OnFailure::Open) => Beyond::Open,
                (Some(_), OnFailure::Closed) => Beyond::Closed,
                (Some((_, _, learns)), OnFailure::Local) => Beyond::Spent {
                    until: learns.unwrap_or(Moment(u64::MAX)),
                },
                (None, _) if now < self.spent => Beyond::Spent { until: self.spent },
                (None, _) => Beyond::Ask,
            },
            waits: !self.fast,
            free: if alone { 0 } else { self.free },
        };
        if plan != self.plan {
            cell.publish(plan.clone());
            self.plan = plan;
        }
    }
}
