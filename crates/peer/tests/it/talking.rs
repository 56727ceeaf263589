//! Nodes that belong together: calls, statuses, patience, restarts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::nodes::*;
use sluice_peer::{BindError, CallError, Lane, Link, Patience, Peer, Timings};

#[tokio::test]
async fn calls_are_answered_on_both_lanes_and_a_hello_tells_who_lives_there() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    for lane in [Lane::Control, Lane::Bulk] {
        for body in [vec![], b"hello".to_vec(), vec![3; 100_000]] {
            assert_eq!(
                a.call(&to(&b), lane, ECHO, body.clone(), patient()).await.unwrap(),
                body
            );
        }
    }
    let found = a.hello(&b.local_addr().to_string(), LONG).await.unwrap();
    assert_eq!(found, *b.identity());
    assert_eq!(
        found.peer,
        b.local_addr().to_string(),
        "an empty advertised address is the one listened on"
    );
}

#[tokio::test]
async fn a_refusal_a_panic_and_a_service_that_is_not_there_are_told_apart() {
    let (a, b) = (node("n1", 1).await, Link::bind(config("n2", 2)).await.unwrap());
    let call = |service| {
        let (a, b) = (a.clone(), to(&b));
        async move { a.call(&b, Lane::Control, service, vec![], patient()).await }
    };
    assert_eq!(call(ECHO).await, Err(CallError::Starting));
    b.serve(Arc::new(Echo::default()));
    assert_eq!(call(REFUSE).await, Err(CallError::Refused("n1 may not".into())));
    assert!(matches!(call(PANIC).await, Err(CallError::Refused(_))));
    assert_eq!(call(ECHO).await, Ok(vec![]), "a panic costs its call alone");
}

#[tokio::test]
async fn more_calls_than_places_all_get_their_own_answer() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let calls = (0..1000u32).map(|n| {
        let (a, b) = (a.clone(), to(&b));
        async move {
            let body = vec![n as u8; n as usize * 7];
            a.call(&b, Lane::Bulk, ECHO, body.clone(), patient()).await == Ok(body)
        }
    });
    assert!(
        futures_util::future::join_all(calls)
            .await
            .into_iter()
            .all(|right| right)
    );
}

#[tokio::test]
async fn large_messages_cross_both_ways_whole() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let peer = to(&b);
    let body: Vec<u8> = (0..30_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let answer = a
        .call(&peer, Lane::Bulk, ECHO, body.clone(), Patience::Progress(LONG))
        .await;
    assert!(answer.unwrap() == body);
    let limit = Lane::Control.max_message();
    let too_large = CallError::TooLarge {
        bytes: limit + 1,
        limit,
        lane: Lane::Control,
    };
    let asked = a.call(&peer, Lane::Control, ECHO, vec![0; limit + 1], patient()).await;
    assert_eq!(asked, Err(too_large.clone()));
    let answered = a
        .call(
            &peer,
            Lane::Control,
            GIVE,
            (limit + 1).to_string().into_bytes(),
            patient(),
        )
        .await;
    assert_eq!(answered, Err(too_large));
}

#[tokio::test]
async fn statuses_are_heard_at_once_on_change_and_kept_fresh() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let mut changed = b.heard_changed();
    a.set_audience(vec![to(&b), to(&a)]);
    a.tell(status("n1", 5));
    changed.wait_for(|n| *n > 0).await.unwrap();
    let first = b.heard().pop().unwrap();
    assert_eq!(
        (first.status.committed, first.status.id, &*first.identity),
        (5, a.identity().id, &*a.identity())
    );
    until("the same status is told again", || b.heard()[0].at > first.at).await;
    a.tell(status("n1", 6));
    until("the new status is heard", || b.heard()[0].status.committed == 6).await;
    assert!(a.heard().is_empty(), "nobody is told their own status");
}

#[tokio::test]
async fn a_scrape_sees_who_is_up() {
    let config = config("n2", 2);
    let metrics = config.metrics.clone();
    let (a, b) = (node("n1", 1).await, Link::bind(config).await.unwrap());
    a.set_audience(vec![to(&b)]);
    a.tell(status("n1", 5));
    until("the peer is up", || {
        metrics.encode(false).contains("sluice_peer_up{peer=\"n1\"} 1")
    })
    .await;
    a.shutdown().await;
    until("the peer is down", || {
        metrics.encode(false).contains("sluice_peer_up{peer=\"n1\"} 0")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_on_a_slow_line_does_not_hold_up_statuses_or_small_calls() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let relay = Relay::to(b.local_addr()).await;
    a.set_audience(vec![at(relay.address)]);
    a.tell(status("n1", 1));
    until("the status is heard", || !b.heard().is_empty()).await;
    // On the control lane itself, which is the harder case.
    relay.rate.store(20_000_000, Ordering::SeqCst);
    let big = {
        let (a, relay) = (a.clone(), at(relay.address));
        tokio::spawn(async move {
            a.call(
                &relay,
                Lane::Control,
                SIZE,
                vec![1; 30_000_000],
                Patience::Progress(LONG),
            )
            .await
        })
    };
    let before = relay.carried.load(Ordering::SeqCst);
    until("the message is on its way", || {
        relay.carried.load(Ordering::SeqCst) > before + 1_000_000
    })
    .await;
    for n in 2..6 {
        a.tell(status("n1", n));
        until("the status overtakes", || b.heard()[0].status.committed == n).await;
        a.call(&at(relay.address), Lane::Control, ECHO, vec![1], patient())
            .await
            .unwrap();
        assert!(!big.is_finished());
    }
    assert_eq!(big.await.unwrap().unwrap(), b"30000000");
}

#[tokio::test]
async fn a_slow_line_is_waited_for_while_bytes_move_and_given_up_when_they_stop() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let relay = Relay::to(b.local_addr()).await;
    let peer = at(relay.address);
    a.call(&peer, Lane::Bulk, ECHO, vec![], patient()).await.unwrap();
    relay.rate.store(400_000, Ordering::SeqCst);
    let began = Instant::now();
    let patience = Duration::from_millis(1500);
    let answer = a
        .call(
            &peer,
            Lane::Bulk,
            SIZE,
            vec![0; 1_500_000],
            Patience::Progress(patience),
        )
        .await;
    assert_eq!(answer.unwrap(), b"1500000");
    assert!(
        began.elapsed() > patience,
        "it took longer than the patience with standing still"
    );
    assert_eq!(
        a.call(
            &peer,
            Lane::Bulk,
            HANG,
            vec![],
            Patience::Progress(Duration::from_millis(50))
        )
        .await,
        Err(CallError::TooLate)
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_or_too_late_stops_over_there() {
    let (a, b) = (node("n1", 1).await, Link::bind(config("n2", 2)).await.unwrap());
    let echo = Arc::new(Echo::default());
    b.serve(Arc::clone(&echo) as Arc<_>);
    let hanging = || echo.hanging.load(Ordering::SeqCst);
    let call = {
        let (a, b) = (a.clone(), to(&b));
        tokio::spawn(async move { a.call(&b, Lane::Control, HANG, vec![], patient()).await })
    };
    until("it hangs", || hanging() == 1).await;
    call.abort();
    until("it was stopped", || hanging() == 0).await;
    let late = a
        .call(
            &to(&b),
            Lane::Control,
            HANG,
            vec![],
            Patience::Total(Duration::from_millis(50)),
        )
        .await;
    assert_eq!(late, Err(CallError::TooLate));
    until("it was stopped", || hanging() == 0).await;
    a.call(&to(&b), Lane::Control, ECHO, vec![], patient()).await.unwrap();
}

#[tokio::test]
async fn calls_of_a_node_that_goes_away_stop_being_served() {
    let (a, b) = (node("n1", 1).await, Link::bind(config("n2", 2)).await.unwrap());
    let echo = Arc::new(Echo::default());
    b.serve(Arc::clone(&echo) as Arc<_>);
    let call = {
        let (a, b) = (a.clone(), to(&b));
        tokio::spawn(async move { a.call(&b, Lane::Control, HANG, vec![], patient()).await })
    };
    until("it hangs", || echo.hanging.load(Ordering::SeqCst) == 1).await;
    a.shutdown().await;
    assert_eq!(call.await.unwrap(), Err(CallError::ShutDown));
    until("it was stopped", || echo.hanging.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_frozen_peer_is_found_out_and_reached_again_when_it_thaws() {
    let mut config = config("n1", 1);
    config.timings = Timings {
        ping: Duration::from_millis(50),
        silence: Duration::from_millis(400),
        handshake: Duration::from_millis(700),
        ..config.timings
    };
    let (a, b) = (Link::bind(config).await.unwrap(), node("n2", 2).await);
    let relay = Relay::to(b.local_addr()).await;
    let peer = at(relay.address);
    a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap();
    let call = {
        let (a, peer) = (a.clone(), peer.clone());
        tokio::spawn(async move { a.call(&peer, Lane::Control, HANG, vec![], patient()).await })
    };
    relay.freeze(true);
    let lost = call.await.unwrap().unwrap_err();
    assert!(
        matches!(&lost, CallError::Lost { why, .. } if why.contains("nothing was heard")),
        "{lost}"
    );
    assert!(lost.may_have_run());
    let dead = a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap_err();
    assert!(matches!(dead, CallError::Unreachable { .. }), "{dead}");
    assert!(!dead.may_have_run());
    relay.freeze(false);
    a.hello(&peer.address, LONG).await.unwrap();
    a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_stays_up_beyond_the_silence_that_is_death() {
    let mut config = config("n2", 2);
    config.timings.silence = Duration::from_millis(900);
    let (a, b) = (node("n1", 1).await, Link::bind(config).await.unwrap());
    let relay = Relay::to(b.local_addr()).await;
    a.hello(&relay.address.to_string(), LONG).await.unwrap();
    let first = relay.carried.load(Ordering::SeqCst);
    // Three pings and pongs, each a TLS record of more than 30 bytes.
    until("pings went over it", || {
        relay.carried.load(Ordering::SeqCst) > first + 200
    })
    .await;
    relay.cut();
    let lost = a.call(&at(relay.address), Lane::Control, ECHO, vec![], patient()).await;
    assert!(!matches!(lost, Err(CallError::TooLate)), "{lost:?}");
}

#[tokio::test]
async fn an_address_where_nobody_answers_fails_at_once_and_a_hello_tries_all_the_same() {
    let a = node("n1", 1).await;
    let b = Link::bind(config("n2", 2)).await.unwrap();
    let peer = to(&b);
    b.shutdown().await;
    let first = a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap_err();
    assert!(matches!(first, CallError::Unreachable { .. }), "{first}");
    let began = Instant::now();
    for _ in 0..1000 {
        a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap_err();
    }
    assert!(began.elapsed() < 10 * SECOND);

    let mut config = config("n2", 2);
    config.listen = peer.address.parse().unwrap();
    let b = Link::bind(config).await.unwrap();
    b.serve(Arc::new(Echo::default()));
    assert_eq!(a.hello(&peer.address, LONG).await.unwrap().name, "n2");
    a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap();
}

#[tokio::test]
async fn a_peer_whose_process_is_frozen_soon_costs_a_call_no_patience() {
    let mut config = config("n1", 1);
    config.timings.handshake = Duration::from_millis(200);
    let a = Link::bind(config).await.unwrap();
    // The system accepts for a process that never does.
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = at(frozen.local_addr().unwrap());
    let mut quick = 0;
    for _ in 0..1000 {
        let began = Instant::now();
        let error = a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
        quick = if began.elapsed() < Duration::from_millis(100) {
            quick + 1
        } else {
            0
        };
        if quick == 100 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("calls to a frozen peer kept waiting");
}

#[tokio::test]
async fn a_restarted_peer_is_told_our_status_again_without_anybody_asking() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let address = b.local_addr();
    a.set_audience(vec![to(&b)]);
    a.tell(status("n1", 5));
    until("the status is heard", || !b.heard().is_empty()).await;
    b.shutdown().await;
    drop(b);
    let mut config = config("n2", 2);
    config.listen = address;
    let b = Link::bind(config).await.unwrap();
    until("the status is heard again", || !b.heard().is_empty()).await;
}

#[tokio::test]
async fn another_node_at_the_address_is_the_wrong_peer_and_takes_no_call() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let (peer, address) = (to(&b), b.local_addr());
    a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap();
    b.shutdown().await;
    drop(b);
    let mut config = config("n2", 22);
    config.listen = address;
    let echo = Arc::new(Echo::default());
    let b = Link::bind(config).await.unwrap();
    b.serve(Arc::clone(&echo) as Arc<_>);
    assert_eq!(a.hello(&peer.address, LONG).await.unwrap().id.0, 22);
    let wrong = a.call(&peer, Lane::Control, ECHO, vec![], patient()).await;
    let expected = CallError::WrongPeer {
        address: peer.address.clone(),
        expected: peer.id.unwrap(),
        found: b.identity().id,
        found_name: "n2".into(),
    };
    assert_eq!(wrong, Err(expected));
    assert_eq!(echo.served.load(Ordering::SeqCst), 0);
    a.call(&at(address), Lane::Control, ECHO, vec![], patient())
        .await
        .unwrap();
}

#[tokio::test]
async fn host_names_and_ipv6_addresses_are_dialled() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let address = format!("localhost:{}", b.local_addr().port());
    assert_eq!(a.hello(&address, LONG).await.unwrap().name, "n2");
    let mut config = config("n3", 3);
    config.listen = "[::1]:0".parse().unwrap();
    // A machine without IPv6 has nothing to show here.
    let Ok(c) = Link::bind(config).await else { return };
    assert_eq!(a.hello(&c.local_addr().to_string(), LONG).await.unwrap().name, "n3");
}

#[tokio::test]
async fn an_address_that_is_none_says_what_one_is() {
    let a = node("n1", 1).await;
    let error = a.hello("no such place", LONG).await.unwrap_err();
    assert!(error.to_string().contains("host:port"), "{error}");
}

#[tokio::test]
async fn a_shutdown_lets_answers_out_frees_the_port_and_fails_what_comes_later() {
    let (a, b) = (node("n1", 1).await, Link::bind(config("n2", 2)).await.unwrap());
    let echo = Arc::new(Echo::default());
    b.serve(Arc::clone(&echo) as Arc<_>);
    let call = {
        let (a, b) = (a.clone(), to(&b));
        tokio::spawn(async move { a.call(&b, Lane::Control, LATER, vec![], patient()).await })
    };
    until("it is being served", || echo.hanging.load(Ordering::SeqCst) == 1).await;
    let going = {
        let b = b.clone();
        tokio::spawn(async move { b.shutdown().await })
    };
    until("it leaves", || std::net::TcpStream::connect(b.local_addr()).is_err()).await;
    echo.release.notify_one();
    assert_eq!(call.await.unwrap(), Ok(b"later".to_vec()));
    going.await.unwrap();
    assert_eq!(
        b.call(&to(&a), Lane::Control, ECHO, vec![], patient()).await,
        Err(CallError::ShutDown)
    );
    let mut config = config("n2", 2);
    config.listen = b.local_addr();
    Link::bind(config).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_told_as_such() {
    let a = node("n1", 1).await;
    let mut config = config("n2", 2);
    config.listen = a.local_addr();
    assert!(matches!(Link::bind(config).await, Err(BindError::InUse { .. })));
}

#[tokio::test]
async fn a_link_ends_with_its_last_handle() {
    let a = node("n1", 1).await;
    let address = a.local_addr();
    let other = a.clone();
    drop(a);
    std::net::TcpStream::connect(address).unwrap();
    drop(other);
    until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
}

#[tokio::test]
async fn an_unused_connection_is_closed() {
    let mut config = config("n1", 1);
    config.timings.unused = Duration::from_millis(100);
    let (a, b) = (Link::bind(config).await.unwrap(), node("n2", 2).await);
    let relay = Relay::to(b.local_addr()).await;
    let peer = Peer {
        id: None,
        address: relay.address.to_string(),
    };
    let mut carried = 0;
    a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap();
    // Silent for longer than two pings take: nobody pings any more.
    let mut quiet_since = Instant::now();
    until("it is quiet", || {
        let now = relay.carried.load(Ordering::SeqCst);
        if now != carried {
            (carried, quiet_since) = (now, Instant::now());
        }
        quiet_since.elapsed() > Duration::from_millis(1500)
    })
    .await;
    a.call(&peer, Lane::Control, ECHO, vec![], patient()).await.unwrap();
}
