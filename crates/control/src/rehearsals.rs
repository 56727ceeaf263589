//! A note that a change is being tried out which is no version yet: should the process abort by it,
//! the version that it serves by is not to blame.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where rehearsals are noted, if anywhere. Not synced: what a process wrote outlives its abort.
#[derive(Debug, Clone, Default)]
pub struct Rehearsals {
    note: Option<Arc<(File, u64)>>,
    running: Arc<AtomicUsize>,
}

/// A rehearsal, until it is dropped.
#[derive(Debug)]
pub struct Rehearsing(Rehearsals);

// === impl Rehearsals ===

impl Rehearsals {
    /// Noted by one byte at this place in the file: `r` while one runs, else `-`.
    #[must_use]
    pub fn noted_at(file: File, at: u64) -> Self {
        Self {
            note: Some(Arc::new((file, at))),
            running: Arc::default(),
        }
    }

    /// One begins.
    #[must_use]
    pub fn begin(&self) -> Rehearsing {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.write(b"r");
        Rehearsing(self.clone())
    }

    fn write(&self, byte: &[u8]) {
        if let Some(note) = &self.note {
            // Without the note a version may be blamed: the guard errs to the safe side.
            let _ = note.0.write_all_at(byte, note.1);
        }
    }
}

impl Drop for Rehearsing {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.write(b"-");
        }
    }
}
