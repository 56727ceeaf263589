//! No version can keep a node down: which one a start serves by. Pure.
//!
//! Before a node turns to a version, at its rehearsal if there is one, it writes down that it tries
//! to; when that version has been live for [`PROVEN_AFTER`] it writes down that it holds. A start
//! that finds a trial not ended by a clean stop counts a crash, or a kill if the process did not end
//! itself; after [`CRASHES`] or [`KILLS`] of them the version is passed over, and the start goes back
//! to the newest one before it that is not. Kills count for less: most come from outside and say
//! nothing of the version, but one that takes all memory ends by them too.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A version that was live for this long has proved itself.
pub const PROVEN_AFTER: Duration = Duration::from_secs(60);

/// So many crashes within [`PROVEN_AFTER`] of its going live condemn a version.
pub const CRASHES: u32 = 2;

/// So many ends without a word (a kill, the power gone) within [`PROVEN_AFTER`] do as well.
pub const KILLS: u32 = 8;

/// Condemned versions that are remembered; the oldest gives way.
const REMEMBERED: usize = 16;

/// How a process ended, as far as it could be noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It aborted.
    Aborted,
    /// It aborted while it tried out a change that is no version yet: no version is to blame.
    AbortedRehearsal,
    /// In order, or killed from outside.
    Otherwise,
}

/// What a node keeps about this on its disk, synced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// The version that is on trial, and how many starts it has crashed.
    pub trial: Option<Trial>,
    /// The last stop was told beforehand.
    pub clean: bool,
    /// Versions that this node passes over.
    pub condemned: Vec<u64>,
}

/// A version that has not proved itself yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub version: u64,
    /// Crashes while it was on trial.
    pub crashes: u32,
    /// Ends without a word while it was on trial.
    #[serde(default)]
    pub kills: u32,
}

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// To be written before anything is compiled.
    pub record: BootRecord,
    /// The version that was condemned by this start.
    pub condemned: Option<u64>,
    /// The last life ended without a clean stop while this version was on trial.
    pub crashed_on: Option<Trial>,
}

// === impl BootRecord ===

impl BootRecord {
    /// Reads what [`Self::bytes`] wrote; of what cannot be read nothing is kept, since it only
    /// guards against bad versions.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// As it is written.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        // A struct of numbers and a flag: serialising it into memory cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The process starts, and the one before it ended so.
    #[must_use]
    pub fn start(mut self, end: End) -> Start {
        let mut start_condemned = None;
        let mut crashed_on = None;
        if self.clean || end == End::AbortedRehearsal {
            // The trial begins anew with the next life.
            self.trial = None;
        } else if let Some(trial) = &mut self.trial {
            trial.crashes += u32::from(end == End::Aborted);
            trial.kills += u32::from(end != End::Aborted);
            crashed_on = Some(*trial);
            if trial.crashes >= CRASHES || trial.kills >= KILLS {
                start_condemned = Some(trial.version);
            }
        }
        if let Some(version) = start_condemned {
            self.condemn(version);
        }
        self.clean = false;
        Start {
            record: self,
            condemned: start_condemned,
            crashed_on,
        }
    }

    /// The node is about to turn to `version`. `None` where nothing need be written.
    #[must_use]
    pub fn try_version(&self, version: u64) -> Option<Self> {
        match self.trial {
            Some(trial) if trial.version == version => None,
            _ => Some(Self {
                trial: Some(Trial {
                    version,
                    crashes: 0,
                    kills: 0,
                }),
                ..self.clone()
            }),
        }
    }

    /// `version` has been live for [`PROVEN_AFTER`].
    #[must_use]
    pub fn prove(&self, version: u64) -> Option<Self> {
        let trial = self.trial.filter(|trial| trial.version == version)?;
        let _ = trial;
        Some(Self {
            trial: None,
            ..self.clone()
        })
    }

    /// The process stops on purpose.
    #[must_use]
    pub fn stop(&self) -> Self {
        Self {
            clean: true,
            ..self.clone()
        }
    }

    /// Whether `version` is passed over.
    #[must_use]
    pub fn passes_over(&self, version: u64) -> bool {
        self.condemned.contains(&version)
    }

    /// The version to serve by when the cluster wants `wanted`: the newest not newer than it that is
    /// not condemned and that this node may serve at all (what was undone, or is tried elsewhere, is
    /// nothing to go back to).
    #[must_use]
    pub fn choose(&self, wanted: u64, may_serve: impl Fn(u64) -> bool) -> u64 {
        let mut version = wanted;
        while version > 0 && (self.passes_over(version) || !may_serve(version)) {
            version -= 1;
        }
        version
    }

    fn condemn(&mut self, version: u64) {
        self.trial = None;
        if !self.condemned.contains(&version) {
            self.condemned.push(version);
        }
        let surplus = self.condemned.len().saturating_sub(REMEMBERED);
        self.condemned.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_crashes_on_trial_condemn_a_version() {
        let record = BootRecord::default().start(End::Aborted).record;
        let record = record.try_version(7).unwrap();
        let first = record.start(End::Aborted);
        assert_eq!(first.condemned, None);
        assert_eq!(first.record.choose(7, |_| true), 7);
        assert_eq!(first.record.try_version(7), None, "the count goes on");
        let second = first.record.start(End::Aborted);
        assert_eq!(second.condemned, Some(7));
        assert_eq!(second.record.choose(7, |_| true), 6);
        assert_eq!(second.record.choose(8, |_| true), 8, "a newer version is a new chance");
    }

    #[test]
    fn who_is_killed_twice_from_outside_keeps_the_version_and_who_is_killed_for_ever_does_not() {
        let mut record = BootRecord::default().try_version(7).unwrap();
        for kills in 1..=KILLS {
            record = record.start(End::Otherwise).record;
            assert_eq!(record.choose(7, |_| true), if kills < KILLS { 7 } else { 6 }, "{kills}");
        }
    }

    #[test]
    fn what_was_undone_is_nothing_to_go_back_to() {
        let record = BootRecord {
            condemned: vec![9],
            ..BootRecord::default()
        };
        assert_eq!(record.choose(9, |version| version != 8), 7);
    }

    #[test]
    fn a_change_that_crashes_its_rehearsal_is_no_blame_for_the_version_that_serves() {
        let mut record = BootRecord::default().try_version(7).unwrap();
        for _ in 0..5 {
            record = record.start(End::AbortedRehearsal).record;
            record = record.try_version(7).unwrap_or(record);
        }
        assert_eq!(record.choose(7, |_| true), 7);
    }

    #[test]
    fn the_version_before_is_judged_by_itself() {
        let mut record = BootRecord::default();
        for version in [7, 6] {
            record = record.try_version(version).unwrap().start(End::Aborted).record;
            record = record.start(End::Aborted).record;
            assert!(record.passes_over(version));
        }
        assert_eq!(record.choose(7, |_| true), 5);
    }

    #[test]
    fn a_clean_stop_is_no_crash() {
        let record = BootRecord::default().try_version(7).unwrap().stop();
        let start = record.start(End::Aborted);
        assert_eq!(start.crashed_on, None);
        assert_eq!(start.record.choose(7, |_| true), 7);
    }

    #[test]
    fn a_proven_version_is_not_condemned_by_later_crashes() {
        let mut record = BootRecord::default().try_version(7).unwrap().prove(7).unwrap();
        for _ in 0..5 {
            record = record.start(End::Aborted).record;
        }
        assert_eq!(record.choose(7, |_| true), 7);
    }

    #[test]
    fn proof_of_another_version_proves_nothing() {
        let record = BootRecord::default().try_version(7).unwrap();
        assert_eq!(record.prove(6), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(crashes in 0u32..5, kills in 0u32..5, version in 0u64..100, clean: bool, condemned in prop::collection::vec(0u64..100, 0..16)) {
            let record = BootRecord { trial: Some(Trial { version, crashes, kills }), clean, condemned };
            prop_assert_eq!(BootRecord::read(&record.bytes()), record);
        }

        #[test]
        fn whatever_crashes_a_start_comes_that_serves(bad in prop::collection::btree_set(1u64..12, 0..8)) {
            let mut record = BootRecord::default();
            let mut starts = 0;
            loop {
                starts += 1;
                record = record.start(End::Aborted).record;
                let version = record.choose(11, |_| true);
                if let Some(next) = record.try_version(version) { record = next; }
                if !bad.contains(&version) { break; }
                prop_assert!(starts <= 1 + bad.len() * CRASHES as usize);
            }
        }

        #[test]
        fn the_memory_is_bounded(versions in prop::collection::vec(1u64..1000, 0..100)) {
            let mut record = BootRecord::default();
            for version in versions {
                record.condemn(version);
            }
            prop_assert!(record.condemned.len() <= REMEMBERED);
        }
    }
}
