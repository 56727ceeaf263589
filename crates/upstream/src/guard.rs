//! A breaker as requests meet it: asked before each try, told after it.

use crate::outcome::Outcome;
use sluice_shared_state::breaker::{Admission, BreakerCell, Evidence, State, Verdict};
use sluice_shared_state::{BreakerKey, BreakerRule, Moment};
use sluice_shared_store::{Breakers, SharedStore};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// A breaker of a snapshot, with this node's cell of it once a request has needed that.
pub struct Guard {
    key: BreakerKey,
    rule: Arc<BreakerRule>,
    cell: OnceLock<Arc<BreakerCell>>,
}

/// One try that a breaker admitted. However it ends, the breaker is told: also where whoever waited for it is gone.
pub(crate) struct Trial<'g> {
    guard: &'g Guard,
    shared: &'g SharedStore,
    request_id: &'g str,
    begun: Instant,
    admitted: Moment,
    probe: Option<u64>,
    told: bool,
}

// === impl Guard ===

impl Guard {
    /// Whose it is, and what opens it.
    #[must_use]
    pub fn new(key: BreakerKey, rule: Arc<BreakerRule>) -> Self {
        Self {
            key,
            rule,
            cell: OnceLock::new(),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> &BreakerKey {
        &self.key
    }

    /// What opens it.
    #[must_use]
    pub fn rule(&self) -> &Arc<BreakerRule> {
        &self.rule
    }

    /// Whether both are the same breaker by the same numbers, whichever version of the configuration gave it these.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let other_rule = BreakerRule {
            version: self.rule.version,
            ..(*other.rule).clone()
        };
        self.key == other.key && *self.rule == other_rule
    }

    /// This node's cell: the same for all workers, and for all snapshots that have the breaker. It is kept for as long as
    /// any of these is.
    pub fn cell(&self, breakers: &Breakers) -> &BreakerCell {
        self.cell.get_or_init(|| breakers.cell(&self.key, &self.rule))
    }

    /// Whether a try may be made now, for the request of this id.
    ///
    /// # Errors
    ///
    /// For how long it may not, about.
    pub(crate) fn admit<'g>(
        &'g self,
        shared: &'g SharedStore,
        request_id: &'g str,
        now: Instant,
    ) -> Result<Trial<'g>, Duration> {
        let moment = shared.at(now.into_std());
        let probe = match self.cell(shared.breakers()).admit(moment) {
            Admission::Pass => None,
            Admission::Probe(number) => Some(number),
            Admission::Refuse(left) => return Err(left),
        };
        Ok(Trial {
            guard: self,
            shared,
            request_id,
            begun: now,
            admitted: moment,
            probe,
            told: false,
        })
    }

    /// Everything but the version, which says since when and not what.
    pub(crate) fn hash_content(&self, hasher: &mut impl Hasher) {
        let BreakerRule {
            failure_rate,
            slow_rate,
            slow_after,
            consecutive,
            failures,
            window,
            min_requests,
            open_for,
            max_open_for,
            probes,
            observers,
            probe_timeout,
            version: _,
        } = &*self.rule;
        self.key.hash(hasher);
        failure_rate.map(f32::to_bits).hash(hasher);
        slow_rate.map(f32::to_bits).hash(hasher);
        (slow_after, consecutive, failures, window, min_requests).hash(hasher);
        (open_for, max_open_for, probes, observers, probe_timeout).hash(hasher);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("key", &self.key)
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

// === impl Trial ===

impl Trial<'_> {
    /// Whether it is a probe, which goes whatever is thought of the targets, and is made once.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// How it ended.
    pub(crate) fn ended(mut self, outcome: Outcome, now: Instant) {
        let verdict = match outcome {
            Outcome::Failed(failure) if self.guard.rule.failures.counts(failure) => Verdict::Failure,
            // It answered, or did what counts for nothing here.
            Outcome::Answered(_) | Outcome::Failed(_) => Verdict::Success,
            Outcome::Nothing => Verdict::Nothing,
        };
        self.tell(verdict, now);
    }

    /// Whether this node alone sees the upstream fail: then it does without the targets that fail it.
    pub(crate) fn is_suspected(&self) -> bool {
        let cell = self.guard.cell(self.shared.breakers());
        cell.state(self.admitted) == State::Suspect { mine: true }
    }

    fn tell(&mut self, verdict: Verdict, now: Instant) {
        self.told = true;
        let took = now.saturating_duration_since(self.begun);
        let evidence = Evidence {
            verdict,
            slow: self.guard.rule.slow_after.is_some_and(|limit| took > limit),
            admitted: self.admitted,
            probe: self.probe,
            request_id: self.request_id,
        };
        let moment = self.shared.at(now.into_std());
        self.guard.cell(self.shared.breakers()).record(moment, evidence);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Verdict::Nothing, Instant::now());
        }
    }
}
