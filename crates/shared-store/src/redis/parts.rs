//! The partitions, as calls find them: each with its primary, whether that is asked, and whether it is heard.

use super::names::Names;
use super::primary::Primary;
use crate::backend::{NEWS, News, Partition, Reach};
use arc_swap::ArcSwapOption;
use redis::{PushInfo, PushKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use tokio::sync::{broadcast, watch};

/// All partitions of a store.
#[derive(Debug)]
pub(super) struct Parts {
    names: Names,
    list: Box<[Part]>,
    news: broadcast::Sender<News>,
    /// Rises when a partition is reached or not, and when a primary is doubted or not.
    changes: watch::Sender<u64>,
}

/// One partition.
#[derive(Debug)]
struct Part {
    primary: ArcSwapOption<Primary>,
    reach: watch::Sender<Reach>,
    heard: AtomicBool,
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(names: Names, count: u16) -> Self {
        let away = Reach::Away {
            since: SystemTime::now(),
            why: Arc::from("it was not reached yet"),
        };
        Self {
            names,
            list: (0..count)
                .map(|_| Part {
                    primary: ArcSwapOption::empty(),
                    reach: watch::Sender::new(away.clone()),
                    heard: AtomicBool::new(false),
                })
                .collect(),
            news: broadcast::Sender::new(NEWS),
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn count(&self) -> u16 {
        // Made of a u16 of them.
        u16::try_from(self.list.len()).unwrap_or(u16::MAX)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.count()).map(Partition)
    }

    /// Who has it, as last known.
    pub(super) fn primary(&self, partition: Partition) -> Option<Arc<Primary>> {
        self.part(partition).primary.load_full()
    }

    /// From now on this one has it, or nobody.
    pub(super) fn give(&self, partition: Partition, primary: Option<Arc<Primary>>) {
        self.part(partition).primary.store(primary);
    }

    pub(super) fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    #[cfg(test)]
    pub(super) fn heard(&self, partition: Partition) -> bool {
        // A hint by itself: who misses the change polls once more, or hears of it by the news.
        self.part(partition).heard.load(Ordering::Relaxed)
    }

    pub(super) fn set_heard(&self, partition: Partition, heard: bool) {
        if self.part(partition).heard.swap(heard, Ordering::Relaxed) != heard {
            let news = if heard { News::Heard } else { News::Unheard };
            // Nobody listens: nobody misses it.
            let _ = self.news.send(news(partition));
        }
    }

    pub(super) fn reach(&self, partition: Partition) -> watch::Receiver<Reach> {
        self.part(partition).reach.subscribe()
    }

    /// A number that changes when how the store is may have.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|times| *times += 1);
    }

    /// Since when the first partition that is away is, and why.
    pub(super) fn away(&self) -> Option<(SystemTime, Arc<str>)> {
        self.list.iter().find_map(|part| match &*part.reach.borrow() {
            Reach::Reached => None,
            Reach::Away { since, why } => Some((*since, Arc::clone(why))),
        })
    }

    /// Whether each partition's primary is asked.
    pub(super) fn all_reached(&self) -> bool {
        self.list.iter().all(|part| *part.reach.borrow() == Reach::Reached)
    }

    /// Tells those who watch, if it is something else. Of a store that stays away, since when stays.
    pub(super) fn set_reach(&self, partition: Partition, reach: &Reach) {
        let changed = self
            .part(partition)
            .reach
            .send_if_modified(|now| match (&mut *now, reach) {
                (Reach::Away { why, .. }, Reach::Away { why: other, .. }) => {
                    let differ = why != other;
                    *why = Arc::clone(other);
                    differ
                }
                (now, reach) if *now != *reach => {
                    *now = reach.clone();
                    true
                }
                _ => false,
            });
        if changed {
            self.changed();
        }
    }

    /// Takes what a server sends by itself.
    pub(super) fn pushed(&self, push: &PushInfo) {
        let (PushKind::Message | PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(message)]) =
            (&push.kind, push.data.as_slice())
        else {
            return;
        };
        if let Some(partition) = self
            .names
            .heard_on(channel)
            .filter(|partition| partition.0 < self.count())
        {
            // Nobody listens: nobody misses it.
            let _ = self.news.send(News::Message(partition, Arc::from(message.as_slice())));
        }
    }

    fn part(&self, partition: Partition) -> &Part {
        // Partitions are made by this store alone, below its count.
        &self.list[usize::from(partition.0)]
    }
}
