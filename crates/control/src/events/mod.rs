//! What happens in the cluster, told to who listens, as this node sees it.
//!
//! ```text
//!   state, Raft, status of others, readiness ──▶ watch ▸ Picture::since ──▶ Board ──▶ Listener, Listener …
//! ```
//!
//! The board keeps the last events, so that who comes back is told what it missed. A listener that does not keep up is
//! cut, and told: nobody waits for it, and nothing is kept for it beyond what is kept for all.

mod picture;

use crate::core::{Core, HEALTHY, Shared, lock};
use crate::history;
use crate::members;
use crate::readiness::Readiness;
use crate::shared::{self, Stored};
use crate::status;
use crate::view::VersionView;
use picture::{Breaker, News, Picture};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;

/// So many events are kept for who comes back, and so many may wait for a listener.
const KEPT: usize = 256;

/// What happens at once is looked at once.
const SETTLE: Duration = Duration::from_millis(10);

/// An event as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which, on this node: rises with each, and is another after a restart.
    pub id: String,
    /// `version`, `live`, `leader`, `member`, `degraded` or `breaker`.
    pub kind: &'static str,
    /// One JSON object, in one line.
    pub data: String,
}

/// What a listener hears next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hears {
    /// An event.
    Event(Arc<Event>),
    /// So many were missed because they were not taken in time: there is no more.
    Cut(u64),
    /// The node is leaving: there is no more.
    End,
}

/// Who listens to the events of one node.
#[derive(Debug)]
pub struct Listener {
    before: VecDeque<Arc<Event>>,
    board: broadcast::Receiver<Arc<Event>>,
    draining: watch::Receiver<bool>,
}

/// The events of one node.
#[derive(Debug)]
pub(crate) struct Board {
    told: broadcast::Sender<Arc<Event>>,
    draining: watch::Sender<bool>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Of this process: an id of another life is not mistaken for one of this.
    life: u32,
    sequence: u64,
    events: VecDeque<Arc<Event>>,
    picture: Option<Picture>,
}

/// Watches and tells until the runtime ends.
pub(crate) async fn watch(core: Shared, mut ready: watch::Receiver<Readiness>) {
    let mut head = core.consensus.watch();
    let mut raft = core.consensus.watch_raft();
    let mut live = core.published.live_changed();
    let mut heard = core.link.heard_changed();
    let mut situation = core.situation.subscribe();
    let mut transitions = core.shared.breakers().transitions();
    let mut overrides = core.enforced.changed();
    loop {
        head.mark_unchanged();
        raft.mark_unchanged();
        live.mark_unchanged();
        heard.mark_unchanged();
        overrides.mark_unchanged();
        let draining = situation.borrow_and_update().draining;
        let readiness = ready.borrow_and_update().clone();
        let picture = Picture {
            cluster: members::view(&core),
            degraded: status::ready_view(&core, &readiness).degraded,
            breakers: breakers(&core),
        };
        core.board.look(picture, |version| made(&core, version));
        core.board
            .draining
            .send_if_modified(|before| std::mem::replace(before, draining) != draining);
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            changed = raft.changed() => if changed.is_err() { return },
            changed = ready.changed() => if changed.is_err() { return },
            _ = live.changed() => {}
            _ = heard.changed() => {}
            _ = situation.changed() => {}
            _ = overrides.changed() => {}
            // Also where some were missed: what is now is looked at anyway.
            _ = transitions.recv() => {}
            // Silence wakes nobody.
            () = sleep(HEALTHY) => {}
        }
        sleep(SETTLE).await;
    }
}

/// This node's breakers, as they are told.
fn breakers(core: &Core) -> Vec<Breaker> {
    let overrides = core.enforced.overrides();
    let told = shared::report(&core.shared).into_iter().map(|report| Breaker {
        set: overrides.of(&report.key).map(Stored::view),
        upstream: report.key.upstream.to_string(),
        route: report.key.route.map(|(gateway, id)| format!("{gateway}/{id}")),
        state: report.state,
        since: report.since,
        epoch: report.epoch,
        shared: report.shared,
        cause: report.cause,
        next_probe: report.next_probe,
        by: report.by,
    });
    told.collect()
}

// === impl Board ===

impl Board {
    pub(crate) fn new() -> Self {
        let mut life = [0; 4];
        // Without randomness all lives have one number, and who comes back to another may hear too little.
        let _ = aws_lc_rs::rand::fill(&mut life);
        Self {
            told: broadcast::Sender::new(KEPT),
            draining: watch::Sender::new(false),
            kept: Mutex::new(Kept {
                life: u32::from_ne_bytes(life),
                sequence: 0,
                events: VecDeque::with_capacity(KEPT),
                picture: None,
            }),
        }
    }

    fn look(&self, picture: Picture, made: impl Fn(u64) -> Option<VersionView>) {
        let before = lock(&self.kept).picture.clone();
        if before.as_ref() == Some(&picture) {
            return;
        }
        let news = picture.since(before.as_ref(), made);
        let mut kept = lock(&self.kept);
        kept.picture = Some(picture);
        for news in &news {
            kept.sequence += 1;
            let event = Arc::new(kept.event(news));
            if kept.events.len() == KEPT {
                kept.events.pop_front();
            }
            kept.events.push_back(Arc::clone(&event));
            // Nobody may listen.
            let _ = self.told.send(event);
        }
    }

    /// From the event after `last` on, where that is kept; else what is now comes first.
    pub(crate) fn listen(&self, last: Option<&str>, made: impl Fn(u64) -> Option<VersionView>) -> Listener {
        let kept = lock(&self.kept);
        let board = self.told.subscribe();
        let known = last.and_then(|last| kept.events.iter().position(|event| event.id == last));
        let before = match (known, &kept.picture) {
            (Some(at), _) => kept.events.iter().skip(at + 1).cloned().collect(),
            (None, Some(picture)) => {
                let news = picture.since(None, made);
                news.iter().map(|news| Arc::new(kept.event(news))).collect()
            }
            (None, None) => VecDeque::new(),
        };
        Listener {
            before,
            board,
            draining: self.draining.subscribe(),
        }
    }
}

/// A version of the history.
pub(crate) fn made(core: &Core, version: u64) -> Option<VersionView> {
    history::history(core, Some(version + 1), None, 1)
        .into_iter()
        .find(|made| made.version == version)
}

// === impl Kept ===

impl Kept {
    fn event(&self, news: &News) -> Event {
        Event {
            id: format!("{:08x}-{}", self.life, self.sequence),
            kind: news.kind(),
            // Views are plain data with text keys.
            data: serde_json::to_string(news).unwrap_or_default(),
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Waits for what comes next. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Hears {
        if let Some(event) = self.before.pop_front() {
            return Hears::Event(event);
        }
        tokio::select! {
            biased;
            event = self.board.recv() => match event {
                Ok(event) => Hears::Event(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => Hears::Cut(missed),
                Err(broadcast::error::RecvError::Closed) => Hears::End,
            },
            _ = self.draining.wait_for(|draining| *draining) => Hears::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ClusterView;

    fn at(version: u64) -> Picture {
        Picture {
            cluster: ClusterView {
                name: "shop".to_owned(),
                id: None,
                term: 1,
                leader: None,
                version,
                active: version,
                trial: None,
                level: 2,
                answered_by: "n1".to_owned(),
                forming: None,
                nodes: Vec::new(),
            },
            degraded: Vec::new(),
            breakers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_listener_that_does_not_keep_up_is_cut_and_told_how_much_it_missed() {
        let board = Board::new();
        board.look(at(1), |_| None);
        let mut slow = board.listen(None, |_| None);
        for version in 2..=1 + KEPT as u64 + 5 {
            board.look(at(version), |_| None);
        }
        let mut heard = 0;
        let missed = loop {
            match slow.next().await {
                Hears::Event(_) => heard += 1,
                Hears::Cut(missed) => break missed,
                Hears::End => break 0,
            }
        };
        // What was there when it began: a leader (none) and a version.
        assert_eq!((heard, missed), (2, 5));
    }

    #[tokio::test]
    async fn who_comes_back_hears_what_it_missed_and_an_unknown_id_all_there_is() {
        let board = Board::new();
        board.look(at(1), |_| None);
        let Hears::Event(last) = board.listen(None, |_| None).next().await else {
            panic!("nothing is told")
        };
        board.look(at(2), |_| None);
        let mut again = board.listen(Some(&last.id), |_| None);
        assert!(matches!(again.next().await, Hears::Event(event) if event.data.contains("\"version\":2")));
        let mut stranger = board.listen(Some("00000000-1"), |_| None);
        assert!(matches!(stranger.next().await, Hears::Event(event) if event.kind == "leader"));
    }
}
