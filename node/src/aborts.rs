//! How the last life of a node ended, as far as it could be noted: by an abort of its own (a broken invariant, a stack
//! that overflowed, memory that was refused), or without a word (killed from outside, the machine's power gone).
//!
//! The boot guard weighs the two differently: a version that makes the process abort is left behind soon, and an
//! operator who kills a node twice does not lose its configuration by that.

use signal_hook::SigId;
use sluice_control::{End, Rehearsals};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// The note's name in the data directory. Its first byte is written over by the signal's handler, its second says
/// whether a change is tried out that is no version yet.
const NOTE: &str = "aborted";

/// What the note holds while the node lives.
const LIVES: &[u8] = b"--";

/// Notes an abort while it is held.
#[derive(Debug)]
pub struct Watch {
    signal: SigId,
    rehearsals: Rehearsals,
}

/// Says how the last life ended, and watches over this one. Every call adds one more note to the
/// process, as its nodes are.
///
/// # Errors
/// The note cannot be written; the node can do without.
pub fn watch(data: &Path) -> std::io::Result<(End, Watch)> {
    let path = data.join(NOTE);
    let end = match fs::read(&path).unwrap_or_default().as_slice() {
        [] | [b'-', ..] => End::Otherwise,
        [_, rehearsed, ..] if *rehearsed != LIVES[1] => End::AbortedRehearsal,
        _ => End::Aborted,
    };
    let mut note = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    // The byte has its place on the disk now: a disk that is full later does not keep the note from being written.
    note.write_all(LIVES)?;
    note.seek(SeekFrom::Start(0))?;
    let rehearsals = Rehearsals::noted_at(note.try_clone()?, 1);
    // Writes one byte to the file as the signal arrives; the process then ends as it would have.
    let signal = signal_hook::low_level::pipe::register(libc::SIGABRT, note)?;
    Ok((end, Watch { signal, rehearsals }))
}

impl Watch {
    /// What notes rehearsals in the same place.
    #[must_use]
    pub fn rehearsals(&self) -> Rehearsals {
        self.rehearsals.clone()
    }
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
            let (end, watch) = watch(folder.path()).unwrap();
            assert_eq!(end, End::Otherwise);
            let rehearsing = watch.rehearsals().begin();
            assert_eq!(fs::read(folder.path().join(NOTE)).unwrap(), b"-r");
            drop((rehearsing, watch));
            assert_eq!(fs::read(folder.path().join(NOTE)).unwrap(), LIVES);
        }
        for (note, end) in [
            ("X-", End::Aborted),
            ("Xr", End::AbortedRehearsal),
            ("-r", End::Otherwise),
        ] {
            fs::write(folder.path().join(NOTE), note).unwrap();
            assert_eq!(watch(folder.path()).unwrap().0, end, "{note}");
            assert_eq!(watch(folder.path()).unwrap().0, End::Otherwise, "told once");
        }
    }
}
