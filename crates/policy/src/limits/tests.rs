#![allow(clippy::unwrap_used)]
use super::*;
use crate::values::fixture::Request;
use sluice_shared_state::{Algorithm, Mode, OnFailure, RuleId};

fn limit(name: &str, quota: Quota) -> Limit {
    let algorithm = match quota {
        Quota::Requests { quota, seconds } => Algorithm::SlidingWindow {
            limit: u32::try_from(quota).unwrap(),
            window: Duration::from_secs(seconds),
        },
        Quota::InFlight { quota } => Algorithm::Concurrency {
            limit: u32::try_from(quota).unwrap(),
            hold: Duration::from_secs(60),
        },
    };
    let rule = Rule {
        name: name.into(),
        scope: CountedOver::Gateway("web".into()),
        algorithm,
        mode: Mode::Exact,
        on_failure: OnFailure::Local,
        version: 1,
        id: RuleId(0),
    };
    Limit {
        rule: Arc::new(rule.seal()),
        cost: 1,
        patience: Duration::ZERO,
        dry_run: false,
        quota,
        key: Key::Client,
    }
}

fn keyed(text: &str) -> Limit {
    let around = Around {
        over: CountedOver::Gateway("web".into()),
        scope: &Scope::with_params(["id"]),
        version: 1,
    };
    let mut faults = Vec::new();
    let key = Key::compile(Some(text), "rate_limits[0]", &around, &mut faults);
    assert_eq!(faults, []);
    let quota = Quota::InFlight { quota: 1 };
    Limit {
        key,
        ..limit("a", quota)
    }
}

fn value(limit: &Limit, client: &str) -> String {
    let request = Request::new([
        ("request.headers['x-tenant']", "acme"),
        ("params.id", "a%2Fb"),
        ("client.ip", "not asked"),
    ]);
    let mut out = "before/".to_owned();
    limit.key(&request, client.parse().unwrap(), &mut out);
    out.strip_prefix("before/").unwrap().to_owned()
}

#[test]
fn a_client_is_its_address_of_ipv4_or_its_network_of_ipv6() {
    let by_client = keyed("client.ip");
    assert_eq!(by_client.key, Key::Client);
    for (client, counted) in [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ] {
        assert_eq!(value(&by_client, client), counted, "{client}");
        let joined = keyed("client.ip + '|' + request.headers['x-tenant']");
        assert_eq!(value(&joined, client), format!("{counted}|acme"), "{client}");
    }
}

#[test]
fn a_request_without_the_value_is_counted_under_the_empty_one() {
    assert_eq!(value(&keyed("request.headers['x-other']"), "192.0.2.7"), "");
    assert_eq!(value(&keyed("client.ip + request.headers['x-other']"), "192.0.2.7"), "");
    assert_eq!(value(&keyed("'all'"), "192.0.2.7"), "all");
    assert_eq!(
        value(&keyed("params.id"), "192.0.2.7"),
        "a/b",
        "as the service would read it"
    );
}

#[test]
fn answers_tell_of_all_limits_that_can_refuse_and_of_the_refusing_one_first() {
    let requests = |quota, seconds| Quota::Requests { quota, seconds };
    let gateway = [limit("clients", requests(600, 60))];
    let unheard = Limit {
        dry_run: true,
        ..limit("stricter", requests(5, 1))
    };
    let route = [
        unheard.clone(),
        limit("orders", requests(100, 1)),
        limit("exports", Quota::InFlight { quota: 8 }),
    ];
    let limits = Limits::join(&gateway, &route).unwrap();
    assert_eq!(
        limits.policy().unwrap(),
        r#""clients";q=600;w=60, "orders";q=100;w=1, "exports";q=8;qu="concurrent-requests""#
    );
    let stand = |remaining, reset| Stand {
        remaining,
        reset,
        uncounted: false,
    };
    let open = Stand {
        uncounted: true,
        ..stand(u64::MAX, 40)
    };
    let stands = [open, stand(0, 1), stand(0, 1), stand(3, 9)];
    assert_eq!(
        limits.standing(stands.into_iter(), None).unwrap(),
        r#""clients";r=600;t=40;sluice-uncounted, "orders";r=0;t=1, "exports";r=3"#
    );
    assert_eq!(
        limits.standing(stands.into_iter(), Some(2)).unwrap(),
        r#""orders";r=0;t=1, "clients";r=600;t=40;sluice-uncounted, "exports";r=3"#
    );
    let none = Limits::join(&[], &[unheard]).unwrap();
    assert_eq!((none.policy(), none.standing(stands.into_iter(), None)), (None, None));
    assert_eq!(Limits::join(&[], &[]), None);
    assert_eq!(Limits::named_twice(&gateway, &route), None);
    assert_eq!(Limits::named_twice(&route, &route[1..]), Some("orders"));
}

#[test]
fn a_rule_is_as_old_as_its_numbers() {
    let before = [limit("orders", Quota::Requests { quota: 5, seconds: 1 })];
    let at = |version, quota| {
        let new = limit("orders", Quota::Requests { quota, seconds: 1 });
        let rule = Rule {
            version,
            ..Rule::clone(&new.rule)
        };
        [Limit {
            rule: Arc::new(rule),
            ..new
        }]
    };
    let mut same = at(2, 5);
    Limit::keep(&mut same, &before);
    assert!(Arc::ptr_eq(&same[0].rule, &before[0].rule));
    let mut other = at(2, 6);
    Limit::keep(&mut other, &before);
    assert_eq!((other[0].rule.version, other[0].rule.id), (2, before[0].rule.id));
}
