//! What happens, told to who listens, over real links and disks.

use crate::world::{World, answering, request, whole};
use sluice_control::Hears;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_to_who_listens_and_again_to_who_comes_back() {
    let world = World::of(1);
    let nodes = world.start().await;
    let control = &nodes[0].control;
    nodes[0].put(&answering("one")).await.unwrap();
    let mut listener = control.listen(None);
    let mut until = async |what: &str| loop {
        match tokio::time::timeout(Duration::from_secs(30), listener.next())
            .await
            .unwrap()
        {
            Hears::Event(event) if event.data.contains(what) => return event,
            Hears::Event(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let last = until("\"version\":1").await;
    let mut tried = request(whole(&answering("two")));
    tried.trial.on = Some(vec!["n1".to_owned()]);
    control.change(tried).await.unwrap();
    assert_eq!(until("\"on\":[\"n1\"]").await.kind, "version");
    assert_eq!(until("\"node\":\"n1\",\"version\":2").await.kind, "live");

    let mut again = control.listen(Some(&last.id));
    let Hears::Event(next) = again.next().await else {
        panic!()
    };
    assert!(next.id != last.id && !next.data.contains("leader"), "{next:?}");
    let mut ends = control.listen(None);
    control.set_draining(true);
    while ends.next().await != Hears::End {}
}
