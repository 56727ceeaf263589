//! The calls that the dialling side of a connection has under way. Pure: `T` is whatever waits.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

use crate::Service;
use crate::assembly::{Assembly, Limits, Violation};
use crate::frame::{Frame, Outcome};
use crate::outbox::{Kind, Outbox, Withdrawn};

/// All calls under way, by number.
#[derive(Debug)]
pub(crate) struct Caller<T> {
    limits: Limits,
    next: u64,
    calls: HashMap<u64, Pending<T>>,
    /// Announced bytes of answers above the small ones.
    bytes: usize,
}

#[derive(Debug)]
struct Pending<T> {
    waiting: T,
    answer: Option<(Outcome, Assembly, usize)>,
}

/// How a call ended, as told by the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done(Vec<u8>),
    Refused(String),
    Starting,
    TooLarge(usize),
    Busy,
    /// Together with other answers under way it would be more than the connection takes.
    Overflow,
}

/// What a frame brought about.
#[derive(Debug)]
pub(crate) enum Effect<'a, T> {
    /// Nothing to do.
    None,
    /// The call is over.
    Ended(T, Answer),
    /// Bytes of the call have moved.
    Moved(&'a T),
    /// The other side has read up to this ping.
    Pong(u64),
    /// The other side belongs to this cluster now.
    Cluster(u128),
}

// === impl Caller ===

impl<T> Caller<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: 1,
            calls: HashMap::new(),
            bytes: 0,
        }
    }

    /// Begins a call. The number is the connection's own and never used again.
    pub(crate) fn begin(&mut self, service: Service, body: Bytes, waiting: T, out: &mut Outbox) -> u64 {
        let call = self.next;
        self.next += 1;
        self.calls.insert(call, Pending { waiting, answer: None });
        out.message(call, Kind::Call(service), body);
        call
    }

    /// Gives a call up. Nothing happens where it is over.
    pub(crate) fn cancel(&mut self, call: u64, out: &mut Outbox) {
        if self.remove(call).is_some() && out.withdraw(call) != Withdrawn::Unsent {
            out.cancel(call);
        }
    }

    /// Whether no call is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// All that wait, because the connection is over.
    pub(crate) fn end(&mut self) -> Vec<T> {
        self.calls.drain().map(|(_, pending)| pending.waiting).collect()
    }

    pub(crate) fn on_frame(
        &mut self,
        frame: Frame,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<Effect<'_, T>, Violation> {
        match frame {
            Frame::Answer {
                call,
                outcome,
                total,
                chunk,
            } => self.on_answer(call, outcome, total as usize, &chunk, now, out),
            Frame::More { call, chunk } => self.on_more(call, &chunk, now, out),
            Frame::Ack { call, received } => {
                if !out.acked(call, received as usize) {
                    return Err(Violation::FalseAck(call));
                }
                self.known(call)?;
                Ok(self
                    .calls
                    .get(&call)
                    .map_or(Effect::None, |p| Effect::Moved(&p.waiting)))
            }
            Frame::Ping { number } => {
                out.pong(number);
                Ok(Effect::None)
            }
            Frame::Pong { number } => Ok(Effect::Pong(number)),
            Frame::Cluster(id) => Ok(Effect::Cluster(id)),
            Frame::Call { .. } => Err(Violation::Direction("call")),
            Frame::Cancel { .. } => Err(Violation::Direction("cancel")),
            Frame::Status(_) => Err(Violation::Direction("status")),
        }
    }

    fn on_answer(
        &mut self,
        call: u64,
        outcome: Outcome,
        total: usize,
        chunk: &[u8],
        now: Instant,
        out: &mut Outbox,
    ) -> Result<Effect<'_, T>, Violation> {
        self.known(call)?;
        let Some(pending) = self.calls.get_mut(&call) else {
            return Ok(Effect::None);
        };
        if pending.answer.is_some() {
            return Err(Violation::Reused(call));
        }
        // Answered before it was sent whole: the rest is of no use to anybody.
        out.withdraw(call);
        let weight = Limits::weight(total);
        let excess = if total > self.limits.bytes {
            Some(Answer::TooLarge(total))
        } else if self.bytes + weight > self.limits.bytes {
            Some(Answer::Overflow)
        } else {
            None
        };
        if let Some(answer) = excess {
            out.cancel(call);
            return Ok(self
                .remove(call)
                .map_or(Effect::None, |waiting| Effect::Ended(waiting, answer)));
        }
        self.bytes += weight;
        pending.answer = Some((outcome, Assembly::new(total, now), weight));
        self.on_more(call, chunk, now, out)
    }

    fn on_more(&mut self, call: u64, chunk: &[u8], now: Instant, out: &mut Outbox) -> Result<Effect<'_, T>, Violation> {
        self.known(call)?;
        let Some(pending) = self.calls.get_mut(&call) else {
            return Ok(Effect::None);
        };
        let Some((_, assembly, _)) = &mut pending.answer else {
            return Err(Violation::NoSuchCall(call));
        };
        let step = assembly.add(chunk, now).ok_or(Violation::Overrun(call))?;
        if !step.whole {
            if let Some(received) = step.ack {
                out.ack(call, received);
            }
            return Ok(self
                .calls
                .get(&call)
                .map_or(Effect::None, |p| Effect::Moved(&p.waiting)));
        }
        let Some(Pending {
            waiting,
            answer: Some((outcome, assembly, weight)),
        }) = self.calls.remove(&call)
        else {
            return Ok(Effect::None);
        };
        self.bytes -= weight;
        let body = assembly.into_body();
        let answer = match outcome {
            Outcome::Done => Answer::Done(body),
            Outcome::Refused => Answer::Refused(String::from_utf8_lossy(&body).into_owned()),
            Outcome::Starting => Answer::Starting,
            Outcome::Busy => Answer::Busy,
            Outcome::TooLarge => {
                let size = body.as_slice().try_into().map_or(u64::MAX, u64::from_be_bytes);
                Answer::TooLarge(usize::try_from(size).unwrap_or(usize::MAX))
            }
        };
        Ok(Effect::Ended(waiting, answer))
    }

    fn remove(&mut self, call: u64) -> Option<T> {
        let pending = self.calls.remove(&call)?;
        if let Some((_, _, weight)) = pending.answer {
            self.bytes -= weight;
        }
        Some(pending.waiting)
    }

    /// What is said of a call that is over is late and ignored; of one that never was, a lie.
    fn known(&self, call: u64) -> Result<(), Violation> {
        if call < self.next {
            Ok(())
        } else {
            Err(Violation::NoSuchCall(call))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::assembly::SMALL;
    use crate::callee::{self, Callee};

    const LIMITS: Limits = Limits {
        calls: 4,
        bytes: 5 * 1024 * 1024,
    };

    /// Both ends of a connection, with frames that go straight over.
    struct Pair {
        caller: Caller<u64>,
        callee: Callee,
        there: Outbox,
        back: Outbox,
        serving: Vec<(u64, Bytes)>,
        ended: BTreeMap<u64, Answer>,
    }

    impl Pair {
        fn new() -> Self {
            Self {
                caller: Caller::new(LIMITS),
                callee: Callee::new(LIMITS),
                there: Outbox::default(),
                back: Outbox::default(),
                serving: Vec::new(),
                ended: BTreeMap::new(),
            }
        }

        fn begin(&mut self, tag: u64, body: Vec<u8>) -> u64 {
            self.caller.begin(Service(7), body.into(), tag, &mut self.there)
        }

        /// One frame from the caller to the callee.
        fn forth(&mut self) -> bool {
            let Some(next) = self.there.next() else { return false };
            match self
                .callee
                .on_frame(next.frame, Instant::now(), &mut self.back)
                .unwrap()
            {
                callee::Effect::Serve { call, body, .. } => self.serving.push((call, body)),
                callee::Effect::Stop { call } => self.serving.retain(|(c, _)| *c != call),
                _ => {}
            }
            true
        }

        /// One frame from the callee to the caller.
        fn back(&mut self) -> bool {
            let Some(next) = self.back.next() else { return false };
            if let Some(call) = next.finished {
                self.callee.sent(call);
            }
            let effect = self
                .caller
                .on_frame(next.frame, Instant::now(), &mut self.there)
                .unwrap();
            if let Effect::Ended(tag, answer) = effect {
                assert!(self.ended.insert(tag, answer).is_none());
            }
            true
        }

        /// Answers the oldest call with its own body.
        fn echo(&mut self) -> bool {
            if self.serving.is_empty() {
                return false;
            }
            let (call, body) = self.serving.remove(0);
            self.callee.answer(call, Outcome::Done, body.to_vec(), &mut self.back);
            true
        }

        fn settle(&mut self) {
            while self.forth() | self.back() | self.echo() {}
        }
    }

    fn body(tag: u64, size: usize) -> Vec<u8> {
        (0..size).map(|i| (i as u64).wrapping_mul(tag + 7) as u8).collect()
    }

    #[derive(Clone, Debug)]
    enum Event {
        Begin(usize),
        Cancel(usize),
        Forth(u8),
        Back(u8),
        Echo,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            2 => prop_oneof![0usize..200, 0usize..200_000, 0usize..LIMITS.bytes / 2].prop_map(Event::Begin),
            1 => (0usize..20).prop_map(Event::Cancel),
            4 => any::<u8>().prop_map(Event::Forth),
            4 => any::<u8>().prop_map(Event::Back),
            2 => Just(Event::Echo),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn each_call_gets_its_own_answer_or_is_refused_whatever_the_order(
            events in proptest::collection::vec(event(), 1..60),
        ) {
            let mut pair = Pair::new();
            let (mut begun, mut cancelled) = (Vec::new(), Vec::new());
            for event in events {
                match event {
                    Event::Begin(size) => {
                        let tag = begun.len() as u64;
                        // A caller holds as many places as the callee has: twice is a violation.
                        if begun.len() < 7 {
                            let call = pair.begin(tag, body(tag, size));
                            begun.push((call, size));
                        }
                    }
                    Event::Cancel(at) => {
                        if let Some((call, _)) = begun.get(at) {
                            pair.caller.cancel(*call, &mut pair.there);
                            cancelled.push(at as u64);
                        }
                    }
                    Event::Forth(n) => (0..n).for_each(|_| { pair.forth(); }),
                    Event::Back(n) => (0..n).for_each(|_| { pair.back(); }),
                    Event::Echo => { pair.echo(); }
                }
            }
            pair.settle();
            for (tag, (_, size)) in begun.iter().enumerate() {
                let tag = tag as u64;
                match pair.ended.get(&tag) {
                    Some(Answer::Done(got)) => prop_assert!(*got == body(tag, *size)),
                    Some(Answer::Busy | Answer::Overflow) => {}
                    Some(other) => prop_assert!(false, "{:?}", other),
                    None => prop_assert!(cancelled.contains(&tag), "call {} has no end", tag),
                }
            }
            prop_assert!(pair.caller.is_idle() && pair.callee.is_idle());
            prop_assert!(pair.there.is_empty() && pair.back.is_empty());
            prop_assert_eq!(pair.caller.bytes, 0);
        }
    }

    #[test]
    fn a_call_beyond_the_places_is_told_busy_and_one_too_large_is_told_so() {
        let mut pair = Pair::new();
        for tag in 0..=LIMITS.calls as u64 {
            pair.begin(tag, vec![1]);
        }
        pair.begin(9, vec![0; LIMITS.bytes + 1]);
        while pair.forth() {}
        pair.settle();
        assert_eq!(pair.ended[&(LIMITS.calls as u64)], Answer::Busy);
        assert_eq!(pair.ended[&9], Answer::TooLarge(LIMITS.bytes + 1));
        assert_eq!(pair.ended[&0], Answer::Done(vec![1]));
    }

    #[test]
    fn bytes_under_way_are_bounded_together_and_small_calls_still_pass() {
        let mut pair = Pair::new();
        pair.begin(0, vec![0; LIMITS.bytes - SMALL]);
        pair.begin(1, vec![0; SMALL + 1]);
        pair.begin(2, vec![0; SMALL]);
        while pair.forth() | pair.back() {}
        pair.settle();
        assert!(matches!(pair.ended[&0], Answer::Done(_)));
        assert_eq!(pair.ended[&1], Answer::Busy);
        assert!(matches!(pair.ended[&2], Answer::Done(_)));
    }

    #[test]
    fn an_answer_that_is_too_large_is_told_as_such() {
        let mut pair = Pair::new();
        pair.begin(0, Vec::new());
        pair.forth();
        let (call, _) = pair.serving.remove(0);
        pair.callee
            .answer(call, Outcome::Done, vec![0; LIMITS.bytes + 1], &mut pair.back);
        pair.settle();
        assert_eq!(pair.ended[&0], Answer::TooLarge(LIMITS.bytes + 1));
    }

    #[test]
    fn a_cancelled_call_stops_over_there_and_its_late_answer_is_ignored() {
        let mut pair = Pair::new();
        let first = pair.begin(0, vec![1]);
        pair.forth();
        pair.caller.cancel(first, &mut pair.there);
        pair.forth();
        assert!(pair.serving.is_empty(), "the service was told to stop");

        let second = pair.begin(1, vec![2]);
        pair.forth();
        pair.echo();
        pair.caller.cancel(second, &mut pair.there);
        pair.settle();
        assert!(pair.ended.is_empty() && pair.callee.is_idle());
    }

    #[test]
    fn a_call_never_sent_is_cancelled_without_a_word() {
        let mut pair = Pair::new();
        let call = pair.begin(0, vec![1]);
        pair.caller.cancel(call, &mut pair.there);
        assert!(pair.there.is_empty());
    }

    #[test]
    fn lies_end_the_connection() {
        let now = Instant::now();
        let (mut caller, mut out) = (Caller::<u64>::new(LIMITS), Outbox::default());
        let lie = Frame::Answer {
            call: 1,
            outcome: Outcome::Done,
            total: 0,
            chunk: Bytes::new(),
        };
        assert_eq!(
            caller.on_frame(lie, now, &mut out).unwrap_err(),
            Violation::NoSuchCall(1)
        );
        caller.begin(Service(1), Bytes::new(), 0, &mut out);
        let long = Frame::Answer {
            call: 1,
            outcome: Outcome::Done,
            total: 1,
            chunk: Bytes::from_static(b"ab"),
        };
        assert_eq!(caller.on_frame(long, now, &mut out).unwrap_err(), Violation::Overrun(1));
        let status = Frame::Status(Bytes::from_static(b"x"));
        assert_eq!(
            caller.on_frame(status, now, &mut out).unwrap_err(),
            Violation::Direction("status")
        );

        let (mut callee, mut out) = (Callee::new(LIMITS), Outbox::default());
        let call = |call| Frame::Call {
            call,
            service: Service(1),
            total: 2,
            chunk: Bytes::new(),
        };
        callee.on_frame(call(5), now, &mut out).unwrap();
        assert_eq!(callee.on_frame(call(5), now, &mut out), Err(Violation::Reused(5)));
        let more = Frame::More {
            call: 6,
            chunk: Bytes::from_static(b"a"),
        };
        assert_eq!(callee.on_frame(more, now, &mut out), Err(Violation::NoSuchCall(6)));
        let more = Frame::More {
            call: 5,
            chunk: Bytes::from_static(b"abc"),
        };
        assert_eq!(callee.on_frame(more, now, &mut out), Err(Violation::Overrun(5)));
        for n in 6..6 + 2 * LIMITS.calls as u64 - 1 {
            callee.on_frame(call(n), now, &mut out).unwrap();
        }
        assert!(matches!(
            callee.on_frame(call(99), now, &mut out),
            Err(Violation::TooManyCalls(_))
        ));
    }
}
