#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::command::{Activation, Applied, Author, Body, Envelope, PartChange};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn envelope(base: u64, body: Body) -> Envelope {
    Envelope {
        base,
        request_id: format!("request-{base}"),
        author: Author {
            who: "ada".into(),
            ..Author::default()
        },
        at_ms: 1_000 + base,
        trace: None,
        level: 1,
        idempotency: None,
        body,
    }
}

fn on(names: &[&str]) -> Option<Vec<String>> {
    (!names.is_empty()).then(|| names.iter().map(|name| (*name).to_owned()).collect())
}

fn activation(names: &[&str], confirm_by_ms: Option<u64>) -> Activation {
    Activation {
        on: on(names),
        confirm_by_ms,
    }
}

/// Puts `a` at this value, to be live so.
fn put(state: &mut State, value: &str, activation: Activation) -> Applied {
    let body = Body::Store {
        changes: vec![PartChange {
            key: "a".into(),
            value: Some(value.into()),
        }],
        activate: Some(activation),
        original: None,
    };
    apply(state, body)
}

fn activate(state: &mut State, version: u64, activation: Activation) -> Applied {
    apply(state, Body::Activate { version, activation })
}

fn apply(state: &mut State, body: Body) -> Applied {
    let (index, base) = (state.head.applied + 1, state.head.version);
    state.apply(index, &envelope(base, body)).0
}

fn live(state: &State) -> [u64; 3] {
    NODES.map(|name| state.head.live_on(name))
}

/// Version 1 is live, version 2 on trial.
fn with_trial(names: &[&str], confirm_by_ms: Option<u64>) -> State {
    let mut state = State::default();
    put(&mut state, "1", Activation::default());
    assert_eq!(
        put(&mut state, "2", activation(names, confirm_by_ms)),
        Applied::Version(2)
    );
    state
}

#[test]
fn a_version_on_trial_is_live_on_its_nodes_alone_until_it_is_promoted() {
    let mut state = with_trial(&["n3"], None);
    assert_eq!(live(&state), [1, 1, 2]);
    assert_eq!(activate(&mut state, 2, Activation::default()), Applied::Version(2));
    assert_eq!((live(&state), state.head.trial.is_none()), ([2; 3], true));
    assert_eq!(state.trial(2).unwrap().steps[0].what, TrialAct::Promoted);
}

#[test]
fn a_version_to_be_confirmed_is_live_everywhere_and_its_confirmation_is_for_good() {
    let mut state = with_trial(&[], Some(9_000));
    assert_eq!((live(&state), state.head.active), ([2; 3], 1));
    assert_eq!(activate(&mut state, 2, Activation::default()), Applied::Version(2));
    assert_eq!((state.head.active, state.head.trial.is_none()), (2, true));
    assert_eq!(
        activate(&mut state, 1, Activation::default()),
        Applied::NotNewest { head: 2 }
    );
    assert_eq!(
        &*state.parts["a"].value, "2",
        "an undoing that comes too late changes nothing"
    );
}

#[test]
fn undoing_is_a_new_version_with_what_was_live_before() {
    let mut state = with_trial(&[], Some(9_000));
    assert_eq!(activate(&mut state, 1, Activation::default()), Applied::Version(3));
    assert_eq!((live(&state), state.head.active, state.head.version), ([3; 3], 3, 3));
    assert_eq!((&*state.parts["a"].value, state.parts["a"].version), ("1", 3));
    let told = state.history(None, 9);
    assert_eq!(told[0].changed, [Arc::from("a")]);
    let step = &told[1].trial.as_ref().unwrap().steps[0];
    assert_eq!((step.what, step.head), (TrialAct::Undone, 3));
    assert_eq!(
        activate(&mut state, 2, Activation::default()),
        Applied::NotNewest { head: 3 },
        "a confirmation that comes too late changes nothing"
    );
}

#[test]
fn limits_of_place_and_time_fall_away_one_by_one() {
    let mut state = with_trial(&["n3"], Some(9_000));
    let mut promoted_first = state.clone();
    assert_eq!(activate(&mut state, 2, activation(&["n3"], None)), Applied::Version(2));
    assert_eq!(live(&state), [1, 1, 2]);
    assert_eq!(activate(&mut state, 2, activation(&["n3"], None)), Applied::Same(2));
    assert_eq!(
        activate(&mut promoted_first, 2, activation(&[], Some(9_000))),
        Applied::Version(2)
    );
    assert_eq!((live(&promoted_first), promoted_first.head.active), ([2; 3], 1));
    for mut state in [state, promoted_first] {
        assert_eq!(activate(&mut state, 2, Activation::default()), Applied::Version(2));
        assert_eq!((live(&state), state.trial(2).unwrap().steps.len()), ([2; 3], 2));
    }
}

#[test]
fn an_open_trial_takes_no_other_change_and_no_other_limit() {
    let mut state = with_trial(&["n3"], Some(9_000));
    let open = Applied::TrialOpen { version: 2 };
    assert_eq!(put(&mut state, "3", Activation::default()), open);
    for other in [
        activation(&["n1"], Some(9_000)),
        activation(&["n3"], Some(9_001)),
        activation(&["n1", "n3"], None),
    ] {
        assert_eq!(activate(&mut state, 2, other), open);
    }
    assert_eq!(activate(&mut state, 1, activation(&["n1"], None)), open);
    assert_eq!(
        activate(&mut state, 3, Activation::default()),
        Applied::NoSuchVersion { head: 2 }
    );
    assert_eq!(live(&state), [1, 1, 2]);
}

#[test]
fn what_changes_nothing_opens_no_trial() {
    let mut state = State::default();
    put(&mut state, "1", Activation::default());
    assert_eq!(put(&mut state, "1", activation(&["n3"], None)), Applied::Same(1));
    assert_eq!((&state.head.trial, state.head.active), (&None, 1));
}

#[test]
fn a_node_goes_back_to_no_version_that_was_undone_or_is_tried_elsewhere() {
    let mut state = with_trial(&["n3"], None);
    assert!(!state.may_serve(2, "n1") && state.may_serve(2, "n3") && state.may_serve(1, "n1"));
    activate(&mut state, 1, Activation::default());
    assert!(
        NODES
            .iter()
            .all(|name| !state.may_serve(2, name) && state.may_serve(3, name))
    );
}

#[test]
fn the_record_of_a_trial_leaves_with_its_version() {
    let mut state = with_trial(&["n3"], None);
    state.limits.versions = 3;
    activate(&mut state, 2, Activation::default());
    for value in 3..9 {
        put(&mut state, &value.to_string(), Activation::default());
    }
    assert!(state.oldest() >= 2 && state.trial(2).is_none() && state.records.is_empty());
}

// === Properties ===

#[derive(Clone, Debug)]
enum Step {
    Store(u8, Activation),
    StoreOnly(u8),
    /// Limits are taken from the head's version.
    Lift {
        place: bool,
        time: bool,
    },
    Undo,
    Activate(u64, Activation),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limits = || {
        let names = prop_oneof![
            3 => Just(None),
            1 => proptest::sample::subsequence(NODES.to_vec(), 1..=3).prop_map(|names| on(&names)),
        ];
        (names, proptest::option::of(5_000..5_003u64)).prop_map(|(on, confirm_by_ms)| Activation { on, confirm_by_ms })
    };
    let step = prop_oneof![
        4 => (0..4u8, limits()).prop_map(|(value, limits)| Step::Store(value, limits)),
        1 => (0..4u8).prop_map(Step::StoreOnly),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(place, time)| Step::Lift { place, time }),
        2 => Just(Step::Undo),
        1 => (0..12u64, limits()).prop_map(|(version, limits)| Step::Activate(version, limits)),
    ];
    proptest::collection::vec(step, 0..50)
}

/// The command, made for whatever head there is.
fn body(state: &State, step: &Step) -> Body {
    let store = |value: &u8, activate| Body::Store {
        changes: vec![PartChange {
            key: "a".into(),
            value: Some(value.to_string().into()),
        }],
        activate,
        original: None,
    };
    match step {
        Step::Store(value, limits) => store(value, Some(limits.clone())),
        Step::StoreOnly(value) => store(value, None),
        Step::Lift { place, time } => {
            let open = state.head.trial.clone();
            Body::Activate {
                version: state.head.version,
                activation: Activation {
                    on: open.as_ref().and_then(|open| open.on.clone()).filter(|_| !place),
                    confirm_by_ms: open.and_then(|open| open.confirm_by_ms).filter(|_| !time),
                },
            }
        }
        Step::Undo => Body::Activate {
            version: state.head.active,
            activation: Activation::default(),
        },
        Step::Activate(version, limits) => Body::Activate {
            version: *version,
            activation: limits.clone(),
        },
    }
}

fn texts(state: &State) -> BTreeMap<Arc<str>, Arc<str>> {
    let parts = state.parts.iter();
    parts
        .map(|(key, entry)| (Arc::clone(key), Arc::clone(&entry.value)))
        .collect()
}

proptest! {
    #[test]
    fn any_interleaving_of_store_activate_confirm_undo_and_promote_keeps_one_truth(steps in steps()) {
        let (mut state, mut follower) = (State::default(), State::default());
        let (mut undone, mut settled) = (BTreeSet::new(), BTreeSet::from([0]));
        for step in &steps {
            let before = state.clone();
            let command = envelope(state.head.version, body(&state, step));
            let (applied, effects) = state.apply(before.head.applied + 1, &command);
            let head = &state.head;

            // Who only hears of the effects, or starts from an image, serves the same.
            effects.iter().for_each(|effect| follower.absorb(effect));
            prop_assert_eq!(&follower, &state);
            let image = State::from_image(&state.to_image().unwrap(), state.limits).unwrap();
            prop_assert_eq!(live(&image), live(&state));

            // A version is one more with every change, and what a node serves never falls.
            prop_assert!(head.version == before.head.version || head.version == before.head.version + 1);
            for (then, now) in live(&before).into_iter().zip(live(&state)) {
                prop_assert!(then <= now, "{} fell to {}: {:?}", then, now, step);
            }

            // On trial is the newest version alone, over one that is live elsewhere or comes back.
            if let Some(open) = &head.trial {
                prop_assert!(open.version == head.version && head.active < head.version);
                prop_assert!(open.on.is_some() || open.confirm_by_ms.is_some());
                for name in NODES {
                    let named = open.on.as_ref().is_none_or(|on| on.iter().any(|n| n == name));
                    prop_assert_eq!(head.live_on(name), if named { open.version } else { head.active });
                }
            } else {
                prop_assert_eq!(live(&state), [head.active; 3]);
            }

            // A trial ends once: live for good, or undone, and then never live again.
            if let (Some(open), None) = (&before.head.trial, &head.trial) {
                if head.active == open.version {
                    settled.insert(open.version);
                } else {
                    prop_assert_eq!((head.active, head.version), (open.version + 1, open.version + 1));
                    prop_assert_eq!(texts(&state), before.parts_at(before.head.active).unwrap());
                    undone.insert(open.version);
                }
            } else if head.trial.is_none() {
                settled.insert(head.active);
            }
            prop_assert!(undone.is_disjoint(&settled));
            for version in live(&state) {
                prop_assert!(!undone.contains(&version));
            }
            for version in &undone {
                prop_assert!(state.trial(*version).unwrap().is_undone());
                prop_assert!(NODES.iter().all(|name| !state.may_serve(*version, name)));
            }

            // What was refused changed nothing.
            let refused = matches!(applied, Applied::TrialOpen { .. } | Applied::NotNewest { .. } | Applied::NoSuchVersion { .. });
            if refused {
                let applied = before.head.applied + 1;
                prop_assert_eq!(&State { head: Head { applied, ..before.head.clone() }, ..before }, &state);
            }
        }
    }
}
