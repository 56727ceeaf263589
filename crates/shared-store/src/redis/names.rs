//! Names of keys and channels in Redis.

use crate::backend::Partition;
use sha2::{Digest, Sha256};
use sluice_shared_state::KeyId;
use std::fmt::Write;

/// Names of keys and channels of one cluster of nodes. All of a partition have the same hash tag, so that one script
/// may take them together.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Of the cluster's name: 8 hexadecimal digits, so that a name of any letters makes a short key.
    cluster: String,
}

// === impl Names ===

impl Names {
    pub(crate) fn new(cluster: &str) -> Self {
        let digest = Sha256::digest(cluster.as_bytes());
        let cluster = digest.iter().take(4).fold(String::with_capacity(8), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self { cluster }
    }

    /// What is between the braces: of this alone Redis Cluster computes the slot.
    pub(crate) fn tag(&self, partition: Partition) -> String {
        format!("{}:{}", self.cluster, partition.0)
    }

    /// The epoch of a partition.
    pub(crate) fn epoch(&self, partition: Partition) -> String {
        format!("sl:{{{}}}:e", self.tag(partition))
    }

    /// A count.
    pub(crate) fn limit(&self, partition: Partition, key: KeyId) -> String {
        format!("sl:{{{}}}:l:{key}", self.tag(partition))
    }

    /// A breaker.
    pub(crate) fn breaker(&self, partition: Partition, key: &str) -> String {
        format!("sl:{{{}}}:b:{key}", self.tag(partition))
    }

    /// What is common to all breakers: their epoch, and how often any of them changed.
    pub(crate) fn breakers(&self, partition: Partition) -> String {
        format!("sl:{{{}}}:be", self.tag(partition))
    }

    /// What is written to see that it can be.
    pub(super) fn check(&self, partition: Partition) -> String {
        format!("sl:{{{}}}:c", self.tag(partition))
    }

    /// Where a partition's changes of breakers are published.
    pub(crate) fn channel(&self, partition: Partition) -> String {
        format!("sl:{{{}}}:n", self.tag(partition))
    }

    /// Whose channel that is; none of ours where there is nothing.
    pub(super) fn heard_on(&self, channel: &[u8]) -> Option<Partition> {
        let number = std::str::from_utf8(channel)
            .ok()?
            .strip_prefix("sl:{")?
            .strip_prefix(self.cluster.as_str())?
            .strip_prefix(':')?
            .strip_suffix("}:n")?;
        number.parse().ok().map(Partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_partition_have_one_hash_tag() {
        let names = Names::new("shop");
        let (partition, key) = (Partition(7), KeyId([0xab; 16]));
        let tag = format!("{{{}}}", names.tag(partition));
        for name in [
            names.epoch(partition),
            names.limit(partition, key),
            names.breaker(partition, "abab"),
            names.breakers(partition),
            names.channel(partition),
        ] {
            assert!(name.contains(&tag), "{name}");
            assert_eq!(name.matches('{').count(), 1, "{name}");
        }
        assert_eq!(names.heard_on(names.channel(partition).as_bytes()), Some(partition));
        assert_eq!(names.heard_on(b"sl:{other:7}:n"), None);
        assert_ne!(names.tag(Partition(7)), names.tag(Partition(8)));
        assert_ne!(names.tag(Partition(7)), Names::new("{shop}").tag(Partition(7)));
    }
}
