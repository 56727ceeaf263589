//! What a node tells of the tokens that it had: a stream, and its own history of a window.
//!
//! The store hears the stream like TCP: it skips what it heard before. So what was once told is never changed, only
//! repeated until a reply in time says that it was heard.

use crate::ledger::sliding::Told;
use crate::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// All clocks err by less than this part: 1/1000.
pub(super) const RATE: u32 = 1000;

/// A duration by a clock that may run fast: never longer than it was.
pub(super) fn shorter(duration: Duration) -> Duration {
    duration - duration / RATE
}

/// A duration by a clock that may run slow: never shorter than it was.
pub(super) fn longer(duration: Duration) -> Duration {
    duration + duration / RATE
}

/// What became of some tokens.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Not earlier than it was.
    when: Moment,
    tokens: u64,
    kind: u8,
}

/// Whose a token was that was taken, and whose spend is not told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The present lease's, or one's before that the store has not charged.
    Lease,
    /// The node's own account.
    Own,
    /// Known to the store already: charged with a lease that ended, or declared.
    Known,
}

/// The report.
#[derive(Debug)]
pub(super) struct Report {
    stream: VecDeque<Entry>,
    /// How many entries were told at least once.
    told: usize,
    /// Tokens heard of before the first entry.
    first: u64,
    /// Spends of the last window: by when, how many.
    own: VecDeque<(Moment, u64)>,
    own_sum: u64,
    /// Held until a lease ended, and not spent: when it ended, how many. Charged as spent then, so that nobody else has
    /// them for a window.
    lapsed: VecDeque<(Moment, u64)>,
    /// All that ever passed.
    ever: u64,
    /// Taken by workers, and not yet told by them: whose, how many; in that order.
    unfiled: VecDeque<(Of, u64)>,
    /// Nanoseconds of a tick, to whose end moments are moved.
    tick: u64,
    /// How long a spend counts.
    window: Duration,
    /// Nothing is streamed: what follows is a declaration.
    silent: bool,
}

// === impl Report ===

impl Report {
    /// Of a window of this length and slots of that.
    pub(super) fn new(window: Duration, slot: Duration) -> Self {
        Self {
            stream: VecDeque::new(),
            told: 0,
            first: 0,
            own: VecDeque::new(),
            own_sum: 0,
            lapsed: VecDeque::new(),
            ever: 0,
            unfiled: VecDeque::new(),
            tick: u64::try_from((slot / 4).as_nanos()).unwrap_or(u64::MAX).max(1),
            window: longer(window + slot),
            silent: false,
        }
    }

    /// Workers took so many.
    pub(super) fn taken(&mut self, of: Of, tokens: u64) {
        self.ever += tokens;
        match self.unfiled.back_mut() {
            _ if tokens == 0 => {}
            Some((last, sum)) if *last == of => *sum += tokens,
            _ => self.unfiled.push_back((of, tokens)),
        }
    }

    /// Workers told when they spent so many of these.
    pub(super) fn spent(&mut self, when: Moment, mut tokens: u64) {
        while tokens > 0 {
            // A spend is told after it was taken, and what was taken is read after what was told.
            let Some((of, left)) = self.unfiled.front_mut() else {
                break;
            };
            let (part, of) = (tokens.min(*left), *of);
            *left -= part;
            if *left == 0 {
                self.unfiled.pop_front();
            }
            tokens -= part;
            match of {
                Of::Lease => self.stream(when, part, Told::SPENT),
                Of::Own => self.stream(when, part, Told::OWN),
                Of::Known => {}
            }
            self.remember(when, part);
        }
    }

    /// Requests passed without a token: overdrawn, or while the limit was open.
    pub(super) fn beyond(&mut self, when: Moment, tokens: u64) {
        if tokens > 0 {
            self.ever += tokens;
            self.stream(when, tokens, Told::OWN);
            self.remember(when, tokens);
        }
    }

    /// Requests that waited passed by tokens that the store charged.
    pub(super) fn instant(&mut self, when: Moment, tokens: u64) {
        if tokens > 0 {
            self.ever += tokens;
            self.remember(when, tokens);
        }
    }

    /// So many of the instant tokens of that moment were not used.
    pub(super) fn unspent(&mut self, when: Moment, tokens: u64) {
        if tokens == 0 {
            return;
        }
        let when = self.end_of_tick(when);
        let since = self.own.iter_mut().rev().take_while(|(other, _)| *other >= when);
        if let Some((_, count)) = since.last() {
            let part = tokens.min(*count);
            *count -= part;
            self.own_sum -= part;
        }
    }

    /// A lease ended with so many unspent. The store charges them as spent at that moment, where it does not hear of them
    /// before; so they are told as that, and never go back: whatever the store heard, nobody else has them within a
    /// window, and they are the node's to count on should it have to go on by itself.
    pub(super) fn lapse(&mut self, ended: Moment, tokens: u64, charged: bool) {
        if tokens > 0 {
            self.stream(ended, tokens, Told::SPENT);
        }
        if tokens > 0 && charged {
            self.lapsed.push_back((ended, tokens));
        }
    }

    /// Tokens of the lease go back, from the near end or from the far one.
    pub(super) fn back(&mut self, when: Moment, tokens: u64, kind: u8) {
        if tokens > 0 && !self.silent {
            // Not moved to a tick: nothing hangs on its age.
            self.stream.push_back(Entry { when, tokens, kind });
        }
    }

    /// So many of what was taken by then were not used after all. What was told already stays so; and what was taken later
    /// is another request's, which must not be counted as if it had been sooner.
    pub(super) fn returned(&mut self, now: Moment, taken: Moment, mut tokens: u64) {
        let (mut lease, untold) = (0, self.told);
        let by = self.end_of_tick(taken);
        for entry in self.stream.iter_mut().skip(untold).rev() {
            if entry.when > by || !matches!(entry.kind, Told::SPENT | Told::OWN) {
                continue;
            }
            let part = entry.tokens.min(tokens);
            entry.tokens -= part;
            tokens -= part;
            if entry.kind == Told::SPENT {
                lease += part;
            }
            if let Some((_, count)) = self.own.iter_mut().rev().find(|(when, _)| *when == entry.when) {
                let part = part.min(*count);
                *count -= part;
                self.own_sum -= part;
            }
        }
        let mut index = 0;
        self.stream.retain(|entry| {
            index += 1;
            index <= untold || entry.tokens > 0
        });
        self.back(now, lease, Told::BACK);
    }

    fn stream(&mut self, when: Moment, tokens: u64, kind: u8) {
        if self.silent {
            return;
        }
        let when = self.end_of_tick(when);
        let untold = self.stream.len() > self.told;
        match self.stream.back_mut() {
            Some(last) if untold && last.when == when && last.kind == kind => last.tokens += tokens,
            _ => self.stream.push_back(Entry { when, tokens, kind }),
        }
    }

    fn remember(&mut self, when: Moment, tokens: u64) {
        let when = self.end_of_tick(when);
        self.own_sum += tokens;
        // Workers' clocks differ by a little: later is safe.
        match self.own.back_mut() {
            Some((last, sum)) if *last >= when => *sum += tokens,
            _ => self.own.push_back((when, tokens)),
        }
    }

    fn end_of_tick(&self, when: Moment) -> Moment {
        Moment(when.0.div_ceil(self.tick).saturating_mul(self.tick))
    }

    /// What it tells now; all of it was told then.
    pub(super) fn tell(&mut self, now: Moment) -> (u64, Vec<Told>) {
        self.told = self.stream.len();
        let stream = self
            .stream
            .iter()
            .map(|entry| Told(age(now, entry.when), entry.tokens, entry.kind))
            .collect();
        (self.first, stream)
    }

    /// All that was told was heard.
    pub(super) fn heard(&mut self) {
        self.first += self.stream.drain(..self.told).map(|entry| entry.tokens).sum::<u64>();
        self.told = 0;
    }

    /// The store charged the lease in full before it heard the last call: no more of it in the report.
    pub(super) fn charged(&mut self) {
        self.stream.retain(|entry| entry.kind == Told::OWN);
        for (of, _) in &mut self.unfiled {
            if *of == Of::Lease {
                *of = Of::Known;
            }
        }
    }

    /// The lease has ended longer ago than a window: what became of its tokens is known, or does not matter. What was spent
    /// without one is told still, and again, should it have been heard with them: nobody knows.
    pub(super) fn outlived(&mut self) {
        if self.stream.iter().all(|entry| entry.kind == Told::OWN) {
            return;
        }
        self.first += self.stream.iter().map(|entry| entry.tokens).sum::<u64>();
        self.told = 0;
        self.stream.retain(|entry| entry.kind == Told::OWN);
    }

    /// What the node spent in its last window: ages, oldest first. The stream begins anew after it.
    pub(super) fn declare(&mut self, now: Moment) -> Vec<(u64, u64)> {
        self.forget(now);
        let mut all: Vec<_> = self
            .own
            .iter()
            .map(|&(when, tokens)| (age(now, when), tokens))
            .collect();
        let unfiled = self.unfiled();
        if unfiled > 0 {
            all.push((0, unfiled));
        }
        for (of, _) in &mut self.unfiled {
            *of = Of::Known;
        }
        self.stream.clear();
        (self.told, self.first, self.silent) = (0, 0, false);
        all
    }

    /// Nothing is streamed until the next declaration.
    pub(super) fn silence(&mut self) {
        self.stream.clear();
        (self.told, self.silent) = (0, true);
    }

    /// The node does not go on alone after all.
    pub(super) fn speak(&mut self) {
        self.silent = false;
    }

    /// Spends that are older than a window.
    pub(super) fn forget(&mut self, now: Moment) {
        while let Some(&(when, tokens)) = self.own.front() {
            if when + self.window > now {
                break;
            }
            self.own.pop_front();
            self.own_sum -= tokens;
        }
        while self.lapsed.front().is_some_and(|&(when, _)| when + self.window <= now) {
            self.lapsed.pop_front();
        }
    }

    /// Spent within the last window and a slot.
    pub(super) fn own(&mut self, now: Moment) -> u64 {
        self.forget(now);
        self.own_sum + self.unfiled()
    }

    /// Certainly spent since.
    pub(super) fn own_since(&self, since: Moment) -> u64 {
        let own: u64 = self
            .own
            .iter()
            .rev()
            .take_while(|(when, _)| when.0 >= since.0.saturating_add(self.tick))
            .map(|(_, tokens)| tokens)
            .sum();
        own + self.unfiled()
    }

    /// The store begins anew with what nodes declare: what it charged before is nobody's any more.
    pub(super) fn begins_anew(&mut self) {
        self.lapsed.clear();
    }

    /// Held by leases that ended since, and not spent.
    pub(super) fn lapsed_since(&self, since: Moment) -> u64 {
        let lapsed = self.lapsed.iter().rev().take_while(|(when, _)| *when >= since);
        lapsed.map(|(_, tokens)| tokens).sum()
    }

    /// All that ever passed, as far as it was read.
    pub(super) fn ever(&self) -> u64 {
        self.ever
    }

    /// When spends come back to the node's own account: from when on, how many; oldest first.
    pub(super) fn comes_back(&self) -> impl Iterator<Item = (Moment, u64)> {
        self.own.iter().map(|&(when, tokens)| (when + self.window, tokens))
    }

    fn unfiled(&self) -> u64 {
        self.unfiled.iter().map(|(_, tokens)| tokens).sum()
    }

    /// There is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.stream.is_empty() && self.unfiled.is_empty()
    }

    /// Nothing was spent within a window.
    pub(super) fn is_forgotten(&self) -> bool {
        self.own.is_empty() && self.unfiled.is_empty()
    }

    /// Tokens of the lease that the store has not heard of, and the count of those before them: for whoever checks the
    /// books.
    #[cfg(test)]
    pub(super) fn unheard(&self, heard: u64) -> u64 {
        let (mut index, mut unheard) = (self.first, 0);
        for entry in &self.stream {
            let from = index.max(heard);
            index += entry.tokens;
            if entry.kind != Told::OWN {
                unheard += index.saturating_sub(from);
            }
        }
        let unfiled = self.unfiled.iter().filter(|(of, _)| *of == Of::Lease);
        unheard + unfiled.map(|(_, tokens)| tokens).sum::<u64>()
    }

    /// Entries that are kept, for whoever checks that they are few.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.stream.len() + self.own.len() + self.lapsed.len() + self.unfiled.len()
    }
}

/// How long ago it was at least, in microseconds.
fn age(now: Moment, when: Moment) -> u64 {
    let passed = now.since(when);
    let passed = if crate::broken::broken(crate::broken::Broken::AgeTooGreat) {
        passed + passed / 20 + Duration::from_millis(20)
    } else {
        shorter(passed)
    };
    u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
}
