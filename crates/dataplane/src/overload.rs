//! Shedding load before memory or descriptors run out.
//!
//! Ten times a second a task that is no worker's looks at what the process uses. What follows from it is pure
//! ([`Watch`]), and reaches the workers with their orders: a request reads a cell of its own worker.
//!
//! | share of the limit | until it is below | |
//! |---|---|---|
//! | 95 % | 90 % | new requests get a 503, answers end their connections, idle ones are closed after a second |
//! | 98 % | 95 % | new connections are closed at once too |
//!
//! Between two looks the number of connections is known all the same, so the room for them ([`Room`]) holds at once: a
//! flood within a tenth of a second does not get past it.

use sluice_telemetry::process::{Limits, Usage};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

/// Between two looks.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Descriptors that traffic never gets, where the limit allows for so many: for the admin API, the link between nodes,
/// the disk. Elsewhere an eighth.
const RESERVE: u64 = 64;

/// When clients may come again, in seconds: a shedding node is calm after about as long.
pub(crate) const RETRY_AFTER: u64 = 1;

/// What can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    Descriptors,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Level {
    /// Nothing.
    #[default]
    Calm,
    /// New requests are refused.
    Shedding,
    /// New connections too.
    Refusing,
}

/// Judges what is used, resource by resource.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: [Option<u64>; 2],
    levels: [Level; 2],
}

/// A level that changed, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) resource: Resource,
    pub(crate) level: Level,
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

/// What the workers, and whoever scrapes, see of it.
#[derive(Debug)]
pub(crate) struct Room {
    connections: AtomicUsize,
    levels: [AtomicU8; 2],
}

/// Of a resource whose limit is not known.
const UNKNOWN: u8 = u8::MAX;

// === impl Resource ===

impl Resource {
    pub(crate) const ALL: [Self; 2] = [Self::Memory, Self::Descriptors];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }
}

// === impl Level ===

impl Level {
    /// What follows where `used` of `limit` is used, after `self`.
    fn next(self, used: u64, limit: u64) -> Self {
        let reaches = |percent: u64| u128::from(used) * 100 >= u128::from(limit) * u128::from(percent);
        let risen = match () {
            () if reaches(98) => Self::Refusing,
            () if reaches(95) => Self::Shedding,
            () => Self::Calm,
        };
        let kept = match self {
            Self::Refusing | Self::Shedding if reaches(90) => Self::Shedding,
            _ => Self::Calm,
        };
        risen.max(kept)
    }
}

// === impl Watch ===

impl Watch {
    /// `memory` is what the process may use at most, where that is bounded.
    pub(crate) fn new(memory: Option<u64>, limits: &Limits) -> Self {
        let descriptors = limits.open_files.map(|limit| limit - RESERVE.min(limit / 8));
        Self {
            limits: [memory, descriptors],
            levels: [Level::Calm; 2],
        }
    }

    /// Takes a look; tells each level that is another now.
    pub(crate) fn look(&mut self, usage: &Usage, mut changed: impl FnMut(Changed)) {
        let used = [usage.resident, usage.open_files];
        for (at, resource) in Resource::ALL.into_iter().enumerate() {
            let (Some(used), Some(limit)) = (used[at], self.limits[at]) else {
                continue;
            };
            let level = self.levels[at].next(used, limit);
            if std::mem::replace(&mut self.levels[at], level) != level {
                changed(Changed {
                    resource,
                    level,
                    used,
                    limit,
                });
            }
        }
    }

    /// What is to be done in all.
    pub(crate) fn level(&self) -> Level {
        self.levels.into_iter().max().unwrap_or_default()
    }

    /// How many connections of clients there may be, where `connections` of the descriptors in use are theirs.
    fn room(&self, usage: &Usage, connections: usize) -> usize {
        let (Some(used), Some(limit)) = (usage.open_files, self.limits[Resource::Descriptors as usize]) else {
            return usize::MAX;
        };
        let others = used.saturating_sub(connections as u64);
        let most = (limit * 98 / 100).saturating_sub(others);
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

// === impl Room ===

impl Room {
    /// After a look.
    pub(crate) fn tell(&self, watch: &Watch, usage: &Usage, connections: usize) {
        self.connections
            .store(watch.room(usage, connections), Ordering::Relaxed);
        for (at, told) in self.levels.iter().enumerate() {
            let known = watch.limits[at].map(|_| watch.levels[at] as u8);
            told.store(known.unwrap_or(UNKNOWN), Ordering::Relaxed);
        }
    }

    /// Whether there is room for one more connection than `connections`.
    pub(crate) fn has_room(&self, connections: usize) -> bool {
        connections < self.connections.load(Ordering::Relaxed)
    }

    /// The levels as a scrape tells them, of the resources with a limit.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (Resource, u8)> + '_ {
        let levels = self.levels.iter().map(|level| level.load(Ordering::Relaxed));
        Resource::ALL
            .into_iter()
            .zip(levels)
            .filter(|(_, level)| *level != UNKNOWN)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            connections: AtomicUsize::new(usize::MAX),
            levels: [const { AtomicU8::new(UNKNOWN) }; 2],
        }
    }
}

// === impl Changed ===

impl Changed {
    /// Into the log.
    pub(crate) fn say(&self) {
        let Self {
            resource, used, limit, ..
        } = *self;
        let resource = resource.as_str();
        match self.level {
            Level::Calm => tracing::info!(resource, used, limit, "no longer near its limit"),
            Level::Shedding => tracing::warn!(
                resource,
                used,
                limit,
                "near its limit: new requests are answered 503, answers end their connections"
            ),
            Level::Refusing => tracing::warn!(
                resource,
                used,
                limit,
                "at its limit: new connections are closed, new requests are answered 503"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usage(resident: u64, open_files: u64) -> Usage {
        Usage {
            resident: Some(resident),
            open_files: Some(open_files),
        }
    }

    fn watch() -> Watch {
        let limits = Limits {
            memory: None,
            open_files: Some(1064),
        };
        Watch::new(Some(1000), &limits)
    }

    fn levels(resident: &[u64]) -> Vec<Level> {
        let mut watch = watch();
        let look = |resident: &u64| {
            watch.look(&usage(*resident, 10), |_| {});
            watch.level()
        };
        resident.iter().map(look).collect()
    }

    #[test]
    fn a_level_is_left_well_below_where_it_began() {
        use Level::{Calm, Refusing, Shedding};
        assert_eq!(
            levels(&[949, 950, 910, 899, 949, 980, 960, 949, 900, 899, 2000]),
            [
                Calm, Shedding, Shedding, Calm, Calm, Refusing, Shedding, Shedding, Shedding, Calm, Refusing
            ]
        );
    }

    #[test]
    fn what_is_nearest_to_its_limit_decides_and_each_change_is_told_once() {
        let (mut watch, mut told) = (watch(), Vec::new());
        for (resident, open) in [(100, 100), (100, 960), (990, 960), (990, 10), (10, 10)] {
            watch.look(&usage(resident, open), |changed| {
                told.push((changed.resource, changed.level))
            });
        }
        assert_eq!(
            told,
            [
                (Resource::Descriptors, Level::Shedding),
                (Resource::Memory, Level::Refusing),
                (Resource::Descriptors, Level::Calm),
                (Resource::Memory, Level::Calm)
            ]
        );
    }

    #[test]
    fn a_few_descriptors_are_kept_back_however_low_the_limit() {
        for (limit, most) in [(64, 56), (1024, 960), (1_048_576, 1_048_512)] {
            let limits = Limits {
                memory: None,
                open_files: Some(limit),
            };
            assert_eq!(Watch::new(None, &limits).limits, [None, Some(most)]);
        }
    }

    #[test]
    fn the_room_for_connections_is_what_others_leave() {
        let (watch, room) = (watch(), Room::default());
        assert!(room.has_room(1_000_000));
        // 80 descriptors are not of clients: of the 980 there may be 900.
        room.tell(&watch, &usage(0, 100), 20);
        assert!(room.has_room(899) && !room.has_room(900));
        assert_eq!(room.levels().count(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_shed_below_90_percent_and_everything_at_98(looks in proptest::collection::vec(0u64..1200, 1..40)) {
            let all = levels(&looks);
            for (used, level) in looks.iter().zip(all) {
                prop_assert!(*used >= 900 || level == Level::Calm);
                prop_assert!(*used < 950 || level >= Level::Shedding);
                prop_assert_eq!(*used >= 980, level == Level::Refusing);
            }
        }
    }
}
