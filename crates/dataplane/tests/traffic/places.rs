//! Limits of what is under way: places are held as long as a request is, and given back whoever ends it.

use crate::backend::{Backend, ok};
use crate::client::{Answer, Client};
use crate::limits::{ask, body};
use crate::node::{Node, forwarding, run, until};
use crate::upgrade::{echo, handshake};

/// Asks until the limit of places knows of its places: where the machine is busy, a node that has to ask for one may hear
/// too late. Who is refused has taken none.
async fn answer(node: &Node, request: &str) -> (Client, Answer) {
    loop {
        let mut client = node.client().await;
        client.say(request).await;
        let answer = client.answer_to(request.split(' ').next().unwrap()).await.unwrap();
        if !answer.text().contains("too_many_in_flight") {
            return (client, answer);
        }
    }
}

/// The same for a request whose answer goes on: its head has come.
async fn begin(node: &Node, request: &str, status: u16) -> Client {
    loop {
        let mut client = node.client().await;
        client.say(request).await;
        match client.head().await.unwrap().0 {
            429 => {}
            other => {
                assert_eq!(other, status);
                return client;
            }
        }
    }
}

#[test]
fn a_refused_request_costs_the_other_limits_nothing() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = format!(
            "upstreams: {{ a: {{ targets: [\"{}\"] }} }}
gateways:
  web:
    hosts: [\"*\"]
    rate_limits: [{{ name: all, limit: 5, per: 1m, delay: 10s, key: \"'all'\" }}]
    concurrency: [{{ name: at-once, limit: 50, key: \"'all'\" }}]
    routes:
      - {{ id: narrow, path: /narrow, upstream: a, rate_limits: [{{ name: narrow, limit: 2, per: 1m, delay: 10s }}] }}
      - {{ id: wide, path: /wide, upstream: a }}
",
            backend.url()
        );
        let node = Node::new(&document);
        let mut client = node.client().await;
        let first = answer(&node, "GET /narrow HTTP/1.1\r\nHost: a\r\n\r\n").await.1;
        assert_eq!(first.status, 200);
        assert_eq!(ask(&mut client, "/narrow", 5).await, [200, 429, 429, 429, 429]);
        let refused = client.get("/narrow").await;
        assert_eq!(body(&refused)["policy"], "narrow");
        let told = refused.field("ratelimit").unwrap();
        assert!(told.starts_with(r#""narrow";r=0;t="#), "the refusing one first: {told}");
        assert!(told.contains(r#""all";r=3;"#), "{told}");
        assert_eq!(ask(&mut client, "/wide", 4).await, [200, 200, 200, 429]);
        let refused = client.get("/wide").await;
        assert_eq!(body(&refused)["scope"], "gateways/web");
        // Of the places, of which this node may know one less than there are, none is kept by those that were refused.
        let told = refused.field("ratelimit").unwrap();
        let places = told.split(r#""at-once";r="#).nth(1).unwrap();
        assert!(places.parse::<u64>().unwrap() >= 48, "{told}");
    });
}

#[test]
fn a_refused_handshake_has_the_status_of_a_plain_request() {
    run(async {
        let backend = Backend::new(echo).await;
        let node = Node::new(&forwarding(
            &backend.url(),
            ", concurrency: [{ name: at-once, limit: 1, key: \"'all'\" }]",
        ));
        let tunnel = begin(&node, &handshake("/chat"), 101).await;
        for request in [handshake("/chat"), "GET /chat HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()] {
            let refused = node.client().await.ask(&request).await;
            assert_eq!((refused.status, refused.code()), (429, "too_many_in_flight".to_owned()));
            assert_eq!(refused.field("ratelimit"), Some(r#""at-once";r=0"#));
            assert_eq!(
                refused.field("ratelimit-policy"),
                Some(r#""at-once";q=1;qu="concurrent-requests""#)
            );
            assert!(refused.field("retry-after").is_some());
        }
        // The tunnel holds its place as long as it lives.
        drop(tunnel);
        until("the tunnel is over", || {
            node.metric("sluice_connections{listener=\"public\",state=\"tunnel\"}") == 0.0
        })
        .await;
        let again = begin(&node, &handshake("/chat"), 101).await;
        drop(again);
    });
}

/// A document with one place, in whose ways requests end in many manners.
fn one_place(url: &str, dead: &str) -> String {
    format!(
        "upstreams:
  a: {{ targets: [\"{url}\"] }}
  dead: {{ targets: [\"{dead}\"] }}
gateways:
  web:
    hosts: [\"*\"]
    concurrency: [{{ name: at-once, limit: 1, key: \"'all'\" }}]
    routes:
      - {{ path: /**, upstream: a, max_body: 10B, timeout: {{ first_byte: 50ms }} }}
      - {{ path: /dead, upstream: dead }}
      - {{ path: /text, respond: {{ text: hello }} }}
      - {{ path: /limited, upstream: a, rate_limits: [{{ name: none, limit: 1, per: 1h, delay: 10s, on_failure: local }}] }}
      - {{ path: /no-upgrade, upstream: a, upgrade: [] }}
"
    )
}

#[test]
fn a_place_is_given_back_whoever_ends_the_request() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                match got.target() {
                    "/404" => conn.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
                    "/500" => conn.say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await,
                    "/malformed" => conn.say("HTTP/1.1 banana\r\n\r\n").await,
                    "/reset" => return conn.reset(),
                    "/silent" => conn.never().await,
                    "/half" => {
                        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
                        conn.never().await;
                    }
                    "/cut" => {
                        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
                        return conn.reset();
                    }
                    _ => conn.say(ok("ok")).await,
                }
            }
        })
        .await;
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere = format!("http://{}", dead.local_addr().unwrap());
        drop(dead);
        let node = Node::new(&one_place(&backend.url(), &nowhere));
        let over = || async {
            until("it is over", || {
                node.metric("sluice_connections{listener=\"public\",state=\"active\"}") == 0.0
            })
            .await;
            // The one place is there again.
            let (client, answer) = answer(&node, "GET /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(
                (answer.status, answer.field("ratelimit")),
                (200, Some(r#""at-once";r=0"#))
            );
            drop(client);
            until("and that is over", || {
                node.metric("sluice_connections{listener=\"public\",state=\"active\"}") == 0.0
            })
            .await;
        };
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        for (request, status) in [
            (get("/"), 200),
            (get("/404"), 404),
            (get("/500"), 500),
            (get("/malformed"), 502),
            (get("/reset"), 502),
            (get("/silent"), 504),
            (get("/dead"), 502),
            (get("/text"), 200),
            (get("/limited"), 200),
            (get("/limited"), 429),
            (handshake("/no-upgrade"), 501),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world".to_owned(),
                413,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n".to_owned(),
                400,
            ),
            (
                "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n".to_owned(),
                204,
            ),
            ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 200),
        ] {
            let (client, answer) = answer(&node, &request).await;
            assert_eq!(answer.status, status, "{request}: {}", answer.text());
            drop(client);
            over().await;
        }
        // The client is gone before the answer, and in the middle of it; the service in the middle of it.
        let mut client = node.client().await;
        client.say(get("/silent")).await;
        let silent = || {
            backend
                .heads()
                .iter()
                .filter(|head| head.starts_with("GET /silent"))
                .count()
        };
        until("the service has it", || silent() == 2).await;
        client.reset();
        over().await;
        begin(&node, &get("/half"), 200).await.reset();
        over().await;
        let mut client = begin(&node, &get("/cut"), 200).await;
        client.end().await;
        drop(client);
        over().await;
        assert_eq!(node.metric("sluice_panics_total"), 0.0);
    });
}

#[test]
fn a_place_is_held_to_the_last_byte_of_the_answer() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                if got.target() == "/stream" {
                    conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                        .await;
                    let go_on = conn.request().await;
                    drop(go_on);
                    conn.say("0\r\n\r\n").await;
                } else {
                    conn.say(ok("ok")).await;
                }
            }
        })
        .await;
        let node = Node::new(&forwarding(
            &backend.url(),
            ", concurrency: [{ name: at-once, limit: 2, key: \"'all'\" }]",
        ));
        let stream = "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n";
        let streams = [begin(&node, stream, 200).await, begin(&node, stream, 200).await];
        let mut client = node.client().await;
        assert_eq!(
            client.get("/").await.status,
            429,
            "two answers have begun and not ended"
        );
        let [one, two] = streams;
        one.reset();
        until("one is over", || {
            node.metric("sluice_connections{listener=\"public\",state=\"active\"}") == 1.0
        })
        .await;
        assert_eq!(answer(&node, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.1.status, 200);
        drop(two);
    });
}
