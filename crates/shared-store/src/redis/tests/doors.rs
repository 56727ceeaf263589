//! Whom a Redis lets in, and what it must be.

use super::server::Server;
use super::*;
use std::path::PathBuf;

fn password_file(server: &Server, password: &str) -> PathBuf {
    let path = server.path("password");
    std::fs::write(&path, format!("{password}\n")).expect("a file");
    path
}

#[tokio::test]
async fn a_password_is_wanted_refused_and_taken_once_it_is_right() {
    let server = Server::with(&["--requirepass", "right"]);
    let driver = Driver::at(&server.url());
    driver.away("wants a password: set redis.password_file").await;
    let file = password_file(&server, "wrong");
    let settings = RedisSettings {
        password_file: Some(file.clone()),
        ..settings(&server.url())
    };
    let driver = Driver::start(&settings);
    driver.away("refuses user default with this password").await;
    assert_eq!(driver.echo("").await, Err(CallError::Away));
    password_file(&server, "right");
    driver.reached().await;
    // It is changed on both sides, and connections of before are ended.
    password_file(&server, "new");
    server.cli(&[
        "-a",
        "right",
        "--no-auth-warning",
        "CONFIG",
        "SET",
        "requirepass",
        "new",
    ]);
    server.cli(&["-a", "new", "--no-auth-warning", "CLIENT", "KILL", "TYPE", "pubsub"]);
    driver.answered("").await;
}

#[tokio::test]
async fn a_password_file_that_is_not_there_is_named() {
    let server = Server::start();
    let settings = RedisSettings {
        password_file: Some(PathBuf::from("/nowhere/redis-password")),
        ..settings(&server.url())
    };
    let driver = Driver::start(&settings);
    driver
        .away("redis.password_file /nowhere/redis-password cannot be read")
        .await;
}

#[tokio::test]
async fn an_acl_user_needs_few_rights_and_is_told_which_it_lacks() {
    let server = Server::start();
    let rights = ["+info", "+evalsha", "+eval", "+set", "+subscribe", "~sl:*", "&sl:*"];
    let user = |rights: &[&str]| {
        let mut words = vec!["ACL", "SETUSER", "sluice", "reset", "on", ">secret"];
        words.extend(rights);
        assert_eq!(server.cli(&words), "OK");
    };
    user(&rights);
    let settings = RedisSettings {
        user: Some("sluice".to_owned()),
        password_file: Some(password_file(&server, "secret")),
        ..settings(&server.url())
    };
    let driver = Driver::start(&settings);
    driver.reached().await;
    assert_eq!(driver.answered("in").await[2], "in");
    user(&rights[1..]);
    let driver = Driver::start(&settings);
    driver.away("does not let user sluice do what is needed: NOPERM").await;
    user(&rights[..5]);
    let driver = Driver::start(&settings);
    driver.away("does not let user sluice do what is needed").await;
}

#[tokio::test]
async fn a_replica_a_sentinel_and_a_node_of_a_cluster_are_not_taken_for_a_primary() {
    let primary = Server::start();
    let port = primary.port().to_string();
    let replica = Server::with(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let driver = Driver::at(&replica.url());
    driver
        .away(&format!("is a read-only replica of 127.0.0.1:{port}"))
        .await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    driver.reached().await;

    let node = Server::with(&["--cluster-enabled", "yes"]);
    Driver::at(&node.url())
        .away("is a node of a Redis Cluster: set redis.cluster")
        .await;
    let settings = RedisSettings {
        cluster: true,
        ..settings(&primary.url())
    };
    Driver::start(&settings).away("is not a node of a Redis Cluster").await;
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_left() {
    let server = Server::start();
    let driver = Driver::at(&server.url());
    driver.reached().await;
    let other = Server::start();
    server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    driver.away("is a read-only replica").await;
}
