//! A breaker as a node's workers see it: asked before each attempt, told after it, without a lock.

use super::probes::Probes;
use super::rule::BreakerRule;
use super::shards::{Shards, slot};
use super::state::{Cause, Counts, State};
use crate::time::Moment;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

/// One breaker on one node.
pub struct BreakerCell {
    /// Nothing: attempts pass. Otherwise a [`Gate`]'s number in the low three bits, and a moment in the others.
    gate: AtomicU64,
    /// Attempts that were admitted before this do not count: they belong to an earlier decision. The end of time while
    /// none counts.
    counted_from: AtomicU64,
    /// Failures in a row on this node, up to now.
    run: AtomicU32,
    /// A [`Suspicion`].
    suspect: AtomicU8,
    /// The task was told already that this node's own counts pass a threshold, or that a request wants a probe.
    tipped: AtomicBool,
    wanted: AtomicBool,
    probes: Probes,
    refused: AtomicU64,
    /// The longest run since the last harvest.
    longest: AtomicU32,
    shards: Shards,
    /// What this node's window held at the last harvest, but for its run.
    base: [AtomicU32; 3],
    /// Calls of its own that this node needs before its counts say anything.
    floor: AtomicU32,
    rule: ArcSwap<BreakerRule>,
    cause: ArcSwapOption<Cause>,
    waker: Option<Waker>,
}

/// What stands in an attempt's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Nothing.
    Pass,
    /// It is open; it may be probed from then on.
    Open(Moment),
    /// Another node probes, until then at the latest.
    Others(Moment),
    /// This node probes; no probe begins after that.
    Mine(Moment),
    /// Somebody said so.
    Forced,
}

/// Who suspects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Nobody.
    None,
    /// Others.
    Others,
    /// This node.
    Mine,
}

/// What a harvest brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Harvest {
    /// Since the last one.
    pub(super) counts: Counts,
    /// The request of the last failure among them.
    pub(super) request_id: Option<String>,
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Pass,
    /// It may, as a probe: once, without a retry. Its end must be told with this number, whatever it is.
    Probe(u64),
    /// It may not, for about so long.
    Refuse(Duration),
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It had an answer that is no failure.
    Success,
    /// It failed, in a way that counts.
    Failure,
    /// It says nothing of the service: the client left, its body broke off, it was never sent.
    Nothing,
}

/// What an attempt tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence<'e> {
    /// How it ended.
    pub verdict: Verdict,
    /// Whether its head came later than `slow_after`, or had not come by then when the client left.
    pub slow: bool,
    /// When it was admitted: what began before the breaker's last decision does not count for the next.
    pub admitted: Moment,
    /// Of a probe, its number.
    pub probe: Option<u64>,
    /// The id of the request that it was made for; empty where it has none.
    pub request_id: &'e str,
}

/// What a refused request is told where a probe is under way or could be at any moment.
const SOON: Duration = Duration::from_secs(1);

const GATE_BITS: u32 = 3;

// === impl BreakerCell ===

impl BreakerCell {
    /// A closed breaker without evidence, which nobody harvests.
    #[must_use]
    pub fn new(rule: Arc<BreakerRule>) -> Self {
        Self::build(rule, None)
    }

    /// The same, with what is woken when the task that harvests it should look at it at once.
    #[must_use]
    pub fn with_waker(rule: Arc<BreakerRule>, waker: Waker) -> Self {
        Self::build(rule, Some(waker))
    }

    fn build(rule: Arc<BreakerRule>, waker: Option<Waker>) -> Self {
        Self {
            gate: AtomicU64::new(0),
            counted_from: AtomicU64::new(0),
            run: AtomicU32::new(0),
            suspect: AtomicU8::new(0),
            tipped: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            probes: Probes::default(),
            refused: AtomicU64::new(0),
            longest: AtomicU32::new(0),
            shards: Shards::default(),
            base: Default::default(),
            floor: AtomicU32::new(1),
            rule: ArcSwap::new(rule),
            cause: ArcSwapOption::empty(),
            waker,
        }
    }

    /// What it is, by the newest configuration. On a request take the rule of the snapshot instead.
    #[must_use]
    pub fn rule(&self) -> Arc<BreakerRule> {
        self.rule.load_full()
    }

    /// The same breaker with other numbers.
    pub fn set_rule(&self, rule: Arc<BreakerRule>) {
        self.rule.store(rule);
    }

    /// Whether an attempt may be made now. One atomic load where it is closed.
    #[must_use]
    pub fn admit(&self, now: Moment) -> Admission {
        let word = self.gate.load(Ordering::Acquire);
        if word == 0 {
            return Admission::Pass;
        }
        self.gated(now, Gate::from_word(word))
    }

    #[cold]
    fn gated(&self, now: Moment, gate: Gate) -> Admission {
        let left = match gate {
            Gate::Pass => return Admission::Pass,
            Gate::Forced => SOON,
            Gate::Open(until) if now < until => until.since(now),
            Gate::Open(_) => {
                // Whoever asks first wakes the task, which asks for the lease of the probe; the next one may have it.
                if !self.wanted.swap(true, Ordering::Relaxed) {
                    self.wake();
                }
                SOON
            }
            Gate::Others(_) => {
                // Told with the next round: who probes and has no request to do it with learns that others have.
                self.wanted.store(true, Ordering::Relaxed);
                SOON
            }
            Gate::Mine(begin_by) => match self.probes.take() {
                Some(number) if now < begin_by => return Admission::Probe(number),
                Some(number) => {
                    self.probes.give_back(number);
                    self.wanted.store(true, Ordering::Relaxed);
                    SOON
                }
                None => SOON,
            },
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Admission::Refuse(left)
    }

    /// An attempt has ended. A few atomic operations on a line of the thread's own where it succeeded.
    pub fn record(&self, now: Moment, evidence: Evidence<'_>) {
        let _ = now;
        if let Some(number) = evidence.probe {
            self.probe_ended(number, &evidence);
            return;
        }
        if evidence.admitted.0 < self.counted_from.load(Ordering::Relaxed) {
            return;
        }
        match (evidence.verdict, evidence.slow) {
            (Verdict::Nothing, false) => {}
            (Verdict::Success, false) => {
                self.shards.of(slot()).succeeded();
                self.ran_out();
            }
            (verdict, slow) => {
                let failed = verdict == Verdict::Failure;
                if failed {
                    let run = self.run.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                    self.longest.fetch_max(run, Ordering::Relaxed);
                } else if verdict == Verdict::Success {
                    self.ran_out();
                }
                self.shards.of(slot()).bad(failed, slow, evidence.request_id);
                self.tip();
            }
        }
    }

    fn ran_out(&self) {
        // A load alone where there is no run, so that the line stays shared.
        if self.run.load(Ordering::Relaxed) != 0 {
            self.run.store(0, Ordering::Relaxed);
        }
    }

    fn probe_ended(&self, number: u64, evidence: &Evidence<'_>) {
        let verdict = match evidence.verdict {
            // A slow probe is no proof that the service is well.
            Verdict::Success if evidence.slow && self.rule.load().slow_rate.is_some() => Verdict::Failure,
            verdict => verdict,
        };
        if self.probes.ended(number, verdict) {
            if verdict == Verdict::Failure {
                self.shards.of(slot()).note(true, evidence.request_id);
            }
            self.wake();
        }
    }

    /// Wakes the task once where this node's own counts pass a threshold.
    fn tip(&self) {
        if self.tipped.load(Ordering::Relaxed) {
            return;
        }
        let rule = self.rule.load();
        let fresh = self.shards.sum();
        let [calls, failed, slow] = &self.base;
        let counts = Counts {
            calls: fresh.calls.saturating_add(calls.load(Ordering::Relaxed)),
            failed: fresh.failed.saturating_add(failed.load(Ordering::Relaxed)),
            slow: fresh.slow.saturating_add(slow.load(Ordering::Relaxed)),
            run: self.longest.load(Ordering::Relaxed),
        };
        if rule.passed(&counts, self.floor.load(Ordering::Relaxed)).is_some()
            && !self.tipped.swap(true, Ordering::Relaxed)
        {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// What it does now.
    #[must_use]
    pub fn state(&self, now: Moment) -> State {
        match Gate::from_word(self.gate.load(Ordering::Acquire)) {
            Gate::Pass => match self.suspect.load(Ordering::Relaxed) {
                0 if self.counted_from.load(Ordering::Relaxed) == u64::MAX => State::Forced { open: false },
                0 => State::Closed,
                who => State::Suspect {
                    mine: who == Suspicion::Mine as u8,
                },
            },
            Gate::Open(until) => State::Open { left: until.since(now) },
            Gate::Others(_) => State::HalfOpen { mine: false },
            Gate::Mine(_) => State::HalfOpen { mine: true },
            Gate::Forced => State::Forced { open: true },
        }
    }

    /// Why it opened last, until it is closed: what a refusal is followed back to. Costs two atomic operations.
    #[must_use]
    pub fn cause(&self) -> Option<Arc<Cause>> {
        self.cause.load_full()
    }

    /// Attempts that it refused since the node started.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What the task does with it.
impl BreakerCell {
    /// Lets attempts pass from now on, or not; those that began before `counted_from` count no more.
    pub(super) fn publish(&self, gate: Gate, suspicion: Suspicion, counted_from: Moment) {
        self.counted_from.store(counted_from.0, Ordering::Relaxed);
        self.suspect.store(suspicion as u8, Ordering::Relaxed);
        self.gate.store(gate.word(), Ordering::Release);
    }

    /// Why it opened.
    pub(super) fn explain(&self, cause: Option<Arc<Cause>>) {
        self.cause.store(cause);
    }

    /// Takes what was counted since the last time.
    pub(super) fn harvest(&self) -> Harvest {
        let (mut counts, request_id) = self.shards.drain();
        // A run that goes on is told again with what comes.
        let run = self.run.load(Ordering::Relaxed);
        counts.run = self.longest.swap(run, Ordering::Relaxed).max(run);
        Harvest { counts, request_id }
    }

    /// Begins to count anew.
    pub(super) fn forget(&self) {
        self.run.store(0, Ordering::Relaxed);
        self.longest.store(0, Ordering::Relaxed);
        let _ = self.shards.drain();
        self.tell_window(Counts::default());
        self.tipped.store(false, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// What this node's window holds without what is not harvested yet.
    pub(super) fn tell_window(&self, counts: Counts) {
        for (base, value) in self.base.iter().zip([counts.calls, counts.failed, counts.slow]) {
            base.store(value, Ordering::Relaxed);
        }
    }

    /// How many calls of its own this node needs before its counts say anything.
    pub(super) fn set_floor(&self, floor: u32) {
        self.floor.store(floor, Ordering::Relaxed);
    }

    /// Its own counts are below every threshold: the next time that they pass one is told again.
    pub(super) fn rearm(&self) {
        self.tipped.store(false, Ordering::Relaxed);
    }

    /// Whether they passed one since the last time that they did not.
    pub(super) fn has_tipped(&self) -> bool {
        self.tipped.load(Ordering::Relaxed)
    }

    /// Whether a request wanted a probe since this was last asked.
    pub(super) fn take_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Relaxed)
    }

    /// The probes of a lease of this node.
    pub(super) fn probes(&self) -> &Probes {
        &self.probes
    }
}

impl fmt::Debug for BreakerCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerCell")
            .field("gate", &Gate::from_word(self.gate.load(Ordering::Relaxed)))
            .finish_non_exhaustive()
    }
}

// === impl Gate ===

impl Gate {
    fn word(self) -> u64 {
        // Moments are nanoseconds since the node's start: 61 bits are 73 years.
        let (tag, moment) = match self {
            Self::Pass => return 0,
            Self::Open(until) => (1, until.0),
            Self::Others(until) => (2, until.0),
            Self::Mine(begin_by) => (3, begin_by.0),
            Self::Forced => (4, 0),
        };
        tag | moment.min(u64::MAX >> GATE_BITS) << GATE_BITS
    }

    fn from_word(word: u64) -> Self {
        let moment = Moment(word >> GATE_BITS);
        match word & ((1 << GATE_BITS) - 1) {
            0 => Self::Pass,
            1 => Self::Open(moment),
            2 => Self::Others(moment),
            3 => Self::Mine(moment),
            _ => Self::Forced,
        }
    }
}

#[cfg(test)]
mod tests;
