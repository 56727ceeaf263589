#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use openraft::EntryPayload;

use tempfile::TempDir;

use super::*;
use crate::command::{Activation, Author, Body, Envelope, PartChange};
use crate::raft::types::{LogEntry, Types, Vote};
use crate::record::Record;
use crate::state::Effect;

/// A directory in memory where there is one: what is tried here are contents, not the disk.
pub(crate) fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

pub(super) fn options() -> OpenOptions {
    OpenOptions {
        ballast: 0,
        ..OpenOptions::new("n1", "shop")
    }
}

fn log_id(index: u64) -> LogId {
    openraft::testing::log_id::<Types>(1, 7, index)
}

fn put(state: &State, value: &str) -> Envelope {
    Envelope {
        base: state.head.version,
        request_id: "r".into(),
        author: Author::default(),
        at_ms: 1,
        trace: None,
        level: 1,
        idempotency: None,
        body: Body::Store {
            changes: vec![PartChange {
                key: "upstreams/orders".into(),
                value: Some(value.into()),
            }],
            activate: Some(Activation::default()),
            original: Some(format!("text of {value}").into()),
        },
    }
}

/// Appends an entry and applies it, as Raft would.
pub(super) fn step(raft: &mut RaftStart) -> Head {
    let index = raft.mirror.read().last().map_or(0, |l| l.index + 1);
    let envelope = put(&raft.state, &format!("value {index}"));
    let entry = LogEntry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(Record::of(&envelope, &raft.state).unwrap()),
    };
    assert!(raft.mirror.write().append(std::slice::from_ref(&entry)));
    raft.writer.write_blocking(Op::Append(vec![entry])).unwrap();
    let (_, effects) = raft.state.apply(index, &envelope);
    apply(raft, index, effects).unwrap();
    raft.published.head()
}

fn apply(raft: &RaftStart, index: u64, effects: Vec<Effect>) -> Result<(), DiskError> {
    raft.writer.write_blocking(Op::Apply {
        effects: effects.clone(),
        applied: log_id(index),
        membership: None,
    })?;
    raft.published.absorb(&effects);
    Ok(())
}

/// A directory with some history in it.
fn filled(dir: &Path, entries: u64) -> (Store, RaftStart) {
    let (store, _) = Store::open(dir, options()).unwrap();
    let mut raft = store.take_raft().unwrap();
    raft.writer.write_blocking(Op::Vote(Vote::new_committed(1, 7))).unwrap();
    for _ in 0..entries {
        step(&mut raft);
    }
    (store, raft)
}

/// What a machine that loses its power now would find.
fn crash(dir: &Path) -> TempDir {
    let copy = scratch();
    for name in [DATA, MARK] {
        fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn a_new_directory_gets_an_incarnation_and_keeps_it() {
    let dir = scratch();
    let path = dir.path().join("deeper").join("data");
    let (store, boot) = Store::open(&path, options()).unwrap();
    assert!(boot.is_new && boot.was_clean && !boot.is_initialised);
    assert_ne!(boot.incarnation, NodeId(0));
    store.close().unwrap();
    drop(store);
    let (_, again) = Store::open(&path, options()).unwrap();
    assert_eq!(again.incarnation, boot.incarnation);
    assert!(!again.is_new && again.was_clean);
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let dir = scratch();
    let (store, _) = Store::open(dir.path(), options()).unwrap();
    let Err(StoreError::InUse { pid, .. }) = Store::open(dir.path(), options()) else {
        panic!("both got it")
    };
    assert_eq!(pid, Some(std::process::id()));
    drop(store);
    Store::open(dir.path(), options()).unwrap();
}

#[test]
fn a_closed_directory_can_be_opened_again_while_the_old_handle_still_reads() {
    let dir = scratch();
    let (old, raft) = filled(dir.path(), 3);
    old.close().unwrap();
    old.close().unwrap();
    let (_new, boot) = Store::open(dir.path(), options()).unwrap();
    assert!(boot.was_clean);
    assert_eq!(old.parts().0.version, 3);
    assert!(old.set_boot_record(b"late").is_err());
    assert!(raft.writer.write_blocking(Op::Vote(Vote::new(9, 7))).is_err());
}

#[test]
fn a_directory_of_another_name_or_cluster_is_refused_by_its_own_message() {
    let dir = scratch();
    drop(Store::open(dir.path(), options()).unwrap());
    let name = Store::open(
        dir.path(),
        OpenOptions {
            name: "n2".into(),
            ..options()
        },
    )
    .unwrap_err();
    assert!(
        matches!(&name, StoreError::WrongName { found, .. } if found == "n1"),
        "{name}"
    );
    let cluster = Store::open(
        dir.path(),
        OpenOptions {
            cluster: "bank".into(),
            ..options()
        },
    )
    .unwrap_err();
    assert!(
        matches!(&cluster, StoreError::WrongCluster { found, .. } if found == "shop"),
        "{cluster}"
    );
}

#[test]
fn a_directory_that_cannot_be_made_says_what_to_do() {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("data"), options()).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }));
    assert!(error.to_string().contains("`data` must name a directory"), "{error}");
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let dir = scratch();
    let (store, _) = Store::open(dir.path(), options()).unwrap();
    store
        .inner
        .open()
        .set(disk::meta::FORMAT, Some(codec::encode(&(FORMAT + 1)).unwrap()))
        .unwrap();
    drop(store);
    let error = Store::open(dir.path(), options()).unwrap_err();
    assert!(
        matches!(error, StoreError::NewerFormat { found: 2, known: 1, .. }),
        "{error}"
    );
}

#[test]
fn small_facts_survive() {
    let dir = scratch();
    let (store, raft) = filled(dir.path(), 3);
    let promise = Promise {
        cluster_id: 5,
        founder: NodeId(1),
    };
    store.promise(&promise).unwrap();
    store.promise(&promise).unwrap();
    let other = Promise {
        cluster_id: 6,
        ..promise.clone()
    };
    let given = PromiseError::Given { given: promise.clone() };
    assert_eq!(store.promise(&other), Err(given));
    store.set_cluster_id(5).unwrap();
    assert_eq!(store.set_cluster_id(6), Err(PromiseError::Member { cluster_id: 5 }));
    store.set_boot_record(b"live since").unwrap();
    store.set_pin(Some(2)).unwrap();
    assert!(matches!(store.set_pin(Some(4)), Err(StoreError::NoSuchVersion { .. })));
    drop((store, raft));
    let (store, boot) = Store::open(dir.path(), options()).unwrap();
    assert_eq!(boot.cluster, Some(5));
    assert_eq!(store.promised(), Some(promise));
    assert_eq!((store.boot_record(), store.pin()), (b"live since".to_vec(), Some(2)));
}

#[test]
fn what_was_applied_is_there_after_a_crash_at_any_moment() {
    let dir = scratch();
    let (_store, mut raft) = filled(dir.path(), 0);
    for _ in 0..20 {
        let head = step(&mut raft);
        let copy = crash(dir.path());
        let (store, boot) = Store::open(copy.path(), options()).unwrap();
        assert_eq!(boot.damage, None);
        assert!(!boot.was_clean && boot.is_initialised);
        assert_eq!(store.parts().0, head);
        let again = store.take_raft().unwrap();
        assert_eq!(again.state, raft.state);
        assert_eq!(again.mirror.read().last(), raft.mirror.read().last());
    }
}

#[test]
fn rescue_sees_the_versions_and_pins_one_without_a_name() {
    let dir = scratch();
    assert!(matches!(Store::open_offline(dir.path()), Err(StoreError::Empty { .. })));
    let (store, raft) = filled(dir.path(), 3);
    assert!(matches!(Store::open_offline(dir.path()), Err(StoreError::InUse { .. })));
    drop((store, raft));
    let store = Store::open_offline(dir.path()).unwrap();
    assert_eq!(store.versions(), [0, 1, 2, 3]);
    store.set_pin(Some(2)).unwrap();
    drop(store);
    let (store, _) = Store::open(dir.path(), options()).unwrap();
    assert_eq!(store.pin(), Some(2));
    assert_eq!(&*store.parts_at(2).unwrap()["upstreams/orders"], "value 1");
}

#[test]
fn entries_are_truncated_and_purged_for_good() {
    let dir = scratch();
    let (store, raft) = filled(dir.path(), 10);
    raft.writer.write_blocking(Op::Truncate { last: Some(7) }).unwrap();
    let purge = Op::Purge {
        upto: log_id(3),
        last: 7,
    };
    raft.writer.write_blocking(purge).unwrap();
    drop((store, raft));
    let (store, _) = Store::open(dir.path(), options()).unwrap();
    let raft = store.take_raft().unwrap();
    let log = raft.mirror.read();
    let indexes: Vec<u64> = log.entries(..).map(|e| e.log_id.index).collect();
    assert_eq!(indexes, [4, 5, 6, 7]);
    assert_eq!(log.purged, Some(log_id(3)));
}

/// Whatever is wrong with the file: every record is there, or the damage is told.
fn whole_or_damaged(dir: &Path, head: &Head, last: Option<LogId>, what: &str) -> bool {
    let (store, boot) = match Store::open(dir, options()) {
        Ok(opened) => opened,
        Err(error) => panic!("{what}: {error}"),
    };
    if let Some(damage) = boot.damage {
        assert!(store.take_raft().is_err(), "{what}: {damage:?}");
        if damage.state_is_whole {
            assert_eq!(&store.parts().0, head, "{what}: {damage:?}");
        }
        let renewed = store.renew().unwrap();
        assert_ne!(renewed, boot.incarnation);
        let raft = store.take_raft().unwrap();
        assert_eq!(
            (raft.id, raft.mirror.read().last(), raft.applied),
            (renewed, None, None)
        );
        return false;
    }
    assert_eq!(&store.parts().0, head, "{what}");
    let raft = store.take_raft().unwrap();
    assert_eq!(raft.mirror.read().last(), last, "{what}");
    assert!(raft.mirror.read().vote.is_some(), "{what}");
    true
}

#[test]
fn a_flipped_bit_anywhere_never_loses_an_acknowledged_entry_in_silence() {
    let dir = scratch();
    let (store, raft) = filled(dir.path(), 30);
    let (head, last) = (store.parts().0, raft.mirror.read().last());
    // Both what a crash leaves and what an orderly stop leaves.
    let crashed = crash(dir.path());
    store.close().unwrap();
    drop((store, raft));
    for source in [crashed.path(), dir.path()] {
        let good = fs::read(source.join(DATA)).unwrap();
        let used: Vec<usize> = (0..good.len()).filter(|at| good[*at] != 0).collect();
        let mut told = 0;
        for at in used.iter().step_by(used.len() / 150) {
            let copy = crash(source);
            let mut bytes = good.clone();
            bytes[*at] ^= 1 << (at % 8);
            fs::write(copy.path().join(DATA), bytes).unwrap();
            told += usize::from(!whole_or_damaged(
                copy.path(),
                &head,
                last,
                &format!("bit in byte {at}"),
            ));
        }
        assert!(told > 0);
    }
}

#[test]
fn a_file_cut_short_or_partly_zero_never_loses_an_acknowledged_entry_in_silence() {
    let dir = scratch();
    let (store, raft) = filled(dir.path(), 30);
    let (head, last) = (store.parts().0, raft.mirror.read().last());
    let good = fs::read(dir.path().join(DATA)).unwrap();
    for n in 0..60 {
        let copy = crash(dir.path());
        let mut bytes = good.clone();
        let at = good.len() * n / 60;
        if n % 2 == 0 {
            bytes.truncate(at);
        } else {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
        }
        fs::write(copy.path().join(DATA), bytes).unwrap();
        whole_or_damaged(copy.path(), &head, last, &format!("cut or zeroed at {at}"));
    }
}

#[test]
fn a_file_older_than_what_was_acknowledged_is_damage() {
    let dir = scratch();
    let (store, mut raft) = filled(dir.path(), 5);
    let old = fs::read(dir.path().join(DATA)).unwrap();
    let head = step(&mut raft);
    let last = raft.mirror.read().last();
    let copy = crash(dir.path());
    fs::write(copy.path().join(DATA), old).unwrap();
    assert!(!whole_or_damaged(copy.path(), &head, last, "an old file"));
    let copy = crash(dir.path());
    fs::remove_file(copy.path().join(DATA)).unwrap();
    let (_, boot) = Store::open(copy.path(), options()).unwrap();
    assert!(boot.damage.is_some(), "a missing file is not a new node");
    drop(store);
}

#[test]
fn a_first_start_that_was_cut_short_is_begun_again() {
    let dir = scratch();
    fs::write(dir.path().join(DATA), b"half a header").unwrap();
    let (_, boot) = Store::open(dir.path(), options()).unwrap();
    assert!(boot.is_new && boot.damage.is_none());
}

#[test]
fn renewing_keeps_what_is_not_raft() {
    let dir = scratch();
    let (store, raft) = filled(dir.path(), 3);
    store.set_cluster_id(5).unwrap();
    store.set_boot_record(b"boot").unwrap();
    store.set_pin(Some(1)).unwrap();
    let id = store.incarnation();
    drop(raft);
    let renewed = store.renew().unwrap();
    assert_ne!(renewed, id);
    drop(store);
    let (store, boot) = Store::open(dir.path(), options()).unwrap();
    assert_eq!(
        (boot.incarnation, boot.cluster, boot.is_initialised),
        (renewed, Some(5), false)
    );
    assert_eq!((store.boot_record(), store.pin()), (b"boot".to_vec(), Some(1)));
    assert!(dir.path().join("sluice.redb.damaged").is_file());
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let dir = scratch();
    let faults = Faults::default();
    let (store, _) = Store::open_with(dir.path(), options(), faults.clone()).unwrap();
    let raft = store.take_raft().unwrap();
    faults.inner.sync.store(true, Ordering::SeqCst);
    let vote = || Op::Vote(Vote::new(2, 7));
    assert!(raft.writer.write_blocking(vote()).is_err());
    faults.inner.sync.store(false, Ordering::SeqCst);
    assert!(
        raft.writer.write_blocking(vote()).is_err(),
        "no second try after a failed sync"
    );
    assert!(store.fault().is_some());
    drop((store, raft));
    let (_, boot) = Store::open(dir.path(), options()).unwrap();
    assert_eq!(boot.damage, None);
}

#[test]
fn a_full_disk_takes_the_reserve_first_and_fails_after() {
    let dir = scratch();
    let faults = Faults::default();
    let with_reserve = OpenOptions {
        ballast: 100_000,
        ..options()
    };
    let (store, _) = Store::open_with(dir.path(), with_reserve.clone(), faults.clone()).unwrap();
    let raft = store.take_raft().unwrap();
    let ballast = dir.path().join(BALLAST);
    assert_eq!(fs::metadata(&ballast).unwrap().len(), 100_000);
    faults.inner.full_until_released.store(true, Ordering::SeqCst);
    raft.writer.write_blocking(Op::Vote(Vote::new(2, 7))).unwrap();
    assert!(store.is_disk_full() && !ballast.exists());
    faults.inner.full.store(true, Ordering::SeqCst);
    assert!(raft.writer.write_blocking(Op::Vote(Vote::new(3, 7))).is_err());
    drop((store, raft));
    let (store, boot) = Store::open(dir.path(), with_reserve).unwrap();
    assert_eq!(boot.damage, None);
    assert!(
        !store.is_disk_full() && ballast.exists(),
        "it is made again when there is room"
    );
    let vote = store.take_raft().unwrap().mirror.read().vote;
    assert_eq!(vote, Some(Vote::new(2, 7)));
}
