//! Plain forwarding: targets, fields, bodies.

use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run};

#[test]
fn a_request_reaches_its_target_and_the_answer_its_client() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for i in 0..3 {
            let answer = client.get(&format!("/a/{i}?b=c")).await;
            assert_eq!(answer.status, 200);
            assert!(
                answer.text().starts_with(&format!("GET /a/{i}?b=c HTTP/1.1\r\n")),
                "{}",
                answer.text()
            );
            assert!(answer.field("x-request-id").is_some());
        }
        assert_eq!(backend.accepted(), 1);
        assert_eq!(node.dataplane.connections(), 1);
    });
}

#[test]
fn bodies_stream_both_ways_in_every_size_and_framing() {
    run(async {
        let backend = Backend::answering(|got| {
            ok(&format!(
                "{} {}",
                got.field("content-length").unwrap_or("chunked"),
                got.body.len()
            ))
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", max_body: none"));
        let mut client = node.client().await;
        for size in [0usize, 1, 8_192, 65_537, 3_000_000] {
            let body = vec![b'x'; size];
            client
                .say(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"))
                .await;
            client.say(&body).await;
            assert_eq!(client.answer().await.unwrap().text(), format!("{size} {size}"));
            client
                .say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for chunk in body.chunks(100_000) {
                client.say(format!("{:x}\r\n", chunk.len())).await;
                client.say(chunk).await;
                client.say("\r\n").await;
            }
            client.say("0\r\n\r\n").await;
            let answer = client.answer().await.unwrap();
            assert!(answer.text().starts_with("chunked "), "{}", answer.text());
        }
        assert_eq!(backend.accepted(), 1);
    });
}
