#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::command::{Activation, Applied, Author, Body, Envelope, Idempotency, PartChange};
use crate::error::Pruned;
use crate::record::Record;

fn envelope(base: u64, body: Body) -> Envelope {
    Envelope {
        base,
        request_id: format!("request-{base}"),
        author: Author {
            who: "ada".into(),
            from: "127.0.0.1".into(),
            why: Some("because".into()),
        },
        at_ms: 1_000 + base,
        trace: None,
        level: 1,
        idempotency: None,
        body,
    }
}

fn store(changes: &[(&str, Option<&str>)]) -> Body {
    Body::Store {
        changes: changes
            .iter()
            .map(|(key, value)| PartChange {
                key: (*key).into(),
                value: value.map(Into::into),
            })
            .collect(),
        activate: Some(Activation::default()),
        original: None,
    }
}

fn keyed(mut envelope: Envelope, key: &str, digest: u8) -> Envelope {
    envelope.idempotency = Some(Idempotency {
        key: key.into(),
        digest: [digest; 32],
    });
    envelope
}

/// Applies and gives the answer alone; each call is the next entry of the log.
fn apply(state: &mut State, envelope: &Envelope) -> Applied {
    let index = state.head.applied + 1;
    state.apply(index, envelope).0
}

fn put(state: &mut State, key: &str, value: &str) -> Applied {
    apply(state, &envelope(state.head.version, store(&[(key, Some(value))])))
}

#[test]
fn a_change_makes_the_next_version_and_stamps_its_parts() {
    let mut state = State::default();
    assert_eq!(put(&mut state, "a", "1"), Applied::Version(1));
    assert_eq!(put(&mut state, "b", "1"), Applied::Version(2));
    assert_eq!(state.parts["a"].version, 1);
    assert_eq!(state.parts["b"].version, 2);
    let head = &state.head;
    assert_eq!((head.version, head.active, head.applied, head.at_ms), (2, 2, 2, 1_001));
}

#[test]
fn a_change_that_changes_nothing_makes_no_version() {
    let mut state = State::default();
    put(&mut state, "a", "1");
    let body = store(&[("a", Some("2")), ("a", Some("1")), ("none", None)]);
    assert_eq!(apply(&mut state, &envelope(1, body)), Applied::Same(1));
    assert_eq!((state.head.version, state.head.applied), (1, 2));
}

#[test]
fn a_change_made_for_another_version_is_refused() {
    let mut state = State::default();
    put(&mut state, "a", "1");
    for base in [0, 2] {
        let late = envelope(base, store(&[("a", Some("2"))]));
        assert_eq!(apply(&mut state, &late), Applied::WrongBase { head: 1 });
    }
    assert_eq!(&*state.parts["a"].value, "1");
}

#[test]
fn a_repeated_request_gets_its_first_answer_even_when_the_head_has_moved() {
    let mut state = State::default();
    let first = keyed(envelope(0, store(&[("a", Some("1"))])), "k", 1);
    assert_eq!(apply(&mut state, &first), Applied::Version(1));
    put(&mut state, "a", "2");
    let repeated = Applied::Repeated {
        version: 1,
        changed: vec!["a".into()],
    };
    assert_eq!(apply(&mut state, &first), repeated);
    let other = keyed(envelope(2, store(&[("a", Some("3"))])), "k", 2);
    assert_eq!(apply(&mut state, &other), Applied::KeyReuse);
    assert_eq!(&*state.parts["a"].value, "2");
}

#[test]
fn a_refused_request_may_come_again_under_its_key() {
    let mut state = State::default();
    put(&mut state, "a", "1");
    let stale = keyed(envelope(0, store(&[("a", Some("2"))])), "k", 1);
    assert_eq!(apply(&mut state, &stale), Applied::WrongBase { head: 1 });
    let fresh = keyed(envelope(1, store(&[("a", Some("2"))])), "k", 1);
    assert_eq!(apply(&mut state, &fresh), Applied::Version(2));
}

#[test]
fn only_the_last_thousand_answers_are_remembered() {
    let mut state = State::default();
    let request = |n: usize, base| {
        let value = n.to_string();
        keyed(envelope(base, store(&[("a", Some(value.as_str()))])), &value, 1)
    };
    for n in 0..=ANSWERS {
        let base = state.head.version;
        apply(&mut state, &request(n, base));
    }
    assert_eq!(
        (state.answers.by_age.len(), state.answers.by_key.len()),
        (ANSWERS, ANSWERS)
    );
    assert!(matches!(
        apply(&mut state, &request(1, 0)),
        Applied::Repeated { version: 2, .. }
    ));
    assert!(matches!(apply(&mut state, &request(0, 0)), Applied::WrongBase { .. }));
}

#[test]
fn what_needs_a_higher_level_is_refused_until_the_level_is_raised() {
    let mut state = State::default();
    let mut newer = envelope(0, store(&[("a", Some("1"))]));
    newer.level = 2;
    assert_eq!(apply(&mut state, &newer), Applied::LevelTooLow { cluster: 1 });
    assert_eq!(apply(&mut state, &envelope(0, Body::Level(2))), Applied::Record);
    assert_eq!(apply(&mut state, &envelope(0, Body::Level(1))), Applied::Record);
    assert_eq!(state.head.level, 2);
    assert_eq!(apply(&mut state, &newer), Applied::Version(1));
}

#[test]
fn records_have_no_versions_and_no_base() {
    let mut state = State::default();
    put(&mut state, "a", "1");
    let record = |value: Option<&[u8]>| {
        envelope(
            99,
            Body::Record {
                collection: "tokens".into(),
                key: "ada".into(),
                value: value.map(<[u8]>::to_vec),
            },
        )
    };
    assert_eq!(apply(&mut state, &record(Some(b"hash"))), Applied::Record);
    assert_eq!(state.records["tokens"]["ada"], b"hash");
    assert_eq!(apply(&mut state, &record(None)), Applied::Record);
    assert!(state.records.is_empty());
    assert_eq!(state.head.version, 1);
}

#[test]
fn a_version_can_be_stored_first_and_made_live_later() {
    let mut state = State::default();
    let mut body = store(&[("a", Some("1"))]);
    if let Body::Store { activate, .. } = &mut body {
        *activate = None;
    }
    assert_eq!(apply(&mut state, &envelope(0, body)), Applied::Version(1));
    assert_eq!((state.head.version, state.head.active), (1, 0));
    let activate = |version| {
        envelope(
            1,
            Body::Activate {
                version,
                activation: Activation::default(),
            },
        )
    };
    assert_eq!(apply(&mut state, &activate(1)), Applied::Version(1));
    assert_eq!(apply(&mut state, &activate(1)), Applied::Same(1));
    assert_eq!(apply(&mut state, &activate(2)), Applied::NoSuchVersion { head: 1 });
    assert_eq!(state.head.active, 1);
}

#[test]
fn the_history_tells_who_changed_what_newest_first() {
    let mut state = State::default();
    put(&mut state, "a", "1");
    put(&mut state, "b", "1");
    put(&mut state, "b", "2");
    let told = state.history(Some(3), 1);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].version, 2);
    assert_eq!(told[0].author.who, "ada");
    assert_eq!(told[0].changed, [Arc::from("b")]);
    let versions: Vec<u64> = state.history(None, 10).iter().map(|h| h.version).collect();
    assert_eq!(versions, [3, 2, 1]);
}

#[test]
fn the_history_is_kept_by_count_and_by_bytes_and_says_what_is_gone() {
    let mut state = State::default();
    state.limits.versions = 5;
    for n in 0..9 {
        put(&mut state, "a", &n.to_string());
    }
    assert_eq!((state.oldest(), state.history.len()), (4, 5));
    let gone = Pruned {
        version: 3,
        oldest: 4,
        head: 9,
    };
    assert_eq!(state.parts_at(3), Err(gone));
    assert_eq!(&*state.parts_at(4).unwrap()["a"], "3");
    state.limits.bytes = 1;
    put(&mut state, "a", "x");
    assert_eq!(state.history.len(), 1, "the last change can still be undone");
    assert_eq!(&*state.parts_at(9).unwrap()["a"], "8");
}

#[test]
fn what_is_live_is_never_dropped_from_the_history() {
    let mut state = State::default();
    state.limits.versions = 2;
    put(&mut state, "a", "live");
    for n in 0..9 {
        let mut body = store(&[("a", Some(n.to_string().as_str()))]);
        if let Body::Store { activate, .. } = &mut body {
            *activate = None;
        }
        let base = state.head.version;
        apply(&mut state, &envelope(base, body));
    }
    assert_eq!(state.head.active, 1);
    assert_eq!(&*state.parts_at(1).unwrap()["a"], "live");
}

#[test]
fn one_route_among_ten_thousand_is_a_small_entry() {
    let mut state = State::default();
    let route = |n: usize, status: u16| {
        let key: Arc<str> = format!("gateways/web/routes/get-orders-{n}").into();
        let value = format!(
            r#"{{"path":"/orders/{n}/{{id}}","methods":["GET"],"respond":{{"status":{status},"json":{{"n":{n}}}}}}}"#
        );
        (key, value)
    };
    let all = (0..10_000).map(|n| {
        let (key, value) = route(n, 200);
        PartChange {
            key,
            value: Some(value.into()),
        }
    });
    let body = Body::Store {
        changes: all.collect(),
        activate: Some(Activation::default()),
        original: None,
    };
    apply(&mut state, &envelope(0, body));
    let (key, value) = route(77, 204);
    let one = envelope(1, store(&[(&key, Some(&value))]));
    let record = Record::of(&one, &state).unwrap();
    assert!(record.len() < 512, "{} bytes", record.len());
    let (applied, effects) = state.apply(2, &one);
    assert_eq!(applied, Applied::Version(2));
    assert_eq!(effects.len(), 3, "a part, a revision, the head: {effects:?}");
}

#[test]
fn a_damaged_image_is_refused() {
    let mut state = State::default();
    put(&mut state, "a", "1");
    let image = state.to_image().unwrap();
    for at in 0..image.len() {
        let mut damaged = image.clone();
        damaged[at] ^= 1;
        assert!(State::from_image(&damaged, state.limits).is_err(), "byte {at}");
        assert!(State::from_image(&image[..at], state.limits).is_err(), "cut at {at}");
    }
}

// === Properties ===

#[derive(Clone, Debug)]
enum Step {
    Store(Vec<(u8, Option<u8>)>, Option<Activation>, Option<String>, Option<u8>),
    Stale,
    Activate(u64, Activation),
    Undo,
    Record(u8, Option<u8>),
    Blank,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..6u8, proptest::option::of(0..4u8));
    let step = prop_oneof![
        6 => (
            proptest::collection::vec(change, 0..5),
            proptest::option::of(activation()),
            proptest::option::of("[ab]{0,6}"),
            proptest::option::of(0..20u8),
        ).prop_map(|(c, a, o, i)| Step::Store(c, a, o, i)),
        1 => Just(Step::Stale),
        1 => (0..20u64, activation()).prop_map(|(v, a)| Step::Activate(v, a)),
        1 => Just(Step::Undo),
        1 => (0..4u8, proptest::option::of(any::<u8>())).prop_map(|(k, v)| Step::Record(k, v)),
        1 => Just(Step::Blank),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Mostly live for good: a trial stops whatever follows until it ends.
fn activation() -> impl Strategy<Value = Activation> {
    let on = prop_oneof![4 => Just(None), 1 => Just(Some(vec!["n1".to_owned()]))];
    let by = prop_oneof![4 => Just(None), 1 => Just(Some(5_000))];
    (on, by).prop_map(|(on, confirm_by_ms)| Activation { on, confirm_by_ms })
}

fn command(step: &Step, at: &Head) -> Option<Envelope> {
    let head = at.version;
    Some(match step {
        Step::Store(changes, live, original, key) => {
            let changes = changes.iter().map(|(k, v)| PartChange {
                key: format!("k{k}").into(),
                value: v.map(|v| v.to_string().into()),
            });
            let body = Body::Store {
                changes: changes.collect(),
                activate: live.clone(),
                original: original.as_deref().map(Into::into),
            };
            match key {
                Some(key) => keyed(envelope(head, body), &format!("key-{key}"), *key),
                None => envelope(head, body),
            }
        }
        Step::Stale => envelope(head + 1, store(&[("k0", Some("stale"))])),
        Step::Activate(version, activation) => envelope(
            head,
            Body::Activate {
                version: *version,
                activation: activation.clone(),
            },
        ),
        Step::Undo => envelope(
            head,
            Body::Activate {
                version: at.active,
                activation: Activation::default(),
            },
        ),
        Step::Record(key, value) => envelope(
            head,
            Body::Record {
                collection: "c".into(),
                key: key.to_string(),
                value: value.map(|v| vec![v]),
            },
        ),
        Step::Blank => return None,
    })
}

/// Runs the steps through the form that the log keeps, and tells every effect.
fn run(steps: &[Step], mut seen: impl FnMut(&State, &[Effect])) -> State {
    let mut state = State::default();
    state.limits.versions = 12;
    for step in steps {
        let index = state.head.applied + 1;
        let effects = match command(step, &state.head) {
            Some(envelope) => {
                let record = Record::of(&envelope, &state).unwrap();
                state.apply(index, &record.envelope(&state).unwrap()).1
            }
            None => vec![state.skip(index)],
        };
        seen(&state, &effects);
    }
    state
}

proptest! {
    #[test]
    fn the_same_log_makes_the_same_state(steps in steps()) {
        prop_assert_eq!(run(&steps, |_, _| {}), run(&steps, |_, _| {}));
    }

    #[test]
    fn whoever_absorbs_the_effects_alone_comes_to_the_same_state(steps in steps()) {
        let mut follower = State::default();
        follower.limits.versions = 12;
        let state = run(&steps, |state, effects| {
            effects.iter().for_each(|e| follower.absorb(e));
            assert_eq!(&follower, state);
        });
        let mut rebuilt = State { limits: state.limits, ..State::default() };
        state.effects().for_each(|e| rebuilt.absorb(&e));
        prop_assert_eq!(rebuilt, state);
    }

    #[test]
    fn every_version_in_reach_is_told_as_it_was(steps in steps()) {
        let mut versions: BTreeMap<u64, BTreeMap<Arc<str>, Arc<str>>> = BTreeMap::from([(0, BTreeMap::new())]);
        let state = run(&steps, |state, _| {
            let parts = state.parts.iter().map(|(k, e)| (Arc::clone(k), Arc::clone(&e.value)));
            versions.insert(state.head.version, parts.collect());
        });
        for (version, parts) in &versions {
            if *version < state.oldest() {
                prop_assert!(state.parts_at(*version).is_err());
                continue;
            }
            prop_assert_eq!(&state.parts_at(*version).unwrap(), parts);
            for (other, there) in versions.range(state.oldest()..) {
                let mut walked = parts.clone();
                for change in state.delta(*version, *other).unwrap() {
                    match change.value {
                        Some(value) => prop_assert_ne!(walked.insert(change.key, Arc::clone(&value)), Some(value)),
                        None => prop_assert!(walked.remove(&change.key).is_some()),
                    }
                }
                prop_assert_eq!(&walked, there);
            }
        }
        prop_assert!(state.parts_at(state.head.version + 1).is_err());
    }

    #[test]
    fn an_image_is_the_state_and_equal_states_have_equal_images(steps in steps()) {
        let state = run(&steps, |_, _| {});
        let image = state.to_image().unwrap();
        let back = State::from_image(&image, state.limits).unwrap();
        prop_assert_eq!(back.to_image().unwrap(), image);
        prop_assert_eq!(back, state);
    }
}
