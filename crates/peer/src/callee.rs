//! The calls that the accepting side of a connection works on. Pure.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

use crate::Service;
use crate::assembly::{Assembly, Limits, Violation};
use crate::frame::{Frame, Outcome};
use crate::outbox::{Kind, Outbox};

/// All calls under way, by the caller's number.
#[derive(Debug)]
pub(crate) struct Callee {
    limits: Limits,
    highest: u64,
    calls: HashMap<u64, Work>,
    /// Announced bytes of requests above the small ones, until they are answered.
    bytes: usize,
}

#[derive(Debug)]
enum Work {
    Receiving {
        service: Service,
        assembly: Assembly,
        weight: usize,
    },
    Serving {
        weight: usize,
    },
    Answering,
}

/// What a frame brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing to do.
    None,
    /// A request is whole: serve it, then [`Callee::answer`].
    Serve { call: u64, service: Service, body: Bytes },
    /// The caller gave the call up: stop serving it.
    Stop { call: u64 },
    /// The other side's status, encoded.
    Status(Bytes),
    /// The other side belongs to this cluster now.
    Cluster(u128),
}

// === impl Callee ===

impl Callee {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            highest: 0,
            calls: HashMap::new(),
            bytes: 0,
        }
    }

    /// Whether no call is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    pub(crate) fn on_frame(&mut self, frame: Frame, now: Instant, out: &mut Outbox) -> Result<Effect, Violation> {
        match frame {
            Frame::Call {
                call,
                service,
                total,
                chunk,
            } => self.on_call(call, service, total as usize, &chunk, now, out),
            Frame::More { call, chunk } => self.on_more(call, &chunk, now, out),
            Frame::Cancel { call } => {
                self.known(call)?;
                let work = self.calls.remove(&call);
                out.withdraw(call);
                Ok(match work {
                    Some(Work::Serving { weight }) => {
                        self.bytes -= weight;
                        Effect::Stop { call }
                    }
                    Some(Work::Receiving { weight, .. }) => {
                        self.bytes -= weight;
                        Effect::None
                    }
                    Some(Work::Answering) | None => Effect::None,
                })
            }
            Frame::Ack { call, received } => {
                self.known(call)?;
                if out.acked(call, received as usize) {
                    Ok(Effect::None)
                } else {
                    Err(Violation::FalseAck(call))
                }
            }
            Frame::Ping { number } => {
                out.pong(number);
                Ok(Effect::None)
            }
            Frame::Pong { .. } => Ok(Effect::None),
            Frame::Status(status) => Ok(Effect::Status(status)),
            Frame::Cluster(id) => Ok(Effect::Cluster(id)),
            Frame::Answer { .. } => Err(Violation::Direction("answer")),
        }
    }

    /// Sends what a served call came to. Nothing happens where the caller has given it up.
    pub(crate) fn answer(&mut self, call: u64, outcome: Outcome, body: Vec<u8>, out: &mut Outbox) {
        match self.calls.get_mut(&call) {
            Some(work @ Work::Serving { .. }) => {
                if let Work::Serving { weight } = std::mem::replace(work, Work::Answering) {
                    self.bytes -= weight;
                }
            }
            _ => return,
        }
        if body.len() > self.limits.bytes {
            let size = (body.len() as u64).to_be_bytes().to_vec();
            out.message(call, Kind::Answer(Outcome::TooLarge), size.into());
        } else {
            out.message(call, Kind::Answer(outcome), body.into());
        }
    }

    /// The call's answer has gone out whole: its place is free.
    pub(crate) fn sent(&mut self, call: u64) {
        if let Some(Work::Answering) = self.calls.get(&call) {
            self.calls.remove(&call);
        }
    }

    fn on_call(
        &mut self,
        call: u64,
        service: Service,
        total: usize,
        chunk: &[u8],
        now: Instant,
        out: &mut Outbox,
    ) -> Result<Effect, Violation> {
        if call <= self.highest {
            return Err(Violation::Reused(call));
        }
        self.highest = call;
        if self.calls.len() >= 2 * self.limits.calls {
            return Err(Violation::TooManyCalls(self.limits.calls));
        }
        let weight = Limits::weight(total);
        if total > self.limits.bytes {
            self.calls.insert(call, Work::Answering);
            out.message(
                call,
                Kind::Answer(Outcome::TooLarge),
                (total as u64).to_be_bytes().to_vec().into(),
            );
            return Ok(Effect::None);
        }
        if self.calls.len() >= self.limits.calls || self.bytes + weight > self.limits.bytes {
            self.calls.insert(call, Work::Answering);
            out.message(call, Kind::Answer(Outcome::Busy), Bytes::new());
            return Ok(Effect::None);
        }
        self.bytes += weight;
        self.calls.insert(
            call,
            Work::Receiving {
                service,
                assembly: Assembly::new(total, now),
                weight,
            },
        );
        self.on_more(call, chunk, now, out)
    }

    fn on_more(&mut self, call: u64, chunk: &[u8], now: Instant, out: &mut Outbox) -> Result<Effect, Violation> {
        self.known(call)?;
        let Some(work) = self.calls.get_mut(&call) else {
            return Ok(Effect::None);
        };
        let Work::Receiving { assembly, .. } = work else {
            // A refused call: what the caller sent before it knew. A served one: more than announced.
            return if matches!(work, Work::Answering) {
                Ok(Effect::None)
            } else {
                Err(Violation::Overrun(call))
            };
        };
        let step = assembly.add(chunk, now).ok_or(Violation::Overrun(call))?;
        if let Some(received) = step.ack {
            out.ack(call, received);
        }
        if !step.whole {
            return Ok(Effect::None);
        }
        let Some(Work::Receiving {
            service,
            assembly,
            weight,
        }) = self.calls.remove(&call)
        else {
            return Ok(Effect::None);
        };
        self.calls.insert(call, Work::Serving { weight });
        Ok(Effect::Serve {
            call,
            service,
            body: assembly.into_body().into(),
        })
    }

    fn known(&self, call: u64) -> Result<(), Violation> {
        if call <= self.highest {
            Ok(())
        } else {
            Err(Violation::NoSuchCall(call))
        }
    }
}
