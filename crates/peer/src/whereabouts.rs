//! Where nodes were last met. Pure.
//!
//! A membership says where a node was when it was written down. One that came back under another address cannot have
//! that changed before it is reached again; so what it said of itself when it was last met counts first.

use crate::identity::{Identity, NodeId};
use std::collections::HashMap;
use std::sync::Arc;

/// Incarnations that are remembered. A cluster has tens; each wiped disk makes one more.
const MOST: usize = 4096;

/// Peer addresses by incarnation, as each told it last.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts(HashMap<NodeId, Arc<str>>);

// === impl Whereabouts ===

impl Whereabouts {
    /// A node said where it is reached.
    pub(crate) fn met(&mut self, node: &Identity) {
        if node.peer.is_empty() || self.0.get(&node.id).is_some_and(|known| **known == *node.peer) {
            return;
        }
        if self.0.len() >= MOST && !self.0.contains_key(&node.id) {
            // All are learnt again by meeting them.
            self.0.clear();
        }
        self.0.insert(node.id, node.peer.as_str().into());
    }

    /// Where the node is, if that is not `recorded`.
    pub(crate) fn elsewhere(&self, id: NodeId, recorded: &str) -> Option<Arc<str>> {
        self.0.get(&id).filter(|known| ***known != *recorded).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, peer: &str) -> Identity {
        Identity {
            cluster: "a".to_owned(),
            cluster_id: None,
            name: "n".to_owned(),
            id: NodeId(id),
            peer: peer.to_owned(),
            admin: String::new(),
            zone: None,
            labels: std::collections::BTreeMap::new(),
            binary: String::new(),
            level: 1,
        }
    }

    #[test]
    fn the_last_meeting_counts() {
        let mut known = Whereabouts::default();
        known.met(&node(1, "10.0.0.1:1"));
        assert_eq!(known.elsewhere(NodeId(1), "10.0.0.1:1"), None);
        known.met(&node(1, "10.0.0.2:1"));
        assert_eq!(known.elsewhere(NodeId(1), "10.0.0.1:1").as_deref(), Some("10.0.0.2:1"));
        assert_eq!(known.elsewhere(NodeId(2), "10.0.0.1:1"), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Whereabouts::default();
        for id in 0..=MOST as u64 {
            known.met(&node(id, "10.0.0.1:1"));
        }
        assert!(known.0.len() <= MOST);
    }
}
