//! The power fails: of what was written since the last sync any part may be on the disk, in any
//! order, cut anywhere.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::file::Event;
use super::tests::{options, scratch, step};
use super::*;

/// Writes the file that a loss of power before event `upto` leaves.
fn leave(path: &Path, journal: &[Event], upto: usize, random: &mut fastrand::Rng) {
    let file = File::create(path).unwrap();
    let synced = journal[..upto]
        .iter()
        .rposition(|e| matches!(e, Event::Sync))
        .unwrap_or(0);
    for (n, event) in journal[..upto].iter().enumerate() {
        let lost = n > synced && random.u8(..3) == 0;
        match event {
            Event::Write(offset, data) => {
                // A sector is written whole or not at all.
                let torn = n > synced && random.u8(..3) == 0;
                let sectors = (data.len() / 512).max(1);
                let kept = if torn {
                    512 * random.usize(..sectors)
                } else {
                    data.len()
                };
                if !lost {
                    file.write_all_at(&data[..kept], *offset).unwrap();
                }
            }
            Event::Length(length) => {
                if !lost || file.metadata().unwrap().len() < *length {
                    file.set_len(*length).unwrap();
                }
            }
            Event::Sync => {}
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power_at_any_moment() {
    let dir = scratch();
    let faults = Faults::default();
    let (store, boot) = Store::open_with(dir.path(), options(), faults.clone()).unwrap();
    let mut raft = store.take_raft().unwrap();
    // After so many events, this was acknowledged.
    let mut acknowledged = Vec::new();
    for _ in 0..12 {
        let head = step(&mut raft);
        let last = raft.mirror.read().last();
        let mark = fs::read(dir.path().join(MARK)).unwrap();
        acknowledged.push((faults.inner.journal.lock().unwrap().len(), head, last, mark));
    }
    let journal = faults.inner.journal.lock().unwrap().clone();
    let mut random = fastrand::Rng::with_seed(5);
    let first = acknowledged[0].0;
    for upto in (first..=journal.len()).step_by(2) {
        let copy = scratch();
        leave(&copy.path().join(DATA), &journal, upto, &mut random);
        let known = acknowledged.iter().rev().find(|(at, ..)| *at <= upto).unwrap();
        if random.bool() {
            // The mark is not synced: it may be there, or not.
            fs::write(copy.path().join(MARK), &known.3).unwrap();
        }
        let (store, found) = Store::open(copy.path(), options()).unwrap();
        assert_eq!(found.damage, None, "power lost before event {upto}");
        assert_eq!(found.incarnation, boot.incarnation);
        assert!(
            store.parts().0.applied >= known.1.applied,
            "power lost before event {upto}"
        );
        let raft = store.take_raft().unwrap();
        assert!(raft.mirror.read().last() >= known.2, "power lost before event {upto}");
    }
}
