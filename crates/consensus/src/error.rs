//! What can go wrong, each with its own name and what to do about it.

use std::path::PathBuf;

use sluice_peer::NodeId;
use thiserror::Error;

use crate::member::Leader;
use crate::store::Promise;

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be made, read or written.
    #[error(
        "the data directory {} cannot be used: {what}: {source}; `data` must name a directory that this user may write",
        dir.display()
    )]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error(
        "the data directory {} is in use by another process{}: stop that one first, or give this node a directory of its own",
        dir.display(),
        pid.map(|pid| format!(" ({pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, as far as it wrote its id down.
        pid: Option<u32>,
    },
    /// It belongs to a node of another name.
    #[error(
        "the data directory {} belongs to node {found:?}, but this node's name is {expected:?}: correct `name` or `data`; a node is not renamed, it is replaced by one with an empty directory",
        dir.display()
    )]
    WrongName {
        /// The directory.
        dir: PathBuf,
        /// The name in the settings.
        expected: String,
        /// The name in the directory.
        found: String,
    },
    /// It belongs to a node of another cluster.
    #[error(
        "the data directory {} belongs to cluster {found:?}, but this node's cluster is {expected:?}: correct `cluster` or `data`, or start with an empty directory",
        dir.display()
    )]
    WrongCluster {
        /// The directory.
        dir: PathBuf,
        /// The cluster in the settings.
        expected: String,
        /// The cluster in the directory.
        found: String,
    },
    /// A newer binary wrote it.
    #[error(
        "the data directory {} has format {found}, this binary knows {known}: it was written by a newer sluice; start that version, or give this node an empty directory to join anew",
        dir.display()
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// It holds nothing of a node yet, where something was to be found.
    #[error("the data directory {} holds no node: check `--data`", dir.display())]
    Empty {
        /// The directory.
        dir: PathBuf,
    },
    /// The version asked for is not (or not any more) in it.
    #[error("version {version} is not in the data directory {}; there are {}", dir.display(), spans(available))]
    NoSuchVersion {
        /// The directory.
        dir: PathBuf,
        /// The version asked for.
        version: u64,
        /// Those that there are, oldest first.
        available: Vec<u64>,
    },
    /// What is in it is damaged, and the node has not been renewed.
    #[error(
        "the data directory {} is damaged: {what}; start the node, which then joins anew by a Raft snapshot, or empty the directory",
        dir.display()
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// Writing to it failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A write that failed. From then on this node takes no part in Raft until it is started again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the disk failed: {why}; free or replace it, then start this node again")]
pub struct DiskError {
    /// What failed, and what the system said.
    pub why: String,
}

/// Why a promise is not given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PromiseError {
    /// Another one was given before; it is given once.
    #[error("this node has promised itself to cluster {:032x} already", given.cluster_id)]
    Given {
        /// The one that was given.
        given: Promise,
    },
    /// It belongs to a cluster.
    #[error("this node belongs to cluster {cluster_id:032x} already")]
    Member {
        /// Which one.
        cluster_id: u128,
    },
    /// It could not be written down.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Why Raft does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The stored log cannot be trusted: see [`Store::renew`](crate::Store::renew).
    #[error("the stored log is damaged: {0}")]
    Damaged(String),
    /// The times contradict each other.
    #[error("the times of Raft contradict each other: {0}")]
    Timings(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Raft did not take what the disk gave it.
    #[error("Raft cannot start from what is on disk: {0}")]
    Raft(String),
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// Another node leads (or none is known). Not carried out.
    #[error("this node does not lead: {}", leader.as_ref().map_or_else(|| "no leader is known".to_owned(), |l| format!("{} does", l.node)))]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<Box<Leader>>,
    },
    /// No majority answers. Not carried out, and never will be.
    #[error("no majority of the voters can be reached: the change was not made")]
    NoMajority,
    /// It may be carried out, now or later, or not at all.
    #[error(
        "whether the change was made is not known: read the configuration, or repeat the request with the same Idempotency-Key"
    )]
    OutcomeUnknown,
    /// It is too large for one entry of the log.
    #[error("the change takes {bytes} bytes, more than the {limit} of one entry of the log: split it")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// This node is being stopped. Not carried out.
    #[error("this node is being stopped")]
    Shutdown,
    /// This node's disk failed or is full. Not carried out.
    #[error("{0}")]
    Disk(#[from] DiskError),
}

/// Why a linearizable read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// No leader is known.
    #[error("no leader is known")]
    NoLeader,
    /// No majority answered in time.
    #[error("no majority of the voters answered in time")]
    NoMajority,
    /// This node is being stopped, or its disk failed.
    #[error("Raft has ended on this node")]
    Shutdown,
}

/// Something was not applied here in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("entry {index} was not applied here in time")]
pub struct TooLate {
    /// The entry waited for.
    pub index: u64,
}

/// Why the membership stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MemberError {
    /// Another node leads. Nothing was changed.
    #[error("this node does not lead: {}", leader.as_ref().map_or_else(|| "no leader is known".to_owned(), |l| format!("{} does", l.node)))]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<Box<Leader>>,
    },
    /// There is no such member.
    #[error("no member {0}")]
    Unknown(NodeId),
    /// The name belongs to another incarnation, which has to be replaced or removed first.
    #[error("the name {name:?} belongs to member {id}: replace or remove that one")]
    NameTaken {
        /// The name.
        name: String,
        /// Who bears it.
        id: NodeId,
    },
    /// The last voter cannot go.
    #[error("{0} is the last voter: promote another member first")]
    LastVoter(NodeId),
    /// Another change is under way.
    #[error("another change of the membership is under way: try again when it is done")]
    InProgress,
    /// The new member did not catch up in time. It stays a learner.
    #[error(
        "member {id} did not catch up: it has {has} of {needs} entries; it stays a learner, say promote again when it can be reached"
    )]
    Behind {
        /// Which one.
        id: NodeId,
        /// The last entry it has.
        has: u64,
        /// The last entry there is.
        needs: u64,
    },
    /// The node to hand over to does not vote.
    #[error("{0} does not vote and cannot lead: promote it first")]
    NotAVoter(NodeId),
    /// The cluster exists already.
    #[error("this node belongs to a cluster already")]
    AlreadyInitialised,
    /// No majority answers (or there is no other voter). Nothing was changed.
    #[error("no majority of the voters can be reached: the members stay as they are")]
    NoMajority,
    /// No majority answered in time; the change may still come about.
    #[error(
        "no majority of the voters answered in time; the change may still come about: look at the members before trying again"
    )]
    OutcomeUnknown,
    /// This node is being stopped.
    #[error("this node is being stopped")]
    Shutdown,
    /// This node's disk failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
}

/// The version is older than what the history keeps, or was never made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("version {version} is not kept (any more): the history reaches from {oldest} to {head}")]
pub struct Pruned {
    /// The version asked for.
    pub version: u64,
    /// The oldest that can be had.
    pub oldest: u64,
    /// The newest.
    pub head: u64,
}

fn spans(versions: &[u64]) -> String {
    match versions {
        [] => "none".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    }
}
