//! Fields: who is behind it, what stays with the hop, what is moved.

use crate::{in_front_of, raw};
use cluster_tests::document::with_routes;
use cluster_tests::{Answer, Call, Cluster, World};
use std::net::SocketAddr;

#[tokio::test]
async fn forwarding_fields_stay_in_step_along_a_chain() {
    let world = World::new();
    let echo = world.echo("a").await;
    // Two nodes of two clusters: the first trusts nobody, the second believes the first.
    let (first, second) = (World::new(), Cluster::one(&world).await);
    let front = Cluster::one(&first).await;
    let trusting = with_routes(&[("a", &echo.url())], &["{ path: '/**', upstream: a }"])
        .replace("    hosts:", "    trusted_proxies: ['127.0.0.1/32']\n    hosts:");
    second.apply(&trusting).await;
    let next = format!("http://{}", second.node(1).http());
    front
        .apply(&with_routes(&[("next", &next)], &["{ path: '/**', upstream: next }"]))
        .await;
    let client = "127.0.0.9".parse().expect("an address");
    let cheating = |at: SocketAddr| {
        Call::get(at, "/")
            .from(client)
            .host("asked.example.com")
            .header("x-forwarded-for", "1.2.3.4")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-port", "1")
            .header("forwarded", "for=1.2.3.4;proto=https")
            .header("x_forwarded_for", "1.2.3.4")
    };
    let seen = |answer: Answer| answer.expect(200).json()["headers"].clone();
    let all = |fields: &serde_json::Value, name: &str| -> Vec<String> {
        let fields = fields.as_array().expect("the echo tells them").iter();
        fields
            .filter(|field| field[0].as_str().is_some_and(|spelt| spelt.eq_ignore_ascii_case(name)))
            .map(|field| field[1].as_str().unwrap_or_default().to_owned())
            .collect()
    };

    let through_both = seen(cheating(front.node(1).http()).answer().await);
    assert_eq!(all(&through_both, "x-forwarded-for"), ["127.0.0.9, 127.0.0.1"]);
    assert_eq!(all(&through_both, "x-forwarded-proto"), ["http"]);
    assert_eq!(all(&through_both, "x-forwarded-host"), ["asked.example.com"]);
    assert_eq!(
        all(&through_both, "x-forwarded-port"),
        [front.node(1).http().port().to_string()]
    );
    let forwarded = all(&through_both, "forwarded");
    assert_eq!(forwarded.join(", ").matches("for=").count(), 2, "{forwarded:?}");
    assert_eq!(all(&through_both, "via").join(", "), "1.1 sluice, 1.1 sluice");
    let text = through_both.to_string();
    assert!(!text.contains("1.2.3.4") && !text.contains("evil"), "{text}");

    let straight = seen(cheating(second.node(1).http()).answer().await);
    assert_eq!(all(&straight, "x-forwarded-for"), ["127.0.0.9"]);
    let text = straight.to_string();
    assert!(!text.contains("1.2.3.4") && !text.contains("evil"), "{text}");
}

#[tokio::test]
async fn what_the_client_says_of_its_connection_stays_with_the_client() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = in_front_of(&world, &echo).await;
    let at = cluster.node(1).http();
    for number in 0..50 {
        Call::get(at, format!("/{number}"))
            .header("connection", "close")
            .answer()
            .await
            .expect(200);
    }
    raw(
        at,
        "GET /all HTTP/1.1\r\nHost: h\r\nConnection: close, X-Local\r\nX-Local: 1\r\nKeep-Alive: timeout=1\r\n\
         Proxy-Connection: close\r\nTE: trailers\r\nUpgrade: foo\r\n\r\n",
    )
    .await;
    assert_eq!(echo.journal().connections(), 1, "one worker, one connection");
    for head in echo.journal().requests() {
        for field in ["x-local", "keep-alive", "proxy-connection", "upgrade"] {
            assert_eq!(head.field(field), None, "{head:?}");
        }
        assert!(
            head.all("connection").iter().all(|value| !value.contains("close")),
            "{head:?}"
        );
    }
}

#[tokio::test]
async fn a_parameter_moved_into_a_query_keeps_its_meaning() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = Cluster::one(&world).await;
    let route = "{ path: '/find/{filter}', upstream: a, rewrite: { path: '/customer?id=${params.filter}' } }";
    cluster.apply(&with_routes(&[("a", &echo.url())], &[route])).await;
    for (asked, meant) in [
        ("/find/customer%2Bme", "customer+me"),
        ("/find/customer+me", "customer+me"),
        ("/find/a%20b", "a b"),
        ("/find/a%26n%3D2", "a&n=2"),
        ("/find/50%25", "50%"),
    ] {
        let told = Call::get(cluster.node(1).http(), asked)
            .answer()
            .await
            .expect(200)
            .json();
        let target = told["target"].as_str().expect("the echo tells it");
        let query = target.split_once('?').expect("a query").1;
        assert_eq!(query.split('&').count(), 1, "{target}");
        assert_eq!(
            form_decoded(query.strip_prefix("id=").expect("the name")),
            meant,
            "{asked} became {target}"
        );
    }
}

/// As a form's reader takes it: `+` is a space, `%XX` a byte.
fn form_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                let digits = std::str::from_utf8(&digits).expect("digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("hex digits"));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn every_request_has_an_id_and_a_strangers_is_not_taken_over() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = in_front_of(&world, &echo).await;
    let answer = Call::get(cluster.node(1).http(), "/")
        .header("x-request-id", "mine")
        .answer()
        .await
        .expect(200);
    let id = answer.header("x-request-id").to_owned();
    assert!(!id.is_empty() && id != "mine");
    assert_eq!(echo.journal().requests()[0].all("x-request-id"), [id.as_str()]);
}
