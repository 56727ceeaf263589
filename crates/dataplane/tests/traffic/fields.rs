//! What a target is told, and what it is not.

use crate::backend::{Backend, field, ok};
use crate::client::Client;
use crate::node::{Node, forwarding, run};

#[test]
fn a_client_s_connection_options_stay_with_the_client() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for options in [
            "Connection: close\r\n",
            "Connection: close, X-Local\r\nX-Local: 1\r\n",
            "Connection: close\r\nKeep-Alive: timeout=1\r\nProxy-Connection: close\r\nTE: trailers\r\nUpgrade: foo\r\n",
        ] {
            for _ in 0..10 {
                let mut client = node.client().await;
                let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{options}\r\n")).await;
                let got = answer.text().to_lowercase();
                for gone in ["connection", "x-local", "keep-alive", "te:", "upgrade"] {
                    assert!(!got.contains(gone), "{gone} in {got}");
                }
                assert_eq!(answer.field("connection"), Some("close"));
                assert!(!client.end().await.reset);
            }
        }
        assert_eq!(backend.accepted(), 1);
    });
}

#[test]
fn nobody_names_a_field_away_that_the_message_needs() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for name in ["Host", "Content-Length", "Transfer-Encoding", "X-Forwarded-For", "Via"] {
            let mut client = node.client().await;
            client
                .say(format!(
                    "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: {name}\r\nContent-Length: 5\r\n\r\nhello"
                ))
                .await;
            let answer = client.answer().await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(field(answer.text(), "host"), Some("a.example"));
            assert_eq!(field(answer.text(), "content-length"), Some("5"));
            assert_eq!(field(answer.text(), "x-forwarded-for"), Some("127.0.0.1"));
            assert_eq!(field(answer.text(), "via"), Some("1.1 sluice"));
            assert!(answer.text().ends_with("\r\n\r\nhello"));
        }
    });
}

#[test]
fn what_a_stranger_says_of_the_client_does_not_reach_the_target() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        let answer = client
            .ask(
                "GET / HTTP/1.1\r\nHost: a.example:81\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
                 X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n\
                 X-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\n\r\n",
            )
            .await;
        let got = answer.text();
        for lie in ["1.2.3.4", "https", "evil.example", "mine"] {
            assert!(!got.contains(lie), "{lie} in {got}");
        }
        assert_eq!(field(got, "x-forwarded-proto"), Some("http"));
        assert_eq!(field(got, "x-forwarded-host"), Some("a.example:81"));
        assert_eq!(
            field(got, "x-forwarded-port"),
            Some(&*node.address().port().to_string())
        );
        assert_eq!(field(got, "x-request-id"), answer.field("x-request-id"));
    });
}

#[test]
fn forwarding_fields_stay_in_step_along_a_chain() {
    run(async {
        let backend = Backend::mirror().await;
        let second = format!(
            "upstreams: {{ a: {{ targets: [\"{}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    trusted_proxies: [127.0.0.1]\n    routes: [{{ path: /**, upstream: a }}]\n",
            backend.url()
        );
        let second = Node::new(&second);
        let first = Node::new(&forwarding(&format!("http://{}", second.address()), ""));
        let mut client = Client::on(connect_from("127.0.0.9", first.address()).await);
        let answer = client
            .ask("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\r\n")
            .await;
        let got = answer.text();
        assert_eq!(field(got, "x-forwarded-for"), Some("127.0.0.9, 127.0.0.1"));
        assert_eq!(field(got, "x-forwarded-host"), Some("shop.example"));
        assert_eq!(
            field(got, "x-forwarded-port"),
            Some(&*first.address().port().to_string())
        );
        let forwarded = field(got, "forwarded").unwrap();
        assert_eq!(forwarded.split(", ").count(), 2, "{forwarded}");
        assert!(!got.contains("1.2.3.4"));
        // The second took over the first's id, and the client has it too.
        assert_eq!(field(got, "x-request-id"), answer.field("x-request-id"));
        // Straight to the second, from an address that it does not trust.
        let mut client = Client::on(connect_from("127.0.0.9", second.address()).await);
        let answer = client
            .ask("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 1.2.3.4\r\nX-Request-Id: mine\r\n\r\n")
            .await;
        assert_eq!(field(answer.text(), "x-forwarded-for"), Some("127.0.0.9"));
        assert_ne!(answer.field("x-request-id"), Some("mine"));
    });
}

async fn connect_from(source: &str, to: std::net::SocketAddr) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

#[test]
fn an_answer_loses_the_fields_of_its_hop() {
    run(async {
        let backend = Backend::answering(|_| {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Request-Id: theirs\r\nX-End: 1\r\n\r\nok".to_owned()
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let answer = node.client().await.get("/").await;
        for gone in ["connection", "x-hop", "keep-alive"] {
            assert_eq!(answer.field(gone), None, "{gone}");
        }
        assert_eq!(answer.field("x-end"), Some("1"));
        assert_ne!(answer.field("x-request-id"), Some("theirs"));
    });
}

#[test]
fn a_gateway_tells_version_and_node_where_it_is_to() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = |expose| {
            format!(
                "upstreams: {{ a: {{ targets: [\"{}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    {expose}\n    routes: [{{ path: /a, upstream: a }}]\n",
                backend.url()
            )
        };
        let mut node = Node::new(&document("expose: [version, node]"));
        let mut client = node.client().await;
        for path in ["/a", "/none"] {
            let answer = client.get(path).await;
            assert_eq!(answer.field("sluice-version"), Some("1"), "{path}");
            assert_eq!(answer.field("sluice-node"), Some("n1"), "{path}");
        }
        node.publish(&document("expose: [node]"));
        let answer = client.get("/a").await;
        assert_eq!(
            (answer.field("sluice-version"), answer.field("sluice-node")),
            (None, Some("n1"))
        );
    });
}

#[test]
fn documents_change_fields_queries_and_paths_on_the_way() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(
            &backend.url(),
            ", request: { headers: { set: { X-Where: '${request.path}', X-Fixed: 'a' }, remove: [X-Old] }, query: { set: { q: '${request.headers[''x-old'']}' }, remove: [secret] } }, response: { headers: { set: { X-Rest: '${params.rest}' }, add: { X-More: '1' } } }, rewrite: { path: '/v2/${params.rest}' }",
        ));
        let mut client = node.client().await;
        let answer = client
            .ask("GET /a%20b/c?secret=1&x=2 HTTP/1.1\r\nHost: a\r\nX-Old: old one\r\n\r\n")
            .await;
        let got = answer.text();
        assert!(got.starts_with("GET /v2/a%20b/c?x=2&q=old%20one HTTP/1.1\r\n"), "{got}");
        assert_eq!(field(got, "x-where"), Some("/a%20b/c"));
        assert_eq!(field(got, "x-fixed"), Some("a"));
        assert_eq!(field(got, "x-old"), None);
        assert_eq!(answer.field("x-rest"), Some("a b/c"));
        assert_eq!(answer.field("x-more"), Some("1"));
    });
}

#[test]
fn a_stripped_prefix_leaves_the_target_byte_for_byte() {
    run(async {
        let backend = Backend::mirror().await;
        let document = format!(
            "upstreams: {{ base: {{ targets: [\"{0}/base\"] }}, a: {{ targets: [\"{0}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ path: /v1/test/service/**, upstream: base, rewrite: {{ strip_prefix: /v1/test/service }} }}\n      - {{ path: /shop/**, upstream: a, rewrite: {{ strip_prefix: /shop }} }}\n      - {{ path: '/items/{{id}}', upstream: a, rewrite: {{ path: '/items/${{params.id}}/show' }} }}\n      - {{ path: '/find/{{filter}}', upstream: a, rewrite: {{ path: '/customer?id=${{params.filter}}' }} }}\n",
            backend.url()
        );
        let node = Node::new(&document);
        let mut client = node.client().await;
        for (asked, seen) in [
            ("/v1/test/service?x=1&y=2", "/base?x=1&y=2"),
            ("/v1/test/service", "/base"),
            ("/v1/test/service/?x=1", "/base/?x=1"),
            ("/v1/test/service/leaf?", "/base/leaf?"),
            ("/shop/my%20file.txt", "/my%20file.txt"),
            ("/shop/caf%C3%A9", "/caf%C3%A9"),
            ("/shop/a%25b", "/a%25b"),
            ("/shop/a+b", "/a+b"),
            ("/items/12%203", "/items/12%203/show"),
            ("/items/%E2%82%AC", "/items/%E2%82%AC/show"),
            ("/find/customer%2Bme", "/customer?id=customer%2Bme"),
            ("/find/customer+me", "/customer?id=customer%2Bme"),
            ("/find/a%20b", "/customer?id=a%20b"),
            ("/find/a%26n%3D2", "/customer?id=a%26n%3D2"),
            ("/find/50%25", "/customer?id=50%25"),
        ] {
            let answer = client.get(asked).await;
            let target = answer.text().split(' ').nth(1).unwrap();
            assert_eq!(target, seen, "{asked}");
        }
    });
}

#[test]
fn one_normalised_path_decides_and_goes_on() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for (asked, seen) in [
            ("/a/../b/./c", "/b/c"),
            ("//a///b", "/a/b"),
            ("/%7Euser/%61%2f", "/~user/a%2F"),
            ("/a?x=../y&z=%2e", "/a?x=../y&z=%2e"),
            ("http://other.example/x?y", "/x?y"),
        ] {
            let answer = client.get(asked).await;
            assert_eq!(answer.text().split(' ').nth(1).unwrap(), seen, "{asked}");
        }
        let answer = client.get("http://other.example:81/x").await;
        assert_eq!(field(answer.text(), "host"), Some("other.example:81"));
    });
}

#[test]
fn routes_answer_and_redirect_by_themselves() {
    run(async {
        let node = Node::new(
            "gateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - { path: /hello, respond: { status: 418, json: { you: '${client.ip}' }, headers: { X-A: b } } }\n      - { path: '/old/**', redirect: { to: '/new/${params.rest}' } }\n",
        );
        let mut client = node.client().await;
        let answer = client.get("/hello").await;
        assert_eq!((answer.status, answer.text()), (418, "{\"you\":\"127.0.0.1\"}"));
        assert_eq!(
            (answer.field("x-a"), answer.field("content-type")),
            (Some("b"), Some("application/json"))
        );
        client.say("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = client.answer_to("HEAD").await.unwrap();
        assert_eq!(head.field("content-length"), Some("19"));
        let answer = client.get("/old/a%20b").await;
        assert_eq!((answer.status, answer.field("location")), (308, Some("/new/a%20b")));
        assert_eq!(client.get("/hello").await.status, 418);
    });
}

#[test]
fn max_forwards_of_options_and_trace_is_counted_down_and_at_0_the_gateway_answers() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ", methods: [GET, OPTIONS, TRACE]"));
        let mut client = node.client().await;
        let ask = |method: &str, left: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
        for (method, left, goes_on) in [
            ("OPTIONS", "3", "max-forwards: 2"),
            ("TRACE", "1", "max-forwards: 0"),
            ("GET", "0", "max-forwards: 0"),
        ] {
            let answer = client.ask(&ask(method, left)).await;
            assert_eq!(answer.status, 200);
            assert!(answer.text().to_lowercase().contains(goes_on), "{}", answer.text());
        }
        let before = backend.count();
        client.say(ask("OPTIONS", "0")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.field("allow")),
            (204, Some("GET, HEAD, OPTIONS, TRACE"))
        );
        let answer = client.ask(&ask("TRACE", "0")).await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
        assert_eq!(backend.count(), before);
    });
}
