//! What a Redis and the way to it may do to a node.

use super::proxy::{Manner, Proxy};
use super::server::Server;
use super::*;
use crate::backend::News;

#[tokio::test]
async fn a_call_reaches_redis_with_the_run_id_of_its_process() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    let reply = driver.answered("hello").await;
    let info = server.cli(&["INFO", "server"]);
    assert_eq!(reply[0], driver.redis.names().epoch(Partition(0)));
    assert!(info.contains(&format!("run_id:{}", reply[1])), "{reply:?} in {info}");
    assert_eq!(reply[2], "hello");
}

#[tokio::test]
async fn every_script_is_known_before_the_first_call() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    let mut words = vec!["SCRIPT", "EXISTS"];
    words.extend(scripts::ALL.iter().map(|script| script.hash()));
    let known = server.cli(&words);
    assert_eq!(known.lines().collect::<Vec<_>>(), vec!["1"; scripts::ALL.len()]);
}

#[tokio::test]
async fn a_flushed_script_cache_fails_no_call() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    for round in 0..5 {
        server.cli(&["SCRIPT", "FLUSH"]);
        // All of these travel together, and each finds the script unknown.
        let texts: Vec<String> = (0..10).map(|call| format!("{round}-{call}")).collect();
        let calls = texts.iter().map(|text| driver.answered(text));
        for (reply, text) in futures_util::future::join_all(calls).await.into_iter().zip(&texts) {
            assert_eq!(&reply[2], text);
        }
    }
}

#[tokio::test]
async fn a_killed_redis_is_not_asked_and_used_again_when_it_is_back() {
    let mut server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    let before = driver.answered("").await[1].clone();
    server.kill();
    driver.away("Connection refused").await;
    assert_eq!(driver.echo("").await, Err(CallError::Away));
    assert_eq!(driver.counted("sluice_store_up"), 0);
    server.restart();
    driver.reached().await;
    let after = driver.answered("").await[1].clone();
    assert_ne!(before, after, "another process is another life of the store");
    assert!(driver.counted("sluice_store_reconnects_total") >= 1);
}

#[tokio::test]
async fn a_frozen_redis_is_as_dead_as_a_dead_one_and_nobody_need_call_to_notice() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    server.freeze();
    driver.away("did not answer within 20 ms").await;
    assert_eq!(driver.echo("").await, Err(CallError::Away));
    server.thaw();
    driver.reached().await;
    driver.answered("").await;
}

#[tokio::test]
async fn the_decision_to_stop_asking_comes_once_for_all_calls() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    server.freeze();
    let mut rounds = 0;
    while driver.redis.reach(Partition(0)).borrow().clone() == Reach::Reached {
        let calls = (0..50).map(|_| driver.echo(""));
        futures_util::future::join_all(calls).await;
        rounds += 1;
        tokio::task::yield_now().await;
    }
    assert!(rounds <= 3, "{rounds} rounds of calls waited");
    let late = driver.counted("sluice_store_calls_total{kind=\"echo\",result=\"late\"}");
    futures_util::future::join_all((0..50).map(|_| driver.echo(""))).await;
    let still = driver.counted("sluice_store_calls_total{kind=\"echo\",result=\"late\"}");
    assert_eq!(late, still, "nobody waits from then on");
    server.thaw();
}

#[tokio::test]
async fn a_slow_redis_is_not_asked_until_it_is_quick_again() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let driver = Driver::at(&proxy.url());
    driver.reached().await;
    proxy.be(Manner::Slow(Duration::from_millis(200)));
    driver.away("did not answer within 20 ms").await;
    proxy.be(Manner::Faithful);
    driver.reached().await;
    driver.answered("").await;
}

#[tokio::test]
async fn half_a_reply_and_then_nothing_is_noticed_and_the_connection_replaced() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let driver = Driver::at(&proxy.url());
    driver.reached().await;
    proxy.be(Manner::Half);
    driver.away("did not answer").await;
    // The old connection stays as it is: only another one helps.
    proxy.be(Manner::Faithful);
    driver.reached().await;
    driver.answered("").await;
    assert!(proxy.accepted() >= 2);
}

#[tokio::test]
async fn a_proxy_that_accepts_and_never_answers_is_asked_seldom() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    proxy.be(Manner::Silent);
    let driver = Driver::at(&proxy.url());
    driver.away("did not answer within 1000 ms").await;
    assert!(proxy.accepted() <= 4, "{} connections", proxy.accepted());
    proxy.be(Manner::Faithful);
    driver.reached().await;
}

#[tokio::test]
async fn a_proxy_that_closes_at_once_is_outlived() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let driver = Driver::at(&proxy.url());
    driver.reached().await;
    for _ in 0..3 {
        proxy.be(Manner::Closing);
        driver.away("").await;
        proxy.be(Manner::Faithful);
        driver.reached().await;
    }
    driver.answered("").await;
}

#[tokio::test]
async fn killed_connections_come_back() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    for _ in 0..10 {
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        driver.answered("").await;
    }
    assert!(driver.counted("sluice_store_reconnects_total") >= 10);
}

#[tokio::test]
async fn nothing_is_left_open_when_the_store_is_dropped() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    let clients = || server.cli(&["CLIENT", "LIST"]).lines().count();
    assert_eq!(clients(), 2, "ours, and that of who asks");
    drop(driver);
    until(|| clients() == 1).await;
}

#[tokio::test]
async fn what_is_published_is_heard_and_heard_again_after_an_outage() {
    let mut server = Server::start();
    let driver = Driver::at(&server.url());
    let mut news = driver.redis.news();
    let channel = driver.redis.names().channel(Partition(0));
    assert_eq!(soon(news.recv()).await, Ok(News::Heard(Partition(0))));
    server.cli(&["PUBLISH", &channel, "one"]);
    assert_eq!(
        soon(news.recv()).await,
        Ok(News::Message(Partition(0), Arc::from(*b"one")))
    );
    server.kill();
    assert_eq!(soon(news.recv()).await, Ok(News::Unheard(Partition(0))));
    assert!(!driver.redis.parts.heard(Partition(0)));
    server.restart();
    assert_eq!(soon(news.recv()).await, Ok(News::Heard(Partition(0))));
    assert!(driver.redis.parts.heard(Partition(0)));
    server.cli(&["PUBLISH", &channel, "two"]);
    assert_eq!(
        soon(news.recv()).await,
        Ok(News::Message(Partition(0), Arc::from(*b"two")))
    );
}

#[tokio::test]
async fn a_full_redis_that_refuses_to_write_is_not_asked_and_says_so() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    driver.away("is out of memory and refuses to write").await;
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    driver.reached().await;
}

#[tokio::test]
async fn a_full_redis_is_not_asked_though_it_answers_what_writes_nothing() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    let header = Header {
        from: ledger::From::new("n1", 1),
        epoch: 0,
        local: false,
        live: 1,
        without: 0,
    };
    // The epoch is there from now on: later rounds have nothing to change in it.
    soon(async { while driver.redis.limits(Partition(0), &header, &[]).await.is_err() {} }).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let busy = async {
        loop {
            let round = driver.redis.limits(Partition(0), &header, &[]).await;
            assert!(round.is_err(), "a round that needs no memory is served: {round:?}");
            let _ = driver.echo("").await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = driver.away("is out of memory and refuses to write") => {}
        () = busy => {}
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    driver.reached().await;
    driver.answered("").await;
}

#[tokio::test]
async fn a_redis_that_evicts_any_key_is_used_and_doubted() {
    let server = Server::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let driver = Driver::at(&server.url());
    driver.reached().await;
    let doubted = driver.is(|state| matches!(state, StoreState::Doubted { .. })).await;
    let StoreState::Doubted { why, .. } = doubted else {
        unreachable!("it was just seen")
    };
    assert!(why.contains("maxmemory-policy allkeys-lru"), "{why}");
    let sound = Server::start();
    let driver = Driver::at(&sound.url());
    driver.is(|state| *state == StoreState::Reached).await;
}

#[tokio::test]
async fn how_the_store_is_is_told_with_the_reason_and_since_when() {
    let mut server = Server::start();
    let driver = Driver::at(&server.url());
    driver.is(|state| *state == StoreState::Reached).await;
    server.kill();
    let refused =
        |state: &StoreState| matches!(state, StoreState::Away { why, .. } if why.contains("Connection refused"));
    let StoreState::Away { since, .. } = driver.is(refused).await else {
        unreachable!("it was just seen")
    };
    // Somebody who never answers sits there now.
    let _mute = std::net::TcpListener::bind(("127.0.0.1", server.port())).expect("the port is free");
    let late = |state: &StoreState| matches!(state, StoreState::Away { why, .. } if why.contains("did not answer"));
    let StoreState::Away { since: still, .. } = driver.is(late).await else {
        unreachable!("it was just seen")
    };
    assert_eq!(since, still, "it is the same outage");
}
