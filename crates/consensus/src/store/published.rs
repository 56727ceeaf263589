//! The state that readers see: what is on disk, never more.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::state::{Effect, Entry, Head, State};

/// The published state, and who wants to hear of it.
#[derive(Debug)]
pub(crate) struct Published {
    state: RwLock<State>,
    head: watch::Sender<Head>,
}

// === impl Published ===

impl Published {
    pub(crate) fn new(state: State) -> Self {
        Self {
            head: watch::Sender::new(state.head.clone()),
            state: RwLock::new(state),
        }
    }

    /// Shows what these effects make of it. They are on disk.
    pub(crate) fn absorb(&self, effects: &[Effect]) {
        let head = {
            let mut state = self.write();
            for effect in effects {
                state.absorb(effect);
            }
            state.head.clone()
        };
        self.head.send_replace(head);
    }

    /// Shows another state in its place. It is on disk.
    pub(crate) fn replace(&self, state: State) {
        let head = state.head.clone();
        *self.write() = state;
        self.head.send_replace(head);
    }

    pub(crate) fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Head and parts of one moment. They may be held as long as one likes.
    pub(crate) fn parts(&self) -> (Head, Arc<BTreeMap<Arc<str>, Entry>>) {
        let state = self.read();
        (state.head.clone(), Arc::clone(&state.parts))
    }

    /// The state of this moment, to be looked at without holding up who applies.
    pub(crate) fn state(&self) -> State {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // What may panic under the lock is the copying of maps, which leaves them as they were.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
