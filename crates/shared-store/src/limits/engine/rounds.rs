//! Calls on their way out and back.

use crate::backend::{BATCH, CallError, Partition};
use sluice_shared_state::Moment;
use sluice_shared_state::ledger::{Header, Request, Script, Served};
use std::collections::BTreeMap;

/// Whose a call is: a place in the table, and which of those that stood there. Of no key: nobody hears the reply.
pub(super) type Whose = Option<(u32, u32)>;

/// Calls that gather for the next tick.
#[derive(Debug, Default)]
pub(super) struct Gathering(BTreeMap<(Partition, Script), Vec<(Whose, Request)>>);

/// What goes out as one call.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) partition: Partition,
    pub(super) header: Header,
    pub(super) keys: Vec<Whose>,
    pub(super) requests: Vec<Request>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) partition: Partition,
    pub(super) keys: Vec<Whose>,
    /// Its header said that the node went on by itself.
    pub(super) local: bool,
    pub(super) sent: Moment,
    pub(super) served: Result<Served, CallError>,
}

// === impl Gathering ===

impl Gathering {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, partition: Partition, whose: Whose, request: Request) {
        let script = Script::of(&request.rule.algorithm);
        self.0.entry((partition, script)).or_default().push((whose, request));
    }

    /// All of it, in rounds that one call takes.
    pub(super) fn rounds(&mut self, header: impl Fn(Partition) -> Header) -> Vec<Round> {
        let mut rounds = Vec::new();
        for ((partition, _), calls) in std::mem::take(&mut self.0) {
            let mut calls = calls.into_iter().peekable();
            while calls.peek().is_some() {
                let (keys, requests) = calls.by_ref().take(BATCH).unzip();
                rounds.push(Round {
                    partition,
                    header: header(partition),
                    keys,
                    requests,
                });
            }
        }
        rounds
    }
}
