//! How the last life of a node ended, as far as it could be noted: by an abort of its own (a broken invariant, a stack
//! that overflowed, memory that was refused), or without a word (killed from outside, the machine's power gone).
//!
//! The boot guard weighs the two differently: a version that makes the process abort is left behind soon, and an
//! operator who kills a node twice does not lose its configuration by that.

use signal_hook::SigId;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// The note's name in the data directory: one byte, which the signal's handler writes over.
const NOTE: &str = "aborted";

/// What the note holds while the node lives.
const LIVES: &[u8] = b"-";

/// Notes an abort while it is held.
#[derive(Debug)]
pub struct Watch {
    signal: SigId,
}

/// Says whether the last life ended by an abort, and watches over this one. Every call adds one more note to the
/// process, as its nodes are.
///
/// # Errors
/// The note cannot be written; the node can do without.
pub fn watch(data: &Path) -> std::io::Result<(bool, Watch)> {
    let path = data.join(NOTE);
    let aborted = fs::read(&path).is_ok_and(|note| !note.is_empty() && note != LIVES);
    let mut note = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    // The byte has its place on the disk now: a disk that is full later does not keep the note from being written.
    note.write_all(LIVES)?;
    note.seek(SeekFrom::Start(0))?;
    // Writes one byte to the file as the signal arrives; the process then ends as it would have.
    let signal = signal_hook::low_level::pipe::register(libc::SIGABRT, note)?;
    Ok((aborted, Watch { signal }))
}

impl Drop for Watch {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.signal);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_life_that_ended_otherwise_left_no_note_of_an_abort() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let (aborted, watch) = watch(folder.path()).unwrap();
            assert!(!aborted);
            drop(watch);
        }
        fs::write(folder.path().join(NOTE), b"X").unwrap();
        assert!(watch(folder.path()).unwrap().0);
        assert!(!watch(folder.path()).unwrap().0, "told once");
    }
}
