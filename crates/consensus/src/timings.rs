//! How long things may take, and how much is kept.

use std::time::Duration;

/// Raft's times. The defaults suit a data centre; tests make them shorter.
///
/// A follower that no longer hears the leader waits for the lease (`election_max`) and then for a
/// random time between `election_min` and `election_max` before it asks for votes: a new leader
/// stands after 1.5 to 2 s with the defaults, and within a round trip where the old one hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How often the leader shows itself. 100 ms.
    pub heartbeat: Duration,
    /// The shortest wait before an election. 500 ms.
    pub election_min: Duration,
    /// The longest. 1 s.
    pub election_max: Duration,
    /// How long a write may wait for a majority before its outcome is told as unknown. 5 s.
    pub write: Duration,
    /// How long a linearizable read may wait. 2 s.
    pub read: Duration,
    /// A large append or a Raft snapshot may take as long as it likes, if only bytes of it move:
    /// this long without any is too long. 5 s.
    pub progress: Duration,
    /// How long a new member may take to catch up before the change is given up. 30 s.
    pub catch_up: Duration,
    /// How long a shutdown waits for another node to take the lead. 2 s.
    pub handover: Duration,
    /// When the log is compacted.
    pub compaction: Compaction,
}

/// When the log is compacted: what is older than a Raft snapshot need not be kept as entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// After so many entries. 256.
    pub entries: u64,
    /// Or after so many bytes of entries. 64 MiB.
    pub bytes: u64,
    /// How many entries stay for followers that lag only a little. 64.
    pub keep: u64,
}

// === impl Timings ===

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(1000),
            write: Duration::from_secs(5),
            read: Duration::from_secs(2),
            progress: Duration::from_secs(5),
            catch_up: Duration::from_secs(30),
            handover: Duration::from_secs(2),
            compaction: Compaction::default(),
        }
    }
}

// === impl Compaction ===

impl Default for Compaction {
    fn default() -> Self {
        Self {
            entries: 256,
            bytes: 64 * 1024 * 1024,
            keep: 64,
        }
    }
}
