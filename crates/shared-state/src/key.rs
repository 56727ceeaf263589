//! Under which key something is counted.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::Hasher;

/// A limit as what keeps its count knows it: of its scope, name, algorithm and window, but not of its numbers, so that
/// a limit keeps its count when these change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct RuleId(pub u64);

/// One count: of a limit and a value of its key. A keyed hash, so that values (addresses, tokens) never reach the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct KeyId(pub [u8; 16]);

/// The key of the hash: the same on all nodes of a cluster, and known to them alone.
#[derive(Clone, Copy)]
pub struct Salt(pub [u8; 16]);

// === impl Salt ===

impl Salt {
    /// The count of `value` under a limit. Costs some 20 ns for short values.
    #[must_use]
    pub fn key(&self, rule: RuleId, value: &[u8]) -> KeyId {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write_u64(rule.0);
        hasher.write(value);
        KeyId(hasher.finish128().as_bytes())
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

// === impl KeyId ===

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_its_rule_its_value_and_its_cluster() {
        let (ours, theirs) = (Salt([1; 16]), Salt([2; 16]));
        let key = ours.key(RuleId(1), b"10.0.0.1");
        assert_eq!(key, ours.key(RuleId(1), b"10.0.0.1"));
        assert_ne!(key, ours.key(RuleId(2), b"10.0.0.1"));
        assert_ne!(key, ours.key(RuleId(1), b"10.0.0.2"));
        assert_ne!(key, theirs.key(RuleId(1), b"10.0.0.1"));
    }
}
