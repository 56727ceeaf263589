//! Disks fail, fill up, and lie.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering;

use super::*;
use crate::{ReadError, Role};

#[tokio::test]
async fn a_node_whose_disk_fails_leaves_raft_and_goes_on_reading_until_it_is_started_again() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    for turn in 0..2 {
        let head = cluster.put("k", &format!("before {turn}")).await;
        cluster.all_at(head.version).await;
        let leader = cluster.leader().await;
        let others = ["n1", "n2", "n3"].into_iter().filter(|n| *n != leader);
        // Once a follower, once the leader.
        let broken = if turn == 0 {
            others.clone().next().unwrap()
        } else {
            leader
        };
        cluster.nodes[broken].faults.inner.sync.store(true, Ordering::SeqCst);
        if turn == 1 {
            let failed = cluster.on(broken).propose(change(head.version, "k", "lost")).await;
            assert!(matches!(failed, Err(ProposeError::OutcomeUnknown)), "{failed:?}");
        }
        let after = cluster.put_but(&[broken], "k", &format!("after {turn}")).await;
        cluster
            .sees(broken, "its Raft ends", |view| view.role == Role::Stopped)
            .await;
        let view = cluster.view(broken);
        assert!(
            view.fault.as_ref().is_some_and(|f| f.contains("the disk failed")),
            "{view:?}"
        );
        let refused = cluster.on(broken).propose(change(head.version, "k", "v")).await;
        assert!(matches!(refused, Err(ProposeError::Disk(_))), "{refused:?}");
        assert_eq!(cluster.on(broken).read_index().await, Err(ReadError::Shutdown));
        assert!(cluster.value(broken, "k").is_some());
        cluster.kill_broken(broken).await;
        cluster.start(broken).await;
        assert_eq!(cluster.nodes[broken].boot.damage, None);
        cluster.all_at(after.version).await;
    }
}

#[tokio::test]
async fn a_node_whose_disk_is_full_takes_no_changes_but_still_follows() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let head = cluster.put("k", "v").await;
    let leader = cluster.leader().await;
    cluster.nodes[leader].store.spend_reserve();
    let refused = cluster.on(leader).propose(change(head.version, "k", "w")).await;
    let Err(ProposeError::Disk(error)) = refused else {
        panic!("{refused:?}")
    };
    assert!(error.to_string().contains("full"), "{error}");
    cluster.on(leader).transfer(None).await.unwrap();
    let after = cluster.put_but(&[leader], "k", "w").await;
    cluster.all_at(after.version).await;
}

#[tokio::test]
async fn a_node_whose_log_is_damaged_joins_anew_and_never_votes_as_the_old_one() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let head = cluster.put("k", "v").await;
    cluster.all_at(head.version).await;
    let leader = cluster.leader().await;
    let hurt = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader).unwrap();
    let old = cluster.id(hurt);
    cluster.kill(hurt).await;
    let file = cluster.path(hurt).join("sluice.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    // In the request's id, which stands in the entry and in the history.
    let at = bytes.windows(3).position(|w| w == b"k=v").unwrap();
    bytes[at] ^= 4;
    std::fs::write(&file, bytes).unwrap();

    let (store, boot, faults) = cluster.open(hurt);
    assert!(boot.damage.is_some());
    assert_eq!(boot.incarnation, old);
    let new = store.renew().unwrap();
    assert_ne!(new, old);
    cluster.run(hurt, (store, boot, faults)).await;
    assert!(cluster.value(hurt, "k").is_none());
    let node = cluster.node(hurt);
    cluster.on(leader).replace(old, new, node).await.unwrap();
    cluster.all_at(head.version).await;
    assert_eq!(cluster.value(hurt, "k").as_deref(), Some("v"));
    assert_eq!(cluster.voters(leader), ["n1", "n2", "n3"]);
}

impl Cluster {
    /// Ends a node whose Raft has ended already.
    async fn kill_broken(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        node.server.consensus.lock().unwrap().take();
        node.link.shutdown().await;
        let _ = node.consensus.inner.raft.shutdown().await;
    }
}
