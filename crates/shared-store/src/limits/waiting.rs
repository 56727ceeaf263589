//! A decision that is not known yet.

use super::charge::Charge;
use super::engine::{Answer, Settled};
use super::handle::Common;
use super::limiter::standing;
use super::tally::{Counts, Tally};
use super::{Ask, Outcome, Source, Standing, Verdict, holds};
use crate::backend::CALL;
use sluice_shared_state::limit::{Refusal, Take};
use sluice_shared_state::{KeyId, Moment, OnFailure, Rule};
use smallvec::SmallVec;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// A decision that is not known yet. Dropping it takes the request back: what was granted for it is returned.
#[derive(Debug)]
pub struct Waiting {
    common: Arc<Common>,
    counts: Arc<Counts>,
    parts: SmallVec<[Part; 2]>,
    answer: oneshot::Receiver<Answer>,
    since: Moment,
    most: Pin<Box<Sleep>>,
}

/// One limit of a request that waits.
#[derive(Debug)]
pub(super) struct Part {
    rule: Arc<Rule>,
    key: KeyId,
    value: Box<str>,
    cost: u32,
    dry_run: bool,
    tally: Arc<Tally>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// In hand.
    Taken(Charge, Source),
    /// Decided, and nothing is in hand.
    Passed(Outcome, Source),
    /// The engine is to say. In the answer these stand in the same order.
    Asked,
}

/// What one limit said in the end.
struct Said {
    outcome: Outcome,
    source: Source,
    charge: Option<Charge>,
    /// To the next token, where it is spent.
    next: Option<Duration>,
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn new(
        common: Arc<Common>,
        counts: Arc<Counts>,
        parts: SmallVec<[Part; 2]>,
        answer: oneshot::Receiver<Answer>,
        since: Moment,
        patience: Duration,
    ) -> Self {
        // Longer than the engine waits for the store by nothing: whoever is first ends the wait.
        let most = Box::pin(tokio::time::sleep(patience.max(CALL)));
        Self {
            common,
            counts,
            parts,
            answer,
            since,
            most,
        }
    }

    fn settle(&mut self, mut answer: Answer) -> Verdict {
        let now = self.common.clock.now();
        self.counts.waits.observe(now.since(self.since));
        let mut answers = answer.drain(..);
        let said: SmallVec<[(Part, Said); 2]> = std::mem::take(&mut self.parts)
            .into_iter()
            .map(|mut part| {
                let said = match std::mem::replace(&mut part.state, State::Asked) {
                    State::Taken(charge, source) => Said::admitted(charge, source),
                    State::Passed(outcome, source) => Said::passed(outcome, source),
                    State::Asked => match answers.next() {
                        Some(Settled::Granted(charge, source)) => Said::admitted(charge, source),
                        Some(Settled::Refused(why, source)) => Said::refused(why, source),
                        Some(Settled::Open) => Said::passed(Outcome::Admitted, Source::Open),
                        Some(Settled::Spared) => Said::passed(Outcome::Spared, Source::Store),
                        None => self.alone(&part, now),
                    },
                };
                (part, said)
            })
            .collect();
        let refused = said.iter().any(|(part, said)| !part.dry_run && said.outcome.refuses());
        let mut verdict = Verdict::default();
        for (part, mut said) in said {
            if refused && said.outcome == Outcome::Admitted {
                said.outcome = Outcome::Spared;
            }
            if said.outcome.refuses() {
                self.counts.refused().count(now, part.key, &part.rule, &part.value);
            }
            part.tally.add(said.outcome, said.source);
            verdict.standings.push(self.stand(&part, &said, now));
            match said.charge {
                // Dropped: given back.
                Some(_) | None if refused => {}
                Some(charge) if holds(&part.rule) => verdict.held.hold(charge),
                Some(charge) => charge.spend(),
                None => {}
            }
        }
        verdict
    }

    fn stand(&self, part: &Part, said: &Said, now: Moment) -> Standing {
        let take = match said.next {
            Some(next) => Take::Refused(Refusal::Spent(next)),
            None => Take::Unknown,
        };
        let known;
        let cell = match &said.charge {
            Some(charge) => Some(charge.cell()),
            None => {
                known = self.common.cells.get(part.key);
                known.as_ref()
            }
        };
        match cell {
            Some(cell) => standing(cell, take, said.outcome, said.source, now),
            None => Standing::unknown(said.outcome, said.source),
        }
    }

    /// The engine did not say in time: what the node knows, else what the limit says of a store that is away.
    fn alone(&self, part: &Part, now: Moment) -> Said {
        if let Some(cell) = self.common.cells.get(part.key) {
            match cell.take_again(now, part.cost).0 {
                Take::Taken(token) => {
                    let charge = Charge::new(self.common.clock, &cell, Some(token));
                    return Said::admitted(charge, token.source.into());
                }
                Take::Refused(why) => return Said::refused(why, self.common.judge()),
                Take::Unknown => {}
            }
        }
        match part.rule.on_failure {
            OnFailure::Open => Said::passed(Outcome::Admitted, Source::Open),
            OnFailure::Local => Said::passed(Outcome::Spent, Source::Local),
            OnFailure::Closed => Said::passed(Outcome::NoStore, Source::Local),
        }
    }
}

impl Future for Waiting {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) {
            // Without an answer the engine has ended, or has too much to do.
            return Poll::Ready(self.settle(answer.unwrap_or_default()));
        }
        ready!(self.most.as_mut().poll(cx));
        Poll::Ready(self.settle(Answer::default()))
    }
}

// === impl Part ===

impl Part {
    pub(super) fn new(ask: &Ask<'_>, key: KeyId, tally: Arc<Tally>) -> Self {
        Self {
            rule: Arc::clone(ask.rule),
            key,
            value: ask.value.into(),
            cost: ask.cost,
            dry_run: ask.dry_run,
            tally,
            state: State::Asked,
        }
    }

    pub(super) fn taken(&mut self, charge: Charge, source: Source) {
        self.state = State::Taken(charge, source);
    }

    pub(super) fn passed(&mut self, outcome: Outcome, source: Source) {
        self.state = State::Passed(outcome, source);
    }
}

// === impl Said ===

impl Said {
    fn admitted(charge: Charge, source: Source) -> Self {
        Self {
            outcome: Outcome::Admitted,
            source,
            charge: Some(charge),
            next: None,
        }
    }

    fn passed(outcome: Outcome, source: Source) -> Self {
        Self {
            outcome,
            source,
            charge: None,
            next: None,
        }
    }

    fn refused(why: Refusal, source: Source) -> Self {
        match why {
            Refusal::Spent(next) => Self {
                next: Some(next),
                ..Self::passed(Outcome::Spent, source)
            },
            Refusal::NoStore => Self::passed(Outcome::NoStore, Source::Local),
        }
    }
}
