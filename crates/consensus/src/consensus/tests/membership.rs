//! Members come and go.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{MemberError, Role};

/// Enough changes that the beginning of the log is gone.
async fn beyond_the_log(cluster: &Cluster) -> Head {
    for n in 0..60 {
        cluster.put(&format!("k{}", n % 7), &n.to_string()).await;
    }
    let leader = cluster.leader().await;
    cluster
        .sees(leader, "the log is compacted", |view| view.purged > 10)
        .await;
    cluster.put("last", "v").await
}

#[tokio::test]
async fn a_learner_that_needs_what_the_log_has_dropped_gets_a_raft_snapshot_and_votes() {
    let mut cluster = Cluster::of(&["n1"], timings()).await;
    let head = beyond_the_log(&cluster).await;
    let id = cluster.start("n2").await;
    let leader = cluster.on("n1");
    leader.add_learner(id, cluster.node("n2")).await.unwrap();
    leader.add_learner(id, cluster.node("n2")).await.unwrap();
    cluster.all_at(head.version).await;
    assert_eq!(cluster.view("n2").role, Role::Learner);
    cluster
        .sees("n2", "it came as a Raft snapshot", |view| view.snapshot > 10)
        .await;
    leader.promote(id).await.unwrap();
    leader.promote(id).await.unwrap();
    assert_eq!(cluster.voters("n1"), ["n1", "n2"]);
    let head = cluster.put("k", "from two").await;
    cluster.all_at(head.version).await;
    assert_eq!(
        cluster.on("n2").parts_at(5).unwrap(),
        cluster.on("n1").parts_at(5).unwrap()
    );
    assert_eq!(
        cluster.on("n2").history(None, 1000),
        cluster.on("n1").history(None, 1000)
    );
}

#[tokio::test]
async fn a_raft_snapshot_that_was_interrupted_goes_on_where_it_stopped() {
    let mut cluster = Cluster::of(&["n1"], timings()).await;
    cluster.put("large", &"x".repeat(1_500_000)).await;
    let head = beyond_the_log(&cluster).await;
    let id = cluster.start("n2").await;
    cluster.on("n1").add_learner(id, cluster.node("n2")).await.unwrap();
    cluster.all_at(head.version).await;
    let pieces = cluster.net.pieces.lock().unwrap().clone();
    assert!(pieces.len() > 6, "{pieces:?}");
    // The one that was lost came twice, and no other.
    let mut once = pieces.clone();
    once.dedup();
    assert_eq!(once.len(), pieces.len() - 1, "{pieces:?}");
    assert!(once.is_sorted() && pieces[3] == pieces[4], "{pieces:?}");
    assert_eq!(cluster.value("n2", "large"), cluster.value("n1", "large"));
}

#[tokio::test]
async fn a_wiped_node_comes_back_as_another_incarnation_in_the_place_of_the_old() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let head = beyond_the_log(&cluster).await;
    let leader = cluster.leader().await;
    let wiped = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader).unwrap();
    let old = cluster.id(wiped);
    cluster.kill(wiped).await;
    std::fs::remove_dir_all(cluster.path(wiped)).unwrap();
    let new = cluster.start(wiped).await;
    assert_ne!(new, old);
    let node = cluster.node(wiped);
    let taken = cluster.on(leader).add_learner(new, node.clone()).await;
    assert_eq!(
        taken,
        Err(MemberError::NameTaken {
            name: wiped.to_owned(),
            id: old
        })
    );
    cluster.on(leader).replace(old, new, node).await.unwrap();
    cluster.all_at(head.version).await;
    let view = cluster.view(leader);
    assert_eq!(view.members.len(), 3);
    assert!(view.member(old).is_none() && view.member(new).unwrap().voter);
    // It counts: with another node gone, it and the leader are the majority.
    let other = ["n1", "n2", "n3"]
        .into_iter()
        .find(|n| *n != leader && *n != wiped)
        .unwrap();
    cluster.kill(other).await;
    cluster.put("k", "by the new majority").await;
}

#[tokio::test]
async fn a_removed_member_is_told_and_the_others_stay_what_they_are() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let learner = cluster.start("n4").await;
    let leader = cluster.leader().await;
    cluster
        .on(leader)
        .add_learner(learner, cluster.node("n4"))
        .await
        .unwrap();
    let gone = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader).unwrap();
    let id = cluster.id(gone);
    cluster.on(leader).demote(id).await.unwrap();
    let view = cluster.view(leader);
    assert_eq!(view.members.len(), 4);
    assert!(!view.member(id).unwrap().voter && !view.member(learner).unwrap().voter && !view.joint);
    cluster.on(leader).promote(id).await.unwrap();
    cluster.on(leader).remove(id).await.unwrap();
    let view = cluster.view(leader);
    assert_eq!(view.members.len(), 3);
    assert!(!view.member(learner).unwrap().voter);
    assert_eq!(cluster.on(leader).remove(id).await, Err(MemberError::Unknown(id)));
    cluster
        .sees(gone, "it knows that it was removed", |view| view.removed)
        .await;
    let term = cluster.view(leader).term;
    cluster.put("k", "v").await;
    assert_eq!(cluster.view(leader).term, term);
    // It may come back.
    cluster.on(leader).add_learner(id, cluster.node(gone)).await.unwrap();
    let head = cluster.put("k", "w").await;
    cluster.all_at(head.version).await;
    cluster.sees(gone, "it is let in again", |view| !view.removed).await;
}

#[tokio::test]
async fn a_leader_may_remove_itself() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let leader = cluster.leader().await;
    let id = cluster.id(leader);
    cluster.on(leader).remove(id).await.unwrap();
    let next = cluster.leader_but(&[leader]).await;
    cluster.put_but(&[leader], "k", "v").await;
    assert!(cluster.view(next).member(id).is_none());
    assert_eq!(cluster.view(next).members.len(), 2);
}

#[tokio::test]
async fn the_last_voter_cannot_go_and_a_learner_cannot_lead() {
    let mut cluster = Cluster::of(&["n1"], timings()).await;
    let (one, two) = (cluster.id("n1"), cluster.start("n2").await);
    let leader = cluster.on("n1");
    leader.add_learner(two, cluster.node("n2")).await.unwrap();
    assert_eq!(leader.remove(one).await, Err(MemberError::LastVoter(one)));
    assert_eq!(leader.demote(one).await, Err(MemberError::LastVoter(one)));
    assert_eq!(leader.transfer(Some(two)).await, Err(MemberError::NotAVoter(two)));
    assert_eq!(leader.transfer(None).await, Err(MemberError::NoMajority));
    let again = leader.initialise(BTreeMap::from([(one, cluster.node("n1"))])).await;
    assert_eq!(again, Err(MemberError::AlreadyInitialised));
    let refused = cluster.on("n2").promote(two).await;
    assert!(matches!(refused, Err(MemberError::NotLeader { .. })), "{refused:?}");
}

#[tokio::test]
async fn the_lead_is_handed_to_whom_one_says() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    for to in ["n2", "n3", "n1"] {
        let leader = cluster.leader().await;
        cluster.on(leader).transfer(Some(cluster.id(to))).await.unwrap();
        cluster.sees(to, "it leads", RaftView::is_leader).await;
        cluster.put("k", to).await;
    }
}

#[tokio::test]
async fn an_address_changes_by_an_entry_of_the_log() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let leader = cluster.leader().await;
    let id = cluster.id("n2");
    let moved = Node {
        admin: "127.0.0.9:9080".to_owned(),
        zone: Some("b".to_owned()),
        ..cluster.node("n2")
    };
    cluster.on(leader).set_address(id, moved.clone()).await.unwrap();
    for name in ["n1", "n2", "n3"] {
        let knows = |view: &RaftView| view.member(id).is_some_and(|m| m.node == moved);
        cluster.sees(name, "the new address is known", knows).await;
    }
    assert_eq!(cluster.voters(leader), ["n1", "n2", "n3"]);
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_refused_and_none_is_left_half_done() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let ids = [cluster.start("n4").await, cluster.start("n5").await];
    let leader = cluster.leader().await;
    let consensus = cluster.on(leader);
    let (first, second) = tokio::join!(
        consensus.add_learner(ids[0], cluster.node("n4")),
        consensus.add_learner(ids[1], cluster.node("n5")),
    );
    let refused = [&first, &second]
        .into_iter()
        .filter(|r| **r == Err(MemberError::InProgress))
        .count();
    let made = [&first, &second].into_iter().filter(|r| r.is_ok()).count();
    assert_eq!((made, refused), (1, 1), "{first:?} {second:?}");
    let view = cluster.view(leader);
    assert_eq!((view.members.len(), view.joint), (4, false));
}

#[tokio::test]
async fn a_change_of_voters_that_was_left_half_done_is_finished_by_whoever_leads() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let id = cluster.start("n4").await;
    let leader = cluster.leader().await;
    cluster.on(leader).add_learner(id, cluster.node("n4")).await.unwrap();
    let head = cluster.put("k", "v").await;
    cluster.all_at(head.version).await;
    // The first half is in the leader's log when the net is cut, and nobody does the second.
    cluster.cut(&[leader]);
    let raft = cluster.on(leader).inner.raft.clone();
    let change = openraft::ChangeMembers::AddVoterIds(BTreeSet::from([id.0]));
    let mut views = cluster.on(leader).watch_raft();
    tokio::select! {
        changed = raft.change_membership(change, true) => panic!("without a majority: {changed:?}"),
        view = views.wait_for(|view| view.joint) => drop(view.unwrap()),
    }
    cluster.heal();
    // First whoever had begun it: the others may not have heard of it yet.
    for name in [leader, "n1", "n2", "n3", "n4"] {
        cluster
            .sees(name, "one membership is in force", |view| !view.joint)
            .await;
    }
    let head = cluster.put("k", "w").await;
    cluster.all_at(head.version).await;
    let leader = cluster.leader().await;
    cluster.on(leader).promote(id).await.unwrap();
    assert_eq!(cluster.voters(leader), ["n1", "n2", "n3", "n4"]);
}
