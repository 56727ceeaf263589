#![allow(clippy::unwrap_used)]
use super::*;
use crate::FaultKind;
use crate::values::fixture::Request;
use declared::Sticky as DeclaredSticky;
use proptest::prelude::*;

fn arm(upstream: &str, weight: impl Into<Option<u16>>, when: impl Into<Option<&'static str>>) -> declared::Arm {
    declared::Arm {
        upstream: upstream.to_owned(),
        weight: weight.into(),
        when: when.into().map(str::to_owned),
    }
}

fn split(to: &[declared::Arm], cookie: Option<&str>) -> Split {
    let sticky = cookie.map(|cookie| DeclaredSticky {
        cookie: cookie.to_owned(),
    });
    let declared = declared::Split {
        to: to.to_vec(),
        sticky,
    };
    let mut faults = Vec::new();
    let split = Split::compile(&declared, "split", &Scope::default(), &mut faults);
    split.unwrap_or_else(|| panic!("{faults:?}"))
}

fn canary() -> Request {
    Request::new([("request.headers['x-canary']", "1")])
}

fn nobody() -> Request {
    Request::new([])
}

/// The value of a `Set-Cookie` as the client sends it back.
fn pair(set_cookie: &HeaderValue) -> Vec<u8> {
    set_cookie
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap()
        .to_vec()
}

const CANARY: &str = "request.headers['x-canary'] == '1'";

#[test]
fn the_first_condition_that_holds_wins_and_else_the_weights_decide() {
    let split = split(
        &[
            arm("stable", 95, None),
            arm("next", 0, CANARY),
            arm("other", None, CANARY),
            arm("gone", 0, None),
        ],
        None,
    );
    for random in [0, u64::MAX / 2, u64::MAX] {
        assert_eq!(split.choose(&canary(), [], false, random).arm, 1);
        assert_eq!(split.choose(&nobody(), [], false, random).arm, 0);
    }
}

#[test]
fn an_arm_with_a_condition_and_a_weight_takes_part_in_both() {
    let split = split(&[arm("stable", 95, None), arm("next", 5, CANARY)], None);
    assert_eq!(split.choose(&canary(), [], false, 0).arm, 1);
    let mut random = fastrand::Rng::with_seed(7);
    let next = (0..10_000).filter(|_| split.choose(&nobody(), [], false, random.u64(..)).arm == 1);
    assert!((400..600).contains(&next.count()));
}

#[test]
fn without_a_weight_an_arm_counts_one_and_with_a_condition_none() {
    let split = split(
        &[arm("a", None, None), arm("b", None, None), arm("c", None, CANARY)],
        None,
    );
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = [0; 3];
    (0..1_000).for_each(|_| counts[split.choose(&nobody(), [], false, random.u64(..)).arm] += 1);
    assert!(counts[0] > 400 && counts[1] > 400 && counts[2] == 0, "{counts:?}");
}

#[test]
fn a_client_keeps_its_arm_by_the_cookie() {
    let split = split(&[arm("stable", 1, None), arm("next", 1, None)], Some("canary"));
    for random in [0, u64::MAX] {
        let first = split.choose(&nobody(), [], false, random);
        let cookie = pair(first.set_cookie.unwrap());
        let among = [b"a=b; ".to_vec(), cookie.clone(), b"; canary2=x".to_vec()].concat();
        for field in [&cookie, &among] {
            for random in [0, u64::MAX] {
                let again = split.choose(&nobody(), [b"x=y".as_slice(), field], false, random);
                assert_eq!((again.arm, again.set_cookie), (first.arm, None));
            }
        }
    }
}

#[test]
fn a_cookie_is_bound_to_the_site_and_hidden_from_scripts() {
    let split = split(&[arm("stable", 1, None)], Some("canary"));
    let text = |secure| {
        split
            .choose(&nobody(), [], secure, 0)
            .set_cookie
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let plain = text(false);
    assert!(
        plain.starts_with("canary=") && plain.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{plain}"
    );
    assert!(!plain.contains("stable"), "opaque: {plain}");
    assert_eq!(text(true), format!("{plain}; Secure"));
}

#[test]
fn the_value_of_a_cookie_never_changes() {
    // Clients keep it over versions of the gateway.
    assert_eq!(&digits(of_name("a")), b"af63dc4c8601ec8c");
    assert_eq!(&digits(of_name("foobar")), b"85944171f73967e8");
}

#[test]
fn an_arm_that_is_gone_or_has_no_weight_is_chosen_anew() {
    let both = split(&[arm("stable", 1, None), arm("next", 1, None)], Some("canary"));
    let next = pair(both.choose(&nobody(), [], false, u64::MAX).set_cookie.unwrap());
    let without = split(&[arm("stable", 1, None)], Some("canary"));
    let drained = split(&[arm("stable", 1, None), arm("next", 0, None)], Some("canary"));
    for split in [&without, &drained] {
        let choice = split.choose(&nobody(), [next.as_slice()], false, u64::MAX);
        assert_eq!(choice.arm, 0);
        assert!(choice.set_cookie.is_some());
    }
}

#[test]
fn a_cookie_holds_its_arm_also_where_the_list_has_another_order() {
    let one = split(&[arm("stable", 1, None), arm("next", 1, None)], Some("canary"));
    let other = split(
        &[arm("more", 1, None), arm("next", 1, None), arm("stable", 1, None)],
        Some("canary"),
    );
    let next = pair(one.choose(&nobody(), [], false, u64::MAX).set_cookie.unwrap());
    assert_eq!(other.choose(&nobody(), [next.as_slice()], false, 0).arm, 1);
}

#[test]
fn a_condition_comes_before_the_cookie_and_gives_none() {
    let split = split(&[arm("stable", 1, None), arm("next", None, CANARY)], Some("canary"));
    let stable = pair(split.choose(&nobody(), [], false, 0).set_cookie.unwrap());
    let choice = split.choose(&canary(), [stable.as_slice()], false, 0);
    assert_eq!((choice.arm, choice.set_cookie), (1, None));
}

#[test]
fn what_no_node_can_serve_is_refused() {
    let faults = |to: &[declared::Arm], cookie: &str| {
        let mut faults = Vec::new();
        let declared = declared::Split {
            to: to.to_vec(),
            sticky: Some(DeclaredSticky {
                cookie: cookie.to_owned(),
            }),
        };
        assert_eq!(Split::compile(&declared, "split", &Scope::default(), &mut faults), None);
        faults
    };
    let found = faults(&[arm("a", 0, None), arm("b", None, CANARY)], "c");
    assert_eq!((&*found[0].field, &found[0].kind), ("split.to", &FaultKind::NoWeight));
    let found = faults(&[arm("a", 1, "nope")], "c");
    assert_eq!(found[0].field, "split.to[0].when");
    let found = faults(&[arm("a", 1, None)], "a\nb");
    assert_eq!(found[0].field, "split.sticky.cookie");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Pearson's test: for 4 arms (3 degrees of freedom) a fair draw is above 27.9 once in 250 000 times, and the seeds
    /// make every run the same.
    #[test]
    fn arms_are_drawn_by_their_weights(weights in prop::collection::vec(0u16..1_000, 4), seed in 0u64..64) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let arms: Vec<_> = weights.iter().enumerate().map(|(i, weight)| arm(&format!("u{i}"), *weight, None)).collect();
        let split = split(&arms, None);
        let mut random = fastrand::Rng::with_seed(seed);
        const DRAWS: usize = 20_000;
        let mut counts = vec![0usize; 4];
        for _ in 0..DRAWS {
            counts[split.choose(&nobody(), [], false, random.u64(..)).arm] += 1;
        }
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let mut distance = 0.0;
        for (count, weight) in counts.iter().zip(&weights) {
            let expected = DRAWS as f64 * f64::from(*weight) / total;
            if *weight == 0 {
                prop_assert_eq!(*count, 0);
            } else {
                distance += (*count as f64 - expected).powi(2) / expected;
            }
        }
        prop_assert!(distance < 27.9, "{:?} for {:?}: {}", counts, weights, distance);
    }

    #[test]
    fn whatever_a_client_sends_as_a_cookie_it_gets_an_arm_with_weight(field in prop::collection::vec(any::<u8>(), 0..60), random in any::<u64>()) {
        let split = split(&[arm("a", 0, None), arm("b", 3, None), arm("c", None, CANARY)], Some("k"));
        for field in [field.clone(), [b"k=".as_slice(), &field].concat()] {
            prop_assert_eq!(split.choose(&nobody(), [field.as_slice()], false, random).arm, 1);
        }
    }
}
