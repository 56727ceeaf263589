//! Elections, changes, restarts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_change_is_on_all_nodes_and_a_follower_says_who_leads() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let head = cluster.put("upstreams/orders", "{}").await;
    assert_eq!(head.version, 1);
    cluster.all_at(1).await;
    let leader = cluster.leader().await;
    for name in ["n1", "n2", "n3"] {
        assert_eq!(cluster.value(name, "upstreams/orders").as_deref(), Some("{}"));
        if name == leader {
            continue;
        }
        let Err(ProposeError::NotLeader { leader: Some(told) }) = cluster.on(name).propose(change(1, "k", "v")).await
        else {
            panic!("{name} took a change")
        };
        assert_eq!((told.id, told.node), (cluster.id(leader), cluster.node(leader)));
    }
    let told = cluster.on(leader).history(None, 10);
    assert_eq!((told.len(), told[0].request_id.as_str()), (1, "upstreams/orders={}"));
}

#[tokio::test]
async fn what_is_committed_is_pushed_to_all_without_waiting_for_a_heartbeat() {
    let rare = Timings {
        heartbeat: LONG * 10,
        election_min: LONG * 20,
        election_max: LONG * 30,
        ..timings()
    };
    let cluster = Cluster::of(&["n1", "n2", "n3"], rare).await;
    for n in 1..=5u64 {
        let head = cluster.put("k", &n.to_string()).await;
        assert_eq!(head.version, n);
        // Far less than the heartbeat's interval.
        cluster.all_at(n).await;
    }
}

#[tokio::test]
async fn a_linearizable_read_on_any_node_sees_every_acknowledged_change() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    for n in 1..=10u64 {
        cluster.put("k", &n.to_string()).await;
        for name in ["n1", "n2", "n3"] {
            let index = cluster.on(name).read_index().await.unwrap();
            cluster.on(name).wait_applied(index, LONG).await.unwrap();
            assert_eq!(cluster.on(name).head().version, n);
        }
    }
}

#[tokio::test]
async fn when_the_leader_dies_another_leads_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let mut version = 0;
    for round in 0..3 {
        for n in 0..4 {
            version = cluster.put(&format!("k{round}{n}"), "v").await.version;
        }
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        version = cluster
            .put(&format!("without {leader}"), "v")
            .await
            .version
            .max(version);
        cluster.start(leader).await;
        assert!(!cluster.nodes[leader].boot.was_clean);
        assert!(cluster.nodes[leader].boot.is_initialised);
        cluster.all_at(version).await;
    }
    for name in ["n1", "n2", "n3"] {
        for (round, n) in (0..3).flat_map(|r| (0..4).map(move |n| (r, n))) {
            assert!(
                cluster.value(name, &format!("k{round}{n}")).is_some(),
                "{name} {round} {n}"
            );
        }
    }
}

#[tokio::test]
async fn a_leader_killed_amid_changes_loses_none_that_it_acknowledged() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let mut random = fastrand::Rng::with_seed(11);
    let mut acknowledged: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..6 {
        let leader = cluster.leader().await;
        let consensus = cluster.on(leader).clone();
        let mut heads = consensus.watch();
        let writing = tokio::spawn(async move {
            let mut made = BTreeMap::new();
            for n in 0.. {
                let envelope = change(consensus.head().version, &format!("k{n}"), &round.to_string());
                let id = envelope.request_id.clone();
                match consensus.propose(envelope).await {
                    Ok((Applied::Version(version), _)) => assert_eq!(made.insert(version, id), None),
                    Ok((Applied::Same(_) | Applied::WrongBase { .. }, _)) => {}
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => break,
                }
            }
            made
        });
        // Some changes, and then at any moment of one.
        let from = heads.borrow().version;
        heads.wait_for(|head| head.version > from + 3).await.unwrap();
        for _ in 0..random.usize(..300) {
            tokio::task::yield_now().await;
        }
        cluster.kill(leader).await;
        acknowledged.append(&mut writing.await.unwrap());
        drop(heads);
        let head = cluster.put("after the kill", &round.to_string()).await;
        cluster.start(leader).await;
        cluster.all_at(head.version).await;
    }
    for name in ["n1", "n2", "n3"] {
        let history = cluster.on(name).history(None, 10_000);
        let told: BTreeMap<u64, String> = history.into_iter().map(|h| (h.version, h.request_id)).collect();
        for (version, id) in &acknowledged {
            assert_eq!(told.get(version), Some(id), "version {version} on {name}");
        }
    }
}

#[tokio::test]
async fn all_nodes_may_stop_at_once_and_come_back_with_everything() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let head = cluster.put("k", "v").await;
    cluster.all_at(head.version).await;
    for name in ["n1", "n2", "n3"] {
        cluster.kill(name).await;
    }
    for name in ["n1", "n2", "n3"] {
        cluster.start(name).await;
        // Before anybody leads: what was shown before is shown again.
        assert_eq!(cluster.value(name, "k").as_deref(), Some("v"));
    }
    assert_eq!(cluster.put("k", "w").await.version, head.version + 1);
}

#[tokio::test]
async fn a_leader_that_stops_in_order_hands_over_first() {
    let slow = Timings {
        // An election by time-out would take minutes.
        heartbeat: LONG * 10,
        election_min: LONG * 20,
        election_max: LONG * 30,
        ..timings()
    };
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], slow).await;
    cluster.put("k", "1").await;
    let leader = cluster.leader().await;
    cluster.stop(leader).await;
    assert_ne!(cluster.leader().await, leader);
    cluster.put("k", "2").await;
    cluster.start(leader).await;
    assert!(cluster.nodes[leader].boot.was_clean);
}

#[tokio::test]
async fn a_cluster_of_one_leads_again_at_once_after_a_restart() {
    let slow = Timings {
        election_min: LONG * 20,
        election_max: LONG * 30,
        ..timings()
    };
    let mut cluster = Cluster::of(&["n1"], slow).await;
    cluster.put("k", "1").await;
    cluster.kill("n1").await;
    cluster.start("n1").await;
    assert_eq!(cluster.put("k", "2").await.version, 2);
}

#[tokio::test]
async fn changes_that_race_are_each_made_for_the_version_they_say() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let leader = cluster.on(cluster.leader().await).clone();
    let racing = (0..20).map(|n| {
        let leader = leader.clone();
        tokio::spawn(async move { leader.propose(change(0, &format!("k{n}"), "v")).await.unwrap().0 })
    });
    let mut made = 0;
    for task in racing.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Applied::Version(1) => made += 1,
            Applied::WrongBase { head: 1 } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn large_changes_pass_and_the_log_is_kept_short_by_bytes_too() {
    let short = Timings {
        compaction: Compaction {
            entries: 10_000,
            keep: 10_000,
            bytes: 4 * 1024 * 1024,
        },
        ..timings()
    };
    let cluster = Cluster::of(&["n1", "n2", "n3"], short).await;
    let large = "x".repeat(1_500_000);
    for n in 0..6 {
        cluster.put("large", &format!("{large}{n}")).await;
    }
    cluster.all_at(6).await;
    for (name, node) in &cluster.nodes {
        assert_eq!(cluster.value(name, "large").map(|v| v.len()), Some(large.len() + 1));
        let what = format!("the log of {name} is short");
        until(&what, || node.consensus.inner.mirror.read().bytes() <= 4 * 1024 * 1024).await;
    }
    let vast = "x".repeat(65 * 1024 * 1024);
    let leader = cluster.on(cluster.leader().await);
    let refused = leader.propose(change(6, "vast", &vast)).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_entry_of_a_newer_format_ends_raft_by_name_and_reads_go_on() {
    let cluster = Cluster::of(&["n1"], timings()).await;
    cluster.put("k", "v").await;
    let newer: crate::record::Record = crate::record::Record::from_bytes(&[9, 1, 2, 3]);
    let written = cluster.on("n1").inner.raft.client_write(newer).await;
    assert!(written.is_err());
    cluster
        .sees("n1", "its Raft ends", |view| view.role == crate::Role::Stopped)
        .await;
    let fault = cluster.view("n1").fault.unwrap();
    assert!(fault.contains("written by a newer sluice"), "{fault}");
    assert_eq!(cluster.value("n1", "k").as_deref(), Some("v"));
}

#[tokio::test]
async fn the_metrics_tell_of_raft() {
    let cluster = Cluster::of(&["n1"], timings()).await;
    cluster.put("k", "1").await;
    until("the applied entry in the metrics", || {
        let page = cluster.nodes["n1"].metrics.encode(false);
        page.contains("\nsluice_raft_is_leader 1\n")
            && page.contains("\nsluice_raft_last_log_index 2\n")
            && page.contains("\nsluice_raft_applied_index 2\n")
            && page.contains("\nsluice_raft_leader_changes_total 0\n")
            && page.contains("sluice_raft_fsync_seconds_bucket")
    })
    .await;
}

#[tokio::test]
async fn times_that_contradict_each_other_are_refused() {
    let cluster = Cluster::new(timings());
    let wrong = Timings {
        heartbeat: Duration::from_secs(9),
        ..timings()
    };
    let (store, ..) = cluster.open("n1");
    let config = Config {
        listen: cluster.address("n1"),
        identity: Identity {
            cluster: "shop".into(),
            cluster_id: None,
            name: "n1".into(),
            id: store.incarnation(),
            peer: String::new(),
            admin: String::new(),
            zone: None,
            labels: BTreeMap::new(),
            binary: String::new(),
            level: 1,
        },
        token: None,
        metrics: Metrics::new(),
        timings: sluice_peer::Timings::default(),
    };
    let link = Link::bind(config).await.unwrap();
    let started = Consensus::start(store, link, &Metrics::new(), wrong).await;
    assert!(matches!(started, Err(crate::StartError::Timings(_))));
}
