//! The waker of a connection that has no task of its own.
//!
//! A connection is driven by whoever waits for it: the task of the exchange, later that of another
//! exchange, between them nobody. Everything inside registers one waker, the relay, which passes
//! on to the present driver. While the driver itself is inside, a wake is only noted: the driver
//! looks again before it leaves, and its task is not scheduled a second time for nothing.

use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

/// Nobody inside, nothing happened.
const QUIET: u8 = 0;
/// Nobody inside, and something happened since the last driver left.
const STIRRED: u8 = 1;
/// The driver is inside.
const INSIDE: u8 = 2;
/// The driver is inside, and something happened since it last looked.
const NOTED: u8 = 3;

#[derive(Debug, Default)]
pub(crate) struct Relay {
    state: AtomicU8,
    driver: AtomicWaker,
}

// === impl Relay ===

impl Relay {
    /// Whom to wake from now on.
    pub(crate) fn drive(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// Nobody drives any more. Lets go of the last driver's task, whose memory a waker holds.
    pub(crate) fn rest(&self) {
        drop(self.driver.take());
    }

    pub(crate) fn enter(&self) {
        self.state.store(INSIDE, Ordering::Release);
    }

    /// Whether something happened since `enter` or the last call.
    pub(crate) fn noted(&self) -> bool {
        self.state.swap(INSIDE, Ordering::SeqCst) == NOTED
    }

    /// Leaves, to wait: what happened meanwhile wakes the driver.
    pub(crate) fn leave_to_wait(&self) {
        if self.state.swap(QUIET, Ordering::SeqCst) == NOTED {
            self.driver.wake();
        }
    }

    /// Leaves with a result: the driver comes again by itself, and looks then.
    pub(crate) fn leave(&self) {
        self.state.store(QUIET, Ordering::Release);
    }

    /// Leaves for the pool: whether something happened stays known.
    pub(crate) fn leave_resting(&self) {
        if self.state.swap(QUIET, Ordering::SeqCst) == NOTED {
            let _ = self
                .state
                .compare_exchange(QUIET, STIRRED, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Whether something happened since the last driver left.
    pub(crate) fn stirred(&self) -> bool {
        self.state.load(Ordering::Acquire) == STIRRED
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let happened = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
            Some(match state {
                QUIET | STIRRED => STIRRED,
                _ => NOTED,
            })
        });
        if let Ok(QUIET | STIRRED) = happened {
            self.driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn driven() -> (Arc<Relay>, Waker, Arc<Woken>) {
        let (relay, woken) = (Arc::new(Relay::default()), Arc::new(Woken::default()));
        relay.drive(&Waker::from(Arc::clone(&woken)));
        (Arc::clone(&relay), Waker::from(relay), woken)
    }

    #[test]
    fn a_wake_from_outside_reaches_the_driver() {
        let (relay, waker, woken) = driven();
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(relay.stirred());
        relay.enter();
        assert!(!relay.noted());
    }

    #[test]
    fn a_wake_from_inside_is_noted_once_and_not_passed_on() {
        let (relay, waker, woken) = driven();
        relay.enter();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(relay.noted());
        assert!(!relay.noted());
        relay.leave_to_wait();
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        assert!(!relay.stirred());
    }

    #[test]
    fn what_was_noted_too_late_wakes_the_driver() {
        let (relay, waker, woken) = driven();
        relay.enter();
        waker.wake_by_ref();
        relay.leave_to_wait();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn in_the_pool_a_wake_reaches_nobody_but_is_remembered() {
        let (relay, waker, woken) = driven();
        relay.rest();
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        assert!(relay.stirred());
        relay.enter();
        waker.wake_by_ref();
        relay.leave_resting();
        assert!(relay.stirred());
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        let (relay, waker, woken) = driven();
        for _ in 0..2_000 {
            let before = woken.0.load(Ordering::SeqCst);
            relay.drive(&Waker::from(Arc::clone(&woken)));
            relay.enter();
            let other = std::thread::scope(|scope| {
                let waker = waker.clone();
                let handle = scope.spawn(move || waker.wake());
                let noted = relay.noted();
                relay.leave_to_wait();
                handle.join().map(|()| noted)
            });
            let noted = matches!(other, Ok(true));
            assert!(noted || woken.0.load(Ordering::SeqCst) > before);
        }
    }
}
