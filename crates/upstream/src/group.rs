//! One upstream on one worker: its targets, and which is next.

use crate::balance::{Balancer, Stays};
use crate::guard::Trial;
use crate::health::{Upstream, Usable};
use crate::meters::Entry;
use crate::outcome::Outcome;
use crate::retry::Budget;
use crate::spec::Spec;
use crate::target::Target;
use crate::worker::Worker;
use sluice_shared_state::breaker::Failures;
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

pub(crate) struct Group {
    pub(crate) spec: Arc<Spec>,
    pub(crate) targets: Box<[Rc<Target>]>,
    /// Of the last reconcile that knew it.
    pub(crate) round: Cell<u64>,
    pub(crate) entry: Rc<Entry>,
    pub(crate) budget: Rc<RefCell<Budget>>,
    balancer: RefCell<Balancer>,
    /// What all workers of the node know of it.
    upstream: Arc<Upstream>,
    usable: RefCell<Usable>,
    /// What counts as a failure where no breaker says it.
    counted: Failures,
}

// === impl Group ===

impl Group {
    /// What `before` knew of the same targets stays. With `detached`, for a spec that is no longer
    /// the present one, nothing is kept.
    pub(crate) fn new(spec: &Arc<Spec>, worker: &Worker, before: Option<&Self>, detached: bool, now: Instant) -> Self {
        let context = &worker.context;
        let entry = before.map_or_else(|| context.meters.enter(&spec.name), |before| Rc::clone(&before.entry));
        let upstream = before.map_or_else(
            || context.health.upstream(&spec.name),
            |before| Arc::clone(&before.upstream),
        );
        let mut stays = Vec::with_capacity(spec.targets.len());
        let mut targets: Vec<Rc<Target>> = Vec::with_capacity(spec.targets.len());
        // What speaks another protocol is another target.
        let same = before.filter(|before| before.spec.protocol == spec.protocol);
        for target in &spec.targets {
            let was = same.and_then(|same| same.targets.iter().position(|old| old.spec.url == target.url));
            stays.push(was.map(|was| Stays { was }));
            let twin = targets.iter().find(|twin| twin.spec.url == target.url);
            targets.push(match (twin, before, was) {
                (Some(twin), ..) => Rc::clone(twin),
                (None, Some(before), Some(was)) => {
                    let target = Rc::clone(&before.targets[was]);
                    if !detached {
                        target.set(spec.pool, now);
                    }
                    target
                }
                _ => Rc::new(Target::new(
                    target,
                    spec.pool,
                    detached,
                    Rc::clone(&entry),
                    upstream.standing(&target.url),
                    &context.resolver,
                )),
            });
        }
        let weights: Vec<u16> = spec.targets.iter().map(|target| target.weight).collect();
        // One that serves a single request begins anywhere, or all its like would begin alike.
        let turns = before.filter(|_| !detached).map(|before| before.balancer.borrow());
        let balancer = Balancer::new(
            spec.balance,
            &weights,
            turns.as_deref().map(|turns| (turns, &stays[..])),
            |below| worker.chance_wide(below),
        );
        Self {
            spec: Arc::clone(spec),
            targets: targets.into(),
            round: Cell::new(0),
            entry,
            budget: before.map_or_else(
                || Rc::new(RefCell::new(Budget::new(now))),
                |before| Rc::clone(&before.budget),
            ),
            balancer: RefCell::new(balancer),
            upstream,
            usable: RefCell::default(),
            counted: Failures::default(),
        }
    }

    /// Closes what is kept for targets that `after` does not have.
    pub(crate) fn retire(&self, after: Option<&Self>) {
        for target in &self.targets {
            let stays = after.is_some_and(|after| after.targets.iter().any(|other| Rc::ptr_eq(other, target)));
            if !stays {
                target.close();
            }
        }
    }

    /// A target for the next try: one that is well, and none of those that were tried while there is another. With
    /// `whatever`, for a probe, one that is not well is better than none: it is to find out.
    pub(crate) fn choose(&self, worker: &Worker, tried: &[usize], whatever: bool, now: Instant) -> Option<usize> {
        let busy = |place: usize| self.targets[place].busy.get();
        let chance = |below| worker.chance(below);
        let mut balancer = self.balancer.borrow_mut();
        let usable = self.usable(worker, now);
        let mask = usable.mask();
        if mask.is_none() && tried.is_empty() {
            return balancer.next(busy, chance);
        }
        let well = |place: usize| mask.is_none_or(|mask| mask[place]);
        let last = tried.last().copied();
        balancer
            .next_of(|place| well(place) && !tried.contains(&place), busy, chance)
            .or_else(|| balancer.next_of(|place| well(place) && Some(place) != last, busy, chance))
            .or_else(|| balancer.next_of(well, busy, chance))
            .or_else(|| if whatever { balancer.next(busy, chance) } else { None })
    }

    /// Which targets are well, made anew where that may have changed.
    fn usable(&self, worker: &Worker, now: Instant) -> Ref<'_, Usable> {
        let changes = self.upstream.changes();
        let at = worker.context.health.at(now);
        if !self.usable.borrow().holds(changes, at) {
            let targets = self.targets.iter().zip(&self.spec.targets);
            let targets = targets.map(|(target, spec)| (spec.weight, &*target.standing));
            *self.usable.borrow_mut() = Usable::new(changes, at, &self.spec.health, targets);
        }
        self.usable.borrow()
    }

    /// What a try says of the target at `place`.
    pub(crate) fn judge(
        &self,
        worker: &Worker,
        place: usize,
        outcome: Outcome,
        trial: Option<&Trial<'_>>,
        now: Instant,
    ) {
        let target = &self.targets[place];
        let failed = match outcome {
            Outcome::Nothing => return,
            Outcome::Answered(_) => false,
            Outcome::Failed(failure) => match &self.spec.breaker {
                Some(breaker) => breaker.rule().failures.counts(failure),
                None => self.counted.counts(failure),
            },
        };
        if !failed {
            return target.standing.succeeded();
        }
        let passive = &self.spec.health.passive;
        let at = worker.context.health.at(now);
        let most = match trial.is_some_and(Trial::is_suspected) {
            // The others see nothing: whatever is wrong is between this node and the target.
            true => 1,
            false => passive.errors,
        };
        if target.standing.failed(at, most) {
            let weighty = self.targets.iter().zip(&self.spec.targets);
            let weighty = weighty.filter(|(_, spec)| spec.weight > 0);
            let standings = weighty.map(|(target, _)| &*target.standing);
            self.upstream
                .eject(&target.spec.url, &target.standing, at, passive, standings);
        }
    }
}
