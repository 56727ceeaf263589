//! Requests that wait at the engine.

use super::super::tally::Tally;
use super::super::{Outcome, Source, holds};
use super::{Answer, Asking, Settled};
use sluice_shared_state::Moment;
use sluice_shared_state::limit::Refusal;
use smallvec::SmallVec;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Requests that wait, by their number.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: Vec<Option<Open>>,
    free: Vec<u32>,
    stamp: u32,
}

/// One of them, whichever stands at its place by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestId {
    place: u32,
    stamp: u32,
}

/// A part of a request in the queue of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    pub(super) part: u8,
    pub(super) cost: u32,
    pub(super) since: Moment,
    pub(super) patient_until: Moment,
}

/// Who hears the answer.
#[derive(Debug)]
enum To {
    Request(oneshot::Sender<Answer>),
    /// A limit that is only tried: it is counted, and charged but for places.
    Nobody {
        tally: Arc<Tally>,
        spend: bool,
    },
}

#[derive(Debug)]
struct Open {
    stamp: u32,
    answer: To,
    settled: SmallVec<[Option<Settled>; 2]>,
}

// === impl Requests ===

impl Requests {
    /// One more; decisions that nobody hears are counted in `tally`.
    pub(super) fn open(&mut self, asking: &mut Asking, tally: impl FnOnce(&Asking) -> Arc<Tally>) -> RequestId {
        self.stamp = self.stamp.wrapping_add(1);
        let answer = match asking.answer.take() {
            Some(answer) => To::Request(answer),
            None => To::Nobody {
                tally: tally(asking),
                spend: !asking.parts.iter().any(|part| holds(&part.rule)),
            },
        };
        let open = Some(Open {
            stamp: self.stamp,
            answer,
            settled: asking.parts.iter().map(|_| None).collect(),
        });
        let place = match self.free.pop() {
            Some(place) => {
                self.open[place as usize] = open;
                place
            }
            None => {
                self.open.push(open);
                // The messages that the engine may be behind bound how many there are.
                (self.open.len() - 1) as u32
            }
        };
        RequestId {
            place,
            stamp: self.stamp,
        }
    }

    /// Whether it still waits: it was not decided, and whoever asked is there.
    pub(super) fn waits(&mut self, id: RequestId) -> bool {
        let Some(open) = self.get(id) else { return false };
        match &open.answer {
            To::Request(answer) if answer.is_closed() => {
                self.close(id);
                false
            }
            _ => true,
        }
    }

    /// One part is settled; with the last one, or the first refusal, so is the request.
    pub(super) fn settle(&mut self, id: RequestId, part: u8, settled: Settled) {
        let Some(open) = self.get(id) else { return };
        let refused = matches!(settled, Settled::Refused(..));
        open.settled[usize::from(part)] = Some(settled);
        if !refused && open.settled.iter().any(Option::is_none) {
            return;
        }
        let Some(open) = self.close(id) else { return };
        let settled = open
            .settled
            .into_iter()
            .map(|settled| settled.unwrap_or(Settled::Spared));
        let answer: Answer = settled.collect();
        match open.answer {
            // Who asked may be gone: what comes back is dropped, and so given back.
            To::Request(to) => drop(to.send(answer)),
            To::Nobody { tally, spend } => {
                for settled in answer {
                    tally.add(settled.outcome(), settled.source());
                    match settled {
                        Settled::Granted(charge, _) if spend => charge.spend(),
                        _ => {}
                    }
                }
            }
        }
    }

    fn get(&mut self, id: RequestId) -> Option<&mut Open> {
        let open = self.open.get_mut(id.place as usize)?.as_mut()?;
        (open.stamp == id.stamp).then_some(open)
    }

    fn close(&mut self, id: RequestId) -> Option<Open> {
        self.get(id)?;
        self.free.push(id.place);
        self.open[id.place as usize].take()
    }
}

// === impl Settled ===

impl Settled {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Granted(..) | Self::Open => Outcome::Admitted,
            Self::Refused(Refusal::Spent(_), _) => Outcome::Spent,
            Self::Refused(Refusal::NoStore, _) => Outcome::NoStore,
            Self::Spared => Outcome::Spared,
        }
    }

    fn source(&self) -> Source {
        match self {
            Self::Granted(_, source) | Self::Refused(_, source) => *source,
            Self::Open => Source::Open,
            Self::Spared => Source::Store,
        }
    }
}
