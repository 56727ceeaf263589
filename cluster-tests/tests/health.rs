//! Targets that fail and come back: who asks them how they are, how often, and who gets requests.

use cluster_tests::document::with_routes;
use cluster_tests::wait::{beat, pass, within};
use cluster_tests::{Backend, Call, Cluster, World, rounds};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// How a [`Service`] is.
#[derive(Clone, Copy)]
enum Way {
    Well = 0,
    /// Its checks are answered 500.
    Ill = 1,
    /// Its checks are not answered.
    Hangs = 2,
}

/// A service whose checks go as they are told to, and whose other requests are always answered.
struct Service {
    backend: Backend,
    way: Arc<AtomicU8>,
}

impl Service {
    async fn at(at: SocketAddr) -> Self {
        let way = Arc::new(AtomicU8::new(0));
        let told = Arc::clone(&way);
        let backend = Backend::scripted(at, move |mut wire, journal, _| {
            let way = Arc::clone(&told);
            async move {
                while let Some(head) = wire.head().await? {
                    journal.note(&head);
                    let checked = head.target() != "/x";
                    let answer = match way.load(Ordering::Relaxed) {
                        1 if checked => "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
                        2 if checked => return std::future::pending().await,
                        _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                    };
                    wire.send(answer).await?;
                }
                Ok(())
            }
        })
        .await;
        Self { backend, way }
    }

    fn is(&self, way: Way) {
        self.way.store(way as u8, Ordering::Relaxed);
    }

    fn served(&self) -> usize {
        self.backend.journal().count_of("GET /x")
    }

    fn asked(&self, path: &str) -> usize {
        self.backend.journal().count_of(&format!("GET {path} "))
    }
}

/// An upstream `a` with these targets and this check, and a route to it.
fn checked(targets: &[String], active: &str) -> String {
    let rest = with_routes::<&str>(&[], &["{ path: '/**', upstream: a }"]);
    let targets = targets.join("', '");
    format!("upstreams:\n  a: {{ targets: ['{targets}'], balance: round_robin{active} }}\n{rest}")
}

fn active(path: &str, every: &str, unhealthy_after: u32) -> String {
    format!(
        ", health: {{ active: {{ path: {path}, every: {every}, unhealthy_after: {unhealthy_after}, healthy_after: 2 }} }}"
    )
}

async fn in_state(cluster: &Cluster, n: usize, state: &str, count: f64) {
    let what = format!("{count} targets of node {n} are {state}");
    within(Duration::from_secs(30), &what, || async {
        let label = format!("state=\"{state}\"");
        let found = cluster.admin(n).metric("sluice_upstream_targets", &[&label]).await;
        if found == count {
            Ok(())
        } else {
            Err(format!("{found} are"))
        }
    })
    .await;
}

/// So many requests to each node; all are answered.
async fn ask(cluster: &Cluster, times: usize) {
    for _ in 0..times {
        for node in cluster.nodes() {
            Call::get(node.http(), "/x").answer().await.expect(200);
        }
    }
}

async fn used_again(cluster: &Cluster, service: &Service, round: usize) {
    for n in 1..=3 {
        in_state(cluster, n, "healthy", 2.0).await;
    }
    let before = service.served();
    ask(cluster, 4).await;
    assert!(service.served() > before, "round {round}");
}

#[tokio::test]
async fn a_target_that_is_well_again_is_used_again_whatever_was_wrong() {
    let world = World::new();
    let first = world.service();
    let mut one = Service::at(first).await;
    let two = Service::at(world.service()).await;
    let mut cluster = Cluster::three(&world).await;
    let targets = [one.backend.url(), two.backend.url()];
    cluster.apply(&checked(&targets, &active("/healthz", "200ms", 2))).await;
    for n in 1..=3 {
        in_state(&cluster, n, "healthy", 2.0).await;
    }
    for round in 0..rounds(2, 10) {
        for way in [Way::Ill, Way::Hangs] {
            one.is(way);
            for n in 1..=3 {
                in_state(&cluster, n, "unhealthy", 1.0).await;
            }
            ask(&cluster, 4).await;
            one.is(Way::Well);
            used_again(&cluster, &one, round).await;
        }
        drop(one);
        for n in 1..=3 {
            in_state(&cluster, n, "unhealthy", 1.0).await;
        }
        ask(&cluster, 4).await;
        // One of those who ask is gone meanwhile.
        cluster.node_mut(3).kill();
        one = Service::at(first).await;
        cluster.restart(3).await;
        used_again(&cluster, &one, round).await;
        one.is(Way::Ill);
        two.is(Way::Ill);
        in_state(&cluster, 1, "unhealthy", 2.0).await;
        // All are used where none is left.
        ask(&cluster, 2).await;
        one.is(Way::Well);
        two.is(Way::Well);
        for n in 1..=3 {
            in_state(&cluster, n, "healthy", 2.0).await;
        }
    }
}

#[tokio::test]
async fn checks_go_on_through_changes_by_the_settings_in_force_once_for_each_node() {
    let world = World::new();
    let (well, dead) = (Service::at(world.service()).await, Service::at(world.service()).await);
    dead.is(Way::Ill);
    let mut cluster = Cluster::three(&world).await;
    let targets = [well.backend.url(), dead.backend.url()];
    cluster.apply(&checked(&targets, &active("/healthz", "300ms", 2))).await;
    for n in 1..=3 {
        in_state(&cluster, n, "unhealthy", 1.0).await;
    }
    // Verdicts on targets that stay are kept, in whatever order they stand.
    let (began, before) = (Instant::now(), well.asked("/healthz"));
    let mut beat = beat(Duration::from_millis(100));
    for round in 0..20 {
        beat.tick().await;
        let mut targets = targets.clone();
        targets.rotate_left(round % 2);
        let active = active("/healthz", "300ms", 2 + round as u32 % 3);
        cluster.apply(&checked(&targets, &active)).await;
        if round == 10 {
            cluster.node_mut(2).kill();
            cluster.restart(2).await;
        }
        for n in [1, 3] {
            in_state(&cluster, n, "unhealthy", 1.0).await;
        }
    }
    let asked = well.asked("/healthz") - before;
    let intervals = began.elapsed().as_secs_f64() / 0.3;
    // Three nodes ask once in each interval, one of them once more after its start; none is doubled by a change.
    let most = 3.0 * (intervals + 2.0);
    assert!((asked as f64) <= most, "{asked} checks in {intervals:.1} intervals");
    assert!(asked as f64 >= intervals, "{asked} checks in {intervals:.1} intervals");
    // Another path, from now on and alone.
    cluster.apply(&checked(&targets, &active("/live", "100ms", 2))).await;
    within(Duration::from_secs(30), "the new path is asked for", || async {
        if well.asked("/live") >= 6 {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    let old = well.asked("/healthz");
    let new = well.asked("/live");
    within(Duration::from_secs(30), "it goes on", || async {
        if well.asked("/live") >= new + 6 {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    assert!(
        well.asked("/healthz") <= old + 3,
        "each node may have had one under way"
    );
    // A target that is gone is in no metric, and no check comes without `active`.
    cluster.apply(&checked(&targets[..1], "")).await;
    for n in 1..=3 {
        in_state(&cluster, n, "unhealthy", 0.0).await;
        in_state(&cluster, n, "healthy", 1.0).await;
    }
    let (live, gone) = (well.asked("/live"), dead.asked("/live"));
    pass(Duration::from_millis(400)).await;
    assert!(well.asked("/live") <= live + 3 && dead.asked("/live") <= gone + 3);
}

#[tokio::test]
async fn checks_that_are_taken_away_put_back_or_of_a_renamed_upstream_are_made_by_what_holds_now() {
    let world = World::new();
    let (well, ill) = (Service::at(world.service()).await, Service::at(world.service()).await);
    ill.is(Way::Ill);
    let mut cluster = Cluster::three(&world).await;
    let targets = [well.backend.url(), ill.backend.url()];
    let with = checked(&targets, &active("/healthz", "100ms", 2));
    let asked_on = async |path: &str| {
        let before = well.asked(path);
        within(Duration::from_secs(30), "the checks go on", || async {
            match well.asked(path) >= before + 6 {
                true => Ok(()),
                false => Err("not yet"),
            }
        })
        .await;
    };
    for round in 0..rounds(2, 10) {
        cluster.apply(&with).await;
        for n in 1..=3 {
            in_state(&cluster, n, "unhealthy", 1.0).await;
        }
        asked_on("/healthz").await;
        // One of those who ask is gone while the checks are away, and comes back to find them there.
        cluster.node_mut(1 + round % 3).kill();
        cluster.restart(1 + round % 3).await;
        cluster.apply(&checked(&targets, "")).await;
        for n in 1..=3 {
            in_state(&cluster, n, "unhealthy", 0.0).await;
        }
    }
    let renamed = with
        .replace("\n  a:", "\n  renamed:")
        .replace("upstream: a ", "upstream: renamed ");
    cluster.apply(&with).await;
    cluster.apply(&renamed.replace("/healthz", "/live")).await;
    for n in 1..=3 {
        in_state(&cluster, n, "unhealthy", 1.0).await;
        let gone = cluster
            .admin(n)
            .metric("sluice_upstream_targets", &["upstream=\"a\""])
            .await;
        assert_eq!(gone, 0.0, "node {n} tells of an upstream that is gone");
    }
    let old = well.asked("/healthz");
    let (began, before) = (Instant::now(), well.asked("/live"));
    for _ in 0..3 {
        asked_on("/live").await;
    }
    let asked = well.asked("/live") - before;
    let most = 3.0 * (began.elapsed().as_secs_f64() / 0.1 + 2.0);
    assert!((asked as f64) <= most, "{asked} checks where {most} are due");
    assert!(
        well.asked("/healthz") <= old + 3,
        "each node may have had one under way"
    );
}
