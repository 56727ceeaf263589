//! Where connections stand until they have proved the token, and how often that is logged. Pure.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many may stand here at a time.
pub(crate) const PLACES: usize = 64;

/// Connections that have proved nothing yet; `T` is what ends one.
///
/// A new one is always let in: where all places are taken, the oldest of the address that holds
/// the most goes. A real peer needs milliseconds, so those who open connections and sit on them
/// lose their own, and never keep a peer out.
#[derive(Debug)]
pub(crate) struct Porch<T> {
    next: u64,
    /// By age.
    standing: VecDeque<(u64, IpAddr, T)>,
}

/// Lets a line through now and then, and counts those that it kept back.
#[derive(Debug)]
pub(crate) struct Throttle {
    left: u32,
    refilled: Instant,
    kept: u64,
}

const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(1);

// === impl Porch ===

impl<T> Porch<T> {
    pub(crate) fn new() -> Self {
        Self {
            next: 0,
            standing: VecDeque::new(),
        }
    }

    /// Lets a connection in; gives its ticket, and whom it displaces.
    pub(crate) fn enter(&mut self, from: IpAddr, what: T) -> (u64, Option<T>) {
        let displaced = (self.standing.len() >= PLACES).then(|| self.displace()).flatten();
        let ticket = self.next;
        self.next += 1;
        self.standing.push_back((ticket, from, what));
        (ticket, displaced)
    }

    /// The connection is through, or gone.
    pub(crate) fn leave(&mut self, ticket: u64) {
        if let Some(at) = self.standing.iter().position(|(t, ..)| *t == ticket) {
            self.standing.remove(at);
        }
    }

    /// All who stand here.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        self.standing.drain(..).map(|(_, _, what)| what).collect()
    }

    fn displace(&mut self) -> Option<T> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (_, from, _) in &self.standing {
            *counts.entry(*from).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let at = self.standing.iter().position(|(_, from, _)| counts[from] == most)?;
        self.standing.remove(at).map(|(_, _, what)| what)
    }
}

// === impl Throttle ===

impl Throttle {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            refilled: now,
            kept: 0,
        }
    }

    /// Whether a line may be written now, and how many were kept back since the last.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u64> {
        let periods = now.saturating_duration_since(self.refilled).as_secs() / REFILL.as_secs();
        if periods > 0 {
            self.left = self
                .left
                .saturating_add(u32::try_from(periods).unwrap_or(u32::MAX))
                .min(BURST);
            self.refilled = now;
        }
        if self.left == 0 {
            self.kept += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.kept))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn a_crowd_of_one_address_displaces_itself_and_nobody_else() {
        let mut porch = Porch::new();
        let (peer, none) = porch.enter(ip(1), "peer");
        assert_eq!(none, None);
        for _ in 1..PLACES {
            assert_eq!(porch.enter(ip(9), "crowd").1, None);
        }
        for _ in 0..500 {
            assert_eq!(porch.enter(ip(9), "crowd").1, Some("crowd"));
        }
        assert_eq!(porch.enter(ip(2), "another peer").1, Some("crowd"));
        assert_eq!(porch.standing.len(), PLACES);
        porch.leave(peer);
        assert!(porch.standing.iter().all(|(t, ..)| *t != peer));
    }

    #[test]
    fn the_oldest_of_a_crowd_goes_first() {
        let mut porch = Porch::new();
        for n in 0..PLACES {
            porch.enter(ip(9), n);
        }
        assert_eq!(porch.enter(ip(9), 100).1, Some(0));
        assert_eq!(porch.enter(ip(9), 101).1, Some(1));
    }

    #[test]
    fn a_flood_of_lines_becomes_one_a_second_with_a_count() {
        let t0 = Instant::now();
        let mut throttle = Throttle::new(t0);
        let passed = (0..100).filter(|_| throttle.pass(t0).is_some()).count();
        assert_eq!(passed, BURST as usize);
        assert_eq!(throttle.pass(t0 + REFILL), Some(90));
        assert_eq!(throttle.pass(t0 + REFILL), None);
    }
}
