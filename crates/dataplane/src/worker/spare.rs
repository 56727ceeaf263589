//! A descriptor that is kept back, for when there is no other.

use std::fs::File;
use std::net::TcpListener;

/// What is opened to be held.
const NOTHING: &str = "/dev/null";

/// One descriptor. Where the process or the system has no more, connections that wait can be neither taken nor refused,
/// and the reactor would tell of them for ever: given up for a moment, this one lets them be taken, and closed.
#[derive(Debug)]
pub(super) struct Spare(Option<File>);

// === impl Spare ===

impl Spare {
    pub(super) fn new() -> Self {
        Self(File::open(NOTHING).ok())
    }

    /// Closes what waits at `listener`, at most `most`, one after the other. Says how many.
    pub(super) fn close_waiting(&mut self, listener: &TcpListener, most: usize) -> u64 {
        // Without one, whatever was freed since is taken.
        self.0 = None;
        let mut closed = 0;
        for _ in 0..most {
            match listener.accept() {
                Ok((stream, _)) => drop(stream),
                // Nobody waits any more, or somebody else has the descriptor now.
                Err(_) => break,
            }
            closed += 1;
        }
        *self = Self::new();
        closed
    }
}
