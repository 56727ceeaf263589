//! Raft as the rest of a node sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice_peer::{Identity, Link, NodeId};
use sluice_telemetry::Metrics;
use tokio::sync::watch;

use crate::command::{Applied, Envelope, PartChange};
use crate::error::{MemberError, ProposeError, Pruned, ReadError, StartError, TooLate};
use crate::member::{Node, RaftView};
use crate::state::{Entry, Head, HistoryEntry};
use crate::store::Store;
use crate::timings::Timings;

/// A node's part in the agreement. Clones are the same.
#[derive(Clone, Debug)]
pub struct Consensus {
    head: watch::Sender<Head>,
    view: watch::Sender<RaftView>,
}

// === impl Consensus ===

impl Consensus {
    /// Starts Raft on what is stored, over `link`. Must run inside a tokio runtime, which then
    /// carries Raft's tasks. A node that is no member of anything waits to be initialised or let in.
    ///
    /// The calls of [`Service::RAFT`](sluice_peer::Service::RAFT) must be given to
    /// [`handle_call`](Self::handle_call) by whoever serves the link.
    ///
    /// # Errors
    /// [`StartError::Damaged`] before [`Store::renew`]; else the disk's.
    pub async fn start(store: Store, link: Link, metrics: &Metrics, timings: Timings) -> Result<Self, StartError> {
        let _ = (store, link, metrics, timings);
        Err(StartError::Raft("nothing is stored".to_owned()))
    }

    /// Makes a new cluster of these members, all voters. On one node, once.
    ///
    /// # Errors
    /// [`MemberError::AlreadyInitialised`] on a node that has a vote or a log.
    pub async fn initialise(&self, members: BTreeMap<NodeId, Node>) -> Result<(), MemberError> {
        let _ = members;
        Err(MemberError::Shutdown)
    }

    /// Puts a command into the log; gives its answer, once it is applied (and on disk) here, and
    /// the index of its entry. On the leader alone.
    ///
    /// # Errors
    /// [`ProposeError::OutcomeUnknown`] is the only one after which it may have been carried out.
    pub async fn propose(&self, envelope: Envelope) -> Result<(Applied, u64), ProposeError> {
        let _ = envelope;
        Err(ProposeError::Shutdown)
    }

    /// An index of the log such that whoever has applied it sees all that was acknowledged before
    /// this call: asked of the leader, who asks a majority. On any node. At most
    /// [`Timings::read`].
    ///
    /// # Errors
    /// Without a leader or a majority.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        Err(ReadError::Shutdown)
    }

    /// Waits until this node has applied that entry.
    ///
    /// # Errors
    /// After `timeout`.
    pub async fn wait_applied(&self, index: u64, timeout: Duration) -> Result<(), TooLate> {
        let _ = timeout;
        Err(TooLate { index })
    }

    /// Where the state stands here.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// Follows [`head`](Self::head): told after every batch of entries applied here.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Looks at all parts of the newest version. Holds up nothing.
    pub fn with_parts<T>(&self, look: impl FnOnce(&BTreeMap<Arc<str>, Entry>) -> T) -> T {
        look(&BTreeMap::new())
    }

    /// All parts of the newest version together with the head they belong to.
    #[must_use]
    pub fn parts(&self) -> (Head, Arc<BTreeMap<Arc<str>, Entry>>) {
        (self.head(), Arc::default())
    }

    /// All parts of an earlier version. Costs what was changed since, and a copy of the map.
    ///
    /// # Errors
    /// [`Pruned`] where the history does not reach so far, or not yet.
    pub fn parts_at(&self, version: u64) -> Result<BTreeMap<Arc<str>, Arc<str>>, Pruned> {
        Err(Pruned {
            version,
            oldest: 0,
            head: 0,
        })
    }

    /// What turns version `from` into version `to`, either way round: each part once, in its order,
    /// unchanged ones left out. `None` where the history does not reach.
    #[must_use]
    pub fn delta(&self, from: u64, to: u64) -> Option<Vec<PartChange>> {
        let _ = (from, to);
        None
    }

    /// The versions before `before` (or all), newest first, at most `limit`.
    #[must_use]
    pub fn history(&self, before: Option<u64>, limit: usize) -> Vec<HistoryEntry> {
        let _ = (before, limit);
        Vec::new()
    }

    /// The text that an operator applied last.
    #[must_use]
    pub fn original(&self) -> Option<Arc<str>> {
        None
    }

    /// All records of a collection.
    #[must_use]
    pub fn records(&self, collection: &str) -> BTreeMap<String, Vec<u8>> {
        let _ = collection;
        BTreeMap::new()
    }

    /// Raft as this node sees it now.
    #[must_use]
    pub fn raft(&self) -> RaftView {
        self.view.borrow().clone()
    }

    /// Follows [`raft`](Self::raft).
    #[must_use]
    pub fn watch_raft(&self) -> watch::Receiver<RaftView> {
        self.view.subscribe()
    }

    /// Lets a node in as a learner, and returns when that is committed; it then catches up. On the
    /// leader. A node that is a member already with the same facts changes nothing.
    ///
    /// # Errors
    /// [`MemberError::NameTaken`] where another incarnation of the name is a member.
    pub async fn add_learner(&self, id: NodeId, node: Node) -> Result<(), MemberError> {
        let _ = (id, node);
        Err(MemberError::Shutdown)
    }

    /// Makes a learner a voter once it has caught up. On the leader.
    ///
    /// # Errors
    /// [`MemberError::Behind`] after [`Timings::catch_up`].
    pub async fn promote(&self, id: NodeId) -> Result<(), MemberError> {
        let _ = id;
        Err(MemberError::Shutdown)
    }

    /// Makes a voter a learner. On the leader.
    ///
    /// # Errors
    /// [`MemberError::LastVoter`].
    pub async fn demote(&self, id: NodeId) -> Result<(), MemberError> {
        let _ = id;
        Err(MemberError::Shutdown)
    }

    /// Removes a member, and tells it so if it answers. On the leader, which may remove itself.
    ///
    /// # Errors
    /// [`MemberError::LastVoter`].
    pub async fn remove(&self, id: NodeId) -> Result<(), MemberError> {
        let _ = id;
        Err(MemberError::Shutdown)
    }

    /// Puts a new incarnation in the place of an old one: learner first, voter (if the old one was)
    /// when caught up, and then the old one goes. On the leader. Said again, it goes on where it
    /// stopped.
    ///
    /// # Errors
    /// [`MemberError::Behind`], as by [`promote`](Self::promote).
    pub async fn replace(&self, old: NodeId, new: NodeId, node: Node) -> Result<(), MemberError> {
        let _ = (old, new, node);
        Err(MemberError::Shutdown)
    }

    /// Changes what the membership says of a node: its addresses, zone, labels. On the leader.
    ///
    /// # Errors
    /// [`MemberError::Unknown`].
    pub async fn set_address(&self, id: NodeId, node: Node) -> Result<(), MemberError> {
        let _ = (id, node);
        Err(MemberError::Shutdown)
    }

    /// Hands the lead over, to `to` or to the voter that has most of the log; returns when another
    /// node leads. On the leader.
    ///
    /// # Errors
    /// [`MemberError::NotAVoter`]; [`MemberError::OutcomeUnknown`] after [`Timings::handover`].
    pub async fn transfer(&self, to: Option<NodeId>) -> Result<(), MemberError> {
        let _ = to;
        Err(MemberError::Shutdown)
    }

    /// Answers a call of [`Service::RAFT`](sluice_peer::Service::RAFT).
    ///
    /// # Errors
    /// A refusal, for the other node's log.
    pub async fn handle_call(&self, from: Arc<Identity>, body: Bytes) -> Result<Vec<u8>, String> {
        let _ = (from, body);
        Err("this node is being stopped".to_owned())
    }

    /// Ends Raft here; first hands the lead over if `hand_over` and this node leads. Marks the stop
    /// as clean. Reads go on afterwards. A second call returns at once.
    pub async fn shutdown(&self, hand_over: bool) {
        let _ = hand_over;
    }
}
