//! Redis that is more than one server: Sentinels with their primary, a Cluster; and one that is too old.

use super::server::Server;
use super::slot::slot;
use super::*;
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn of_sentinel(sentinel: &Server, name: &str) -> RedisSettings {
    RedisSettings {
        sentinel: Some(name.to_owned()),
        ..settings(&sentinel.url())
    }
}

#[tokio::test]
async fn a_failover_of_sentinels_is_followed() {
    let mut primary = Server::start();
    let replica = Server::with(&["--replicaof", &format!("127.0.0.1 {}", primary.port())]);
    until(|| primary.cli(&["INFO", "replication"]).contains("state=online")).await;
    let sentinel = Server::sentinel(primary.port());
    until(|| sentinel.cli(&["SENTINEL", "REPLICAS", "main"]).contains("runid")).await;
    let driver = Driver::start(&of_sentinel(&sentinel, "main"));
    driver.reached().await;
    let before = driver.answered("").await;
    primary.kill();
    driver.away("").await;
    driver.reached().await;
    let after = driver.answered("").await;
    assert_ne!(before[1], after[1], "the promoted one is another life of the store");
    let info = replica.cli(&["INFO", "server"]);
    assert!(info.contains(&format!("run_id:{}", after[1])), "{after:?}");
}

#[tokio::test]
async fn a_primary_that_sentinels_move_while_it_lives_is_left_for_the_other() {
    let primary = Server::start();
    let replica = Server::with(&["--replicaof", &format!("127.0.0.1 {}", primary.port())]);
    until(|| primary.cli(&["INFO", "replication"]).contains("state=online")).await;
    let sentinel = Server::sentinel(primary.port());
    until(|| sentinel.cli(&["SENTINEL", "REPLICAS", "main"]).contains("runid")).await;
    let driver = Driver::start(&of_sentinel(&sentinel, "main"));
    driver.reached().await;
    until(|| sentinel.cli(&["SENTINEL", "FAILOVER", "main"]) == "OK").await;
    let wanted = run_of(&replica);
    soon(async {
        while driver.answered("").await[1] != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_told() {
    let primary = Server::start();
    let sentinel = Server::sentinel(primary.port());
    let driver = Driver::start(&of_sentinel(&sentinel, "mian"));
    driver.away("knows a primary named \"mian\"").await;
    Driver::at(&sentinel.url())
        .away("is a Sentinel: say the name of its primary")
        .await;
}

/// Three primaries that have a third of the slots each.
async fn cluster() -> Vec<Server> {
    let servers: Vec<Server> = (0..3)
        .map(|_| Server::with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]))
        .collect();
    let thirds = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
    for (server, (first, last)) in servers.iter().zip(thirds) {
        assert_eq!(server.cli(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "OK");
        let port = servers[0].port().to_string();
        assert_eq!(server.cli(&["CLUSTER", "MEET", "127.0.0.1", &port]), "OK");
    }
    let sound = |server: &Server| server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    until(|| servers.iter().all(sound)).await;
    servers
}

fn of_cluster(seed: &Server) -> RedisSettings {
    RedisSettings {
        cluster: true,
        ..settings(&seed.url())
    }
}

#[tokio::test]
async fn the_partitions_of_a_cluster_are_each_called_where_they_are() {
    let mut servers = cluster().await;
    let driver = Driver::start(&of_cluster(&servers[0]));
    let mut runs = BTreeSet::new();
    for partition in driver.redis.parts.all() {
        driver.reached_at(partition).await;
        let reply = driver.answered_at(partition, "here").await;
        assert_eq!(
            (&reply[0], reply[2].as_str()),
            (&driver.redis.names().epoch(partition), "here")
        );
        runs.insert(reply[1].clone());
    }
    assert_eq!(runs.len(), 3, "all primaries have partitions of ours");
    driver.is(|state| *state == StoreState::Reached).await;

    // What is published within a shard is heard.
    let mut news = driver.redis.news();
    let (partition, channel) = (Partition(3), driver.redis.names().channel(Partition(3)));
    until(|| driver.redis.parts.heard(partition)).await;
    servers[0].cli(&["-c", "SPUBLISH", &channel, "word"]);
    let word = News::Message(partition, Arc::from(*b"word"));
    soon(async { while news.recv().await != Ok(word.clone()) {} }).await;

    // One primary gone is the loss of its partitions alone.
    let slot_of = |partition| slot(driver.redis.names().tag(partition).as_bytes());
    let lost = driver.redis.parts.all().find(|partition| slot_of(*partition) > 10922);
    let kept = driver.redis.parts.all().find(|partition| slot_of(*partition) <= 5460);
    let (lost, kept) = (lost.expect("a third"), kept.expect("a third"));
    servers[0].cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    servers[1].cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    servers[2].kill();
    let mut reach = driver.redis.reach(lost);
    soon(reach.wait_for(|reach| *reach != Reach::Reached))
        .await
        .expect("the store is there");
    driver.answered_at(kept, "").await;
    driver.is(|state| matches!(state, StoreState::Away { .. })).await;
}

#[tokio::test]
async fn a_slot_that_moves_is_found_again() {
    let servers = cluster().await;
    let driver = Driver::start(&of_cluster(&servers[0]));
    let partition = Partition(0);
    driver.reached_at(partition).await;
    let slot = slot(driver.redis.names().tag(partition).as_bytes()).to_string();
    let keys = || {
        servers
            .iter()
            .any(|server| server.cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot]) != "0")
    };
    let before = driver.answered_at(partition, "").await[1].clone();
    let target = servers
        .iter()
        .find(|server| !server.cli(&["INFO", "server"]).contains(&before))
        .expect("two others");
    let id = target.cli(&["CLUSTER", "MYID"]);
    // A slot with keys would stay until these are moved too; ours is the check's, which runs out.
    for server in &servers {
        let ours = driver.redis.names().check(partition);
        server.cli(&["DEL", &ours]);
    }
    assert!(!keys(), "nothing is in the slot");
    let moving = servers
        .iter()
        .map(|server| server.port().to_string())
        .collect::<Vec<_>>();
    let moving = tokio::task::spawn_blocking(move || {
        for port in moving {
            let words = ["-p", &port, "CLUSTER", "SETSLOT", &slot, "NODE", &id];
            let output = std::process::Command::new("redis-cli").args(words).output();
            assert!(output.expect("redis-cli runs").stdout.starts_with(b"OK"));
        }
    });
    // The server ends our subscription by itself then, in the midst of calls: none may get what is another's.
    let texts: Vec<String> = (0..20).map(|call| call.to_string()).collect();
    soon(async {
        loop {
            let calls = texts.iter().map(|text| driver.echo_at(partition, text));
            let replies = futures_util::future::join_all(calls).await;
            let answered = replies
                .iter()
                .zip(&texts)
                .filter_map(|(reply, text)| Some((reply.as_ref().ok()?, text)));
            let moved = answered.filter(|(reply, text)| {
                assert_eq!(&reply[2], *text, "the reply of another call");
                reply[1] != before
            });
            if moved.count() == texts.len() {
                return;
            }
            // Calls that are not made at all take no time, and whoever mends that needs some.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    moving.await.expect("it was moved");
}

/// The run id of a server's process.
fn run_of(server: &Server) -> String {
    let info = server.cli(&["INFO", "server"]);
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    run.expect("it tells").trim().to_owned()
}

#[tokio::test]
async fn a_slot_that_is_on_its_way_is_asked_for_where_it_goes() {
    let mut servers = cluster().await;
    // One that has nothing: no partition of ours brings anybody there.
    let newcomer = Server::with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
    let port = servers[0].port().to_string();
    newcomer.cli(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    servers.push(newcomer);
    let is_one_of_four = |server: &Server| {
        let info = server.cli(&["CLUSTER", "INFO"]);
        info.contains("cluster_known_nodes:4") && info.contains("cluster_state:ok")
    };
    until(|| servers.iter().all(is_one_of_four)).await;
    let driver = Driver::start(&of_cluster(&servers[0]));
    for partition in driver.redis.parts.all() {
        driver.reached_at(partition).await;
    }
    let slot_of = |partition| slot(driver.redis.names().tag(partition).as_bytes());
    let of_third = |first: u16, last: u16| {
        let mut partitions = driver.redis.parts.all();
        partitions.find(|partition| (first..=last).contains(&slot_of(*partition)))
    };
    let moving = of_third(0, 5460).expect("a third");
    let other = of_third(5461, 10922).expect("a third");
    let (epoch, moved) = (driver.redis.names().epoch(moving), slot_of(moving).to_string());
    let ids: Vec<String> = servers.iter().map(|server| server.cli(&["CLUSTER", "MYID"])).collect();
    // To one that has partitions of ours, and calls of its own meanwhile; then to one that has none.
    for to in [1, 3] {
        let (source, target) = (&servers[0], &servers[to]);
        assert_eq!(source.cli(&["SET", &epoch, "here"]), "OK");
        assert_eq!(target.cli(&["CLUSTER", "SETSLOT", &moved, "IMPORTING", &ids[0]]), "OK");
        assert_eq!(source.cli(&["CLUSTER", "SETSLOT", &moved, "MIGRATING", &ids[to]]), "OK");
        let stays = driver.answered_at(moving, "it is here still").await;
        assert_eq!(stays[1], run_of(source));
        assert_eq!(source.cli(&["DEL", &epoch]), "1");
        let wanted = run_of(target);
        let texts: Vec<String> = (0..50).map(|call| call.to_string()).collect();
        let asked = texts.iter().map(|text| driver.answered_at(moving, text));
        let others = texts.iter().map(|text| driver.answered_at(other, text));
        let (asked, others) = futures_util::future::join(
            futures_util::future::join_all(asked),
            futures_util::future::join_all(others),
        )
        .await;
        for ((asked, other), text) in asked.iter().zip(&others).zip(&texts) {
            assert_eq!((&asked[1], &asked[2]), (&wanted, text));
            assert_eq!((&other[1], &other[2]), (&run_of(&servers[1]), text));
        }
        // Nothing is wrong with who sent them on.
        assert_eq!(*driver.redis.reach(moving).borrow(), Reach::Reached);
        for server in [source, target] {
            assert_eq!(server.cli(&["CLUSTER", "SETSLOT", &moved, "STABLE"]), "OK");
        }
        target.cli(&["DEL", &epoch]);
    }
}

/// Answers as Redis 5 does.
async fn ancient() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut heard = vec![0; 1024];
            while let Ok(read @ 1..) = client.read(&mut heard).await {
                let answer = if heard[..read].windows(5).any(|word| word == b"HELLO") {
                    "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n".to_owned()
                } else {
                    let info = "redis_version:5.0.14\r\nredis_mode:standalone\r\nrole:master\r\n";
                    format!("${}\r\n{info}\r\n", info.len())
                };
                if client.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_redis_that_is_too_old_is_told_with_its_version_and_the_one_that_is_needed() {
    let address = ancient().await;
    let driver = Driver::at(&format!("redis://{address}"));
    driver.away("is Redis 5.0.14; 6.0 or later is needed").await;
    assert_eq!(driver.echo("").await, Err(CallError::Away));
}
