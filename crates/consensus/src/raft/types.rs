//! openraft's types with ours filled in.

use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};

use crate::command::Applied;
use crate::member::Node;
use crate::record::Record;
use crate::state::State;

openraft::declare_raft_types!(
    /// What Raft runs on here. Ids are incarnations; an entry without a command is answered `None`.
    pub(crate) Types:
        D = Record,
        R = Option<Applied>,
        NodeId = u64,
        Node = Node,
);

pub(crate) type LogEntry = EntryOf<Types>;
pub(crate) type LogId = LogIdOf<Types>;
pub(crate) type Vote = VoteOf<Types>;
pub(crate) type Membership = StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<Types>;
pub(crate) type Snapshot = SnapshotOf<Types, State>;
