//! One look-up on its way through the candidates.

use super::rank::Entry;
use crate::gateway::Lookup;
use crate::methods::{Allow, Stand};
use http::Method;
use sluice_http_semantics::host::HostPattern;
use smallvec::SmallVec;

/// What was found so far.
pub(crate) struct Search<'s, 'r> {
    lookup: &'r Lookup<'r>,
    /// What the parameters on the way here took.
    params: SmallVec<[&'r str; 6]>,
    /// The first that takes the method.
    best: Option<Found<'s, 'r>>,
    /// Of a HEAD, the first that names GET.
    implied: Option<Found<'s, 'r>>,
    /// Of a HEAD, whether a route that matches names it.
    names_head: bool,
    allow: Allow<'s>,
    turn: u32,
}

pub(crate) struct Found<'s, 'r> {
    pub(crate) entry: &'s Entry,
    pub(crate) params: SmallVec<[&'r str; 6]>,
    /// The lesser was offered earlier.
    turn: u32,
}

// === impl Search ===

impl<'s, 'r> Search<'s, 'r> {
    pub(crate) fn new(lookup: &'r Lookup<'r>) -> Self {
        Self {
            lookup,
            params: SmallVec::new(),
            best: None,
            implied: None,
            names_head: false,
            allow: Allow::default(),
            turn: 0,
        }
    }

    /// Whether an entry of this priority, offered now, could still change the answer.
    pub(crate) fn wants(&self, priority: i32) -> bool {
        // A route that names HEAD may turn up anywhere, and turns away all that take it for their GET.
        let open = *self.lookup.method == Method::HEAD && !self.names_head;
        open || self.best.as_ref().is_none_or(|best| priority > best.entry.priority())
    }

    /// With one more parameter on the way.
    pub(crate) fn with_param(&mut self, value: &'r str, below: impl FnOnce(&mut Self)) {
        self.params.push(value);
        below(self);
        self.params.pop();
    }

    /// Takes what matches of entries in their order.
    pub(crate) fn offer(&mut self, entries: impl IntoIterator<Item = &'s Entry>) {
        for entry in entries {
            if !self.wants(entry.priority()) {
                return;
            }
            self.offer_one(entry);
        }
    }

    fn offer_one(&mut self, entry: &'s Entry) {
        let selector = &entry.route.selector;
        let stand = selector.methods.stand(self.lookup.method);
        if stand == Stand::No && self.best.is_some() {
            return;
        }
        if !host_matches(entry.host.as_ref(), self.lookup.host) || !selector.conditions.hold(self.lookup) {
            return;
        }
        let found = || Found {
            entry,
            params: self.params.clone(),
            turn: self.turn,
        };
        match stand {
            Stand::No => self.allow.add(&selector.methods),
            Stand::Implied if beats(entry, self.implied.as_ref()) => self.implied = Some(found()),
            Stand::Implied => {}
            Stand::Named | Stand::All => {
                self.names_head |= stand == Stand::Named && *self.lookup.method == Method::HEAD;
                if beats(entry, self.best.as_ref()) {
                    self.best = Some(found());
                }
            }
        }
        self.turn += 1;
    }

    /// The route that takes the request, or what its method should have been.
    pub(crate) fn end(self) -> Result<Found<'s, 'r>, Allow<'s>> {
        match (self.best, self.implied) {
            (Some(best), Some(implied)) if !self.names_head && implied.outranks(&best) => Ok(implied),
            (Some(best), _) => Ok(best),
            (None, Some(implied)) => Ok(implied),
            (None, None) => Err(self.allow),
        }
    }
}

fn host_matches(own: Option<&HostPattern>, host: &str) -> bool {
    own.is_none_or(|own| own.matches(host))
}

/// What is offered later must have the greater priority.
fn beats(entry: &Entry, known: Option<&Found<'_, '_>>) -> bool {
    known.is_none_or(|known| entry.priority() > known.entry.priority())
}

// === impl Found ===

impl Found<'_, '_> {
    fn outranks(&self, other: &Self) -> bool {
        let (mine, others) = (self.entry.priority(), other.entry.priority());
        mine > others || (mine == others && self.turn < other.turn)
    }
}
