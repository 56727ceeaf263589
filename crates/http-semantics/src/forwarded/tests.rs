#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const G1: &str = "10.0.0.1";
const CLIENT: &str = "127.0.0.9";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusted() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap()]
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

fn id() -> RequestId {
    RequestId::from_random(7)
}

/// What the service gets from a request that comes from `peer`.
fn sent(headers: &HeaderMap, peer: &Peer) -> HeaderMap {
    let inbound = Inbound::resolve(headers, peer, &trusted());
    let mut headers = headers.clone();
    inbound.write(&mut headers, peer, &id(), http::Version::HTTP_11);
    headers
}

fn lie() -> Vec<(&'static str, &'static str)> {
    vec![
        ("host", "shop.example:8080"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=1.2.3.4;proto=https"),
        ("x_forwarded_for", "1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x-request-id", "chosen"),
        ("sluice-version", "9"),
        ("via", "1.0 front"),
        ("x-own", "1"),
    ]
}

#[test]
fn nothing_that_an_untrusted_client_says_of_itself_survives() {
    let peer = Peer::new(ip(CLIENT), Scheme::Http, 8081);
    let headers = map(&lie());
    let inbound = Inbound::resolve(&headers, &peer, &trusted());
    assert_eq!(
        (inbound.client, inbound.scheme, inbound.port),
        (ip(CLIENT), Scheme::Http, 8081)
    );
    assert_eq!(inbound.host.as_ref().unwrap(), "shop.example:8080");
    assert_eq!(inbound.request_id, None);
    assert_eq!(
        sent(&headers, &peer),
        map(&[
            ("host", "shop.example:8080"),
            ("via", "1.0 front"),
            ("via", "1.1 sluice"),
            ("x-own", "1"),
            ("forwarded", "for=127.0.0.9;host=\"shop.example:8080\";proto=http"),
            ("x-forwarded-for", "127.0.0.9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example:8080"),
            ("x-forwarded-port", "8081"),
            ("x-request-id", id().as_str()),
        ])
    );
}

#[test]
fn fields_stay_in_step_along_a_chain() {
    let front = Peer::new(ip(CLIENT), Scheme::Https, 8443);
    let between = sent(&map(&lie()), &front);
    let second = Peer::new(ip(G1), Scheme::Http, 8080);
    let inbound = Inbound::resolve(&between, &second, &trusted());
    assert_eq!(inbound.client, ip(CLIENT));
    assert_eq!(inbound.request_id, Some(id()));
    let got = sent(&between, &second);
    assert_eq!(got[X_FORWARDED_FOR], "127.0.0.9, 10.0.0.1");
    assert_eq!(got[X_FORWARDED_PROTO], "https");
    assert_eq!(got[X_FORWARDED_HOST], "shop.example:8080");
    assert_eq!(got[X_FORWARDED_PORT], "8443");
    assert_eq!(
        got[FORWARDED],
        "for=127.0.0.9;host=\"shop.example:8080\";proto=https, for=10.0.0.1;host=\"shop.example:8080\";proto=http"
    );
    assert_eq!(got.get_all(VIA).iter().count(), 3);
}

#[test]
fn what_stands_left_of_the_client_is_cut() {
    let peer = Peer::new(ip(G1), Scheme::Http, 8080);
    let headers = map(&[
        ("host", "a"),
        ("x-forwarded-for", "1.2.3.4, 10.0.0.7"),
        ("x-forwarded-for", "203.0.113.5, 10.0.0.2"),
        ("x-forwarded-proto", "gopher"),
    ]);
    let inbound = Inbound::resolve(&headers, &peer, &trusted());
    assert_eq!(inbound.client, ip("203.0.113.5"));
    assert_eq!(inbound.scheme, Scheme::Http);
    assert_eq!(
        sent(&headers, &peer)[X_FORWARDED_FOR],
        "203.0.113.5, 10.0.0.2, 10.0.0.1"
    );
}

#[test]
fn a_list_of_trusted_addresses_alone_leads_to_its_leftmost() {
    let peer = Peer::new(ip(G1), Scheme::Http, 8080);
    let client = |list: &str| Inbound::resolve(&map(&[("x-forwarded-for", list)]), &peer, &trusted()).client;
    assert_eq!(client("10.1.1.1, 10.2.2.2"), ip("10.1.1.1"));
    assert_eq!(client("9.9.9.9, unknown, 10.2.2.2"), ip("10.2.2.2"));
    assert_eq!(client("9.9.9.9, unknown"), ip(G1));
    assert_eq!(client(""), ip(G1));
    assert_eq!(client("::ffff:9.9.9.9"), ip("9.9.9.9"));
}

#[test]
fn forwarded_is_read_where_it_stands_alone() {
    let peer = Peer::new(ip(G1), Scheme::Http, 8080);
    let forwarded = (
        "forwarded",
        "for=1.1.1.1, for=9.9.9.9;proto=https;host=front.example, for=10.0.0.2",
    );
    let told = map(&[("host", "inner"), forwarded, ("x-forwarded-host", "evil.example")]);
    let inbound = Inbound::resolve(&told, &peer, &trusted());
    assert_eq!(
        (inbound.client, inbound.scheme, inbound.port),
        (ip("9.9.9.9"), Scheme::Https, 443)
    );
    assert_eq!(inbound.host.unwrap(), "front.example");
    assert_eq!(
        sent(&told, &peer)[FORWARDED],
        "for=9.9.9.9;host=front.example;proto=https, for=10.0.0.2, for=10.0.0.1;host=inner;proto=http"
    );
    let both = map(&[forwarded, ("x-forwarded-for", "8.8.8.8")]);
    assert_eq!(Inbound::resolve(&both, &peer, &trusted()).client, ip("8.8.8.8"));
    let broken = map(&[("forwarded", "for=1.1.1.1;x=\", for=9.9.9.9;proto=\"https\"")]);
    assert_eq!(Inbound::resolve(&broken, &peer, &trusted()).client, ip(G1));
}

#[test]
fn lists_of_schemes_and_ports_are_read_beside_the_client() {
    let peer = Peer::new(ip(G1), Scheme::Http, 8080);
    let resolve = |fields: &[(&str, &str)]| {
        let inbound = Inbound::resolve(&map(fields), &peer, &trusted());
        (inbound.scheme, inbound.port)
    };
    let list = ("x-forwarded-for", "1.1.1.1, 9.9.9.9, 10.0.0.2");
    let protos = ("x-forwarded-proto", "http, https, http");
    assert_eq!(resolve(&[list, protos]), (Scheme::Https, 443));
    assert_eq!(
        resolve(&[list, protos, ("x-forwarded-port", "1, 8443, 80")]),
        (Scheme::Https, 8443)
    );
    assert_eq!(
        resolve(&[list, ("x-forwarded-proto", "http, https")]),
        (Scheme::Https, 443)
    );
    assert_eq!(resolve(&[("x-forwarded-proto", "https")]), (Scheme::Https, 443));
    assert_eq!(resolve(&[("x-forwarded-host", "a:81")]), (Scheme::Http, 81));
    assert_eq!(resolve(&[]), (Scheme::Http, 8080));
}

#[test]
fn a_trusted_peer_keeps_its_other_fields_but_not_disguised_ones() {
    let peer = Peer::new(ip(G1), Scheme::Http, 8080);
    let got = sent(&map(&lie()), &peer);
    assert_eq!(got["x-real-ip"], "1.2.3.4");
    assert_eq!(got["x-forwarded-prefix"], "/evil");
    assert!(!got.contains_key("x_forwarded_for"));
}

#[test]
fn an_ipv6_client_is_quoted_and_one_without_host_has_none() {
    let peer = Peer::new(ip("2001:db8::1"), Scheme::Http, 80);
    let got = sent(&map(&[("x-forwarded-host", "evil.example")]), &peer);
    assert_eq!(got[FORWARDED], "for=\"[2001:db8::1]\";proto=http");
    assert_eq!(got[X_FORWARDED_FOR], "2001:db8::1");
    assert!(!got.contains_key(X_FORWARDED_HOST));
    assert_eq!(Peer::new(ip("::ffff:10.0.0.1"), Scheme::Http, 80).address(), ip(G1));
}

fn field() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let names = prop::sample::select(vec![
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "forwarded",
        "x-request-id",
        "x_forwarded_for",
        "x_real_ip",
        "x-real-ip",
        "x-consumer-id",
        "x-free",
    ]);
    let values = prop_oneof![
        "[ -~]{0,20}",
        "(for|proto|host)=\"?[0-9.]{0,9}\"?(, for=[0-9.]{0,9})?",
        "10\\.0\\.0\\.[0-9](, [0-9]\\.2\\.3\\.4)?",
    ];
    (names, values).prop_map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u8>().prop_map(|last| IpAddr::from([10, 0, 0, last])),
        any::<u8>().prop_map(|last| IpAddr::from([203, 0, 113, last])),
        any::<u16>().prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
    ]
}

proptest! {
    #[test]
    fn an_untrusted_client_chooses_nothing(fields in prop::collection::vec(field(), 0..6)) {
        let peer = Peer::new(ip(CLIENT), Scheme::Http, 8081);
        let mut headers = map(&[("host", "a.example")]);
        headers.extend(fields);
        let inbound = Inbound::resolve(&headers, &peer, &trusted());
        prop_assert_eq!(inbound.client, ip(CLIENT));
        prop_assert_eq!(inbound.host.as_ref().unwrap(), "a.example");
        let got = sent(&headers, &peer);
        let plain = sent(&map(&[("host", "a.example")]), &peer);
        for name in got.keys().filter(|name| reserved::is_reserved(name.as_str())) {
            prop_assert_eq!(got.get_all(name).iter().collect::<Vec<_>>(), plain.get_all(name).iter().collect::<Vec<_>>());
        }
    }

    /// A client behind honest proxies that each append the address of who spoke to them.
    #[test]
    fn whatever_a_client_sends_the_walk_ends_at_it_or_at_a_trusted_one(
        lies in "[ -~]{0,30}",
        client in address(),
        proxies in prop::collection::vec(any::<u8>(), 1..4),
        plain in any::<bool>(),
    ) {
        let mut hops = vec![client];
        hops.extend(proxies.iter().map(|last| IpAddr::from([10, 0, 1, *last])));
        let last = hops.pop().unwrap();
        let mut headers = HeaderMap::new();
        let (name, told): (HeaderName, Vec<String>) = if plain {
            (X_FORWARDED_FOR, hops.iter().map(ToString::to_string).collect())
        } else {
            let element = |hop: &IpAddr| {
                let mut out = String::new();
                push_for(*hop, &mut out);
                out
            };
            (FORWARDED, hops.iter().map(element).collect())
        };
        let list = std::iter::once(lies).chain(told).collect::<Vec<_>>().join(", ");
        headers.insert(name, list.parse().unwrap());
        let inbound = Inbound::resolve(&headers, &Peer::new(last, Scheme::Http, 80), &trusted());
        let honest = inbound.client == client || hops.contains(&inbound.client) || inbound.client == last;
        // A client that is trusted itself may say who is behind it.
        prop_assert!(honest || holds(&trusted(), client), "{} of {:?}", inbound.client, headers);
        let whole = &sent(&headers, &Peer::new(last, Scheme::Http, 80))[X_FORWARDED_FOR];
        let first = whole.to_str().unwrap().split(',').next().unwrap().to_owned();
        prop_assert_eq!(first, inbound.client.to_string());
    }
}
