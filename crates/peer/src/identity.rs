//! Who a node says it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An incarnation: a random number made together with a data directory. A node that lost its disk
/// is another incarnation of the same name.
///
/// Displayed and parsed as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// Text that is not 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a node's id: expected 16 hexadecimal digits, such as 00f3a9c1d2e4b586")]
pub struct NotAnId(pub String);

/// Which cluster a node belongs to, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterTag {
    /// The cluster's name, from the settings.
    pub name: String,
    /// The cluster's id, made when it was formed; `None` on a node that belongs to none yet.
    pub id: Option<u128>,
}

/// What a node tells of itself to those who proved that they hold the cluster token.
///
/// The token proves membership, not which member: a holder of the token could claim another's
/// name. Every member is trusted by every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster's name, from the settings.
    pub cluster: String,
    /// The cluster's id; `None` before forming or joining.
    pub cluster_id: Option<u128>,
    /// The node's name, by which people know it.
    pub name: String,
    /// The node's incarnation.
    pub id: NodeId,
    /// Where its link is reached: `host:port`, as advertised.
    pub peer: String,
    /// Where its admin API is reached: `host:port`, as advertised.
    pub admin: String,
    /// Where it stands, for spreading members.
    pub zone: Option<String>,
    /// Free labels from the settings.
    pub labels: BTreeMap<String, String>,
    /// The version of the binary.
    pub binary: String,
    /// The highest feature level that the binary knows.
    pub level: u32,
}

/// Somebody to talk to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Who must live there; with `None` anyone of the cluster will do.
    pub id: Option<NodeId>,
    /// `host:port`. A host name is resolved again for every connection; an IPv6 address stands in
    /// brackets.
    pub address: String,
}

// === impl NodeId ===

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for NodeId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(id) if digits => Ok(Self(id)),
            _ => Err(NotAnId(text.chars().take(64).collect())),
        }
    }
}

// === impl ClusterTag ===

impl ClusterTag {
    /// Whether nodes of the two may talk: the same name, and not two different ids.
    ///
    /// A node without an id may talk to one with any: that is how it joins.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.name == other.name && (self.id.is_none() || other.id.is_none() || self.id == other.id)
    }
}

impl fmt::Display for ClusterTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{:?} ({id:032x})", self.name),
            None => write!(f, "{:?} (not formed)", self.name),
        }
    }
}

// === impl Identity ===

impl Identity {
    /// The cluster that this node says it belongs to.
    #[must_use]
    pub fn tag(&self) -> ClusterTag {
        ClusterTag {
            name: self.cluster.clone(),
            id: self.cluster_id,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_what_it_shows(id in any::<u64>()) {
            let text = NodeId(id).to_string();
            prop_assert_eq!(text.len(), 16);
            prop_assert_eq!(text.parse::<NodeId>().unwrap(), NodeId(id));
        }
    }

    #[test]
    fn only_sixteen_digits_are_an_id() {
        for text in ["", "1", "+000000000000001", "000000000000000g", "00000000000000001"] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn clusters_agree_by_name_and_by_id_where_both_have_one() {
        let tag = |name: &str, id| ClusterTag { name: name.into(), id };
        assert!(tag("a", None).agrees_with(&tag("a", Some(1))));
        assert!(tag("a", Some(1)).agrees_with(&tag("a", Some(1))));
        assert!(!tag("a", Some(1)).agrees_with(&tag("a", Some(2))));
        assert!(!tag("a", None).agrees_with(&tag("b", None)));
    }
}
