//! Versions that are tried first, over real links and disks.

use crate::world::{Node, World, answering, eventually, request, start, whole};
use sluice_control::{
    Actor, ChangeReply, ChangeRequest, Freshness, Refusal, Target, TrialOp, TrialOrder, TrialOutcome, TrialRequest,
    Wait,
};
use std::time::Duration;

fn tried(text: &str, on: &[&str], confirm_within: Option<u64>) -> ChangeRequest {
    let mut change = request(whole(&answering(text)));
    change.trial = TrialRequest {
        on: (!on.is_empty()).then(|| on.iter().map(|name| (*name).to_owned()).collect()),
        confirm_within: confirm_within.map(Duration::from_secs),
    };
    change
}

fn rollback(version: u64) -> ChangeRequest {
    request(Target::Rollback { version })
}

impl Node {
    async fn order(&self, op: TrialOp) -> Result<ChangeReply, Refusal> {
        let order = TrialOrder {
            op,
            force: false,
            wait: Wait::All,
            timeout: Duration::from_secs(30),
            actor: Actor {
                who: "bob".to_owned(),
                ..Actor::default()
            },
        };
        self.control.trial(order).await
    }

    async fn confirm(&self, version: Option<u64>) -> Result<ChangeReply, Refusal> {
        self.order(TrialOp::Confirm { version }).await
    }

    async fn promote(&self, version: u64) -> Result<ChangeReply, Refusal> {
        self.order(TrialOp::Promote { version }).await
    }

    async fn says(&self, version: u64, text: &str) {
        let read = self.control.read(None, Freshness::Linearizable).await.unwrap();
        let parts = format!("{:?}", read.parts);
        assert!(
            read.version == version && parts.contains(text),
            "{}: {parts}",
            read.version
        );
    }
}

fn live(nodes: &[Node]) -> Vec<u64> {
    nodes.iter().map(|node| node.control.live_version()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_confirms_is_undone_everywhere_and_the_history_says_so() {
    let world = World::of(3);
    let nodes = world.start().await;
    nodes[0].put(&answering("before")).await.unwrap();
    let reply = nodes[1].control.change(tried("tried", &[], Some(1))).await.unwrap();
    assert_eq!((reply.version, reply.live.len()), (2, 3));
    let trial = reply.trial.unwrap();
    assert!((trial.before, trial.on) == (1, None) && trial.confirm_by.is_some());
    for node in &nodes {
        node.serves(3).await;
        node.says(3, "before").await;
    }
    let history = nodes[2].control.history(None, None, 9);
    assert_eq!(history[0].author, "the leader");
    assert_eq!(
        history[0].message.as_deref(),
        Some("undone: nobody confirmed version 2")
    );
    let past = history[1].trial.as_ref().unwrap();
    assert_eq!((past.outcome, past.steps[0].version), (TrialOutcome::Undone, 3));

    for late in [
        nodes[2].confirm(None).await,
        nodes[0].confirm(Some(2)).await,
        nodes[1].promote(2).await,
    ] {
        let late = late.unwrap_err();
        assert!(matches!(late, Refusal::TrialOver { version: 2, .. }), "{late}");
        assert!(
            late.to_string().contains("version 3 has what was live before"),
            "{late}"
        );
    }
    nodes[0].says(3, "before").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_version_stays_and_until_then_nothing_else_is_changed() {
    let world = World::of(3);
    let nodes = world.start().await;
    assert!(matches!(nodes[1].confirm(None).await, Err(Refusal::Conflict { .. })));
    nodes[0].put(&answering("before")).await.unwrap();
    nodes[0].control.change(tried("tried", &[], Some(3600))).await.unwrap();
    for other in [
        request(whole(&answering("other"))),
        tried("other", &["n1"], None),
        rollback(0),
    ] {
        let refused = nodes[2].control.change(other).await.unwrap_err();
        let Refusal::PendingChange { trial } = &refused else {
            panic!("{refused}")
        };
        assert_eq!((trial.version, trial.before, trial.author.as_str()), (2, 1, "test"));
        assert!(refused.to_string().contains("confirm 2"), "{refused}");
    }
    let confirmed = nodes[1].confirm(None).await.unwrap();
    assert_eq!((confirmed.version, confirmed.trial), (2, None));
    assert_eq!(
        nodes[2].confirm(Some(2)).await.unwrap().version,
        2,
        "said again, nothing is changed"
    );
    assert!(matches!(nodes[2].promote(2).await, Err(Refusal::Conflict { .. })));
    assert_eq!(nodes[0].put(&answering("other")).await.unwrap().version, 3);
    let past = nodes[2].control.history(None, None, 9).remove(1).trial.unwrap();
    assert_eq!(
        (past.outcome, past.steps[0].what.as_str()),
        (TrialOutcome::Kept, "confirmed")
    );
    assert_eq!(past.steps[0].author, "bob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_on_one_node_is_live_there_alone_over_restarts_until_it_is_promoted() {
    let world = World::of(3);
    let mut nodes = world.start().await;
    nodes[0].put(&answering("before")).await.unwrap();
    let reply = nodes[1]
        .control
        .change(tried("tried", &["n3", "n3"], None))
        .await
        .unwrap();
    assert_eq!(
        (reply.version, reply.live, reply.pending),
        (2, vec!["n3".to_owned()], vec![])
    );
    assert_eq!(live(&nodes), [1, 1, 2]);
    let view = nodes[0].control.cluster(Freshness::Local).await.unwrap();
    assert_eq!((view.version, view.active), (2, 1));
    assert_eq!(view.nodes.iter().map(|node| node.wanted).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(view.trial.unwrap().on.unwrap(), ["n3"]);
    for n in [0, 2] {
        nodes.remove(n).stop().await;
        let back = start(&world.plans[n]).await;
        back.is_ready().await;
        nodes.insert(n, back);
        assert_eq!(live(&nodes), [1, 1, 2]);
        eventually("the others are live again", || async {
            nodes[n].control.safe_to_stop().is_ok()
        })
        .await;
    }
    assert!(matches!(nodes[0].confirm(Some(2)).await, Err(Refusal::Conflict { .. })));
    let promoted = nodes[0].promote(2).await.unwrap();
    assert_eq!((promoted.version, promoted.live.len(), promoted.trial), (2, 3, None));
    assert_eq!(live(&nodes), [2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_to_what_was_before_ends_a_trial() {
    let world = World::of(3);
    let nodes = world.start().await;
    nodes[0].put(&answering("before")).await.unwrap();
    nodes[0]
        .control
        .change(tried("tried", &["n1"], Some(3600)))
        .await
        .unwrap();
    let mut dry = rollback(1);
    dry.dry_run = true;
    assert_eq!(nodes[1].control.change(dry).await.unwrap().changed, ["upstreams/u"]);
    let back = nodes[1].control.change(rollback(1)).await.unwrap();
    assert_eq!(
        (back.version, back.changed, back.live.len()),
        (3, vec!["upstreams/u".to_owned()], 3)
    );
    nodes[2].says(3, "before").await;
    let late = nodes[2].promote(2).await.unwrap_err();
    assert!(
        late.to_string().contains("undone") && late.to_string().contains("by test"),
        "{late}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_place_and_time_hold_both_and_fall_away_one_by_one() {
    let world = World::of(2);
    let nodes = world.start().await;
    nodes[0].put(&answering("before")).await.unwrap();
    nodes[0]
        .control
        .change(tried("tried", &["n2"], Some(3600)))
        .await
        .unwrap();
    let promoted = nodes[0].promote(2).await.unwrap().trial.unwrap();
    assert!(promoted.on.is_none() && promoted.confirm_by.is_some());
    assert_eq!(live(&nodes), [2, 2]);
    assert!(
        nodes[0].put(&answering("other")).await.is_err(),
        "it is to be confirmed still"
    );
    assert_eq!(nodes[1].confirm(Some(2)).await.unwrap().trial, None);

    nodes[0]
        .control
        .change(tried("again", &["n2"], Some(3600)))
        .await
        .unwrap();
    let confirmed = nodes[0].confirm(None).await.unwrap().trial.unwrap();
    assert!(confirmed.on.is_some() && confirmed.confirm_by.is_none());
    assert_eq!(live(&nodes), [2, 3]);
    assert_eq!(nodes[0].promote(3).await.unwrap().trial, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_nodes_and_versions_that_are_not_on_trial_are_refused() {
    let world = World::of(1);
    let nodes = world.start().await;
    nodes[0].put(&answering("one")).await.unwrap();
    let unknown = nodes[0]
        .control
        .change(tried("two", &["n1", "n9"], None))
        .await
        .unwrap_err();
    assert_eq!(unknown.to_string(), "there is no member n9; members are n1");
    assert!(matches!(nodes[0].promote(1).await, Err(Refusal::Conflict { .. })));
    assert!(matches!(nodes[0].promote(7).await, Err(Refusal::NotFound { .. })));
    let same = nodes[0].control.change(tried("one", &["n1"], None)).await.unwrap();
    assert_eq!(
        (same.version, same.trial),
        (1, None),
        "where nothing changes there is nothing to try"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_named_is_asked_at_the_promotion_and_may_refuse_it() {
    let mut world = World::of(3);
    for n in [0, 2] {
        world.plans[n].listeners.push("partner".to_owned());
    }
    let nodes = world.start().await;
    nodes[0].put(&answering("before")).await.unwrap();
    let document = answering("tried").replace("hosts: ['*']", "hosts: ['*']\n    listen: [partner]");
    let mut change = request(whole(&document));
    change.trial.on = Some(vec!["n3".to_owned()]);
    let reply = nodes[0].control.change(change).await.unwrap();
    assert_eq!(reply.live, ["n3"]);
    let refused = nodes[0].promote(2).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::Invalid { .. }) && refused.to_string().contains("n2"),
        "{refused}"
    );
    assert_eq!(live(&nodes), [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_undoes_what_the_old_one_cannot_any_more() {
    let world = World::of(3);
    let mut nodes = world.start().await;
    nodes[0].put(&answering("before")).await.unwrap();
    nodes[0].control.change(tried("tried", &[], Some(2))).await.unwrap();
    let leader = nodes[0]
        .control
        .cluster(Freshness::Local)
        .await
        .unwrap()
        .leader
        .unwrap();
    let gone = nodes.iter().position(|node| node.name == leader).unwrap();
    nodes.remove(gone).stop().await;
    for node in &nodes {
        node.serves(3).await;
    }
    let back = start(&world.plans[gone]).await;
    back.serves(3).await;
    back.says(3, "before").await;
}
